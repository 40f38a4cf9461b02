"""Opening and reading below a directory, for readers who trust nothing on the disk.

A path is opened component by component relative to descriptors, without following a link, so that no name
below the root leads out of it, also while somebody renames directories. What is opened is looked at before
(`lstat`: opening a device has effects, and a FIFO has no end), and after (`fstat`: it is still the same one).
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from lastgood.verify.errors import RefusedEntryError, UnreadableError
from lastgood.verify.hashing import Hashed, Hasher, Way
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.printable import printable
from lastgood.verify.values import FileEntry

BUFFER: Final = 2**20
_COMMON = os.O_RDONLY | os.O_CLOEXEC
_READ = _COMMON | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO that takes a file's place between two calls does not hang us
_PASS_THROUGH = _COMMON | os.O_DIRECTORY | getattr(os, "O_PATH", 0)  # O_PATH (Linux) needs no permission to list
_LINK_ERRORS = (errno.ELOOP, errno.ENOTDIR)
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class Stamp(NamedTuple):
    """What changes when somebody changes a file or a directory.

    Without device and inode, which network and FUSE file systems may give anew between two looks at a name.
    Where a name was swapped, ctime and the directory's own stamp tell; `identity` has all of it.
    """

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """Return the stamp in a stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def identity(status: os.stat_result) -> tuple[int, int, Stamp]:
    """Return all that must be the same before and after the reading of a descriptor."""
    return status.st_dev, status.st_ino, Stamp.of(status)


@contextmanager
def reading(shown: str) -> Iterator[None]:
    """Turn an error of the operating system into an UnreadableError that names what was read."""
    try:
        yield
    except OSError as error:
        raise UnreadableError.of(shown, error) from error


@contextmanager
def opened(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def refuse_kind(mode: int, shown: str) -> None:
    """Refuse what is neither a file nor a directory.

    Raises:
        RefusedEntryError: if it is anything else.
    """
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something unknown")
        raise RefusedEntryError(f"{shown} is {kind}, which no checkpoint may hold")


def open_path(path: Path) -> int:
    """Open a path that the caller vouches for: links in it are followed, as every program does.

    Raises:
        UnreadableError: if it cannot be opened.
        RefusedEntryError: if it is neither a file nor a directory.
    """
    shown = printable(str(path))
    with reading(shown):
        before = path.stat()
        refuse_kind(before.st_mode, shown)
        return _same(os.open(path, _READ), before, shown)


def open_below(base: int, path: str) -> int:
    """Open a file or directory below a directory; no component may be a link; `""` is the directory itself.

    Raises:
        UnreadableError: if it cannot be opened, or was replaced meanwhile.
        RefusedEntryError: if a component is a link, or it is neither a file nor a directory.
    """
    shown = printable(path) or "."
    *parents, name = (path or ".").encode().split(b"/")
    with reading(shown):
        current = os.dup(base)
        try:
            for parent in parents:
                below = _enter(current, parent, shown)
                os.close(current)
                current = below
            return _open_entry(current, name, shown)
        finally:
            os.close(current)


def _enter(directory: int, name: bytes, shown: str) -> int:
    try:
        return os.open(name, _PASS_THROUGH | os.O_NOFOLLOW, dir_fd=directory)
    except OSError as error:
        if error.errno in _LINK_ERRORS:
            refuse_kind(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode, f"a directory of {shown}")
        raise


def _open_entry(directory: int, name: bytes, shown: str) -> int:
    before = os.stat(name, dir_fd=directory, follow_symlinks=False)
    refuse_kind(before.st_mode, shown)
    return _same(os.open(name, _READ | os.O_NOFOLLOW, dir_fd=directory), before, shown)


def _same(descriptor: int, before: os.stat_result, shown: str) -> int:
    with ExitStack() as unless_the_same:
        unless_the_same.callback(os.close, descriptor)
        after = os.fstat(descriptor)
        # The kind too: a FIFO made in place of a file may get the inode that the file had.
        if not os.path.samestat(before, after) or stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
            raise UnreadableError(f"{shown} was replaced while it was opened")
        unless_the_same.pop_all()
    return descriptor


class Part(NamedTuple):
    """Some bytes of a file, from start to end; a part that ends with the file makes sure that nothing follows."""

    path: str
    stamp: Stamp
    start: int
    end: int


def _read_file(descriptor: int, path: str, meter: Meter, expected: Stamp | None = None) -> FileEntry:
    """Hash an open regular file, and make sure that it was one file, of one size, from begin to end.

    Raises:
        UnreadableError: if it is no regular file, cannot be read, or changed.
    """
    with reading(printable(path)):
        stamp = expected or Stamp.of(os.fstat(descriptor))
    found = read_part(descriptor, Part(path, stamp, 0, stamp.size), meter, Way.SHA256)
    return FileEntry(path=path, size=found.size, sha256=found.sha256)


def read_part(descriptor: int, part: Part, meter: Meter, way: Way, *, fresh: bool = False) -> Hashed:
    """Hash a part of an open regular file, and make sure that the file did not change meanwhile.

    With `fresh` from the disk, and not from what the system has in memory of the file.

    Raises:
        UnreadableError: if it is no regular file, cannot be read, or changed.
    """
    shown = printable(part.path) or "the file"
    with reading(shown):
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or Stamp.of(before) != part.stamp:
            raise UnreadableError(f"{shown} changed between listing and reading")
        if fresh and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        hasher = Hasher(way)
        _hash(descriptor, part, shown, hasher, meter)
        if identity(os.fstat(descriptor)) != identity(before):
            raise UnreadableError(f"{shown} changed while it was read")
    return Hashed(part.path, part.end - part.start, hasher.sha256, hasher.blake3)


def _hash(descriptor: int, part: Part, shown: str, hasher: Hasher, meter: Meter) -> None:
    # Not hashlib.file_digest, which takes a short read for the end: bytes read must be the size, and no more.
    # Into a buffer of ours, and no mapping: both hashes are then of the same bytes, whoever writes the file meanwhile,
    # and a file that is truncated does not kill the process. 1 MiB stays in a core's own cache.
    buffer = memoryview(bytearray(min(part.end - part.start, BUFFER)))
    position, size = part.start, part.stamp.size
    while position < part.end:
        count = os.preadv(descriptor, [buffer[: part.end - position]], position)
        if not count:
            raise UnreadableError(f"{shown} ended {size - position} bytes before its size of {size}")
        hasher.update(buffer[:count])
        meter.add(count)
        position += count
    if position == size and os.preadv(descriptor, [bytearray(1)], position):
        raise UnreadableError(f"{shown} grew while it was read")
