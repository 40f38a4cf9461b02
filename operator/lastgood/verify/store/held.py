"""What the store holds, and the deletion of what a plan names: nothing else, and nothing by halves."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lastgood.verify.errors import VerifyError
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.reading import opened
from lastgood.verify.reading.tree import walk
from lastgood.verify.store.errors import StoreError, writing
from lastgood.verify.store.layout import (
    CONTENT,
    SNAPSHOTS,
    directory,
    enter,
    move,
    path_of,
    require_ours,
    shard_of,
    status_in,
)
from lastgood.verify.store.partial import work
from lastgood.verify.store.retention import Deletion, Held, Plan
from lastgood.verify.values import Limits

_SHARD = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{64}")
_DEFAULT: Final = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What is in the store: snapshots, and names that could not be looked at or are not ours, with why."""

    held: tuple[Held, ...]
    strange: tuple[tuple[str, str], ...]


def listing(store: Path, *, model: str | None = None, limits: Limits = _DEFAULT) -> Listing:
    """List the snapshots of a store with their sizes, without reading their bytes.

    Args:
        store: its directory.
        model: what to say whose they are: the store does not know.
        limits: for each of them; what is beyond is told as strange.
    """
    held: list[Held] = []
    strange: list[tuple[str, str]] = []
    for shard in _shards(store):
        with _told(strange, f"{SNAPSHOTS}/{shard}"):
            for name in _names(store, shard):
                with _told(strange, f"{SNAPSHOTS}/{shard}/{name}"):
                    held.append(_look(store, shard, name, model, limits))
    return Listing(held=tuple(sorted(held, key=lambda item: (item.captured_at, item.digest))), strange=tuple(strange))


@contextmanager
def _told(strange: list[tuple[str, str]], path: str) -> Iterator[None]:
    """Note what cannot be looked at, and go on: one stray link must not hide all the rest."""
    try:
        yield
    except VerifyError as error:
        strange.append((path, str(error)))


def _shards(store: Path) -> list[str]:
    with directory(store) as root:
        if status_in(root, SNAPSHOTS) is None:
            return []
    with directory(store, SNAPSHOTS) as snapshots, writing(SNAPSHOTS):
        return _listed(snapshots, _SHARD)


def _names(store: Path, shard: str) -> list[str]:
    with directory(store, SNAPSHOTS) as snapshots, writing(f"{SNAPSHOTS}/{shard}"):
        require_ours(os.stat(shard, dir_fd=snapshots, follow_symlinks=False), f"{SNAPSHOTS}/{shard}")
        with opened(enter(snapshots, shard)) as parent:
            return [name for name in _listed(parent, _NAME) if name.startswith(shard)]


def _listed(descriptor: int, pattern: re.Pattern[str]) -> list[str]:
    with os.scandir(descriptor) as entries:
        return sorted(entry.name for entry in entries if pattern.fullmatch(entry.name))


def _look(store: Path, shard: str, name: str, model: str | None, limits: Limits) -> Held:
    with directory(store, SNAPSHOTS, shard) as parent, writing(name):
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        require_ours(status, f"{SNAPSHOTS}/{shard}/{name}")
        size = status.st_size
        if stat.S_ISDIR(status.st_mode):
            with opened(enter(parent, name)) as descriptor:
                size = sum(stamp.size for stamp in walk(descriptor, limits, Meter()).files.values())
    return Held(digest=f"sha256:{name}", model=model, size_bytes=size, captured_at=_time_of(status))


def _time_of(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """What was done of a plan: the digests deleted, and those that stayed although it named them, with why."""

    deleted: tuple[str, ...]
    stayed: tuple[tuple[str, str], ...]


def apply(plan: Plan, store: Path, *, still_needed: Callable[[str], str | None] | None = None) -> Applied:
    """Delete the snapshots that a plan names, after looking at each again.

    Each is renamed out of its place first, so that a crash leaves no half snapshot under its digest; what is left
    of it then is for `sweep`. Evidence is not under a digest, so no plan reaches it.

    Args:
        plan: from `retention.plan`; show it to somebody first.
        store: its directory.
        still_needed: is asked right before each deletion, and says why a digest is to stay, or None.
    """
    deleted: list[str] = []
    stayed: list[tuple[str, str]] = []
    kept = {item.digest: item.why for item in plan.keep}
    for deletion in plan.delete:
        why = kept.get(deletion.digest) or (still_needed(deletion.digest) if still_needed else None)
        why = why or _delete(store, deletion)
        if why is None:
            deleted.append(deletion.digest)
        else:
            stayed.append((deletion.digest, why))
    return Applied(deleted=tuple(deleted), stayed=tuple(stayed))


def _delete(store: Path, deletion: Deletion) -> str | None:
    kind, shard, name = shard_of(deletion.digest)
    try:
        with work(store, "delete") as room, directory(store, kind, shard) as parent, writing(path_of(deletion.digest)):
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            require_ours(status, path_of(deletion.digest))
            if _time_of(status) != deletion.captured_at:
                return "it was captured again meanwhile"
            move(name, parent, CONTENT, room.descriptor)
    except StoreError as error:
        return str(error)
    # The directory of two digits stays: somebody may be about to place a snapshot in it.
    return None
