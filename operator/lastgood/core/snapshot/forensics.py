"""When what is at the source of a quarantined snapshot is copied to the evidence, and how often that is tried."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from lastgood.api.facts.evidence import Forensics
from lastgood.api.names import Reason
from lastgood.core.actions import KeepEvidence, UpdateSnapshot
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Step, Tell

PAUSES: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""How long after each failure it is tried again; after the last of them it is given up."""


def failure(last: Forensics | None, now: datetime, message: str, *, lasting: bool) -> Forensics:
    """Return the fact that a copy could not be made.

    Args:
        last: what the status says of the attempts before.
        now: the time.
        message: why.
        lasting: no further attempt can change that: the operator has to be set up otherwise, and started again. It is
            not counted.
    """
    before = last.attempts if last else 0
    again = None if lasting or before >= len(PAUSES) else now + PAUSES[before]
    attempts = before if lasting else min(before + 1, len(PAUSES) + 1)
    return Forensics(
        reason=Reason.EVIDENCE_FAILED, time=now, message=message[:1024], attempts=attempts, next_time=again
    )


def evidence_rest(fact: Forensics | None, now: datetime, *, tried: bool) -> timedelta | None:
    """Return how long to wait for the next attempt; None where there is none.

    What was given up is tried once more by each operator that starts (`tried`: this one has): what had to be changed
    is changed by then, or nothing new is written.
    """
    if fact is None:
        return timedelta(0)
    if fact.reason == Reason.EVIDENCE_KEPT:
        return None
    if fact.next_time is None:
        return None if tried else timedelta(0)
    rest = max(timedelta(0), fact.next_time - now)
    return rest if rest <= PAUSES[-1] else timedelta(0)  # later than we ever say: it is not ours


def evidence_reported(observed: ObservedSnapshot) -> Step | None:
    """A forensics copy was made, or failed: told once, and written only where it is news."""
    known, mark, snapshot = observed.forensics, observed.snapshot.status.quarantine, observed.snapshot
    if known is None or mark is None:
        return None
    last = mark.forensics
    if last is not None and (known.time <= last.time <= observed.now or _said(known) == _said(last)):
        return None
    failed = known.reason == Reason.EVIDENCE_FAILED
    same = last is not None and (last.reason, last.message) == (known.reason, known.message)
    status = replace(snapshot.status, quarantine=replace(mark, forensics=known))
    return Step(
        reason=Reason(known.reason),
        message=f"{snapshot.name}: {known.message}",
        action=UpdateSnapshot(snapshot=snapshot, status=status),
        tell=Tell.NOBODY if same else Tell.WARNING if failed else Tell.INFO,
    )


def _said(fact: Forensics) -> tuple[str, str, str, str, int, bool]:
    return fact.reason, fact.path, fact.claim, fact.message, fact.attempts, fact.next_time is None


def evidence_due(observed: ObservedSnapshot) -> Step | None:
    """It is quarantined, however far that reaches, and there is no copy of what is there yet."""
    snapshot, mark = observed.snapshot, observed.snapshot.status.quarantine
    if mark is None or observed.capturing:
        return None
    rest = evidence_rest(mark.forensics, observed.now, tried=observed.forensics is not None)
    if rest is None:
        return None
    message = f"{snapshot.name}: copying its files to the evidence"
    if rest > timedelta(0):
        return Step(reason=Reason.KEEPING_EVIDENCE, message=message, after=rest.total_seconds())
    return Step(reason=Reason.KEEPING_EVIDENCE, message=message, action=KeepEvidence(snapshot=snapshot))
