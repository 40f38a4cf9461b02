"""A disk that errs in every way we know of: a FUSE file system, served by a process of its own.

Each directory holds the same two files, and errs in the way that it is named after; `good` does not.
"""

import errno
import itertools
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.cluster.cluster import to_stderr
from tests.cluster.made.packages import require
from tests.cluster.process import python_path
from tests.skips import complete

SIZE: Final = 3_000_000
FILES: Final = {
    name: random.Random(name).randbytes(SIZE)  # noqa: S311 - any bytes, the same ones each time
    for name in ("a.bin", "b.bin")
}
DIRECT: Final = ("changing", "glitch", "short-direct", "stall", "slow", "shrinks-in-reading")
FAULTS: Final = (
    "good",
    "changing",
    "changing-in-memory",
    "eio",
    "eio-list",
    "eio-open",
    "eio-stat",
    "glitch",
    "glitch-in-memory",
    "grows",
    "short",
    "short-direct",
    "shrinks",
    "shrinks-in-reading",
    "slow",
    "stall",
    "stall-in-memory",
    "stall-list",
    "stall-open",
    "tampered",
)


def usable() -> bool:
    """Tell whether this machine lets us mount. On Linux, root can: what is missing is installed, or the mount fails."""
    return complete() or (os.access("/dev/fuse", os.R_OK | os.W_OK) and shutil.which("fusermount") is not None)


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Mount it on an empty directory; everything ends with the block, also for those who wait for a read."""
    if not shutil.which("fusermount"):
        require(["fuse"], to_stderr)
    environment = {**os.environ, **python_path()}
    server = subprocess.Popen([sys.executable, __file__, str(folder)], stdin=subprocess.DEVNULL, env=environment)
    try:
        end = time.monotonic() + 20
        while not os.path.ismount(folder):
            assert server.poll() is None, "the FUSE server ended"
            assert time.monotonic() < end, "the FUSE server did not mount within 20 s"
            time.sleep(0.02)
        yield folder
    finally:
        server.kill()
        server.wait()
        subprocess.run(["fusermount", "-uz", str(folder)], check=False)


def serve(folder: str) -> None:
    """Serve until we are killed."""
    from fuse import FUSE, Operations  # type: ignore[import-untyped] # noqa: PLC0415 - only this process needs libfuse2

    class BadDisk(Operations):  # type: ignore[misc] # fusepy has no types
        calls = itertools.count()

        def getattr(self, path: str, _: Any = None) -> dict[str, float]:
            return attributes(*split(path), next(self.calls))

        def readdir(self, path: str, _: int) -> list[str]:
            return entries(path.strip("/"))

        def open(self, path: str, info: Any) -> int:
            fault, name = split(path)
            info.direct_io = fault in DIRECT
            info.keep_cache = fault.endswith("in-memory")
            if name == "b.bin":
                opening(fault)
            return 0

        def read(self, path: str, size: int, offset: int, _: Any) -> bytes:
            fault, name = split(path)
            data = FILES[name][offset : offset + size]
            return data if name == "a.bin" else bad(fault, data, offset, next(self.calls))

    FUSE(BadDisk(), folder, foreground=True, raw_fi=True, attr_timeout=0, entry_timeout=0)


def attributes(fault: str, name: str, count: int) -> dict[str, float]:
    """Return what this disk says a file is, at its count-th call."""
    if not name:
        return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
    if name not in FILES or fault not in FAULTS:
        raise OSError(errno.ENOENT, "")
    change = 0
    if name == "b.bin":
        if fault == "eio-stat":
            raise OSError(errno.EIO, "")
        change = {"grows": count, "shrinks": -count}.get(fault, 0)
    return {
        "st_mode": stat.S_IFREG | 0o644,
        "st_nlink": 1,
        "st_size": max(SIZE + change, 1),
        "st_mtime": 1,
        "st_ctime": 1,
    }


def entries(fault: str) -> list[str]:
    """Return what this disk says is in a directory."""
    if fault == "eio-list":
        raise OSError(errno.EIO, "")
    if fault == "stall-list":
        threading.Event().wait()
    return list(FILES if fault else FAULTS)


def opening(fault: str) -> None:
    """Fail to open a file."""
    if fault == "eio-open":
        raise OSError(errno.EIO, "")
    if fault == "stall-open":
        threading.Event().wait()


def split(path: str) -> tuple[str, str]:
    """Return the directory and the file of a path."""
    fault, _, name = path.strip("/").partition("/")
    return fault, name


def bad(fault: str, data: bytes, offset: int, count: int) -> bytes:
    """Return what this disk says that some bytes are, at its count-th read."""
    middle = offset <= SIZE // 2 < offset + len(data)
    match fault:
        case "eio" if middle:
            raise OSError(errno.EIO, "")
        case "stall" | "stall-in-memory" if middle:
            threading.Event().wait()
        case "slow":
            time.sleep(0.02)
        case "short" | "short-direct":
            return data[: max(1, len(data) // 2)]
        case "shrinks-in-reading" if offset > SIZE // 2:
            return b""
        case "changing" | "changing-in-memory" if middle:
            return data[:-8] + count.to_bytes(8, "big")
        case "glitch" | "glitch-in-memory" if middle and glitches_left.acquire(blocking=False):
            return bytes(len(data))
        case "tampered" if middle:
            return data[:-1] + bytes([data[-1] ^ 1])
    return data


glitches_left = threading.Semaphore(1)  # of each server; a test that wants one mounts its own

if __name__ == "__main__":
    serve(sys.argv[1])
