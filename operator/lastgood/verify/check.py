"""The two questions: what is the digest of this path, and is it this one?"""

import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lastgood.verify.errors import RefusedEntryError, UnreadableError
from lastgood.verify.manifest import differences, manifest_digest, read_files
from lastgood.verify.meter import Cancelled, Meter, Progress
from lastgood.verify.printable import printable
from lastgood.verify.reading import open_below, open_path, opened, read_file, reading
from lastgood.verify.tree import require_size
from lastgood.verify.values import Contents, FileEntry, Limits, Result, Verdict, require_digest

_DEFAULT = Limits()
_MANIFEST_START: Final = b'[{"path":"'  # how every manifest begins in RFC 8785 form


def digest(
    path: Path, *, limits: Limits = _DEFAULT, progress: Progress | None = None, threads: int | None = None
) -> Contents:
    """Return the digest of a path: of a file what `sha256sum` prints, of a directory its manifest's.

    Raises:
        UnreadableError: if something cannot be read, changed meanwhile, or is beyond the limits.
        RefusedEntryError: if it is, or holds, anything but files and directories, or no file at all.
    """
    with opened(open_path(path)) as descriptor:
        return _read(descriptor, _Reading(limits=limits, meter=Meter(progress), threads=threads))


def verify(
    root: Path,
    relative: str,
    expected: str,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    known: Sequence[FileEntry] = (),
) -> Result:
    """Compare what is at a path below a root with the digest that it should have.

    Whatever is on the disk, the answer is a Result. One I/O error makes it Unreadable: the caller knows when
    to try again.

    Args:
        root: a directory that the caller vouches for, such as a mounted volume; links in its own path are
            followed.
        relative: the path below it; `.` is the root itself, which may then be a file.
        expected: `sha256:` and 64 hex digits.
        limits: what to put up with.
        progress: gets the bytes read so far.
        cancelled: is asked between two reads, from any thread; the result is then Unreadable.
        known: a manifest of what should be there. If it has the expected digest, the findings name the files
            that differ.

    Raises:
        ValueError: if `relative` or `expected` is malformed.
    """
    require_digest(expected)
    path = require_relative(relative)
    work = _Reading(limits=limits, meter=Meter(progress, cancelled))
    shown = printable(path or str(root))
    return _judge(lambda: _read_below(root, path, work), shown, expected, known)


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
class _Reading:
    limits: Limits
    meter: Meter
    threads: int | None = None


def _read_below(root: Path, path: str, work: _Reading) -> Contents:
    with opened(open_path(root)) as base:
        if not path:
            return _read(base, work)
        with opened(open_below(base, path)) as descriptor:
            return _read(descriptor, work)


def _read(descriptor: int, work: _Reading) -> Contents:
    with reading("the checkpoint"):
        status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        files = read_files(descriptor, work.limits, work.meter, work.threads)
        size = sum(file.size for file in files)
        return Contents(digest=manifest_digest(files), size_bytes=size, file_count=len(files), files=files)
    require_size(status.st_size, work.limits)
    _refuse_manifest(descriptor)
    file = read_file(descriptor, "the file", work.meter)
    return Contents(digest=f"sha256:{file.sha256}", size_bytes=file.size, file_count=1)


def _refuse_manifest(descriptor: int) -> None:
    """Refuse a manifest as a checkpoint: the file has the digest of the directory that it describes."""
    with reading("the file"):
        start = os.pread(descriptor, len(_MANIFEST_START), 0)
    if start == _MANIFEST_START:
        raise RefusedEntryError("the file is a manifest, which has the digest of a directory without being it")


def _judge(read: Callable[[], Contents], shown: str, expected: str, known: Sequence[FileEntry]) -> Result:
    started = time.monotonic()
    try:
        found = read()
    except RefusedEntryError as error:
        sentence = f"{shown} cannot be {expected}: {error}"
        return _result(Verdict.MISMATCH, expected, started, sentence, findings=error.findings)
    except UnreadableError as error:
        return _result(Verdict.UNREADABLE, expected, started, f"{shown} could not be read: {error}")
    if found.digest == expected:
        return _result(Verdict.VERIFIED, expected, started, f"{shown} is {expected}", found)
    findings = differences(known, found.files) if known and manifest_digest(known) == expected else ()
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
    )
