"""What the executor asks before it lets a switch out: by its own derivation of who switches, not by the decider's."""

from lastgood.api.fields import Fields
from lastgood.api.names import Reason
from lastgood.api.specs.rollback import RollbackSpec
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import Action, Adopt, Prepare, Switch, SwitchFirst
from lastgood.core.candidates.eligible import DRIFT, FORWARD, Question, ineligible, quarantine_reason
from lastgood.core.candidates.selection import ask
from lastgood.core.candidates.verified import verification
from lastgood.core.rollback.course import without_lock
from lastgood.core.state import Observed
from lastgood.core.workload import Problem, unprepared, workload_problem


def refused(observed: Observed, action: Action) -> Problem | None:
    """Return why an action may not be carried out, where it writes a snapshot to a workload.

    A decision that does not pass is a fault of ours: its rules forgot to ask.
    """
    match action:
        case Prepare(switch=switch):
            return _switch(observed, switch)
        case Switch(snapshot=snapshot):
            return _switch(observed, action) or _template_first(observed, snapshot)
        case Adopt(snapshot=snapshot):
            return _unwritable(observed) or _quarantined(observed, snapshot)
        case _:
            return None


def _switch(observed: Observed, action: Switch) -> Problem | None:
    if isinstance(action, SwitchFirst):
        run = without_lock(observed, action.record)
        return _problem(run.observed, run.question, action.snapshot)
    return _problem(observed, DRIFT if action.drift else _question(observed), action.snapshot)


def _template_first(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """Say that the pods which a switch starts would not find what they are to read."""
    workload = observed.workload
    ref = unprepared(workload, observed.deployment.bindings, snapshot) if workload else None
    return (Reason.WAITING, f"{ref} does not have what {snapshot.name} needs") if ref else None


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
