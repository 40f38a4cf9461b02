"""Writing a checkpoint into a directory: hashed while it is read, on the disk before anybody names it."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import opened, reading
from lastgood.verify.sources.values import Chunk, Entry, Source, exactly
from lastgood.verify.store.errors import StoreFullError, writing
from lastgood.verify.store.layout import DIRECTORY_MODE, FILE_MODE, WORK_MODE, descend, enter
from lastgood.verify.store.origin import checked_files, parents_of
from lastgood.verify.values import FileEntry, Limits

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True, slots=True)
class Writer:
    """Copies the files of a source below an open directory, as `name` or below it.

    Attributes:
        spare: the share of the file system that must stay free.
    """

    source: Source
    directory: int
    name: str
    meter: Meter
    alive: Callable[[], None]
    spare: float = 0.0

    def write(self, limits: Limits) -> tuple[FileEntry, ...]:
        """Write all files; return what was read, sorted by path.

        Raises:
            UnreadableError: if the source cannot be read.
            StoreError: if the store cannot be written.
        """
        found: list[FileEntry] = []
        with ExitStack() as stack:
            top = -1
            for entry, chunks in checked_files(self.source, limits, self.meter.check):
                if entry.path and not found:
                    top = self._make_top(stack)
                found.append(self._place(top, entry, chunks))
            self._make_last(top, found)
        return tuple(sorted(found, key=lambda file: file.path))

    def _make_top(self, stack: ExitStack) -> int:
        with writing(self.name):
            os.mkdir(self.name, WORK_MODE, dir_fd=self.directory)
            return stack.enter_context(opened(enter(self.directory, self.name)))

    def _make_last(self, top: int, found: Sequence[FileEntry]) -> None:
        """Settle all files at the end: the first fsync of many writes most of what the others wait for."""
        for file in found:
            self.meter.check()
            self.alive()
            *parents, name = file.path.split("/") if file.path else [self.name]
            with writing(printable(name)):
                settle_in(top if file.path else self.directory, parents, name)
        if top >= 0:
            _finish_directories(top, {parent for file in found for parent in parents_of(file.path)})

    def _place(self, top: int, entry: Entry, chunks: Iterator[Chunk]) -> FileEntry:
        self.meter.check()
        self.alive()
        if not entry.path:
            return self._write(self.directory, self.name, entry, chunks)
        *parents, name = entry.path.split("/")
        with opened(_make_below(top, parents)) as parent:
            return self._write(parent, name, entry, chunks)

    def _write(self, parent: int, name: str, entry: Entry, chunks: Iterator[Chunk]) -> FileEntry:
        shown = printable(entry.path) or self.source.describe()
        require_room(self.directory, entry.size, shown, self.spare)
        with writing(shown):
            descriptor = create(name, parent)
        with opened(descriptor):
            sha256 = copy_into(descriptor, entry, _read(chunks, shown), shown, self._count)
        return FileEntry(path=entry.path, size=entry.size, sha256=sha256)

    def _count(self, count: int) -> None:
        self.meter.add(count)
        self.alive()


def require_room(descriptor: int, size: int, shown: str, spare: float = 0.0) -> None:
    """Refuse what cannot fit before its first byte is written: a sparse terabyte, for example.

    Raises:
        StoreFullError: if there is less room than that, beside the share `spare` of the file system.
    """
    with writing("the store"):
        status = os.fstatvfs(descriptor)
    free = max(0, (status.f_bavail - int(status.f_blocks * spare)) * status.f_frsize)
    if size > free:
        needed = f"{shown} needs {size} bytes and {free} are free" + (f" beside {spare:.0%} to spare" if spare else "")
        raise StoreFullError(f"the store is full: {needed}; make room, or name another store")


def create(name: str, parent: int) -> int:
    """Make a new file in an open directory; nothing that has its name already is touched or followed."""
    return os.open(name, _CREATE, 0o600, dir_fd=parent)


def copy_into(descriptor: int, entry: Entry, chunks: Iterator[Chunk], shown: str, count: Callable[[int], None]) -> str:
    """Write exactly the bytes of a file and return the sha256 of what was read; `settle` makes them last.

    Raises:
        UnreadableError: if there are fewer bytes than its size, or more.
        StoreError: if they cannot be written.
    """
    hasher = hashlib.sha256()
    for piece in exactly(chunks, entry.size, shown):
        hasher.update(piece)
        with writing(shown):
            _write_all(descriptor, memoryview(piece).cast("B"))
        count(len(piece))
    return hasher.hexdigest()


def _read(chunks: Iterator[Chunk], shown: str) -> Iterator[Chunk]:
    with reading(shown):
        yield from chunks


def _write_all(descriptor: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def settle_in(top: int, parents: Sequence[str], name: str) -> None:
    """Settle a file some directories below an open one."""
    with opened(descend(top, parents)) as parent:
        descriptor = os.open(name, _READ, dir_fd=parent)
    with opened(descriptor):
        settle(descriptor, FILE_MODE)


def settle(descriptor: int, mode: int) -> None:
    """Make a written file read-only and lasting, and have the next reader read the disk and not the page cache."""
    os.fchmod(descriptor, mode)
    os.fsync(descriptor)
    with suppress(OSError):  # a file system without a page cache has nothing to drop
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _make_below(top: int, names: Sequence[str]) -> int:
    current = os.dup(top)
    for name in names:
        with opened(current), writing(printable(name)):
            # Not `enter(make=True)`, which makes each name last: `_finish_directories` does so once for all.
            with suppress(FileExistsError):
                os.mkdir(name, WORK_MODE, dir_fd=current)
            below = enter(current, name)
        current = below
    return current


def _finish_directories(top: int, directories: set[str]) -> None:
    """Make the directories read-only and lasting, the deepest first, and the top one only lasting.

    A read-only directory cannot be renamed to another parent, so the top one gets its mode in its place.
    """
    with writing("its directories"):
        for path in sorted(directories, key=lambda path: -path.count("/")):
            with opened(descend(top, path.split("/"))) as descriptor:
                os.fchmod(descriptor, DIRECTORY_MODE)
                os.fsync(descriptor)
        os.fsync(top)
