"""`lastgood verify`: is this path what its digest says? For a person, a script, or an init container."""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from lastgood.api.names import Reason
from lastgood.api.text import listed
from lastgood.cli import parser
from lastgood.cli.digest import limits_of, read
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.progress import Progress
from lastgood.cli.signing import signatures
from lastgood.cli.signing.sign import single_file
from lastgood.verify import (
    FileEntry,
    RefusedEntryError,
    Result,
    UnreadableError,
    Verdict,
    manifest_digest,
    printable,
    verify,
)
from lastgood.verify.values import MAX_FINDINGS

_CODES: Final = {
    Verdict.VERIFIED: Exit.OK,
    Verdict.MISMATCH: Exit.REFUSED,
    Verdict.UNREADABLE: Exit.UNREADABLE,
}


def as_body(result: Result) -> dict[str, Any]:
    """Return a result as JSON has it."""
    return {
        "verdict": str(result.verdict),
        "expected": result.expected,
        "actual": result.actual,
        "sizeBytes": result.size_bytes,
        "fileCount": result.file_count,
        "seconds": round(result.seconds, 6),
        "findings": list(result.findings),
        "message": result.message,
    }


def add_options(added: argparse.ArgumentParser) -> None:
    """Say which options there are besides the path, the digest and the limits."""
    added.add_argument(
        "--manifest",
        type=parser.path,
        metavar="FILE",
        help="what `lastgood digest --output json` printed once: names the files that differ from --digest",
    )
    signatures.add_options(added)
    added.add_argument("--output", choices=["text", "json", "yaml"], default="text", help="(default: text)")


def run(args: argparse.Namespace) -> int:
    """Print the verdict; the exit code says it too."""
    wanted = signatures.wanted(args)
    if not args.digest and not wanted:
        raise UsageError("--digest or --signature: one is required; without a check nothing passes")
    if args.manifest and not args.digest:
        raise UsageError("--manifest: belongs to --digest; give it too")
    result = _by_digest(args) if args.digest else _by_reading(args)
    code, body = _CODES[result.verdict], as_body(result)
    if wanted:
        code, body = _signed(args.path, result, wanted, code, body)
    print(_WRITERS[args.output](body))
    return code


def _by_digest(args: argparse.Namespace) -> Result:
    known = _known(args.manifest, args.digest) if args.manifest else ()
    with Progress() as progress:
        return verify(args.path, ".", args.digest, limits=limits_of(args), progress=progress, known=known)


def _by_reading(args: argparse.Namespace) -> Result:
    """Read a path whose signatures alone will say what it should be."""
    started = time.monotonic()
    try:
        found = read(args.path, limits_of(args))
    except RefusedEntryError as error:
        message = f"{printable(str(args.path))} cannot be what was signed: {error}"
        return _unread(Verdict.MISMATCH, message, started, error.findings)
    except UnreadableError as error:
        message = f"{printable(str(args.path))} could not be read: {error}"
        return _unread(Verdict.UNREADABLE, message, started)
    return Result(
        verdict=Verdict.VERIFIED,
        expected="",
        actual=found.digest,
        size_bytes=found.size_bytes,
        file_count=found.file_count,
        seconds=time.monotonic() - started,
        findings=(),
        message=f"{printable(str(args.path))} is {found.digest}",
        files=found.files,
    )


def _unread(verdict: Verdict, message: str, started: float, findings: tuple[str, ...] = ()) -> Result:
    return Result(
        verdict=verdict,
        expected="",
        actual=None,
        size_bytes=0,
        file_count=0,
        seconds=time.monotonic() - started,
        findings=findings,
        message=message,
    )


def _signed(
    path: Path, result: Result, wanted: signatures.Wanted, code: Exit, body: dict[str, Any]
) -> tuple[Exit, dict[str, Any]]:
    """Hold the signatures against what was read; without it there is nothing to hold them against."""
    body["expected"] = result.expected or None
    if result.verdict is not Verdict.VERIFIED or result.actual is None:
        if result.verdict is Verdict.MISMATCH and not result.expected:
            body["verdict"] = str(Reason.SIGNATURE_INVALID)
        return code, {**body, "signatures": []}
    files = result.files or single_file(result.actual, result.size_bytes)
    found = signatures.check(wanted, path, files)
    body["signatures"] = [signatures.as_body(item) for item in found.signatures]
    judgement = found.judgement
    if judgement.signed:
        return code, {**body, "message": f"{result.message}, signed by {', '.join(judgement.signers)}"}
    body["findings"] += listed([finding for item in found.signatures for finding in item.findings], MAX_FINDINGS)
    code = Exit.UNREADABLE if judgement.signed is None else Exit.REFUSED
    return code, {**body, "verdict": str(judgement.reason), "message": judgement.message}


def _text(body: Mapping[str, Any]) -> str:
    return "\n  ".join([f"{body['verdict']}: {body['message']}", *body["findings"]])


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "text": _text,
    "json": lambda body: json.dumps(body, indent=2),
    "yaml": lambda body: yaml.safe_dump(body, sort_keys=False, allow_unicode=True).rstrip(),
}


def _known(path: Path, expected: str) -> tuple[FileEntry, ...]:
    """Read what `lastgood digest --output json` wrote; it only names the files that differ."""
    try:
        rows = json.loads(path.read_bytes())["files"]
        files = tuple(
            FileEntry(path=str(row["path"]), size=int(row["size"]), sha256=str(row["sha256"])) for row in rows
        )
        found = manifest_digest(files)
    except OSError as error:
        raise UsageError(f"--manifest: {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError("--manifest: must be what `lastgood digest PATH --output json` printed") from None
    if found != expected:
        raise UsageError(f"--manifest: is the manifest of {found} and not of the --digest given")
    return files
