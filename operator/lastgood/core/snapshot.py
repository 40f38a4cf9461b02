"""The decision about a ModelSnapshot: verified when created, again on an interval, and marked when quarantined."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lastgood.api.meta import Condition, merge_conditions, truth
from lastgood.api.names import QUARANTINE, Digest, Reason, Type
from lastgood.api.snapshot import ModelSnapshot, QuarantineMark, SnapshotStatus, Verification
from lastgood.core.requests import parse_wish, request_key
from lastgood.core.state import Checked, Decision, QuarantineDigest, Step, Tell, UpdateSnapshot, Verify

RETRY = timedelta(seconds=30)
"""When a snapshot that could not be read is tried again at the latest."""

_SHORTEST = 1e-6
"""Seconds; no clock tells less, and a rate must fit 64 bits whatever a Job says of itself."""

_VERIFIED = {Reason.VERIFIED: True, Reason.DIGEST_MISMATCH: False}


@dataclass(frozen=True, kw_only=True)
class ObservedSnapshot:
    """Everything a decision about a ModelSnapshot may know; `interval` is between two verifications."""

    now: datetime
    snapshot: ModelSnapshot
    interval: timedelta
    checked: Checked | None = None
    verifying: bool = False
    complete: bool = True
    quarantined: Mapping[str, str] = field(default_factory=dict)
    everywhere: frozenset[str] = frozenset()


Rule = Callable[[ObservedSnapshot], Step | None]


def finished(observed: ObservedSnapshot) -> Step | None:
    """A verification has finished: record what it found."""
    checked, snapshot = observed.checked, observed.snapshot
    last = snapshot.status.verification
    if checked is None or (checked.uid, checked.digest) != (snapshot.meta.uid, snapshot.digest):
        return None
    if last is not None and last.time is not None and checked.at <= last.time <= observed.now:
        return None  # a time to come is not ours: whoever wrote it must not keep what was found from being told
    tell = Tell.ALERT if checked.reason == Reason.DIGEST_MISMATCH else Tell.INFO
    if last is not None and last.reason == checked.reason:
        tell = Tell.NOBODY
    return Step(
        reason=checked.reason,
        message=f"{snapshot.name}: {checked.message or checked.reason}",
        action=UpdateSnapshot(snapshot=snapshot, status=_recorded(observed, checked)),
        tell=tell,
    )


def _recorded(observed: ObservedSnapshot, checked: Checked) -> SnapshotStatus:
    snapshot, status = observed.snapshot, observed.snapshot.status
    good = checked.reason == Reason.VERIFIED
    wait = jittered(observed.interval, snapshot.meta.uid)
    if checked.reason == Reason.UNREADABLE:
        wait = min(wait, max(RETRY, _unreadable_for(observed)))
    return replace(
        status,
        observed_generation=snapshot.meta.generation,
        digest=Digest(checked.actual or checked.digest) if good else Digest(checked.actual) or status.digest,
        size_bytes=checked.size_bytes if good else status.size_bytes,
        file_count=checked.file_count if good else status.file_count,
        first_seen=status.first_seen or observed.now,
        verification=Verification(
            reason=checked.reason,
            message=checked.message,
            time=checked.at,
            next_time=observed.now + wait,
            seconds=checked.seconds,
            bytes_per_second=int(checked.size_bytes / max(checked.seconds, _SHORTEST)),
            findings=checked.findings,
        ),
    )


def _unreadable_for(observed: ObservedSnapshot) -> timedelta:
    """Return for how long it could not be read: the pause grows with it, so that what is gone costs less and less."""
    condition = observed.snapshot.status.conditions.get(Type.VERIFIED)
    if condition is None or condition.reason != Reason.UNREADABLE or condition.since is None:
        return timedelta(0)
    return max(timedelta(0), observed.now - condition.since)


def jittered(interval: timedelta, uid: str) -> timedelta:
    """Return the interval less up to a tenth, the same for the same object: snapshots must not all be read at once."""
    share = hashlib.sha256(uid.encode()).digest()[0] / 255
    return interval * (1 - 0.1 * share)


def quarantine_asked(observed: ObservedSnapshot) -> Step | None:
    """The annotation quarantines the digest as verified; of an unverified snapshot, only the snapshot itself.

    Else whoever declares another team's digest over wrong bytes could roll that team back.
    """
    snapshot = observed.snapshot
    text = snapshot.meta.annotations.get(QUARANTINE)
    if text is None:
        return None
    key = request_key(QUARANTINE, text)
    if key in snapshot.status.handled:
        return None
    wish = parse_wish(text)
    if snapshot.verified and snapshot.digest not in observed.quarantined:
        return Step(
            reason=Reason.QUARANTINED,
            message=f"quarantining {snapshot.digest} in {snapshot.meta.namespace}: {wish.reason[:256]}",
            action=QuarantineDigest(digest=snapshot.digest, reason=wish.reason, incident=wish.incident),
            tell=Tell.ALERT,
        )
    scope = "Namespace" if snapshot.verified else "Snapshot"
    mark = QuarantineMark(scope=scope, reason=wish.reason, incident=wish.incident, since=observed.now)
    status = replace(
        snapshot.status,
        quarantine=mark,
        handled=dict(list(snapshot.status.handled.items())[-7:]) | {key: "quarantined"},
    )
    return Step(
        reason=Reason.QUARANTINED,
        message=f"{snapshot.name} is quarantined: {wish.reason[:256]}",
        action=UpdateSnapshot(snapshot=snapshot, status=status),
        tell=Tell.WARNING,
    )


def quarantine_changed(observed: ObservedSnapshot) -> Step | None:
    """The mark follows the quarantine list; a snapshot's own mark stays."""
    snapshot, mark = observed.snapshot, observed.snapshot.status.quarantine
    if not observed.complete:
        return None
    listed = snapshot.digest in observed.quarantined
    scope = "All" if snapshot.digest in observed.everywhere else "Namespace"
    if mark is not None and mark.scope == "Snapshot":
        return None
    if listed and (mark is None or mark.scope != scope):
        why = observed.quarantined[snapshot.digest]
        new = QuarantineMark(scope=scope, reason=why, incident=parse_wish(why).incident, since=observed.now)
        if mark is not None:
            new = replace(mark, scope=scope)
    elif not listed and mark is not None:
        new = None
    else:
        return None
    return Step(
        reason=Reason.QUARANTINED if new else Reason.NOT_QUARANTINED,
        message=f"{snapshot.name}: {'quarantined' if new else 'the quarantine was lifted'}",
        action=UpdateSnapshot(snapshot=snapshot, status=replace(snapshot.status, quarantine=new)),
        tell=Tell.WARNING,
    )


def due(observed: ObservedSnapshot) -> Step | None:
    """It was never verified, or not for the interval."""
    last = observed.snapshot.status.verification
    rest = (last.next_time - observed.now).total_seconds() if last and last.next_time else 0.0
    if rest > observed.interval.total_seconds():
        rest = 0.0  # later than we ever say: the interval was shortened, or the status forged
    wait = Step(reason=Reason.PENDING, message="waiting for the next verification", after=max(rest, 0.0))
    if observed.verifying or rest > 0:
        return wait if rest > 0 else None
    return Step(
        reason=Reason.PENDING,
        message=f"verifying {observed.snapshot.name}",
        action=Verify(snapshot=observed.snapshot),
    )


RULES: tuple[Rule, ...] = (
    finished,  # what is known is written before anything else is started
    quarantine_asked,  # a person's word
    quarantine_changed,
    due,
)


def decide_snapshot(observed: ObservedSnapshot) -> Decision:
    """Return the one next thing to do about a ModelSnapshot."""
    nothing = Step(reason=Reason.WAITING, message="a verification is under way")
    step = next((found for rule in RULES if (found := rule(observed))), nothing)
    action = step.action
    if isinstance(action, UpdateSnapshot):
        action = replace(action, status=with_conditions(observed, action.status))
    elif action is None or isinstance(action, Verify):
        status = with_conditions(observed, observed.snapshot.status)
        if status != observed.snapshot.status:
            action = UpdateSnapshot(snapshot=observed.snapshot, status=status)
    return Decision(reason=step.reason, message=step.message, action=action, requeue_after=step.after, tell=step.tell)


def with_conditions(observed: ObservedSnapshot, status: SnapshotStatus) -> SnapshotStatus:
    """Return a status with the conditions that follow from its facts."""
    generation = observed.snapshot.meta.generation
    found = status.verification
    reason = Reason(found.reason) if found and found.reason in set(Reason) else Reason.PENDING
    verified = _VERIFIED.get(reason)
    mark = status.quarantine
    told = mark.told if mark else ""
    rows = (
        (Type.VERIFIED, verified, reason, _sentence(observed, found)),
        (Type.QUARANTINED, bool(mark), Reason.QUARANTINED if mark else Reason.NOT_QUARANTINED, told),
        (Type.READY, verified is True and not mark, Reason.QUARANTINED if mark else reason, ""),
    )
    conditions = [
        Condition(type=type_, status=truth(value), reason=why, message=message, generation=generation)
        for type_, value, why, message in rows
    ]
    return replace(
        status,
        observed_generation=generation,
        first_seen=status.first_seen or observed.now,
        conditions=merge_conditions(status.conditions, conditions, observed.now),
    )


def _sentence(observed: ObservedSnapshot, found: Verification | None) -> str:
    if found is None:
        return "it has not been verified yet"
    if found.reason == Reason.VERIFIED:
        return f"its digest is {observed.snapshot.digest}"
    return found.message
