"""Evidence of what a remote source has: whatever it gives now is kept, also where it is not what its digest says."""

import os
from pathlib import Path
from typing import Final

from lastgood.verify.reading.meter import Cancelled, Meter, Progress
from lastgood.verify.reading.reading import opened
from lastgood.verify.sources.values import Source
from lastgood.verify.store.errors import writing
from lastgood.verify.store.evidence import SPARE, Case, Copied, Evidence, finish, kept_before
from lastgood.verify.store.layout import CONTENT
from lastgood.verify.store.partial import Heartbeat, Work, work
from lastgood.verify.store.survey import survey
from lastgood.verify.store.writing import Writer
from lastgood.verify.values import FileEntry, Limits

_DEFAULT: Final = Limits()
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def keep_evidence_of(
    source: Source,
    store: Path,
    case: Case,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Evidence:
    """Copy all that a source gives into the store as evidence, and read every copied byte again from there.

    What no source may give (paths that lead elsewhere, blobs that are not what their own hash says) is refused here as
    it is for a capture, and then nothing is kept.

    Raises:
        UnreadableError: if it cannot be read now, or its limits or the caller's patience end.
        RefusedEntryError: if it gives what no checkpoint may hold.
        StoreError: if the store cannot be written, or has no room but the spare one.
    """
    if before := kept_before(store, case):
        return before
    meter = Meter(progress, cancelled, seconds=limits.max_seconds)
    with work(store, "evidence") as room:
        files = _write(source, room, meter, limits)
        with writing("the evidence"), opened(os.open(CONTENT, _OPEN, dir_fd=room.descriptor)) as top:
            seen = survey(top, limits, meter)
            hashes = {file.path: file.sha256 for file in files}
            return finish(store, room, case, Copied(source=source.describe(), seen=seen, hashes=hashes), meter)


def _write(source: Source, room: Work, meter: Meter, limits: Limits) -> tuple[FileEntry, ...]:
    writer = Writer(
        source=source,
        directory=room.descriptor,
        name=CONTENT,
        meter=meter,
        alive=Heartbeat(room.descriptor),
        spare=SPARE,
    )
    return writer.write(limits)
