"""A rollback finds nothing to go to: why the snapshot that a request names was refused, and what to do instead."""

from collections.abc import Mapping
from typing import Final

from lastgood.api.names import Outcome, Reason, SnapshotName
from lastgood.api.specs.rollback import Candidate
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.candidates.selection import close_to, select, unnamed
from lastgood.core.rollback.run import Run
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.workload import Problem

_TOLD: Final = 5
_OTHERWISE: Final = "name another snapshot"
_REMEDIES: Final[Mapping[str, str]] = {
    Reason.QUARANTINED: "nothing overrides a quarantine; release the digest if it was a mistake, or name another one",
    Reason.DIGEST_REVOKED: "nothing overrides a revocation; name another snapshot",
    Reason.NOT_VERIFIED: "wait until its condition Verified is True, or name another snapshot",
    Reason.UNREADABLE: "make a copy of it readable, or name another snapshot",
    Reason.NOT_MOUNTED: "mount the claim in the workload, or name another snapshot",
    Reason.NO_VALUE: "create a snapshot with that value, or name another snapshot",
    Reason.DELETING: "apply it again under another name, or name another snapshot",
    Reason.AFTER_DATE: "omit `before=`, or name an older snapshot",
    Reason.SWITCH_REFUSED: "see the Events for the answer of the API server, or name another snapshot",
}


def no_target(run: Run, candidates: tuple[Candidate, ...]) -> Step:
    """End a rollback that has nothing to go to. One that names its target is refused for what that target is."""
    if step := _refused_switches(run, candidates):
        return step
    if run.spec.to:
        return run.end(Outcome.REJECTED, *_named_problem(run.observed, run.question), candidates=candidates)
    message = "there is no known-good snapshot to roll back to; the current snapshot stays"
    return run.end(Outcome.FAILED, Reason.NO_KNOWN_GOOD, message, candidates=candidates)


def _refused_switches(run: Run, candidates: tuple[Candidate, ...]) -> Step | None:
    """What the API server refuses is an obstacle, and no verdict: a rollback waits for it, a trigger's not for ever."""
    names = [item.snapshot for item in candidates if item.reason == Reason.SWITCH_REFUSED]
    if not names:
        return None
    observed, since = run.observed, run.observed.since
    message = f"the API server refuses the switch to {', '.join(names[:_TOLD])}"
    if run.spec.automatic and since and observed.now - since >= observed.deployment.rollback.progress_deadline:
        return run.end(Outcome.FAILED, Reason.SWITCH_REFUSED, message, candidates=candidates)
    after = min(observed.rest(name) for name in names)
    return Step(reason=Reason.SWITCH_REFUSED, message=f"{message}; retrying", after=after, tell=Tell.ALERT)


def _named_problem(observed: Observed, question: Question) -> Problem:
    """Say why the snapshot that a request names was refused; the sentence names it, and ends with what to do."""
    name, snapshot = question.to, observed.snapshot(question.to)
    if snapshot is None:
        reason, why, remedy = Reason.SNAPSHOT_NOT_FOUND, _not_there(observed, name), _see(observed)
    elif snapshot.model != observed.deployment.model:
        mine = observed.deployment.model
        reason = Reason.WRONG_MODEL
        why, remedy = f"{name} belongs to model {snapshot.model!r}, this ModelDeployment to {mine!r}", _see(observed)
    elif name == observed.deployment.status.snapshot == question.leaving:
        reason, why, remedy = Reason.SERVES_ALREADY, f"{name} is already the current snapshot", "nothing to do"
    else:
        reason, why = _refused(observed, question, snapshot)
        remedy = _REMEDIES.get(reason, _OTHERWISE)
    return reason, f"to={name}: {why}; {remedy}. {_without(observed, question)}"


def _refused(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem:
    found = ineligible(observed, question, snapshot)
    if found is None:  # the lists have changed since it was refused
        return Reason.WAITING, "it was refused a moment ago, but is eligible now"
    return found[0], f"{snapshot.name} was refused ({found[0]}): {found[1]}"


def _not_there(observed: Observed, name: SnapshotName) -> str:
    return (
        f"there is no ModelSnapshot {name} in namespace {observed.deployment.meta.namespace}{close_to(observed, name)}"
    )


def _see(observed: Observed) -> str:
    return f"see `kubectl get modelsnapshots -n {observed.deployment.meta.namespace}`"


def _without(observed: Observed, question: Question) -> str:
    chosen, _ = select(observed, unnamed(observed, question))
    would = f"would go to {chosen.name}" if chosen else "would find no snapshot either"
    return f"The current snapshot stays; without `to=`, a rollback {would}"
