"""Evidence: what was found where a good snapshot should have been, kept in the store with a note, and never deleted.

Nothing in this package removes what is in `evidence/`: neither retention nor a sweep. A person does.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lastgood.verify.check import require_relative
from lastgood.verify.errors import UnreadableError
from lastgood.verify.manifest import manifest_digest
from lastgood.verify.reading.meter import Cancelled, Meter, Progress
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import open_below, open_path, opened
from lastgood.verify.sources.values import Entry, exactly
from lastgood.verify.store.errors import StoreError, writing
from lastgood.verify.store.layout import (
    CONTENT,
    DIRECTORY_MODE,
    EVIDENCE,
    FILE_MODE,
    PRIVATE_MODE,
    WORK_MODE,
    descend,
    directory,
    enter,
    move,
    set_mode,
    status_in,
)
from lastgood.verify.store.origin import read_open
from lastgood.verify.store.partial import Heartbeat, Work, work
from lastgood.verify.store.survey import Seen, open_seen, survey
from lastgood.verify.store.writing import copy_into, create, require_room, settle, settle_in
from lastgood.verify.values import FileEntry, Limits, require_digest

NOTE: Final = "note.json"
_DEFAULT: Final = Limits()
_INCIDENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MAX_SAME: Final = 1000  # pieces of evidence with one incident and digest
SPARE: Final = 0.1  # of the file system, which copies of evidence leave free: nothing but a person makes room again
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What was kept: a copy that was read back and found to be what was read, or the bad snapshot itself, moved.

    Attributes:
        path: relative to the store; note.json and `content` are in it.
        size_bytes: of a copy; 0 for what was moved or kept before, which nobody counts. So is `file_count`.
        not_copied: links, FIFOs and devices, which the note describes; there is nothing in them to copy.
        found: the digest of the copied files; None where they are no checkpoint, or nobody looked.
        existed: it was kept before, for the same subject, and nothing was copied now.
    """

    path: str
    size_bytes: int
    file_count: int
    not_copied: tuple[str, ...] = ()
    found: str | None = None
    existed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What evidence is about.

    Attributes:
        digest: what it should have been.
        reason: why it is kept, for the note.
        incident: names the evidence; without one, the time does.
        subject: for whom it is kept, such as an object and its uid. Asked twice for one subject and digest, it is kept
            once; without one, each time anew.

    Raises:
        ValueError: if `digest` or `incident` is malformed.
    """

    digest: str
    reason: str
    incident: str | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        require_digest(self.digest)
        if self.incident is not None and not can_name(self.incident):
            raise ValueError(
                "incident: must be 1 to 63 letters, digits and '.', '_' or '-', and begin with one of the first two"
            )

    @property
    def about(self) -> str:
        """How its names end: the digest that it should have had, and whose it is."""
        subject = "" if self.subject is None else f".{hashlib.sha256(self.subject.encode()).hexdigest()[:16]}"
        return f"-{self.digest.removeprefix('sha256:')}{subject}"

    @property
    def label(self) -> str:
        """Its name: the incident or the time, and what it is about."""
        return f"{self.incident or datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}{self.about}"

    def note(self, **more: str) -> dict[str, Any]:
        """Return what its note begins with."""
        return {
            "digest": self.digest,
            "incident": self.incident,
            "reason": printable(self.reason, 2000),
            "subject": None if self.subject is None else printable(self.subject, 2000),
            "keptAt": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            **more,
        }


def can_name(incident: str) -> bool:
    """Tell whether an incident's number can name a directory."""
    return _INCIDENT.fullmatch(incident) is not None


def keep_evidence(
    root: Path,
    relative: str,
    store: Path,
    *,
    digest: str,
    reason: str,
    incident: str | None = None,
    subject: str | None = None,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Evidence:
    """Copy what is at a path into the store as evidence; when this returns, the original may be touched, not before.

    All of it is kept, also what no checkpoint may hold: names that are not UTF-8 with their bytes, links and
    devices as words in the note. Every copied byte was read again from the store.

    Args:
        root: a directory that the caller vouches for.
        relative: what is to be kept, below it; `.` is the root itself.
        store: where to keep it.
        digest: what it should have been.
        reason: why it is kept, for the note.
        incident: names the evidence; without one, the time does.
        subject: for whom; see `Case`.
        limits: what to put up with; `max_bytes` and `max_seconds` bound what a stranger's bytes may cost.
        progress: gets the bytes read so far, those read again counted too.
        cancelled: is asked between two pieces.

    Raises:
        RefusedEntryError: if the path itself is a link or a device: look at it by hand.
        UnreadableError: if any of it cannot be read, or it changed meanwhile; nothing is kept then.
        StoreError: if the store cannot be written, has no room but the spare one, or does not give back what was
            written.
        ValueError: if `relative`, `digest` or `incident` is malformed.
    """
    case = Case(digest=digest, reason=reason, incident=incident, subject=subject)
    meter = Meter(progress, cancelled, seconds=limits.max_seconds)
    below = require_relative(relative)
    return kept_before(store, case) or _keep(root, below, store, case, limits=limits, meter=meter)


def _keep(root: Path, below: str, store: Path, case: Case, *, limits: Limits, meter: Meter) -> Evidence:
    shown = printable(below or ".")
    with (
        work(store, "evidence") as room,  # first: a store that cannot be written costs no reading
        opened(open_path(root)) as base,
        opened(open_below(base, below) if below else os.dup(base)) as top,
    ):
        seen = survey(top, limits, meter)
        with writing("the evidence"):
            require_room(room.descriptor, sum(map(_size, seen)), "the evidence", SPARE)
            hashes = _copy(top, seen, room, meter)
            if survey(top, limits, meter) != seen:
                raise UnreadableError(f"{shown} changed while it was copied")
            return finish(store, room, case, Copied(source=shown, seen=seen, hashes=hashes), meter)


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What was copied: from where, all that was seen there, and the sha256 of each file."""

    source: str
    seen: Sequence[Seen]
    hashes: Mapping[str, str]


def finish(store: Path, room: Work, case: Case, copied: Copied, meter: Meter) -> Evidence:
    """Read a copy again, write its note, and give it its name."""
    seen, hashes = copied.seen, copied.hashes
    _require_same(room, seen, hashes, meter)
    found = _digest(seen, hashes)
    note = case.note(copiedFrom=copied.source)
    _write_note(room.descriptor, note | {"found": found, "entries": _entries(seen, hashes)})
    os.fsync(room.descriptor)
    if before := kept_before(store, case):  # another replica, whose Lease has ended, was faster
        return before
    return Evidence(
        path=_publish(store, room, case.label),
        size_bytes=sum(map(_size, seen)),
        file_count=len(hashes),
        not_copied=tuple(item.path for item in seen if item.kind not in {"file", "directory"}),
        found=found,
    )


def kept_before(store: Path, case: Case) -> Evidence | None:
    """Return the whole evidence that is there for a subject and digest; None where there is none, or no subject."""
    with directory(store) as root:
        if case.subject is None or status_in(root, EVIDENCE) is None:
            return None
    ours = re.compile(rf".+{re.escape(case.about)}(\.[0-9]{{1,4}})?", re.DOTALL)
    with directory(store, EVIDENCE) as kept, writing(EVIDENCE):
        with os.scandir(kept) as entries:
            names = sorted(entry.name for entry in entries if ours.fullmatch(entry.name))
        for name in names:
            with opened(enter(kept, name)) as room:
                if status_in(room, NOTE) is not None and status_in(room, CONTENT) is not None:
                    return Evidence(path=f"{EVIDENCE}/{name}", size_bytes=0, file_count=0, existed=True)
    return None


def _size(item: Seen) -> int:
    return item.stamp.size if item.kind == "file" else 0


def _digest(seen: Sequence[Seen], hashes: Mapping[str, str]) -> str | None:
    """Return the digest of what was copied; None where it could be no checkpoint."""
    if "" in hashes:
        return f"sha256:{hashes['']}"
    if not hashes or any(item.kind not in {"file", "directory"} for item in seen):
        return None
    if any("\ud800" <= letter <= "\udfff" for path in hashes for letter in path):  # a name that is not UTF-8
        return None
    sizes = {item.path: item.stamp.size for item in seen}
    return manifest_digest(FileEntry(path=path, size=sizes[path], sha256=sha256) for path, sha256 in hashes.items())


def move_to_evidence(store: Path, path: str, *, digest: str, reason: str, incident: str | None = None) -> Evidence:
    """Move what is at a path in the store to its evidence, as it is; the note is there first.

    A crash in between leaves a note without content, and what it is about in its place.
    """
    case = Case(digest=digest, reason=reason, incident=incident)
    *parents, name = path.split("/")
    note = case.note(movedFrom=printable(path))
    with directory(store, *parents) as parent, writing(printable(path)):
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        with directory(store, EVIDENCE, make=True) as kept:
            label = _make(kept, case.label)
            with opened(enter(kept, label)) as room:
                _write_note(room, note)
                os.fsync(room)
                move(name, parent, CONTENT, room)
                if os.stat(CONTENT, dir_fd=room, follow_symlinks=False).st_mode != mode:
                    set_mode(CONTENT, room, mode & 0o7777)
    return Evidence(path=f"{EVIDENCE}/{label}", size_bytes=0, file_count=0)


def _labels(label: str) -> Iterator[str]:
    yield label
    yield from (f"{label}.{count}" for count in range(2, _MAX_SAME + 1))


def _write_note(room: int, note: Mapping[str, Any]) -> None:
    with opened(create(NOTE, room)) as descriptor:
        body = memoryview(json.dumps(note, indent=1).encode())
        while body:
            body = body[os.write(descriptor, body) :]
        settle(descriptor, FILE_MODE)


def _entries(seen: Sequence[Seen], hashes: Mapping[str, str]) -> list[dict[str, Any]]:
    return [item.as_body() | ({"sha256": hashes[item.path]} if item.path in hashes else {}) for item in seen]


def _copy(top: int, seen: Sequence[Seen], room: Work, meter: Meter) -> dict[str, str]:
    """Make the directories and copy the files; return the sha256 of each file."""
    hashes: dict[str, str] = {}
    alive = Heartbeat(room.descriptor)
    directories = [item.path for item in seen if item.kind == "directory"]
    for path in directories:  # sorted, so that each comes after the one that it is in
        _make_directory(room.descriptor, path)
    for item in seen:
        alive()
        if item.kind == "file":
            hashes[item.path] = _copy_file(top, item, room, meter)
    for path in hashes:
        *parents, name = _content(path)
        settle_in(room.descriptor, parents, name)
    for path in sorted(directories, key=len, reverse=True):
        with opened(descend(room.descriptor, _content(path))) as descriptor:
            os.fchmod(descriptor, DIRECTORY_MODE)
            os.fsync(descriptor)
    return hashes


def _content(path: str) -> list[str]:
    return [CONTENT, *path.split("/")] if path else [CONTENT]


def _make_directory(room: int, path: str) -> None:
    *parents, name = _content(path)
    with opened(descend(room, parents)) as parent:
        os.mkdir(name, WORK_MODE, dir_fd=parent)


def _copy_file(top: int, item: Seen, room: Work, meter: Meter) -> str:
    *parents, name = _content(item.path)
    shown = printable(item.path) or "the file"
    entry = Entry(path=item.path, size=item.stamp.size)
    with opened(open_seen(top, item)) as source, opened(descend(room.descriptor, parents)) as parent:
        pieces = read_open(source, shown, item.stamp.size, item.stamp)
        with opened(create(name, parent)) as target:
            return copy_into(target, entry, pieces, shown, meter.add)


def _require_same(room: Work, seen: Sequence[Seen], hashes: Mapping[str, str], meter: Meter) -> None:
    """Read every copied byte again from the disk."""
    for item in seen:
        if item.path not in hashes:
            continue
        *parents, name = _content(item.path)
        hasher = hashlib.sha256()
        shown = f"the copy of {printable(item.path) or 'the file'}"
        with opened(descend(room.descriptor, parents)) as parent:
            descriptor = os.open(name, _READ, dir_fd=parent)
        with opened(descriptor):
            for piece in exactly(read_open(descriptor, shown, item.stamp.size, None), item.stamp.size, shown):
                hasher.update(piece)
                meter.add(len(piece))
        if hasher.hexdigest() != hashes[item.path]:
            raise StoreError(f"{shown} is not what was written; replace the store's disk")


def _publish(store: Path, room: Work, label: str) -> str:
    with directory(store, EVIDENCE, make=True) as kept:
        for name in _labels(label):
            if _renamed(room, kept, name):
                return f"{EVIDENCE}/{name}"
    raise StoreError(f"{EVIDENCE}/{label} exists {_MAX_SAME} times already; name another incident")


def _renamed(room: Work, kept: int, name: str) -> bool:
    try:
        os.mkdir(name, PRIVATE_MODE, dir_fd=kept)  # ours now; a directory may be renamed onto an empty one
    except FileExistsError:
        return False
    os.chmod(room.name, PRIVATE_MODE, dir_fd=room.parent)
    move(room.name, room.parent, name, kept)
    return True


def _make(kept: int, label: str) -> str:
    for name in _labels(label):
        try:
            os.mkdir(name, PRIVATE_MODE, dir_fd=kept)
        except FileExistsError:
            continue
        os.fsync(kept)
        return name
    raise StoreError(f"{EVIDENCE}/{label} exists {_MAX_SAME} times already; name another incident")
