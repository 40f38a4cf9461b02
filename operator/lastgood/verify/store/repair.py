"""Repair: a good copy from a mirror takes the place of a bad one, which is kept as evidence first."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lastgood.verify.check import require_relative, verify
from lastgood.verify.errors import RefusedEntryError, StoppedError, UnreadableError, VerifyError
from lastgood.verify.reading.meter import Cancelled, Meter, Progress
from lastgood.verify.sources.values import Source
from lastgood.verify.store.capture import Captured, Order, captured, copy, make_read_only, read_back
from lastgood.verify.store.errors import MismatchError, StoreError, writing
from lastgood.verify.store.evidence import Case, Evidence, move_to_evidence
from lastgood.verify.store.layout import CONTENT, directory, move, path_of, status_in
from lastgood.verify.store.partial import Work, work
from lastgood.verify.values import Limits, Result, Verdict

_DEFAULT: Final = Limits()
_NEXT: Final = (UnreadableError, RefusedEntryError, MismatchError)  # of the source: another one may be better


class NoGoodCopyError(VerifyError):
    """No mirror has a good copy; the bad one is where it was."""

    def __init__(self, passed_over: tuple[str, ...]) -> None:
        super().__init__("no source has a good copy: " + ("; ".join(passed_over) or "none is given"))
        self.passed_over = passed_over


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """What a repair did.

    Attributes:
        copy: what is in the place now; `existed` if it was good already.
        evidence: where the bad copy is kept, if there was one.
        source: the index of the source that it came from; None if nothing was to be done.
        passed_over: a sentence for each source before it.
    """

    copy: Captured
    evidence: Evidence | None
    source: int | None
    passed_over: tuple[str, ...]


def repair(
    store: Path,
    digest: str,
    sources: Sequence[Source],
    *,
    path: str | None = None,
    incident: str | None = None,
    replace_unreadable: bool = False,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Repaired:
    """Make sure that a place in the store has a good copy, from the first source that has one.

    The good copy is complete and verified in the store before the bad one is moved away, and nothing is moved if
    there is none. A crash in between leaves an empty place and the evidence; the next repair fills it.

    Args:
        store: its directory.
        digest: what should be there.
        sources: where to look, in this order.
        path: the place, relative to the store; where a capture would put it if None.
        incident: names the evidence; without one, the time does.
        replace_unreadable: also what cannot be read, which may be a disk's bad hour and not bad bytes.
        limits: what to put up with.
        progress: gets the bytes read so far, from 0 for each source.
        cancelled: is asked between two pieces.

    Raises:
        NoGoodCopyError: if no source has a good copy.
        UnreadableError: if what is there cannot be read, and is not to be replaced.
        StoreError: if the store cannot be written.
        ValueError: if `digest`, `path` or `incident` is malformed.
    """
    started = time.monotonic()
    Case(digest=digest, reason="", incident=incident)  # a malformed one is refused before anything is read
    order = Order(store=store, expected=digest, limits=limits, progress=progress, cancelled=cancelled)
    place = require_relative(path or path_of(digest))
    bad = _bad(order, place, digest, replace_unreadable=replace_unreadable)
    if bad and bad.verdict is Verdict.VERIFIED:
        copy = captured(bad, started, existed=True, path=place)
        return Repaired(copy=copy, evidence=None, source=None, passed_over=())
    with ExitStack() as stack:
        good, room, passed_over = _first_good(order, digest, sources, stack)
        evidence = move_to_evidence(store, place, digest=digest, reason=bad.message, incident=incident) if bad else None
        _place(store, place, room)
    copy = captured(good, started, existed=False, path=place)
    return Repaired(copy=copy, evidence=evidence, source=len(passed_over), passed_over=passed_over)


def _bad(order: Order, place: str, digest: str, *, replace_unreadable: bool) -> Result | None:
    """Return the verdict on what is in the place; None if nothing is."""
    *parents, name = place.split("/")
    make = place == path_of(digest)
    with directory(order.store, *parents, make=make) as parent:
        if status_in(parent, name) is None:
            return None
    result = verify(order.store, place, digest, limits=order.limits, cancelled=order.cancelled)
    Meter(None, order.cancelled).check()  # a reading that was stopped says nothing about what is there
    if result.verdict is Verdict.UNREADABLE and not replace_unreadable:
        raise UnreadableError(result.message)
    return result


def _first_good(
    order: Order, digest: str, sources: Sequence[Source], stack: ExitStack
) -> tuple[Result, Work, tuple[str, ...]]:
    passed_over: list[str] = []
    for source in sources:
        attempt = stack.enter_context(ExitStack())
        room = attempt.enter_context(work(order.store, "capture"))
        try:
            _, size = copy(source, order, room)
            return read_back(order, room, digest, size), room, tuple(passed_over)
        except StoppedError:
            raise
        except _NEXT as error:
            passed_over.append(f"{source.describe()}: {error}")
            attempt.close()
    raise NoGoodCopyError(tuple(passed_over))


def _place(store: Path, place: str, room: Work) -> None:
    *parents, name = place.split("/")
    with directory(store, *parents) as parent, writing(place):
        if status_in(parent, name) is not None:
            raise StoreError(f"{place} exists again: another process repaired it too; inspect it")
        move(CONTENT, room.descriptor, name, parent)
    make_read_only(store, place)
