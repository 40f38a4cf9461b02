"""Which snapshot may be written to a workload, by whichever way it comes there: the rules stand here, and only here.

A rollback asks them of each candidate, forward deployment of what `spec.snapshot` names, and drift of what is to be
written back. The executor asks again before each switch, so that a way that forgot to ask does not get through.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from lastgood.api.facts.deployment_status import Served
from lastgood.api.names import RESUME, Digest, Reason, SnapshotName, Type
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource
from lastgood.core.candidates.images import image_problem
from lastgood.core.candidates.proof import Proof, proof_of
from lastgood.core.candidates.verified import evidence_now, recently_verified
from lastgood.core.state import Observed
from lastgood.core.trust.trusted import date_of, distrust, evidence_of, revoked
from lastgood.core.workload import Problem, unbound


class Way(Enum):
    """How a snapshot comes to be written."""

    ROLLBACK = auto()
    FORWARD = auto()
    DRIFT = auto()


@dataclass(frozen=True, kw_only=True)
class Question:
    """By which way a snapshot is to be written; for a rollback also what is left, and what was said of the target.

    `bad_copy`: what is left is one wrong copy; another snapshot of the same digest is no less good for it. `least` is
    the proof that a target must have; among those that have it, the one with the most is taken.
    """

    way: Way = Way.ROLLBACK
    leaving: SnapshotName = SnapshotName("")
    leaving_digest: Digest = Digest("")
    to: SnapshotName = SnapshotName("")
    before: datetime | None = None
    emergency: bool = False
    bad_copy: bool = False
    least: Proof = Proof.SOAKED


TIMES_REFUSED: Final = 3
"""How often in a row a switch is refused until a rollback tries the next one; a webhook may be away for a moment."""
FORWARD: Final = Question(way=Way.FORWARD)
DRIFT: Final = Question(way=Way.DRIFT)

Rule = Callable[[Observed, Question, ModelSnapshot], Problem | None]


def not_asked_for(_: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Whoever names a target gets that one or none."""
    if question.to and snapshot.name != question.to:
        return Reason.NOT_ASKED_FOR, f"the request names {question.to}"
    return None


def being_left(_: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Nobody rolls back to what is being left, nor to the same bytes under another name."""
    if snapshot.name == question.leaving:
        return Reason.LEAVING, "it is the current snapshot"
    if not question.bad_copy and snapshot.digest == question.leaving_digest:
        return Reason.LEAVING, "it has the digest of the current snapshot"
    return None


def held(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A rollback left it; it stays without effect until someone names another."""
    holding = observed.deployment.status.held
    if holding is None or holding.snapshot != snapshot.name:
        return None
    return Reason.HELD, (
        f"on hold since ModelRollback {holding.rollback}: {holding.reason}; "
        f"name another snapshot in spec.snapshot, or annotate {RESUME}"
    )


def left_before(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Never back and forth between two bad ones; a person who names the snapshot of a rollback releases it."""
    if question.to == snapshot.name:
        return None
    left = next((item for item in observed.deployment.status.left if item.digest == snapshot.digest), None)
    if left is None:
        return None
    if question.way is Way.FORWARD:
        told = f"digest rejected by an earlier rollback: {left.reason}"
        return Reason.HELD, f"{told}; to deploy it anyway, annotate {RESUME}"
    return Reason.LEFT_BEFORE, f"rejected by an earlier rollback: {left.reason}"


def other_model(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A deployment stays inside one family."""
    if snapshot.model == observed.deployment.model:
        return None
    return Reason.WRONG_MODEL, f"it belongs to model {snapshot.model!r}"


def digest_revoked(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A trust policy revokes the digest: as final as a quarantine, for an emergency too."""
    why = revoked(observed.trust, snapshot.digest)
    return (Reason.DIGEST_REVOKED, why) if why else None


def quarantined(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A quarantine is never overridden, not even in an emergency."""
    why = quarantine_reason(observed, snapshot)
    return (Reason.QUARANTINED, why) if why else None


def deleting(_: Observed, __: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A snapshot that is being deleted is on its way out."""
    return (Reason.DELETING, "it is being deleted") if snapshot.meta.deleting else None


def not_verified(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The last verification must have found the declared digest; see `recently_verified` for an emergency."""
    if snapshot.verified or (question.emergency and recently_verified(observed, snapshot)):
        return None
    condition = snapshot.status.conditions.get(Type.VERIFIED)
    if condition is None or condition.reason not in (Reason.DIGEST_MISMATCH, Reason.UNREADABLE):
        return Reason.NOT_VERIFIED, "it has not been verified yet"
    return Reason(condition.reason), condition.message


def refused_just_now(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The verification at the moment of use outranks what the status says."""
    fresh = observed.fresh(snapshot)
    if fresh is None:
        return None
    if fresh.reason != Reason.VERIFIED:
        return fresh.reason, fresh.message
    if question.way is Way.DRIFT:
        return None  # see untrusted
    return distrust(observed.trust, snapshot, evidence_now(observed, snapshot, fresh), observed.now)


def untrusted(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """What the trust policies ask for binds everybody, an emergency and a person who names the snapshot too."""
    return distrust(observed.trust, snapshot, evidence_of(snapshot), observed.now)


def not_before(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """A rollback to before a poisoning takes only what is known to be older."""
    if question.before is None:
        return None
    date, problem = date_of(observed.trust, snapshot, evidence_of(snapshot), observed.now)
    if date is None:
        return problem
    if date < question.before:
        return None
    return Reason.AFTER_DATE, f"its date {date.isoformat()} is not before {question.before.isoformat()}"


def not_mounted(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The workload must mount the claim that the snapshot is on."""
    source = observed.found_now(snapshot).place
    if not isinstance(source, PvcSource) or observed.workload is None or source.claim in observed.workload.claims:
        return None
    return Reason.NOT_MOUNTED, f"the workload does not mount claim {source.claim!r}"


def no_value(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Every bound field must get a value; the bindings may be others than it was deployed with."""
    why = unbound(observed.deployment.bindings, observed.found_now(snapshot))
    return (Reason.NO_VALUE, f"spec.bindings: {why}") if why else None


def image_refused(observed: Observed, _: Question, snapshot: ModelSnapshot) -> Problem | None:
    """An image is code: without a policy's word on it, it is written for nobody, in no emergency either."""
    fresh = observed.fresh(snapshot)
    good = fresh is not None and fresh.reason == Reason.VERIFIED
    evidence = evidence_now(observed, snapshot, fresh) if fresh and good else evidence_of(snapshot)
    return image_problem(observed, snapshot, evidence)


def switch_refused(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """The API server, or a policy in it, does not allow the switch to it; a rollback tries the next one as well."""
    found, enough = observed.refused.get(snapshot.name), TIMES_REFUSED if question.way is Way.ROLLBACK else 1
    if found is None or found.count < enough or not observed.rest(snapshot.name):
        return None
    return Reason.SWITCH_REFUSED, "the API server refused the switch to it; retrying"


def unproven(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """It must have shown here what the question asks for; see proof.py for who asks for how much."""
    if proof_of(observed, snapshot) >= question.least:
        return None
    if question.least == Proof.SOAKED:
        return Reason.NOT_SOAKED, f"it has not completed its soak ({observed.deployment.rollback.soak})"
    return Reason.NEVER_SERVED, "it never served here; to use it anyway, name it with to="


def appeared_later(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """What appears during an incident is no remedy for it."""
    if question.to == snapshot.name or proof_of(observed, snapshot) > Proof.VERIFIED:
        return None
    began = min(
        (item.since for item in observed.deployment.status.history if _is_left(item, question) and item.since),
        default=None,
    )
    seen = snapshot.status.first_seen
    if began is None or (seen is not None and seen < began):
        return None
    return Reason.APPEARED_LATER, "it was first seen after the current snapshot was first deployed"


def _is_left(item: Served, question: Question) -> bool:
    return item.snapshot == question.leaving


_EVERY: Final = frozenset(Way)
_ROLLBACK, _FORWARD, _DRIFT = (frozenset({way}) for way in Way)
_NOT_DRIFT: Final = _ROLLBACK | _FORWARD

RULES: Final[Mapping[Rule, frozenset[Way]]] = {
    not_asked_for: _ROLLBACK,  # the quickest answer to "why not that one"
    being_left: _ROLLBACK,
    held: _FORWARD,  # what a person has to decide comes first; a rollback does not go by what Git names
    other_model: _NOT_DRIFT,  # what serves goes on serving where spec.model was changed
    digest_revoked: _EVERY,  # before verification: a revocation and a quarantine are the graver news
    quarantined: _EVERY,
    deleting: _ROLLBACK,  # what spec.snapshot names is somebody's word while it is there
    not_verified: _NOT_DRIFT,  # what serves was, and is verified anew before it is written back
    refused_just_now: _EVERY,
    untrusted: _NOT_DRIFT,  # a revoked key or a floor is no reason to leave what somebody else wrote in its place
    left_before: _NOT_DRIFT,
    not_before: _ROLLBACK,
    not_mounted: _NOT_DRIFT,  # a claim that was taken from the template stops what serves; its path is still right
    no_value: _EVERY,
    image_refused: _EVERY,  # after its value: it must have one
    switch_refused: _NOT_DRIFT,  # drift has a pause of its own
    unproven: _ROLLBACK,
    appeared_later: _ROLLBACK,
}
"""Every rule, with the ways that it binds. The first that answers is the reason."""
_BINDING: Final = {way: tuple(rule for rule, ways in RULES.items() if way in ways) for way in Way}

LASTING: Final[tuple[Rule, ...]] = (not_asked_for, being_left, left_before, not_before, appeared_later)
"""Of them, those whose answer does not change while a rollback is under way."""


def ineligible(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    """Return the first reason for which a snapshot may not be written by this way."""
    rules = _BINDING[question.way]
    return next((found for rule in rules if (found := rule(observed, question, snapshot))), None)


def was_eligible(observed: Observed, question: Question, snapshot: ModelSnapshot) -> bool:
    """Tell whether a snapshot may have been chosen a moment ago, whatever has become of it since."""
    return not any(rule(observed, question, snapshot) for rule in LASTING)


def quarantine_reason(observed: Observed, snapshot: ModelSnapshot) -> str:
    """Return why a snapshot is quarantined, or its digest revoked by a policy, or nothing."""
    if why := revoked(observed.trust, snapshot.digest):
        return why
    if snapshot.digest in observed.quarantined:
        return observed.quarantined[snapshot.digest] or "its digest is quarantined"
    mark = snapshot.status.quarantine
    return (mark.told or "quarantined") if mark and mark.scope == "Snapshot" else ""
