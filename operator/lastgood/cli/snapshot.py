"""`lastgood snapshot create`: a ModelSnapshot for a checkpoint, ready to apply."""

import argparse
import re
from typing import Any

import yaml

from lastgood.api.names import API_VERSION
from lastgood.cli.digest import limits_of, read
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.parser import name as checked_name
from lastgood.cli.progress import in_bytes
from lastgood.verify import Contents, printable


def run(args: argparse.Namespace) -> int:
    """Print YAML: a comment that says what to do next, and the object."""
    source = _source(args)
    name = args.name or _name_for(args.model, args.version)
    found = read(args.path, limits_of(args))
    body = _body(args, name, source, found)
    print(_header(args, name, found))
    print(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), end="")
    return Exit.OK


def _source(args: argparse.Namespace) -> dict[str, Any]:
    if args.store_path:
        if args.source_path:
            raise UsageError("--path: belongs to --pvc; with --store-path leave it out")
        return {"store": {"path": args.store_path}}
    if not args.source_path:
        raise UsageError("--path: is missing; give the checkpoint's path on the claim, such as digits/2")
    return {"pvc": {"claimName": args.pvc, "path": args.source_path}}


def _name_for(model: str, version: str) -> str:
    slug = re.sub(r"[^a-z0-9.]+", "-", version.lower()).strip("-.")
    try:
        return checked_name(f"{model}-{slug}")  # without a slug this ends in '-', and is refused
    except argparse.ArgumentTypeError:
        raise UsageError(f"--name: is required; version {version!r} cannot be part of an object name") from None


def _body(args: argparse.Namespace, name: str, source: dict[str, Any], found: Contents) -> dict[str, Any]:
    metadata = {"name": name, "namespace": args.namespace}
    spec = {
        "model": args.model,
        "version": args.version,
        "source": source,
        "digest": found.digest,
        "trainedAt": args.trained_at,
        "dataCutoff": args.data_cutoff,
        "runtime": {"image": args.image} if args.image else None,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelSnapshot",
        "metadata": {key: value for key, value in metadata.items() if value},
        "spec": {key: value for key, value in spec.items() if value},
    }


def _header(args: argparse.Namespace, name: str, found: Contents) -> str:
    place = f"the operator's store, at {args.store_path}"
    if args.pvc:
        place = f"the claim {args.pvc}, at {args.source_path}"
    option = f" -n {args.namespace}" if args.namespace else ""
    files = "1 file" if found.file_count == 1 else f"{found.file_count} files"
    return "\n".join(
        [
            f"# {printable(str(args.path))}: {files}, {in_bytes(found.size_bytes)}",
            f"# 1. Put exactly these bytes in {place}.",
            "# 2. Apply this file: kubectl apply -f FILE",
            f"# 3. Wait until they are verified: kubectl get modelsnapshot {name}{option} --watch",
        ]
    )
