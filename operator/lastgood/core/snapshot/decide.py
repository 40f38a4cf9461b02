"""The decision about a ModelSnapshot: verified when created and on an interval, judged, marked, copied."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from lastgood.api.names import Digest, Reason, Type
from lastgood.api.specs.snapshot import ModelSnapshot, SnapshotStatus, Verification
from lastgood.core.actions import CaptureSnapshot, QuarantineDigest, RepairSnapshot, UpdateSnapshot, Verify
from lastgood.core.candidates.verified import verified_at
from lastgood.core.snapshot.capture import capture_rest, is_captured, wants_repair
from lastgood.core.snapshot.forensics import evidence_due, evidence_reported
from lastgood.core.snapshot.marking import quarantine_asked, quarantine_changed, was_refused
from lastgood.core.snapshot.observed import ObservedSnapshot, Rule
from lastgood.core.snapshot.scanning import scan_due, scans_reported
from lastgood.core.snapshot.standing import standing
from lastgood.core.state import REFUSED, Checked, Decision, Step, Tell
from lastgood.core.trust.trusted import distrust, evidence_of, next_change, wants_look

RETRY = timedelta(seconds=30)
"""When a snapshot that could not be read is tried again at the latest."""

_SHORTEST = 1e-6
"""Seconds; no clock tells less, and a rate must fit 64 bits whatever a Job says of itself."""

_PROGRESS = timedelta(seconds=15)
"""How often the progress of a capture is written at most."""


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
        # What was proven of these bytes stays proven while they cannot be read; a new look replaces an old one.
        signatures=checked.examined if good else status.signatures,
        scan=checked.scan or status.scan,
        verification=Verification(
            reason=checked.reason,
            message=checked.message,
            time=checked.at,
            next_time=observed.now + wait,
            seconds=checked.seconds,
            bytes_per_second=int(checked.size_bytes / max(checked.seconds, _SHORTEST)),
            findings=checked.findings,
            verified_at=_verified_at(checked, observed.snapshot),
            blake3=checked.blake3 or (status.verification.blake3 if status.verification else ""),
            copy=checked.copy,
            passed_over=checked.passed_over,
        ),
    )


def _verified_at(checked: Checked, snapshot: ModelSnapshot) -> datetime | None:
    """Return when the digest was last found: a mismatch ends what was known, not being able to read does not."""
    match checked.reason:
        case Reason.VERIFIED:
            return checked.at
        case Reason.UNREADABLE:
            return verified_at(snapshot)
        case _:
            return None


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


def trust_changed(observed: ObservedSnapshot) -> Step | None:
    """A policy, or time, made it trusted or not: told at once, and no byte is read for it."""
    snapshot = observed.snapshot
    ready = snapshot.status.conditions.get(Type.READY)
    if not observed.complete or not snapshot.verified or snapshot.status.quarantine or ready is None:
        return None
    problem = distrust(observed.trust, snapshot, evidence_of(snapshot), observed.now)
    before = ready.reason if ready.status == "False" else ""
    if (problem[0] if problem else "") == before:
        return None
    reason, message = problem or (Reason.SIGNATURE_TRUSTED, "no trust policy refuses it any more")
    return Step(
        reason=reason,
        message=f"{snapshot.name}: {message}",
        action=UpdateSnapshot(snapshot=snapshot, status=snapshot.status),
        tell=Tell.WARNING if problem else Tell.INFO,
    )


def capture_reported(observed: ObservedSnapshot) -> Step | None:
    """A capture ended, or has come further: its end is written at once, its progress now and then."""
    known, last, snapshot = observed.captured, observed.snapshot.status.capture, observed.snapshot
    if known is None or (last is not None and known.time <= last.time <= observed.now):
        return None
    same = last is not None and last.reason == known.reason
    if last is not None and same and known.reason == Reason.CAPTURING and known.time - last.time < _PROGRESS:
        return None
    failed = known.reason == Reason.CAPTURE_FAILED
    return Step(
        reason=Reason(known.reason),
        message=f"{snapshot.name}: {known.message or known.reason}",
        action=UpdateSnapshot(snapshot=snapshot, status=replace(snapshot.status, capture=known)),
        tell=Tell.NOBODY if same else Tell.WARNING if failed else Tell.INFO,
    )


def due(observed: ObservedSnapshot) -> Step | None:
    """It was never verified, or not for the interval."""
    last = observed.snapshot.status.verification
    rest = (last.next_time - observed.now).total_seconds() if last and last.next_time else 0.0
    if rest > observed.interval.total_seconds():
        rest = 0.0  # later than we ever say: the interval was shortened, or the status forged
    rest = min(rest, _until_look(observed), 0.0 if _repaired_since(observed) else math.inf)
    wait = Step(reason=Reason.PENDING, message="waiting for the next verification", after=max(rest, 0.0))
    if observed.verifying or rest > 0:
        return wait if rest > 0 else None
    return Step(
        reason=Reason.PENDING,
        message=f"verifying {observed.snapshot.name}",
        action=Verify(snapshot=observed.snapshot),
    )


def _repaired_since(observed: ObservedSnapshot) -> bool | None:
    """Tell whether a repair was done since the last verification; None where none was tried."""
    last = observed.snapshot.status.verification
    if observed.repaired is None or last is None or last.time is None:
        return None
    at, done = observed.repaired
    return done if last.time < at <= observed.now else None


def _until_look(observed: ObservedSnapshot) -> float:
    """Return the seconds until a look that a policy asks for, such as with a new key; after a pause."""
    snapshot, last = observed.snapshot, observed.snapshot.status.verification
    if last is None or last.time is None or not snapshot.verified or not observed.complete:
        return math.inf  # the interval, and the pause after a failure, say when
    pause = max(RETRY, timedelta(seconds=min(2 * last.seconds, observed.interval.total_seconds())))
    if not wants_look(observed.trust, snapshot):
        if not _bundle_missing(snapshot):
            return math.inf
        # A bundle that is applied after its snapshot is found soon; one that never comes costs less and less.
        pause = max(pause, (last.time - (snapshot.status.first_seen or last.time)) / 2)
    return max(0.0, (last.time + pause - observed.now).total_seconds()) if last.time <= observed.now else 0.0


def _bundle_missing(snapshot: ModelSnapshot) -> bool:
    examined = snapshot.status.signatures
    return examined is not None and any(item.reason == Reason.SIGNATURE_MISSING for item in examined.problems)


def _worth_keeping(observed: ObservedSnapshot) -> bool:
    """Tell whether copies may be made of it: what is not trusted is not worth keeping."""
    snapshot = observed.snapshot
    if not snapshot.verified or snapshot.status.quarantine or snapshot.meta.deleting or not observed.complete:
        return False
    return not distrust(observed.trust, snapshot, evidence_of(snapshot), observed.now)


def repair_due(observed: ObservedSnapshot) -> Step | None:
    """The source in the store is bad, and another copy is good: once after each verification that says so."""
    snapshot, tried = observed.snapshot, _repaired_since(observed) is not None
    if not wants_repair(snapshot) or observed.capturing or tried or not _worth_keeping(observed):
        return None
    message = f"{snapshot.name}: {snapshot.place_name} replaces the bad source, which is kept as evidence"
    return Step(reason=Reason.REPAIRING, message=message, action=RepairSnapshot(snapshot=snapshot), tell=Tell.WARNING)


def capture_due(observed: ObservedSnapshot) -> Step | None:
    """A good snapshot that is to be kept, and is not yet."""
    snapshot = observed.snapshot
    wanted = snapshot.capture or observed.capture_asked
    if not wanted or is_captured(snapshot) or observed.capturing or not _worth_keeping(observed):
        return None
    rest, message = capture_rest(snapshot, observed.now).total_seconds(), f"capturing {snapshot.name}"
    if rest > 0:
        return Step(reason=Reason.CAPTURING, message=message, after=rest)
    return Step(reason=Reason.CAPTURING, message=message, action=CaptureSnapshot(snapshot=snapshot))


RULES: tuple[Rule, ...] = (
    finished,  # what is known is written before anything else is started
    scans_reported,
    capture_reported,
    evidence_reported,
    quarantine_asked,  # a person's word
    quarantine_changed,
    evidence_due,  # what is there now may be gone later
    trust_changed,
    due,
    scan_due,  # once the digest is found: a result is about it
    repair_due,
    capture_due,  # last: a copy is a convenience
)
"""The first rule that asks for an action wins; where none does, the first that waits says why."""

_WRITES = (UpdateSnapshot, QuarantineDigest)


def decide_snapshot(observed: ObservedSnapshot) -> Decision:
    """Return the one next thing to do about a ModelSnapshot."""
    steps = _steps(observed)
    step = next((item for item in steps if item.action), steps[0])
    action = step.action
    if isinstance(action, UpdateSnapshot):
        action = replace(action, status=with_conditions(observed, action.status))
    elif not isinstance(action, _WRITES):
        status = with_conditions(observed, observed.snapshot.status)
        if status != observed.snapshot.status:
            action = UpdateSnapshot(snapshot=observed.snapshot, status=status)
    after = min(
        (wait for wait in (*(item.after for item in steps), *_waits(observed)) if wait is not None), default=None
    )
    actions = (action,) if action else ()
    return Decision(reason=step.reason, message=step.message, actions=actions, requeue_after=after, tell=step.tell)


def _steps(observed: ObservedSnapshot) -> list[Step]:
    steps = []
    for rule in RULES:
        if step := rule(observed):
            steps.append(step)
            if step.action:
                break
    return [*steps, Step(reason=Reason.WAITING, message="a verification is in progress")]


def _waits(observed: ObservedSnapshot) -> Iterator[float]:
    """Yield in how many seconds time alone may change the answer."""
    change = next_change(observed.trust, observed.snapshot, observed.now)
    if change is not None:
        yield (change - observed.now).total_seconds() + 1.0
    if was_refused(observed):
        yield REFUSED.total_seconds()


def with_conditions(observed: ObservedSnapshot, status: SnapshotStatus) -> SnapshotStatus:
    """Return a status with the conditions that follow from its facts."""
    seen = replace(observed.snapshot, status=status)
    return replace(
        status,
        observed_generation=observed.snapshot.meta.generation,
        first_seen=status.first_seen or observed.now,
        conditions=standing(seen, observed.trust, observed.now, complete=observed.complete),
    )
