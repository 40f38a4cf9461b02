"""Work in progress: a directory of our own in `.partial`, locked while its process lives, and swept when it died."""

import fcntl
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lastgood.verify.reading.reading import opened
from lastgood.verify.store.errors import StoreError, writing
from lastgood.verify.store.layout import PARTIAL, WORK_MODE, descend, directory, enter, status_in

OLD: Final = 24 * 3600.0  # seconds; a work touches its directory every minute
_TOUCH_EVERY: Final = 60.0
_OURS = re.compile(r"(capture|delete|evidence)-[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A directory for one work: its name in `.partial`, and descriptors of it and of `.partial`."""

    name: str
    descriptor: int
    parent: int

    @property
    def path(self) -> str:
        """The path relative to the store."""
        return f"{PARTIAL}/{self.name}"


class Heartbeat:
    """Touches a work's directory now and then, so that a sweep sees that it goes on, also where locks do not work."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._next = time.monotonic() + _TOUCH_EVERY

    def __call__(self) -> None:
        """Touch it if the last time was a while ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TOUCH_EVERY
            with suppress(OSError):  # a sign of life; a disk that fails shows at the next write
                os.utime(self._descriptor)


@contextmanager
def work(store: Path, kind: str) -> Iterator[Work]:
    """Make a directory for one work, and remove what is left of it at the end."""
    with directory(store, PARTIAL, make=True) as parent:
        name = f"{kind}-{uuid.uuid4().hex}"
        with writing(PARTIAL):  # without the name, so that the same trouble is told in the same words
            os.mkdir(name, WORK_MODE, dir_fd=parent)  # not made to last: what a power cut takes need not be swept
            descriptor = enter(parent, name)
        with opened(descriptor):
            _lock(descriptor)
            try:
                yield Work(name=name, descriptor=descriptor, parent=parent)
            finally:
                with suppress(OSError):  # what cannot be removed now is removed by a later sweep
                    remove(name, parent)


def _lock(descriptor: int) -> bool:
    """Lock a work's directory; False if another process has it. Where locks do not work, its age must do."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def remove(name: str, parent: int) -> None:
    """Remove a file or a tree in an open directory; links in it are removed and never followed."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        _make_writable(name, parent)
        shutil.rmtree(name, dir_fd=parent)


def _make_writable(name: str, parent: int) -> None:
    """Give ourselves back the leave to remove what is in read-only directories."""
    pending = [[name]]
    while pending:
        names = pending.pop()
        # From the top each time: a descriptor for every directory could be more than a process may have.
        with opened(descend(parent, names)) as current:
            os.fchmod(current, WORK_MODE)
            pending.extend([*names, below] for below in _directories_in(current))


def _directories_in(descriptor: int) -> list[str]:
    with os.scandir(descriptor) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What a sweep did: names in `.partial` that it removed, and those that it left with why."""

    removed: tuple[str, ...]
    left: tuple[tuple[str, str], ...]


def sweep(store: Path, *, older_than: float = OLD) -> Swept:
    """Remove what crashed captures and deletions left behind.

    Only names that we make, only in `.partial`, only what no living process has locked and nobody touched for
    `older_than` seconds. A link there is left alone, and one inside is removed and not followed.
    """
    removed: list[str] = []
    left: list[tuple[str, str]] = []
    with directory(store) as root:
        if status_in(root, PARTIAL) is None:
            return Swept(removed=(), left=())
    with directory(store, PARTIAL) as parent, writing(PARTIAL):
        for name in _names(parent):
            reason = _sweep_one(name, parent, time.time() - older_than)
            if reason is None:
                removed.append(name)
            else:
                left.append((name, reason))
        os.fsync(parent)
    return Swept(removed=tuple(removed), left=tuple(left))


def _names(parent: int) -> list[str]:
    with os.scandir(parent) as entries:
        return sorted(entry.name for entry in entries)


def _sweep_one(name: str, parent: int, before: float) -> str | None:
    status = status_in(parent, name)
    if not _OURS.fullmatch(name) or status is None or not stat.S_ISDIR(status.st_mode):
        return "lastgood did not create it"
    if status.st_mtime > before:
        return "it changed too recently (--older-than)"
    try:
        descriptor = enter(parent, name)
    except OSError as error:
        raise StoreError(f"{PARTIAL}/{name} cannot be opened: {error.strerror}") from error
    with opened(descriptor):
        if not _lock(descriptor):
            return "another process is using it"
        remove(name, parent)
    return None
