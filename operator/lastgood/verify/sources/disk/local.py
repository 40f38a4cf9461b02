"""A checkpoint on a disk, in the form of a source, so that everything that takes a source takes a path too."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lastgood.verify.check import require_relative
from lastgood.verify.errors import NothingToCheckError, UnreadableError
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import BUFFER, Stamp, identity, open_below, open_path, opened, reading
from lastgood.verify.reading.tree import Tree, require_unchanged, walk
from lastgood.verify.sources.disk.paths import take_all
from lastgood.verify.sources.values import Check, Chunk, Entry, exactly, go_on, listed
from lastgood.verify.values import Limits


@dataclass(frozen=True, kw_only=True)
class LocalSource:
    """A file or directory at a path below a root that the caller vouches for; `.` is the root itself."""

    root: Path
    relative: str = "."

    def describe(self) -> str:
        """Return the path."""
        return printable(str(self.root / self.relative))

    def entries(self, limits: Limits, *, check: Check = go_on) -> tuple[Entry, ...]:
        """List the files."""
        with reading(self.describe()), opened(self._open()) as descriptor:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                return take_all([_entry("", Stamp.of(status))], limits)
            return take_all((_entry(path, stamp) for path, stamp in _walk(descriptor, limits, check)), limits)

    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        """Yield a file, which must be the one that was listed from begin to end."""
        shown = printable(entry.path) or self.describe()
        with reading(shown), opened(self._open()) as base, opened(_below(base, entry.path)) as descriptor:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode) or _entry(entry.path, Stamp.of(before)) != entry:
                raise UnreadableError(f"{shown} changed between listing and reading")
            yield from exactly(_chunks(descriptor, check), entry.size, shown)
            if identity(os.fstat(descriptor)) != identity(before):
                raise UnreadableError(f"{shown} changed while it was read")

    def files(self, limits: Limits, *, check: Check = go_on) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        """Yield each file, and list again at the end."""
        before = self._tree(limits, check)
        yield from listed(self, self.entries(limits, check=check), check)
        after = self._tree(limits, check)
        if before is not None and after is not None:
            require_unchanged(before, after)

    def _tree(self, limits: Limits, check: Check) -> Tree | None:
        with reading(self.describe()), opened(self._open()) as descriptor:
            directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            return walk(descriptor, limits, _meter(check)) if directory else None

    def _open(self) -> int:
        path = require_relative(self.relative)
        if not path:
            return open_path(self.root)
        with opened(open_path(self.root)) as base:
            return open_below(base, path)


def _below(base: int, path: str) -> int:
    return open_below(base, path) if path else os.dup(base)  # the only file of a checkpoint is the base itself


def _walk(descriptor: int, limits: Limits, check: Check) -> list[tuple[str, Stamp]]:
    files = walk(descriptor, limits, _meter(check)).files
    if not files:
        raise NothingToCheckError("the directory has no files: there is nothing to verify")
    return list(files.items())


def _meter(check: Check) -> Meter:
    """Return a meter whose check is ours: it asks before each directory, and an answer is an exception."""

    def cancelled() -> bool:
        check()
        return False

    return Meter(None, cancelled)


def _entry(path: str, stamp: Stamp) -> Entry:
    return Entry(path=path, size=stamp.size, version=f"{stamp.mtime_ns}.{stamp.ctime_ns}")


def _chunks(descriptor: int, check: Check) -> Iterator[Chunk]:
    buffer = memoryview(bytearray(BUFFER))
    while count := os.readv(descriptor, [buffer]):
        check()
        yield buffer[:count]
