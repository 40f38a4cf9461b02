"""Capture: a copy of a checkpoint in the store, under the digest that its bytes have twice."""

import errno
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lastgood.verify.check import verify
from lastgood.verify.errors import RefusedEntryError, UnreadableError
from lastgood.verify.manifest import manifest_digest
from lastgood.verify.reading.meter import Cancelled, Meter, Progress
from lastgood.verify.sources.values import Source
from lastgood.verify.store.errors import BadCopyError, MismatchError, StoreError, writing
from lastgood.verify.store.layout import (
    CONTENT,
    DIRECTORY_MODE,
    FILE_MODE,
    directory,
    move,
    path_of,
    require_ours,
    set_mode,
    shard_of,
    status_in,
)
from lastgood.verify.store.origin import HeldCheckpoint
from lastgood.verify.store.partial import Heartbeat, Work, work
from lastgood.verify.store.writing import Writer
from lastgood.verify.values import FileEntry, Limits, Result, Verdict, require_digest

_DEFAULT: Final = Limits()
_TAKEN: Final = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """A snapshot that is in the store, read back from there and found to be what its digest says.

    Attributes:
        digest: of the bytes as they were read, and as they were read again from the store.
        blake3: of the same bytes, for the next verification's `blake3`.
        path: relative to the store; what a `store: {path}` source names.
        seconds: how long all of it took.
        existed: somebody had captured it already; it was verified again and not written.
        files: its manifest; empty where it is a file.
    """

    digest: str
    blake3: str
    path: str
    size_bytes: int
    file_count: int
    seconds: float
    existed: bool
    files: tuple[FileEntry, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """How a capture is to be done."""

    store: Path
    expected: str | None
    limits: Limits
    progress: Progress | None
    cancelled: Cancelled | None

    def __post_init__(self) -> None:
        if self.expected is not None:
            require_digest(self.expected)


def capture(
    source: Source,
    store: Path,
    expected: str | None = None,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Captured:
    """Copy what a source has into the store, or leave the store as it was.

    The bytes are hashed while they are read, written under a temporary name, made to last, read again from the
    disk, and only then renamed. Whoever is killed meanwhile leaves a temporary name for `sweep`.

    Args:
        source: what to read.
        store: an existing directory.
        expected: the digest that it must have; None to take it as it is.
        limits: what to put up with.
        progress: gets the bytes read so far, those read again counted too: twice the size at the end.
        cancelled: is asked between two pieces.

    Raises:
        UnreadableError: if the source cannot be read now, or its limits or the caller's patience end.
        RefusedEntryError: if it holds what no checkpoint may hold.
        MismatchError: if it is something else than expected.
        BadCopyError: if something else is in the store under this digest; see `repair`.
        StoreFullError: if there is no room.
        StoreError: if the store cannot be written, or does not give back what was written.
        ValueError: if `expected` is malformed.
    """
    order = Order(store=store, expected=expected, limits=limits, progress=progress, cancelled=cancelled)
    return run(source, order)


def capture_path(
    root: Path,
    relative: str,
    store: Path,
    expected: str | None = None,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Captured:
    """Copy what is at a path below a local root into the store; as `capture`, and nothing may change meanwhile.

    `relative` is `.` for the root itself, which may then be a file.
    """
    order = Order(store=store, expected=expected, limits=limits, progress=progress, cancelled=cancelled)
    with HeldCheckpoint(root, relative, Meter(None, cancelled)) as source:
        return run(source, order)


def run(source: Source, order: Order) -> Captured:
    """Capture once: find it there, or copy, read again, and place it."""
    started = time.monotonic()
    if order.expected is not None and (found := existing(order, order.expected, 0)):
        return captured(found, started, existed=True)
    with work(order.store, "capture") as room:
        digest, size = copy(source, order, room)
        again = read_back(order, room, digest, size)
        existed = place(order, room, digest, size)
    return captured(again, started, existed=existed)


def copy(source: Source, order: Order, room: Work) -> tuple[str, int]:
    """Copy a source into a work's directory; return the digest of what was read, and its size."""
    meter = Meter(order.progress, order.cancelled)
    alive = Heartbeat(room.descriptor)
    writer = Writer(source=source, directory=room.descriptor, name=CONTENT, meter=meter, alive=alive)
    files = writer.write(order.limits)
    digest = manifest_digest(files) if files[0].path else f"sha256:{files[0].sha256}"
    if order.expected not in {None, digest}:
        raise MismatchError(source.describe(), str(order.expected), digest)
    return digest, sum(file.size for file in files)


def read_back(order: Order, room: Work, digest: str, before: int) -> Result:
    """Read from the disk what was written to it.

    Raises:
        RefusedEntryError: if it is no checkpoint: a manifest, which has the digest of a directory.
        StoreError: if it is not what was written.
        UnreadableError: if it cannot be read.
    """
    result = _verify_in(order, f"{room.path}/{CONTENT}", digest, before)
    if result.verdict is Verdict.MISMATCH and result.actual is None:
        raise RefusedEntryError(*(result.findings or (result.message,)))
    if result.verdict is Verdict.MISMATCH:
        raise StoreError(f"the store does not give back what was written to it: {result.message}; replace its disk")
    return result


def existing(order: Order, digest: str, before: int) -> Result | None:
    """Return the verified copy that the store has of a digest; None if it has none.

    Raises:
        BadCopyError: if it has something else there.
    """
    if not present(order.store, digest):
        return None
    result = _verify_in(order, path_of(digest), digest, before)
    if result.verdict is Verdict.MISMATCH:
        raise BadCopyError(f"the store's copy is bad: {result.message}; repair it from a good one")
    make_read_only(order.store, path_of(digest))
    return result


def present(store: Path, digest: str) -> bool:
    """Tell whether the store has anything under a digest, good or bad."""
    kind, shard, name = shard_of(digest)
    with directory(store) as root:
        if status_in(root, kind) is None:
            return False
    with directory(store, kind) as snapshots:
        if status_in(snapshots, shard) is None:
            return False
    with directory(store, kind, shard) as parent:
        status = status_in(parent, name)
        if status is not None:
            require_ours(status, path_of(digest))
        return status is not None


def place(order: Order, room: Work, digest: str, before: int) -> bool:
    """Give a verified copy its name; True if somebody else was faster, and his copy is as good."""
    kind, shard, name = shard_of(digest)
    with directory(order.store, kind, shard, make=True) as parent, writing(path_of(digest)):
        if existing(order, digest, 2 * before):
            return True
        try:
            move(CONTENT, room.descriptor, name, parent)
        except OSError as error:
            if error.errno not in _TAKEN or not existing(order, digest, 2 * before):
                raise
            return True
    make_read_only(order.store, path_of(digest))
    return False


def make_read_only(store: Path, path: str) -> None:
    """Take the leave to write from what is at a path; a crash before this is healed by the next capture."""
    *parents, name = path.split("/")
    with directory(store, *parents) as parent, writing(path):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        mode = DIRECTORY_MODE if stat.S_ISDIR(status.st_mode) else FILE_MODE
        if stat.S_IMODE(status.st_mode) != mode:
            set_mode(name, parent, mode)


def _verify_in(order: Order, path: str, digest: str, before: int) -> Result:
    """Compare what is at a path in the store with a digest; `before` is how many bytes the progress has seen.

    Raises:
        UnreadableError: if it cannot be read.
    """
    progress = order.progress
    shifted = None if progress is None else lambda count: progress(before + count)
    result = verify(order.store, path, digest, limits=order.limits, progress=shifted, cancelled=order.cancelled)
    if result.verdict is Verdict.UNREADABLE:
        Meter(None, order.cancelled).check()  # whoever asked to stop gets a StoppedError, and nothing else is tried
        raise UnreadableError(result.message)
    return result


def captured(result: Result, started: float, *, existed: bool, path: str | None = None) -> Captured:
    """Return what a capture found when it read its copy again."""
    return Captured(
        digest=result.expected,
        blake3=result.blake3,
        path=path or path_of(result.expected),
        size_bytes=result.size_bytes,
        file_count=result.file_count,
        seconds=time.monotonic() - started,
        existed=existed,
        files=result.files,
    )
