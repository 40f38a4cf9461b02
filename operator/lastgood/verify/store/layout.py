"""Where things are in a store, and how its directories are opened: by descriptor, never through a link.

<store>/sha256/<first 2>/<64 hex>     a snapshot: the file itself, or the directory itself; read-only
<store>/evidence/<incident>-<64 hex>/ what a repair or a forensics copy keeps: note.json and `content`
<store>/.partial/<kind>-<32 hex>/     work that is going on, or was when somebody crashed; see `sweep`
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import opened
from lastgood.verify.store.errors import StoreError, writing
from lastgood.verify.values import require_digest

SNAPSHOTS: Final = "sha256"
EVIDENCE: Final = "evidence"
PARTIAL: Final = ".partial"
CONTENT: Final = "content"
FILE_MODE: Final = 0o444
DIRECTORY_MODE: Final = 0o555
PRIVATE_MODE: Final = 0o700  # of a piece of evidence: its files may have been another team's secret
WORK_MODE: Final = 0o755  # of our directories while we write in them; the process's umask takes away from it
_DIRECTORY = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW


def shard_of(digest: str) -> tuple[str, str, str]:
    """Return the parts of a snapshot's path: `sha256`, its first two hex digits, and all of them."""
    hexadecimal = require_digest(digest).removeprefix("sha256:")
    return SNAPSHOTS, hexadecimal[:2], hexadecimal


def path_of(digest: str) -> str:
    """Return a snapshot's path relative to the store, which is what a `store: {path}` source names."""
    return "/".join(shard_of(digest))


def is_room(path: str) -> bool:
    """Tell whether a path relative to the store is a part of the store itself, and no snapshot in it."""
    first, *rest = path.split("/")
    return first in (EVIDENCE, PARTIAL) or (first == SNAPSHOTS and len(rest) < len(shard_of(f"sha256:{'0' * 64}")) - 1)


@contextmanager
def directory(store: Path, *names: str, make: bool = False) -> Iterator[int]:
    """Open a directory of the store; only the store's own path may have links in it.

    Raises:
        StoreError: if it is not there (and was not to be made), or something else has its name.
    """
    shown = printable("/".join([str(store), *names]))
    with writing(shown):
        current = os.open(store, _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            for name in names:
                below = enter(current, name, make=make)
                os.close(current)
                current = below
        except BaseException:
            os.close(current)
            raise
    with opened(current):
        yield current


def enter(parent: int, name: str, *, make: bool = False) -> int:
    """Open a directory in a directory, made first if it may be; never through a link."""
    if make:
        try:
            os.mkdir(name, WORK_MODE, dir_fd=parent)
        except FileExistsError:
            pass  # what it is shows when it is opened
        else:
            os.fsync(parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def status_in(parent: int, name: str) -> os.stat_result | None:
    """Return what a name in a directory is, the link itself if it is one; None if there is none."""
    with writing(printable(name)):
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None


def require_ours(status: os.stat_result, shown: str) -> None:
    """Make sure that an entry of the store is a file or a directory.

    Raises:
        StoreError: if it is a link or anything else that we never make.
    """
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise StoreError(
            f"{shown} is neither a file nor a directory, so lastgood did not create it; inspect and remove it"
        )


def descend(top: int, names: Sequence[str]) -> int:
    """Open a directory some levels below an open one, never through a link."""
    current = os.dup(top)
    for name in names:
        with opened(current):
            below = enter(current, name)
        current = below
    return current


def move(name: str, source: int, target: str, destination: int) -> None:
    """Rename from one open directory to another, and make both last.

    Moving a directory needs leave to write in it, which the owner of a read-only one gives himself.
    """
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode) and not status.st_mode & stat.S_IWUSR:
        set_mode(name, source, WORK_MODE)
    os.rename(name, target, src_dir_fd=source, dst_dir_fd=destination)
    os.fsync(destination)
    os.fsync(source)


def set_mode(name: str, parent: int, mode: int) -> None:
    """Set the mode of a file or directory, through a descriptor: chmod(2) would follow a link."""
    with opened(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)) as descriptor:
        os.fchmod(descriptor, mode)
