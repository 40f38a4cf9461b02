"""Last known good: which snapshot a rollback goes to, and why not each of the others (design: "Last known good")."""

from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches

from lastgood.api.names import Reason, SnapshotName
from lastgood.api.specs.rollback import Candidate, RollbackSpec
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.candidates.proof import Proof, least, periods, proof_of, shown_in
from lastgood.core.rollback.closing import is_bad_copy
from lastgood.core.state import Observed
from lastgood.core.workload import Problem

_COMPARED = 200  # names that a misspelt one is compared with, the best first
_NEVER = datetime.min.replace(tzinfo=UTC)


def unnamed(observed: Observed, question: Question) -> Question:
    """Return the question of the same person, without the snapshot that it names."""
    spec = RollbackSpec(deployment=observed.deployment.meta.name, emergency=question.emergency)
    return replace(question, to=SnapshotName(""), least=least(observed.deployment.rollback, spec))


def ask(observed: Observed, spec: RollbackSpec) -> Question:
    """Return the question that a rollback asks of the snapshots."""
    return Question(
        leaving=spec.source,
        leaving_digest=spec.source_digest,
        to=spec.to,
        before=spec.before,
        emergency=spec.emergency,
        bad_copy=is_bad_copy(spec),
        least=least(observed.deployment.rollback, spec),
    )


def family(observed: Observed) -> list[ModelSnapshot]:
    """Return the snapshots of this model, best first."""
    same = [snapshot for snapshot in observed.snapshots if snapshot.model == observed.deployment.model]
    return sorted(same, key=lambda snapshot: _rank(observed, snapshot), reverse=True)


def _rank(observed: Observed, snapshot: ModelSnapshot) -> tuple[Proof, datetime, datetime, str]:
    """Soaked first, then served, each most recently served first; then never served, newest first."""
    served = periods(observed, snapshot)
    last = max((item.until or observed.now for item in served), default=_NEVER)
    seen = snapshot.status.first_seen or snapshot.meta.created or _NEVER
    return shown_in(served), last, seen, snapshot.meta.name


def close_to(observed: Observed, name: str) -> str:
    """Return the names that somebody who wrote this one may have meant, to stand behind a sentence."""
    names = [snapshot.name for snapshot in family(observed)[:_COMPARED]]
    close = get_close_matches(name, names, n=2, cutoff=0.75)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def select(observed: Observed, question: Question) -> tuple[ModelSnapshot | None, tuple[Candidate, ...]]:
    """Return the last known-good snapshot, if there is one, and what was found of every snapshot of the model."""
    chosen: ModelSnapshot | None = None
    candidates = []
    for snapshot in family(observed):
        problem = ineligible(observed, question, snapshot)
        if problem is None and chosen is None:
            chosen = snapshot
            candidates.append(_candidate(snapshot, "Chosen", (Reason.CHOSEN, _merit(observed, question, snapshot))))
        elif problem is None:
            candidates.append(_candidate(snapshot, "NotNeeded", (Reason.NOT_NEEDED, "a better one was chosen")))
        else:
            candidates.append(_candidate(snapshot, "PassedOver", problem))
    return chosen, tuple(candidates)


def best(observed: Observed, question: Question) -> ModelSnapshot | None:
    """Return what `select` would choose, without what was found of the others."""
    return next((item for item in family(observed) if ineligible(observed, question, item) is None), None)


def _merit(observed: Observed, question: Question, snapshot: ModelSnapshot) -> str:
    """Say what speaks for the target; for one that never served, whose word it is."""
    match proof_of(observed, snapshot):
        case Proof.SOAKED:
            return "the most recent one that served and completed its soak"
        case Proof.SERVED:
            return "served before, but did not complete its soak: no soaked snapshot is eligible"
        case Proof.VERIFIED if question.to == snapshot.name:
            return "never served: the request names it"
        case Proof.VERIFIED if not observed.deployment.rollback.require_soaked:
            return "never served: spec.rollback.knownGood.require is Verified"
        case _:
            return "never served: last resort of an emergency"


def _candidate(snapshot: ModelSnapshot, verdict: str, problem: Problem) -> Candidate:
    reason, message = problem
    return Candidate(snapshot=snapshot.name, digest=snapshot.digest, verdict=verdict, reason=reason, message=message)
