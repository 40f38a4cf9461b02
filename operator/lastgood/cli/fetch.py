"""`lastgood fetch`: a remote checkpoint onto this disk, whole and right or not at all; for an init container."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from lastgood.cli import parser
from lastgood.cli.digest import limits_of
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.progress import Progress
from lastgood.cli.verify import as_body
from lastgood.signals.addresses import AddressPolicy
from lastgood.verify import Result, Verdict, printable
from lastgood.verify.sources import Access, Credentials, Patience, RemoteSource, Source, credentials_of, source_from_uri
from lastgood.verify.sources.credentials import KEYS
from lastgood.verify.sources.disk.fetching import fetch
from lastgood.verify.sources.mirrors import Choice, first_of

_ON_VOLUMES: Final = ("store://", "pvc://")
_MAX_FILE: Final = 2 * 2**20
_ENVIRONMENT: Final = "LASTGOOD_CREDENTIALS_"
_CODES: Final = {
    Verdict.VERIFIED: Exit.OK,
    Verdict.MISMATCH: Exit.REFUSED,
    Verdict.UNREADABLE: Exit.UNREADABLE,
}


def add_options(added: argparse.ArgumentParser) -> None:
    """Say which options there are besides the digest and the limits."""
    added.add_argument(
        "uri",
        metavar="URI",
        help="s3://bucket/prefix?endpoint=https://…, oci://registry/repository@sha256:… or https://host/file",
    )
    added.add_argument("path", type=parser.path, metavar="PATH", help="the destination; its parent must exist")
    added.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="URI",
        help="another copy of the checkpoint, tried if the earlier ones fail; may be repeated",
    )
    added.add_argument(
        "--credentials-from",
        action="append",
        default=[],
        metavar="env|FILE|DIR",
        help=f"a mounted Secret, a YAML or JSON file with its keys, or variables {_ENVIRONMENT}…; may be repeated",
    )
    added.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="timeout for each copy (default: one day)")
    added.add_argument(
        "--stall-timeout",
        type=_seconds,
        default=Patience().stall,
        metavar="SECONDS",
        help="timeout for a server that does not answer (default: %(default)g)",
    )
    added.add_argument("--deny-loopback", action="store_true", help="never connect to this machine itself")
    added.add_argument("--output", choices=["text", "json"], default="text", help="(default: text)")


def run(args: argparse.Namespace) -> int:
    """Fetch, and print what came of it; the exit code says it too."""
    credentials = [_credentials(place) for place in args.credentials_from]
    if not args.path.absolute().parent.is_dir():
        raise UsageError("PATH: its parent must be a directory; create it first")
    sources = _sources([args.uri, *args.mirror], _access(args, credentials))
    limits = replace(limits_of(args), max_seconds=args.timeout)
    with Progress() as progress:
        choice = first_of(
            sources,
            lambda _, source: fetch(source, args.digest, args.path.absolute(), limits=limits, progress=progress),
        )
    for line in _told(choice):
        print(line, file=sys.stderr)
    print(_json(choice, sources) if args.output == "json" else _text(choice.result))
    return _CODES[choice.result.verdict]


def _access(args: argparse.Namespace, credentials: list[Credentials]) -> Access:
    policy = AddressPolicy(allow_loopback=not args.deny_loopback)
    return Access(allow=policy.check, credentials=credentials, patience=Patience(stall=args.stall_timeout))


def _sources(uris: Iterable[str], access: Access) -> list[RemoteSource]:
    """Return the sources, each with the credentials for its own host.

    Others are told of and sent nowhere: a pod has those of every copy, and is given the URI of the one that is good.

    Raises:
        UsageError: if a URI cannot be used.
    """
    first, *_ = uris = list(uris)
    sources = [_source(uri, access, "URI" if uri == first else "--mirror") for uri in _remote(uris)]
    used = {credentials.host for source in sources if (credentials := source.credentials) is not None}
    for credentials in access.credentials:
        if credentials.host not in used:
            told = f"--credentials-from: no URI is at {credentials.origin}, so these credentials are not used"
            print(told, file=sys.stderr)
    return sources


def _source(uri: str, access: Access, option: str) -> RemoteSource:
    try:
        return source_from_uri(uri, access)
    except ValueError as error:
        raise UsageError(option + str(error).removeprefix("URI")) from None


def _remote(uris: Sequence[str]) -> Sequence[str]:
    """Return the URIs of what can be fetched: a pod whose snapshot is on a volume now still has its mirrors.

    Raises:
        UsageError: if all of them are on volumes.
    """
    remote = [uri for uri in uris if not uri.startswith(_ON_VOLUMES)]
    if not remote:
        raise UsageError("URI: is on a volume, which a pod mounts; it cannot be fetched; name a --mirror elsewhere")
    if len(remote) < len(uris):
        print("URI: one is on a volume and cannot be fetched; trying the others", file=sys.stderr)
    return remote


def _credentials(place: str) -> Credentials:
    try:
        return credentials_of(_environment() if place == "env" else _stored(Path(place)))
    except ValueError as error:
        raise UsageError(f"--credentials-from {place}: {error}") from None
    except OSError as error:
        raise UsageError(f"--credentials-from {place}: cannot be read: {error.strerror}") from None


def _environment() -> Mapping[str, str]:
    """Return the keys of a Secret from variables such as LASTGOOD_CREDENTIALS_ACCESS_KEY_ID."""
    names = {key: _ENVIRONMENT + _variable(key) for key in KEYS}
    if unknown := sorted(name for name in os.environ if name.startswith(_ENVIRONMENT) and name not in names.values()):
        raise ValueError(f"{printable(unknown[0], 64)}: is unknown; the variables are {', '.join(names.values())}")
    return {key: os.environ[name] for key, name in names.items() if name in os.environ}


def _variable(key: str) -> str:
    spaced = "".join(f"_{letter}" if letter.isupper() else letter for letter in key)
    return spaced.replace(".", "_").upper()


def _stored(path: Path) -> Mapping[str, str | bytes]:
    """Return the keys of a Secret from the directory that it is mounted at, or from a file with a mapping.

    Raises:
        OSError: if it cannot be read.
        ValueError: if a file is too large, or no mapping of texts.
    """
    if path.is_dir():
        return {key: _bounded(path / key) for key in KEYS if (path / key).is_file()}
    try:
        data = yaml.safe_load(_bounded(path))
    except (yaml.YAMLError, RecursionError):
        raise ValueError("must be YAML or JSON") from None  # the parser's own words quote what it read
    if not isinstance(data, dict):
        raise ValueError("must be a mapping, such as {host: …, username: …, password: …}")  # noqa: TRY004 - as in _value
    if unknown := [str(key) for key in data if key not in KEYS]:
        raise ValueError(f"{printable(unknown[0], 64)}: is unknown; the keys are {', '.join(KEYS)}")
    return {key: _value(key, data[key]) for key in KEYS if key in data}


def _value(key: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise ValueError(f"{key}: must be text; put it in quotes")  # noqa: TRY004 - a wrong value, like the others
    return value


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise ValueError(f"{path.name}: is larger than {_MAX_FILE} bytes")
    return data


def _told(choice: Choice) -> list[str]:
    """Return a line for each copy that was passed over for a good one."""
    if choice.index is None:
        return []
    return [f"passed over: {passed.result.verdict}: {passed.result.message}" for passed in choice.passed_over]


def _text(result: Result) -> str:
    return "\n  ".join([f"{result.verdict}: {result.message}", *result.findings])


def _json(choice: Choice, sources: Sequence[Source]) -> str:
    body: dict[str, Any] = as_body(choice.result)
    body["source"] = None if choice.index is None else sources[choice.index].describe()
    body["passedOver"] = [{"source": passed.where, **as_body(passed.result)} for passed in choice.passed_over]
    return json.dumps(body, indent=2)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 7 * 24 * 3600:
        raise argparse.ArgumentTypeError("must be a number of seconds, more than 0 and at most a week")
    return value
