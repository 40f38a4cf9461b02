"""Last known good: which snapshot a rollback goes to, and why not each of the others (design: "Last known good")."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lastgood.api.deployment_status import Served
from lastgood.api.names import Digest, Reason, SnapshotName, Type
from lastgood.api.rollback import Candidate
from lastgood.api.snapshot import ModelSnapshot
from lastgood.api.sources import PvcSource
from lastgood.core.state import Checked, Observed
from lastgood.core.trusted import Evidence, date_of, distrust, evidence_of, revoked
from lastgood.core.workload import Problem, render

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is being left, and what the one who asked said of the target.

    `bad_copy`: what is left is one wrong copy; another snapshot of the same digest is no less good for it.
    """

    leaving: SnapshotName
    leaving_digest: Digest = Digest("")
    to: SnapshotName = SnapshotName("")
    before: datetime | None = None
    emergency: bool = False
    bad_copy: bool = False


Rule = Callable[[Observed, Question, ModelSnapshot], Problem | None]


def not_asked_for(_: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Whoever names a target gets that one or none."""
    if question.to and snapshot.name != question.to:
        return Reason.NOT_ASKED_FOR, f"the request names {question.to}"
    return None


def being_left(_: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Nobody rolls back to what is being left, nor to the same bytes under another name."""
    if snapshot.name == question.leaving:
        return Reason.LEAVING, "it is what is being left"
    if not question.bad_copy and snapshot.digest == question.leaving_digest:
        return Reason.LEAVING, "it has the digest of what is being left"
    return None


def deleting(_: Observed, __: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A snapshot that is being deleted is on its way out."""
    return (Reason.DELETING, "it is being deleted") if snapshot.meta.deleting else None


def digest_revoked(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A trust policy revokes the digest: as final as a quarantine, for an emergency too."""
    why = revoked(observed.trust, snapshot.digest)
    return (Reason.DIGEST_REVOKED, why) if why else None


def quarantined(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A quarantine is never overridden, not even in an emergency."""
    why = quarantine_reason(observed, snapshot)
    return (Reason.QUARANTINED, why) if why else None


def not_verified(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The last verification must have found the declared digest; see `recently_verified` for an emergency."""
    if snapshot.verified or (question.emergency and recently_verified(observed, snapshot)):
        return None
    condition = snapshot.status.conditions.get(Type.VERIFIED)
    if condition is None or condition.reason not in (Reason.DIGEST_MISMATCH, Reason.UNREADABLE):
        return Reason.NOT_VERIFIED, "it has not been verified yet"
    return Reason(condition.reason), condition.message


def refused_just_now(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The verification at the moment of use outranks what the status says."""
    fresh = observed.fresh(snapshot)
    if fresh is None:
        return None
    if fresh.reason == Reason.VERIFIED:
        return distrust(observed.trust, snapshot, evidence_now(observed, snapshot, fresh), observed.now)
    return fresh.reason, fresh.message


def untrusted(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """What the trust policies ask for binds everybody, an emergency and a person who names the snapshot too."""
    return distrust(observed.trust, snapshot, evidence_of(snapshot), observed.now)


def left_before(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Never back and forth between two bad ones; a person who names the snapshot releases it."""
    if question.to == snapshot.name:
        return None
    left = next((item for item in observed.deployment.status.left if item.digest == snapshot.digest), None)
    return (Reason.LEFT_BEFORE, f"an earlier rollback left it: {left.reason}") if left else None


def not_before(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A rollback to before a poisoning takes only what is known to be older."""
    if question.before is None:
        return None
    date, problem = date_of(observed.trust, snapshot, evidence_of(snapshot), observed.now)
    if date is None:
        return problem
    return None if date < question.before else (Reason.AFTER_DATE, f"its data ends at {date.isoformat()}")


def not_mounted(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The workload must mount the claim that the snapshot is on."""
    source = observed.found_now(snapshot).place
    if not isinstance(source, PvcSource) or observed.workload is None or source.claim in observed.workload.claims:
        return None
    return Reason.NOT_MOUNTED, f"the workload does not mount claim {source.claim!r}"


def no_value(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Every bound field must get a value."""
    if render(observed.deployment.bindings, observed.found_now(snapshot)) is not None:
        return None
    return Reason.NO_VALUE, "a binding asks for a value that it does not have, such as spec.runtime.image"


def switch_refused(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The API server, or a policy in it, did not allow the switch to it: the next one may be allowed."""
    if not observed.was_refused(snapshot.name):
        return None
    return Reason.SWITCH_REFUSED, "the API server refused the switch to it"


def not_soaked(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Where soak is required, only what served and stayed healthy will do; an emergency does without."""
    required = observed.deployment.rollback.require_soaked and not question.emergency and not question.to
    if not required or soaked(observed, snapshot):
        return None
    return Reason.NOT_SOAKED, f"it has not served healthily for {observed.deployment.rollback.soak}"


def appeared_later(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """What appears during an incident is no remedy for it."""
    if question.to == snapshot.name or served(observed, snapshot):
        return None
    began = min(
        (item.since for item in observed.deployment.status.history if _is_left(item, question) and item.since),
        default=None,
    )
    seen = snapshot.status.first_seen
    if began is None or (seen is not None and seen < began):
        return None
    return Reason.APPEARED_LATER, "it was first seen after what is being left was first deployed"


def _is_left(item: Served, question: Question) -> bool:
    return item.snapshot == question.leaving


RULES: tuple[Rule, ...] = (
    not_asked_for,  # the quickest answer to "why not that one"
    being_left,
    digest_revoked,  # before verification: a revocation and a quarantine are the graver news
    quarantined,
    deleting,
    not_verified,
    refused_just_now,
    untrusted,  # after verification: a signature over bytes that are not there says nothing
    left_before,
    not_before,
    not_mounted,
    no_value,
    switch_refused,
    not_soaked,
    appeared_later,
)


LASTING: tuple[Rule, ...] = (not_asked_for, being_left, left_before, not_before, appeared_later)
"""Of them, those whose answer does not change while a rollback is under way."""


def was_eligible(observed: Observed, question: Question, snapshot: ModelSnapshot) -> bool:
    """Tell whether a snapshot may have been chosen a moment ago, whatever has become of it since."""
    return not any(rule(observed, question, snapshot) for rule in LASTING)


def soaked(observed: Observed, snapshot: ModelSnapshot) -> bool:
    """Tell whether these bytes served here and stayed healthy for the soak."""
    return any(item.soaked_at for item in _periods(observed, snapshot))


def served(observed: Observed, snapshot: ModelSnapshot) -> bool:
    """Tell whether these bytes ever served here."""
    return any(True for _ in _periods(observed, snapshot))


def _periods(observed: Observed, snapshot: ModelSnapshot) -> Iterable[Served]:
    return (
        item
        for item in observed.deployment.status.history
        # An object of the same name made anew has not served, whatever it says of itself; its image may be another.
        if (item.snapshot, item.digest, item.uid) == (snapshot.name, snapshot.digest, snapshot.meta.uid)
    )


def recently_verified(observed: Observed, snapshot: ModelSnapshot) -> bool:
    """Tell whether the digest was found within `maxVerificationAge`, and nothing else has been found since.

    A Job that cannot start must not take the way out of an emergency away; a mismatch does, however long ago.
    """
    status, found = snapshot.status, observed.found(snapshot)
    if status.verification is None or status.digest != snapshot.digest:
        return False
    if found is not None and found.reason == Reason.DIGEST_MISMATCH:
        return False  # known here, and not yet in the status
    if status.verification.reason not in (Reason.VERIFIED, Reason.UNREADABLE):
        return False
    at, limit = verified_at(snapshot), observed.deployment.rollback.max_verification_age
    return at is not None and timedelta(0) <= observed.now - at < limit


def verified_at(snapshot: ModelSnapshot) -> datetime | None:
    """Return when the declared digest was last found; a status of an older version has that only in `lastTime`."""
    last = snapshot.status.verification
    if last is None:
        return None
    return last.verified_at or (last.time if last.reason == Reason.VERIFIED else None)


def evidence_now(observed: Observed, snapshot: ModelSnapshot, checked: Checked) -> Evidence:
    """Return what a verification of just now found; a scan is of the digest, and need not be made again.

    Of external scanners, what they told this process: a status may be forged.
    """
    scan, heard = checked.scan or snapshot.status.scan, observed.heard.get(snapshot.name, ())
    return Evidence(examined=checked.examined, scan=scan, external=heard)


def quarantine_reason(observed: Observed, snapshot: ModelSnapshot) -> str:
    """Return why a snapshot is quarantined, or its digest revoked by a policy, or nothing."""
    if why := revoked(observed.trust, snapshot.digest):
        return why
    if snapshot.digest in observed.quarantined:
        return observed.quarantined[snapshot.digest] or "its digest is quarantined"
    mark = snapshot.status.quarantine
    return (mark.told or "quarantined") if mark and mark.scope == "Snapshot" else ""


def passed_over(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Return the first reason for which a snapshot is no candidate."""
    return next((found for rule in RULES if (found := rule(observed, question, snapshot))), None)


def family(observed: Observed) -> list[ModelSnapshot]:
    """Return the snapshots of this model, best first."""
    same = [snapshot for snapshot in observed.snapshots if snapshot.model == observed.deployment.model]
    return sorted(same, key=lambda snapshot: _rank(observed, snapshot), reverse=True)


def _rank(observed: Observed, snapshot: ModelSnapshot) -> tuple[bool, bool, datetime, datetime, str]:
    """Soaked first, then served, each most recently served first; then never served, newest first."""
    last = max((item.until or observed.now for item in _periods(observed, snapshot)), default=_NEVER)
    seen = snapshot.status.first_seen or snapshot.meta.created or _NEVER
    return soaked(observed, snapshot), last > _NEVER, last, seen, snapshot.meta.name


def select(observed: Observed, question: Question) -> tuple[ModelSnapshot | None, tuple[Candidate, ...]]:
    """Return the last known-good snapshot, if there is one, and what was found of every snapshot of the model."""
    chosen: ModelSnapshot | None = None
    candidates = []
    for snapshot in family(observed):
        problem = passed_over(observed, question, snapshot)
        if problem is None and chosen is None:
            chosen = snapshot
            candidates.append(_candidate(snapshot, "Chosen", (Reason.CHOSEN, _merit(observed, snapshot))))
        elif problem is None:
            candidates.append(_candidate(snapshot, "NotNeeded", (Reason.NOT_NEEDED, "a better one was chosen")))
        else:
            candidates.append(_candidate(snapshot, "PassedOver", problem))
    return chosen, tuple(candidates)


def _merit(observed: Observed, snapshot: ModelSnapshot) -> str:
    if soaked(observed, snapshot):
        return "the most recent that served and stayed healthy for the soak"
    return "served before" if served(observed, snapshot) else "verified, never served"


def _candidate(snapshot: ModelSnapshot, verdict: str, problem: Problem) -> Candidate:
    reason, message = problem
    return Candidate(snapshot=snapshot.name, digest=snapshot.digest, verdict=verdict, reason=reason, message=message)
