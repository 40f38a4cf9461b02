"""Reading a checkpoint, file or directory, once: what a verification does with one of its readings."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lastgood.verify.errors import UnreadableError
from lastgood.verify.hashing import Hashed, Way, content_blake3
from lastgood.verify.manifest import MANIFEST_START, manifest_digest, read_tree, refuse_manifest
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.parallel import Work, hash_files
from lastgood.verify.reading.reading import Stamp, open_below, open_path, opened, reading, refuse_kind
from lastgood.verify.reading.tree import require_size
from lastgood.verify.values import Contents, FileEntry, Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What to read, and what to compute of it.

    Attributes:
        root: a path that the caller vouches for; links in it are followed.
        relative: a path below it, in which no link is followed; empty for the root itself.
        fresh: read from the disk, and not what the system has in memory of a file.
    """

    root: Path
    relative: str = ""
    limits: Limits
    way: Way = Way.SHA256
    threads: int | None = None
    fresh: bool = False


def read_here(task: Task, meter: Meter) -> Contents:
    """Read a checkpoint in this process.

    What was not asked for is empty: the digest, or the BLAKE3, which is not yet bound to a digest.

    Raises:
        UnreadableError: if something cannot be read, changed meanwhile, or is beyond the limits.
        RefusedEntryError: if it is, or holds, anything but files and directories, or no file at all.
    """
    with _open(task) as descriptor:
        found = _read(descriptor, task, meter)
        with _open(task) as now:
            _require_same(descriptor, now)
        return found


@contextmanager
def _open(task: Task) -> Iterator[int]:
    with opened(open_path(task.root)) as base:
        if not task.relative:
            yield base
            return
        with opened(open_below(base, task.relative)) as descriptor:
            yield descriptor


def _require_same(descriptor: int, now: int) -> None:
    """Make sure that the path still leads to what was read: a directory may have been renamed as a whole."""
    with reading("the checkpoint"):
        if Stamp.of(os.fstat(descriptor)) != Stamp.of(os.fstat(now)):
            raise UnreadableError("it was replaced while it was read")


def _read(descriptor: int, task: Task, meter: Meter) -> Contents:
    with reading("the checkpoint"):
        status = os.fstat(descriptor)
    work = Work(meter=meter, way=task.way, threads=task.threads, fresh=task.fresh)
    if stat.S_ISDIR(status.st_mode):
        return _of_directory(read_tree(descriptor, task.limits, work), task.way)
    refuse_kind(status.st_mode, "the checkpoint")
    require_size(status.st_size, task.limits)
    _refuse_manifest(descriptor)
    (file,) = hash_files(lambda _: os.dup(descriptor), {"": Stamp.of(status)}, work)
    return _contents(f"sha256:{file.sha256}", (), [file], task.way)


def _of_directory(found: list[Hashed], way: Way) -> Contents:
    if way is Way.BLAKE3:
        return _contents("", (), found, way)
    files = tuple(FileEntry(path=file.path, size=file.size, sha256=file.sha256) for file in found)
    return _contents(manifest_digest(files), files, found, way)


def _contents(digest: str, files: tuple[FileEntry, ...], found: list[Hashed], way: Way) -> Contents:
    return Contents(
        digest="" if way is Way.BLAKE3 else digest,
        size_bytes=sum(file.size for file in found),
        file_count=len(found),
        files=files,
        blake3="" if way is Way.SHA256 else content_blake3((file.path, file.size, file.blake3) for file in found),
    )


def _refuse_manifest(descriptor: int) -> None:
    with reading("the file"):
        refuse_manifest(os.pread(descriptor, len(MANIFEST_START), 0))
