"""`lastgood sign`: a signature over every file of a checkpoint."""

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from lastgood.api.fields import parse_time
from lastgood.cli import parser
from lastgood.cli.digest import limits_of, read
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.progress import in_bytes
from lastgood.cli.signing import keyfiles
from lastgood.verify import FileEntry, printable
from lastgood.verify.signing import (
    Certificate,
    Claims,
    SignatureError,
    load_certificates,
    load_private_key,
    require_usable,
    sign,
)


def add_options(added: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    added.add_argument(
        "path", type=parser.path, metavar="PATH", help="a directory (every file in it is signed) or a file"
    )
    added.add_argument("--key", type=parser.path, required=True, metavar="FILE", help="the private key (PEM)")
    keyfiles.add_password(added)
    added.add_argument(
        "--signature", type=parser.path, required=True, metavar="FILE", help="the file for the signature"
    )
    added.add_argument("--certificate", type=parser.path, metavar="FILE", help="the certificate of the key (PEM)")
    added.add_argument(
        "--certificate-chain",
        type=parser.path,
        action="append",
        default=[],
        metavar="FILE",
        help="the intermediate certificates up to the root (PEM; repeatable)",
    )
    added.add_argument("--model", type=parser.label, help="the model family to sign for")
    added.add_argument("--version", type=parser.version, help="the version to sign for")
    added.add_argument("--trained-at", type=parser.moment, metavar="TIME", help="when its training ended")
    added.add_argument("--data-cutoff", type=parser.moment, metavar="TIME", help="the newest data it has seen")
    added.add_argument("--image", type=parser.pinned, help="the image that may run it, by digest: name@sha256:…")


def run(args: argparse.Namespace) -> int:
    """Sign, and say what was signed."""
    now = datetime.now(UTC)
    claims = _claims(args, now)
    keyfiles.require_absent("--signature", args.signature)
    password = keyfiles.password(args)
    key = keyfiles.load("--key", args.key, lambda pem: load_private_key(pem, password))
    certificates = _certificates(args, now)
    found = read(args.path, limits_of(args))
    try:
        bundle = sign(
            found.files or single_file(found.digest, found.size_bytes),
            key,
            claims=claims,
            certificates=certificates,
            name=printable(args.path.resolve().name) or "model",
            ignored=[inside] if (inside := path_inside(args.path, args.signature)) else [],
        )
    except SignatureError as error:
        raise UsageError(str(error)) from None
    keyfiles.create("--signature", args.signature, bundle, 0o644)
    files = "1 file" if found.file_count == 1 else f"{found.file_count} files"
    print(f"signed {files}, {in_bytes(found.size_bytes)}, with the key {key.public.key_id}")
    return Exit.OK


def single_file(digest: str, size: int) -> tuple[FileEntry, ...]:
    """Return the files of a checkpoint that is a file itself: one, named `.` as in OMS v1.0."""
    return (FileEntry(path=".", size=size, sha256=digest.removeprefix("sha256:")),)


def path_inside(root: Path, path: Path) -> str:
    """Return the path of a file below a directory, `""` where it is elsewhere."""
    base, found = Path(os.path.realpath(root)), Path(os.path.realpath(path))
    return found.relative_to(base).as_posix() if found != base and found.is_relative_to(base) else ""


def _claims(args: argparse.Namespace, now: datetime) -> Claims | None:
    if not args.model and not args.version:
        optional = {"--trained-at": args.trained_at, "--data-cutoff": args.data_cutoff, "--image": args.image}
        for option, value in optional.items():
            if value:
                raise UsageError(f"{option}: is signed together with --model and --version; give them too")
        return None
    if not args.model or not args.version:
        raise UsageError("--model and --version: are signed together; give both")
    return Claims(
        model=args.model,
        version=args.version,
        trained_at=parse_time(args.trained_at) if args.trained_at else None,
        data_cutoff=parse_time(args.data_cutoff) if args.data_cutoff else None,
        signed_at=now.replace(microsecond=0),
        image=args.image or "",
    )


def _certificates(args: argparse.Namespace, now: datetime) -> list[Certificate]:
    if not args.certificate:
        if args.certificate_chain:
            raise UsageError("--certificate-chain: requires --certificate, the certificate of the key")
        return []
    certificates = list(keyfiles.load("--certificate", args.certificate, load_certificates))
    try:
        require_usable(certificates[0], now)
    except SignatureError as error:
        raise UsageError(f"--certificate: {error}") from None
    for path in args.certificate_chain:
        certificates += keyfiles.load("--certificate-chain", path, load_certificates)
    return certificates
