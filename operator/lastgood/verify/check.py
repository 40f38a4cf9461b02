"""The two questions: what is the digest of this path, and is it this one?"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lastgood.verify.errors import RefusedEntryError, UnreadableError, UnsteadyError
from lastgood.verify.hashing import Way, bound_blake3, require_blake3
from lastgood.verify.manifest import differences, manifest_digest
from lastgood.verify.reading.apart import read_apart
from lastgood.verify.reading.contents import Task, read_here
from lastgood.verify.reading.meter import Cancelled, Meter, Pace, Progress
from lastgood.verify.reading.printable import printable
from lastgood.verify.values import Contents, FileEntry, Limits, Result, Verdict, require_digest

_DEFAULT = Limits()


def digest(
    path: Path,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    threads: int | None = None,
    budget: Pace | None = None,
    record_blake3: bool = False,
    isolated: bool = False,
) -> Contents:
    """Return the digest of a path: of a file what `sha256sum` prints, of a directory its manifest's.

    The arguments are those of `verify`.

    Raises:
        UnreadableError: if something cannot be read, changed meanwhile, or is beyond the limits.
        RefusedEntryError: if it is, or holds, anything but files and directories, or no file at all.
    """
    meter = Meter(progress, cancelled, budget=budget, seconds=limits.max_seconds)
    task = Task(root=path, limits=limits, way=Way.BOTH if record_blake3 else Way.SHA256, threads=threads)
    found = (read_apart if isolated else read_here)(task, meter)
    return replace(found, blake3=bound_blake3(found.digest, found.blake3)) if found.blake3 else found


def verify(
    root: Path,
    relative: str,
    expected: str,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    known: Sequence[FileEntry] = (),
    blake3: str | None = None,
    record_blake3: bool = True,
    budget: Pace | None = None,
    isolated: bool = False,
) -> Result:
    """Compare what is at a path below a root with the digest that it should have.

    Whatever is on the disk, the answer is a Result. One I/O error makes it Unreadable: the caller knows when
    to try again. A mismatch was read twice, the second time from the disk itself, with the same bytes both times.

    Args:
        root: a directory that the caller vouches for, such as a mounted volume; links in its own path are
            followed.
        relative: the path below it; `.` is the root itself, which may then be a file.
        expected: `sha256:` and 64 hex digits.
        limits: what to put up with.
        progress: gets the bytes read so far; it begins again at 0 where a second reading is needed.
        cancelled: is asked between two reads, from any thread; the result is then Unreadable.
        known: a manifest of what should be there. If it has the expected digest, the findings name the files
            that differ.
        blake3: what `Result.blake3` of an earlier verification said, **with this very `expected`**, kept where nobody
            who may write the checkpoint can write. If the bytes have it, they are verified, at several times the
            speed; if not, sha256 decides as if it had not been given.
        record_blake3: compute it with the first verification, for the next ones; it takes about a quarter more time.
        budget: a rate to keep to, together with others.
        isolated: read in a process of its own, so that a disk that stalls can be left: `cancelled`, `max_seconds` and
            `max_stall_seconds` then end also a read that never returns. Starting it takes about 0.1 s.

    Raises:
        ValueError: if `relative`, `expected` or `blake3` is malformed.
    """
    require_digest(expected)
    if blake3 is not None:
        require_blake3(blake3)
    path = require_relative(relative)
    meter = Meter(progress, cancelled, budget=budget, seconds=limits.max_seconds)
    reader = _Reader(task=Task(root=root, relative=path, limits=limits), meter=meter, isolated=isolated)
    way = Way.BOTH if record_blake3 or blake3 else Way.SHA256
    shown = printable(path or str(root))
    return _judge(lambda: _compare(reader, expected, blake3, way), shown, expected, known)


def require_relative(path: str) -> str:
    """Return a path below a root, `""` for the root itself.

    Raises:
        ValueError: if the path is absolute, leaves the root, or is no text that a file system takes.
    """
    parts = path.split("/")
    if path != "." and any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError("path: must be relative, without '..', '.' or empty segments")
    if not path.isascii() and any("\ud800" <= character <= "\udfff" for character in path):
        raise ValueError("path: must be valid UTF-8")
    return "" if path == "." else path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    task: Task
    meter: Meter
    isolated: bool

    def read(self, way: Way, *, fresh: bool = False) -> Contents:
        self.meter.begin()
        task = replace(self.task, way=way, fresh=fresh)
        return (read_apart if self.isolated else read_here)(task, self.meter)


def _compare(reader: _Reader, expected: str, blake3: str | None, way: Way) -> Contents:
    """Read until it is certain what is there: once if it is right, twice with the same bytes if it is not."""
    quick = reader.read(Way.BLAKE3) if blake3 else None
    if quick and bound_blake3(expected, quick.blake3) == blake3:
        return replace(quick, digest=expected)
    found = reader.read(way, fresh=quick is not None)
    if found.digest != expected:
        _require_steady(reader, found, quick)
    return found


def _require_steady(reader: _Reader, found: Contents, earlier: Contents | None) -> None:
    """Make sure that another reading found the same bytes: a disk that errs is not tampered with.

    Raises:
        UnsteadyError: if it did not.
    """
    # Fresh: a file system that read short may have left zeros in memory that are not on the disk.
    other = earlier or reader.read(Way.BLAKE3 if found.blake3 else Way.SHA256, fresh=True)
    same = other.blake3 == found.blake3 if found.blake3 else other.digest == found.digest
    if not same:
        raise UnsteadyError(
            "two reads returned different bytes; check the disk or network, and that nothing writes to it"
        )


def _judge(read: Callable[[], Contents], shown: str, expected: str, known: Sequence[FileEntry]) -> Result:
    started = time.monotonic()
    try:
        found = read()
    except RefusedEntryError as error:
        sentence = f"{shown} cannot match {expected}: {error}"
        return _result(Verdict.MISMATCH, expected, started, sentence, findings=error.findings)
    except UnreadableError as error:
        return _result(Verdict.UNREADABLE, expected, started, f"{shown} could not be read: {error}")
    is_known = bool(known) and manifest_digest(known) == expected
    if found.digest == expected:
        if is_known and not found.files:
            found = replace(found, files=tuple(known))
        return _result(Verdict.VERIFIED, expected, started, f"{shown} is {expected}", found)
    findings = differences(known, found.files) if is_known else ()
    return _result(
        Verdict.MISMATCH,
        expected,
        started,
        f"{shown} is {found.digest}, expected {expected}",
        found,
        findings,
    )


def _result(  # noqa: PLR0917 - the parts of one value, made in one place
    verdict: Verdict,
    expected: str,
    started: float,
    message: str,
    found: Contents | None = None,
    findings: tuple[str, ...] = (),
) -> Result:
    return Result(
        verdict=verdict,
        expected=expected,
        actual=found.digest if found else None,
        size_bytes=found.size_bytes if found else 0,
        file_count=found.file_count if found else 0,
        seconds=time.monotonic() - started,
        findings=findings,
        message=message[:1024],
        files=found.files if found else (),
        # Of right bytes only: nobody shall keep what wrong ones had.
        blake3=bound_blake3(expected, found.blake3) if found and found.blake3 and verdict is Verdict.VERIFIED else "",
    )
