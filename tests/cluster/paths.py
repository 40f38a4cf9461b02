"""Where programs, images and clusters live: always outside the source tree."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def cache() -> Path:
    """Return the folder for everything that is built once and used again."""
    return Path(os.environ.get("LASTGOOD_CACHE") or Path.home() / ".cache" / "lastgood").absolute()


def clusters() -> Path:
    """Return the folder that holds one folder for each cluster that runs."""
    return made(cache() / "clusters")


def made(folder: Path) -> Path:
    """Return the folder after making it."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(path: Path, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold a lock that the kernel gives back when its holder dies."""
    with made(path.parent).joinpath(path.name).open("w") as file:
        _acquire(file.fileno(), path, waiting)
        yield


def _acquire(descriptor: int, path: Path, waiting: Callable[[str], None]) -> None:
    for turn in range(10**9):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if turn and turn % 100 == 0:
                waiting(f"waiting for another process that holds {path.name}")
            time.sleep(0.1)
    return None
