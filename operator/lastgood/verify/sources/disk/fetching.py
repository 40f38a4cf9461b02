"""A copy on the local disk that has its name only if it is whole and right."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from lastgood.verify.check import verify
from lastgood.verify.errors import UnreadableError
from lastgood.verify.reading.meter import Cancelled, Pace, Progress
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import opened
from lastgood.verify.sources.disk.room import Share
from lastgood.verify.sources.engine import verify_source
from lastgood.verify.sources.values import Chunk, Source
from lastgood.verify.values import FileEntry, Limits, Result, Verdict, require_digest

_DEFAULT = Limits()
_PREFIX: Final = ".lastgood-fetch-"
_CONTENT: Final = "content"
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def fetch(
    source: Source,
    expected: str,
    destination: Path,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    known: Sequence[FileEntry] = (),
    share: Share | None = None,
    budget: Pace | None = None,
) -> Result:
    """Copy a source to a path, which afterwards has the expected digest or is as it was.

    It is hashed while it arrives, under a temporary name beside the destination, and renamed when all of it is on
    the disk. A destination that has the digest already is kept, so that asking twice is harmless; one that holds
    anything else is left alone, and the result says so. What an earlier, killed attempt left is removed.

    Args:
        source: where the bytes are.
        expected: `sha256:` and 64 hex digits.
        destination: a path that is not there yet, or an empty directory; its parent must be there.
        limits: what to put up with.
        progress: gets the bytes read so far.
        cancelled: is asked at least once a second.
        known: a manifest of what should be there, for the findings.
        share: counts what is written, where copies share a disk.
        budget: a rate to keep to, together with others.

    Raises:
        ValueError: if `expected` is malformed.
    """
    require_digest(expected)
    there = _already(destination, expected, limits, cancelled)
    if there is not None:
        return there
    copied = partial(verify_source, limits=limits, progress=progress, cancelled=cancelled, known=known, budget=budget)
    try:
        with _temporary(destination) as beside:
            result = copied(source, expected, into=DirectorySink(beside / _CONTENT, share))
            if result.verdict is Verdict.VERIFIED:
                _publish(beside / _CONTENT, destination)
            return result
    except OSError as error:
        return _unwritable(expected, destination, error)


def _already(destination: Path, expected: str, limits: Limits, cancelled: Cancelled | None) -> Result | None:
    """Return what is at the destination, or None where there is nothing, or an empty directory."""
    with suppress(OSError):
        if destination.is_dir() and not destination.is_symlink() and not any(destination.iterdir()):
            return None
    if not os.path.lexists(destination):
        return None
    found = verify(destination, ".", expected, limits=limits, cancelled=cancelled)
    if found.verdict is Verdict.VERIFIED:
        return found
    sentence = f"{found.message}; nothing was fetched: remove it, or name another path"
    return replace(found, message=sentence[:1024])


def _publish(content: Path, destination: Path) -> None:
    _sync_directories(content)
    if not content.is_dir() and destination.is_dir():
        destination.rmdir()  # an empty one; a file cannot take its place in one step
    content.rename(destination)  # a directory that is not empty refuses this
    _sync(destination.parent)


def _sync_directories(content: Path) -> None:
    if content.is_dir():
        for folder, _, _ in os.walk(content):
            _sync(Path(folder))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _temporary(destination: Path) -> Iterator[Path]:
    """Make a directory beside the destination, locked while we live, and remove it and what dead ones left."""
    for left in destination.parent.glob(f"{_PREFIX}*"):
        with suppress(OSError), _locked(left):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=destination.parent))
    try:
        with _locked(made):
            yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _unwritable(expected: str, destination: Path, error: OSError) -> Result:
    reason = UnreadableError.of(printable(str(destination)), error)
    return Result(
        verdict=Verdict.UNREADABLE,
        expected=expected,
        actual=None,
        size_bytes=0,
        file_count=0,
        seconds=0.0,
        findings=(),
        message=f"the copy could not be written: {reason}"[:1024],
    )


@dataclass
class DirectorySink:
    """Writes files below a new directory, or the only file to the path itself; each is on the disk when it ends."""

    root: Path
    share: Share | None = None
    _made: set[Path] = field(default_factory=set)

    @contextmanager
    def file(self, path: str, size: int) -> Iterator[Callable[[Chunk], object]]:
        """Write one new file; paths were checked where they came from."""
        target = self.root / path if path else self.root
        if path:
            self._make(target.parent)
        self._begin()
        descriptor = os.open(target, _FLAGS, 0o644)
        with opened(descriptor):
            del size  # nothing is reserved by what a stranger says
            yield lambda chunk: self._write(descriptor, chunk)
            os.fsync(descriptor)

    def _begin(self) -> None:
        if self.share:
            self.share.begin()

    def _write(self, descriptor: int, chunk: Chunk) -> None:
        if self.share:
            self.share.write(len(chunk))
        _write_all(descriptor, chunk)

    def _make(self, folder: Path) -> None:
        if folder not in self._made:
            self._begin()
            folder.mkdir(parents=True, exist_ok=True)
            self._made.add(folder)


def _write_all(descriptor: int, chunk: Chunk) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(descriptor, left) :]
