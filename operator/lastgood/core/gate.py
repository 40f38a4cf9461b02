"""What the executor asks before it lets a switch out: by its own derivation of who switches, not by the decider's."""

from lastgood.api.fields import Fields
from lastgood.api.names import Reason
from lastgood.api.specs.rollback import RollbackSpec
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.candidates.eligible import DRIFT, FORWARD, Question, ineligible, quarantine_reason
from lastgood.core.candidates.selection import ask
from lastgood.core.candidates.verified import verification
from lastgood.core.rollback.course import without_lock
from lastgood.core.state import Action, Adopt, Observed, Switch, SwitchFirst
from lastgood.core.workload import Problem, workload_problem


def refused(observed: Observed, action: Action) -> Problem | None:
    """Return why an action may not be carried out, where it writes a snapshot to a workload.

    A decision that does not pass is a fault of ours: its rules forgot to ask.
    """
    match action:
        case SwitchFirst(snapshot=snapshot, record=record):
            run = without_lock(observed, record)
            return _problem(run.observed, run.question, snapshot)
        case Switch(snapshot=snapshot, drift=True):
            return _problem(observed, DRIFT, snapshot)
        case Switch(snapshot=snapshot):
            return _problem(observed, _question(observed), snapshot)
        case Adopt(snapshot=snapshot):
            return _unwritable(observed) or _quarantined(observed, snapshot)
        case _:
            return None


def _question(observed: Observed) -> Question:
    active = observed.deployment.status.active
    if active is None:
        return FORWARD
    return ask(observed, RollbackSpec.from_fields(Fields(active.spec, strict=False)))


def _problem(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    return _unwritable(observed) or ineligible(observed, question, snapshot) or _unread(observed, question, snapshot)


def _unwritable(observed: Observed) -> Problem | None:
    if not observed.complete:
        return Reason.WAITING, "caches not synced"
    return workload_problem(observed.deployment, observed.workload)


def _quarantined(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    why = quarantine_reason(observed, snapshot)
    return (Reason.QUARANTINED, why) if why else None


def _unread(observed: Observed, question: Question, snapshot: ModelSnapshot) -> Problem | None:
    if verification(observed, snapshot, emergency=question.emergency):
        return None
    return Reason.NOT_VERIFIED, "its bytes were not verified for this switch"
