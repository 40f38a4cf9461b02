"""`lastgood verify`: is this path what its digest says? For a person, a script, or an init container."""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from lastgood.cli.digest import limits_of
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.progress import Progress
from lastgood.verify import FileEntry, Result, Verdict, manifest_digest, verify

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


def run(args: argparse.Namespace) -> int:
    """Print the verdict; the exit code says it too."""
    known = _known(args.manifest, args.digest) if args.manifest else ()
    with Progress() as progress:
        result = verify(args.path, ".", args.digest, limits=limits_of(args), progress=progress, known=known)
    print(_WRITERS[args.output](result))
    return _CODES[result.verdict]


def _text(result: Result) -> str:
    return "\n  ".join([f"{result.verdict}: {result.message}", *result.findings])


_WRITERS: Final[Mapping[str, Callable[[Result], str]]] = {
    "text": _text,
    "json": lambda result: json.dumps(as_body(result), indent=2),
    "yaml": lambda result: yaml.safe_dump(as_body(result), sort_keys=False, allow_unicode=True).rstrip(),
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
