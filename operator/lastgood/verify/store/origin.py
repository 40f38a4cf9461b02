"""What a capture reads from: a path below a local root, or a source of the network; neither is trusted."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from lastgood.verify.check import require_relative
from lastgood.verify.errors import NothingToCheckError, RefusedEntryError, UnreadableError
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import BUFFER, Stamp, identity, open_below, open_path, opened, reading
from lastgood.verify.reading.tree import Tree, require_size, require_unchanged, walk
from lastgood.verify.sources.disk.paths import Listing, take_path
from lastgood.verify.sources.values import Check, Chunk, Entry, Source, go_on, listed
from lastgood.verify.values import Limits


class HeldCheckpoint:
    """A checkpoint on a disk that nobody trusts: listed before and after, each file opened without links.

    A context manager: it holds the checkpoint open, so that all of it is of one directory.
    """

    def __init__(self, root: Path, relative: str = ".", meter: Meter | None = None) -> None:
        self._root = root
        self._relative = require_relative(relative)
        self._meter = meter or Meter()
        self._stack = ExitStack()
        self._base = -1
        self._tree: Tree | None = None

    def __enter__(self) -> Self:
        with opened(open_path(self._root)) as root:
            self._base = open_below(root, self._relative) if self._relative else os.dup(root)
        self._stack.callback(os.close, self._base)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def describe(self) -> str:
        """Return its path, printable."""
        return printable(self._relative or str(self._root))

    def entries(self, limits: Limits, *, check: Check = go_on) -> Sequence[Entry]:
        """List it; see `tree.walk` for what is refused."""
        check()
        with reading(self.describe()):
            status = os.fstat(self._base)
        if not stat.S_ISDIR(status.st_mode):
            require_size(status.st_size, limits)
            return [Entry(path="", size=status.st_size)]
        self._tree = walk(self._base, limits, self._meter)
        return [Entry(path=path, size=stamp.size) for path, stamp in sorted(self._tree.files.items())]

    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        """Yield a file's bytes; each piece is good until the next is asked for."""
        expected = self._tree.files[entry.path] if self._tree else None
        descriptor = open_below(self._base, entry.path) if self._tree else os.dup(self._base)
        with opened(descriptor):
            for piece in read_open(descriptor, printable(entry.path) or self.describe(), entry.size, expected):
                check()
                yield piece

    def files(self, limits: Limits, *, check: Check = go_on) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        """Yield each file with its bytes, and make sure at the end that nothing changed since it was listed."""
        yield from listed(self, self.entries(limits, check=check), check)
        if self._tree is not None:
            require_unchanged(self._tree, walk(self._base, limits, self._meter))


def read_open(descriptor: int, shown: str, size: int, expected: Stamp | None) -> Iterator[memoryview]:
    """Yield the bytes of an open regular file, which must be the listed one, and the same at the end.

    How many there are is for the caller to compare with the size: `exactly` does.

    Raises:
        UnreadableError: if it is no file, is another one, or changed.
    """
    buffer = memoryview(bytearray(min(size + 1, BUFFER)))
    with reading(shown):
        before = os.fstat(descriptor)
        if before.st_size != size or not stat.S_ISREG(before.st_mode) or (expected and Stamp.of(before) != expected):
            raise UnreadableError(f"{shown} changed between listing and reading")
        os.lseek(descriptor, 0, os.SEEK_SET)
        while count := os.readv(descriptor, [buffer]):
            yield buffer[:count]
        if identity(os.fstat(descriptor)) != identity(before):
            raise UnreadableError(f"{shown} changed while it was read")


def checked_files(source: Source, limits: Limits, check: Check) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
    """Yield a source's files, each name looked at before anything is made of it: a source is as good as who fills it.

    Raises:
        NothingToCheckError: if there is none.
        RefusedEntryError: if a path leaves the checkpoint, is there twice, or is a file and a directory.
        LimitError: if there is more than the limits allow.
    """
    listing = Listing(limits)
    paths: list[str] = []
    for entry, chunks in source.files(limits, check=check):
        if entry.size < 0:
            raise RefusedEntryError(f"{printable(entry.path)} has a size below 0")
        if entry.path and take_path(entry.path, "file") != entry.path:
            raise RefusedEntryError(f"{printable(entry.path)} is no path below the checkpoint")
        if paths and "" in (entry.path, paths[0]):
            raise RefusedEntryError(f"{printable(entry.path or paths[0])} is beside a checkpoint of one file")
        listing.add(entry)
        paths.append(entry.path)
        yield entry, chunks
    if not paths:
        raise NothingToCheckError("the source has no files: there is nothing to verify")


def parents_of(path: str) -> Iterator[str]:
    """Yield the directories of a path, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
