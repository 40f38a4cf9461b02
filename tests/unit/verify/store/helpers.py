"""What the tests of the store share: disks that are full, users that are not root, children that are killed."""

import contextlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lastgood.verify import Limits
from lastgood.verify.sources.values import Check, Chunk, Entry, go_on
from tests.skips import NEEDS_ROOT

NOBODY = 65534
CHANGES = (
    "os.mkdir",
    "os.rename",
    "os.chmod",
    "os.remove",
    "os.rmdir",
    "os.utime",
    "os.truncate",
    "open",
    "fcntl.flock",
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason=NEEDS_ROOT)


@contextlib.contextmanager
def full_disk(path: Path, size: str = "1m,nr_inodes=400") -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def everything(store: Path) -> set[str]:
    """Every name in a store except the directories that are always there."""
    names = {str(path.relative_to(store)) for path in store.rglob("*")}
    return {name for name in names if name not in {"sha256", ".partial", "evidence"} and len(name) != len("sha256/00")}


def in_child(action: Callable[[], object], *, kill_at: int | None = None) -> int:
    """Return the exit code of a child, or minus its signal; it is killed at its n-th change of a disk."""
    child = os.fork()
    if child == 0:
        _run_and_leave(action, kill_at)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run_and_leave(action: Callable[[], object], kill_at: int | None) -> None:
    code = 1
    try:
        if kill_at is not None:
            _kill_at(kill_at)
        action()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, a child must not go on as a second pytest
        traceback.print_exc()
    finally:
        os._exit(code)


def _kill_at(count: int) -> None:
    left = count

    def hook(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event in CHANGES:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def as_nobody(action: Callable[[], object]) -> int:
    """Run something in a child that is not root."""

    def run() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        action()

    return in_child(run)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A remote source, as far as a store sees it: names and pieces of bytes, in the order given."""

    contents: tuple[tuple[str, bytes], ...]
    announced: int | None = None
    name: str = "memory"

    def describe(self) -> str:
        return self.name

    def entries(self, _limits: Limits, *, check: Check = go_on) -> list[Entry]:
        check()
        return [Entry(path=path, size=self._size(content)) for path, content in self.contents]

    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        content = next(content for path, content in self.contents if path == entry.path)
        for start in range(0, len(content), 1000):
            check()
            yield content[start : start + 1000]

    def files(self, limits: Limits, *, check: Check = go_on) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        for entry in self.entries(limits, check=check):
            yield entry, self.read(entry, check=check)

    def _size(self, content: bytes) -> int:
        return len(content) if self.announced is None else self.announced
