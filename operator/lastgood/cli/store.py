"""`lastgood store`: put a checkpoint into a snapshot store, look at what is there, and let go of what is not needed."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import yaml

from lastgood.cli import parser
from lastgood.cli.parser import Exit, Parser, UsageError, positive
from lastgood.cli.progress import Progress, in_bytes
from lastgood.verify import Limits, UnreadableError, Verdict, printable, verify
from lastgood.verify.store import (
    BadCopyError,
    Held,
    MismatchError,
    NoGoodCopyError,
    Plan,
    StoreError,
    apply,
    capture_path,
    listing,
    plan,
    sweep,
)
from lastgood.verify.values import require_digest

Body: TypeAlias = dict[str, Any]
Run: TypeAlias = Callable[[argparse.Namespace], int]
Add: TypeAlias = Callable[..., Parser]  # what app.py defines each command with
_MODEL: Final = ""  # a store does not know models: the limits of the command line are for all that is in it
_HOUR: Final = 3600


def add_to(group: Parser, add: Add, limits: Callable[[], Parser]) -> None:
    """Define the verbs of `store`, with the application's own way of defining a command."""
    verbs = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_capture(add(verbs, "capture", _guarded(_capture), "copy a checkpoint into a store, by its digest", limits()))
    _common(add(verbs, "list", _guarded(_list), "list the snapshots of a store"))
    _add_sweep(add(verbs, "sweep", _guarded(_sweep), "remove leftovers of crashed captures"))
    _add_retain(add(verbs, "retain", _guarded(_retain), "list snapshots beyond the limits; --apply deletes them"))


def _add_capture(added: Parser) -> None:
    added.add_argument("path", type=parser.path, metavar="PATH", help="a file or a directory")
    added.add_argument(
        "--digest", type=_digest, metavar="sha256:…", help="the expected digest; nothing else is captured"
    )
    _common(added)


def _add_sweep(added: Parser) -> None:
    added.add_argument(
        "--older-than",
        type=positive,
        default=24,
        metavar="HOURS",
        help="keep what changed within this time (default: %(default)s)",
    )
    _common(added)


def _add_retain(added: Parser) -> None:
    added.add_argument("--keep-last", type=positive, metavar="N", help="how many snapshots to keep")
    added.add_argument("--max-bytes", type=positive, metavar="N", help="how many bytes to keep")
    added.add_argument(
        "--pin",
        type=_digest,
        action="append",
        default=[],
        metavar="sha256:…",
        help="a snapshot that is always kept, such as the current one; may be repeated",
    )
    added.add_argument("--apply", action="store_true", help="delete; without it nothing changes")
    _common(added)


def _common(added: Parser) -> None:
    added.add_argument("--store", type=parser.path, required=True, metavar="DIR", help="the snapshot store")
    added.add_argument("--output", choices=sorted(_WRITERS), default="text", help="(default: text)")


def _digest(text: str) -> str:
    try:
        return require_digest(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("digest: ")) from None


def _guarded(run: Run) -> Run:
    """Give the errors of a store their exit codes; those of reading have theirs already."""

    def command(args: argparse.Namespace) -> int:
        if not args.store.is_dir():
            raise UsageError(f"--store: {printable(str(args.store))} is not a directory; create it first")
        try:
            return run(args)
        except (MismatchError, NoGoodCopyError, BadCopyError) as error:
            return _fail(args, error, Exit.REFUSED)
        except StoreError as error:
            return _fail(args, error, Exit.UNREADABLE)

    return command


def _fail(args: argparse.Namespace, error: Exception, code: Exit) -> int:
    if args.output == "text":
        print(f"lastgood: {error}", file=sys.stderr)
    else:
        _print(args, {"error": type(error).__name__, "message": str(error)}, "")
    return code


def _capture(args: argparse.Namespace) -> int:
    limits = Limits(max_files=args.max_files, max_bytes=args.max_bytes)
    if args.store.resolve().is_relative_to(args.path.resolve()):
        raise UsageError("--store: lies inside PATH, so the copy would contain itself; name another place")
    with Progress() as progress:
        _require(args, limits, progress)
        found = capture_path(args.path, ".", args.store, args.digest, limits=limits, progress=progress)
    body = {
        "digest": found.digest,
        "blake3": found.blake3,
        "path": found.path,
        "sizeBytes": found.size_bytes,
        "fileCount": found.file_count,
        "seconds": round(found.seconds, 6),
        "existed": found.existed,
    }
    word = "is there already, and verified again" if found.existed else "captured"
    _print(args, body, f"{found.digest} {word}\npath: {found.path}")
    return Exit.OK


def _require(args: argparse.Namespace, limits: Limits, progress: Progress) -> None:
    """Read the path itself where a digest is given: a copy that is in the store already says nothing about it.

    Raises:
        UnreadableError: if it cannot be read.
        MismatchError: if it is something else.
    """
    if args.digest is None:
        return
    found = verify(args.path, ".", args.digest, limits=limits, progress=progress)
    if found.verdict is Verdict.UNREADABLE:
        raise UnreadableError(found.message)
    if found.verdict is Verdict.MISMATCH:
        raise MismatchError(printable(str(args.path)), args.digest, found.actual)


def _list(args: argparse.Namespace) -> int:
    found = listing(args.store)
    body = {
        "snapshots": [_held(item) for item in found.held],
        "strange": [{"path": path, "message": why} for path, why in found.strange],
    }
    lines = [f"{item.digest}  {_time(item)}  {in_bytes(item.size_bytes)}" for item in found.held]
    lines += [f"unreadable: {path}: {why}" for path, why in found.strange]
    _print(args, body, "\n".join(lines) or "no snapshots")
    return Exit.UNREADABLE if found.strange else Exit.OK


def _held(item: Held) -> Body:
    return {"digest": item.digest, "capturedAt": _time(item), "sizeBytes": item.size_bytes}


def _time(item: Held) -> str:
    return item.captured_at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _sweep(args: argparse.Namespace) -> int:
    found = sweep(args.store, older_than=args.older_than * _HOUR)
    body = {"removed": list(found.removed), "left": [{"name": name, "why": why} for name, why in found.left]}
    lines = [f"removed {name}" for name in found.removed]
    lines += [f"kept {printable(name)}: {why}" for name, why in found.left]
    _print(args, body, "\n".join(lines) or "nothing to sweep")
    return Exit.OK


def _retain(args: argparse.Namespace) -> int:
    if args.apply and args.keep_last is None and args.max_bytes is None:
        raise UsageError("--apply: requires a limit; give --keep-last or --max-bytes")
    found = listing(args.store, model=_MODEL)
    _require_held(args.pin, found.held)
    decided = plan(
        found.held,
        keep_last=args.keep_last,
        max_bytes=args.max_bytes,
        pins=args.pin,
        serving=(),
        last_known_good=(),
        evidence=(),
        complete=not found.strange,
        now=datetime.now(UTC),
    )
    stayed: tuple[tuple[str, str], ...] = ()
    if args.apply:
        stayed = apply(decided, args.store).stayed
    _print(args, _plan_body(decided, stayed, applied=args.apply), _plan_text(decided, stayed, applied=args.apply))
    return Exit.UNREADABLE if found.strange or stayed else Exit.OK


def _require_held(pins: list[str], held: Sequence[Held]) -> None:
    """Refuse a pin that keeps nothing: it was meant for something that would be deleted."""
    known = {item.digest for item in held}
    if gone := [pin for pin in pins if pin not in known]:
        raise UsageError(
            f"--pin: {gone[0]} is not in the store, see `lastgood store list`; correct it, or leave it out"
        )


def _plan_body(decided: Plan, stayed: tuple[tuple[str, str], ...], *, applied: bool) -> Body:
    return {
        "applied": applied,
        "delete": [{"digest": item.digest, "sizeBytes": item.size_bytes, "why": item.why} for item in decided.delete],
        "keep": [{"digest": item.digest, "why": item.why} for item in decided.keep],
        "stayed": [{"digest": digest, "why": why} for digest, why in stayed],
        "freedBytes": decided.freed_bytes,
    }


def _plan_text(decided: Plan, stayed: tuple[tuple[str, str], ...], *, applied: bool) -> str:
    reasons = dict(stayed)
    verb = "deleted" if applied else "would delete"
    lines = [
        f"not deleted {item.digest}: {reasons[item.digest]}"
        if item.digest in reasons
        else f"{verb} {item.digest} ({in_bytes(item.size_bytes)}): {item.why}"
        for item in decided.delete
    ]
    lines += [f"keep {item.digest}: {item.why}" for item in decided.keep]
    if decided.delete and not applied:
        lines.append("nothing changed; add --apply to delete")
    return "\n".join(lines) or "no snapshots"


def _print(args: argparse.Namespace, body: Body, text: str) -> None:
    print(_WRITERS[args.output](body, text))


_WRITERS: Final[Mapping[str, Callable[[Body, str], str]]] = {
    "json": lambda body, _: json.dumps(body, indent=2),
    "text": lambda _, text: text,
    "yaml": lambda body, _: yaml.safe_dump(body, sort_keys=False, allow_unicode=True).rstrip(),
}
