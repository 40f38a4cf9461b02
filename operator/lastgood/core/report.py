"""What the ModelDeployment's status says: facts into conditions, written only where something changed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from lastgood.api.deployment import Trigger
from lastgood.api.deployment_status import DeploymentStatus, TriggerReport
from lastgood.api.meta import Condition, merge_conditions, truth
from lastgood.api.names import Outcome, Reason, Type
from lastgood.api.signal import Verdict
from lastgood.core.forward import conflict_message
from lastgood.core.selection import select
from lastgood.core.state import Observed, Step, Tally
from lastgood.core.triggers import fired, question_of, verdict
from lastgood.core.workload import carries, conflicts, workload_problem

_MOMENTS = (Reason.SOAKED, Reason.DEPLOYED, Reason.ADOPTED)
"""What has just happened is no state."""
_LASTING = (Reason.RATE_LIMITED, Reason.SUSPENDED, Reason.NO_KNOWN_GOOD)
"""What only a person can change."""


def report(observed: Observed, step: Step) -> DeploymentStatus:
    """Return the status that follows from what is observed and from the step that was decided on."""
    facts = step.facts or observed.deployment.status
    seen = replace(observed, deployment=replace(observed.deployment, status=facts))
    facts = replace(facts, available_at=_available_at(seen))
    seen = replace(observed, deployment=replace(observed.deployment, status=facts))
    good = _last_known_good(seen)
    conditions = merge_conditions(facts.conditions, _conditions(seen, step, good), observed.now)
    return replace(
        facts,
        observed_generation=observed.deployment.meta.generation,
        desired=observed.deployment.snapshot,
        last_known_good=good,
        triggers=tuple(_trigger(seen, trigger) for trigger in seen.deployment.triggers),
        conditions=conditions,
    )


def _last_known_good(observed: Observed) -> str:
    if not observed.complete:
        return observed.deployment.status.last_known_good
    firing = next(iter(fired(observed)), None)
    chosen = select(observed, question_of(observed, firing))[0]
    return chosen.name if chosen else ""


def _available_at(observed: Observed) -> datetime | None:
    status = observed.deployment.status
    if status.available_at or not serves(observed):
        return status.available_at
    return observed.now


def serves(observed: Observed) -> bool:
    """Tell whether every pod of the workload serves what the status says."""
    workload, status = observed.workload, observed.deployment.status
    serving = observed.snapshot(status.snapshot) if status.snapshot else None
    if workload is None or serving is None or not workload.rollout.complete:
        return False
    return carries(workload, observed.deployment.bindings, serving)


def _trigger(observed: Observed, trigger: Trigger) -> TriggerReport:
    """A verdict is written when it changes, with the value seen then: a quiet cluster sees no writes."""
    known = next((item for item in observed.deployment.status.triggers if item.name == trigger.name), None)
    now, tally = verdict(observed, trigger), observed.tallies.get(trigger.name)
    error = _lasting_error(trigger, tally, known)
    if known and (known.verdict, known.severity, bool(known.error)) == (now, trigger.severity, bool(error)):
        return known
    return TriggerReport(
        name=trigger.name,
        severity=trigger.severity,
        verdict=now,
        value=tally.value if tally else "",
        error=error,
        since=observed.now,
    )


def _lasting_error(trigger: Trigger, tally: Tally | None, known: TriggerReport | None) -> str:
    """Return the error that a trigger has for good, or for as many looks in a row as count; one look is a blip."""
    if tally is None:
        return known.error if known else ""
    if tally.verdict != Verdict.INCONCLUSIVE:
        return ""
    if tally.invalid or tally.streak >= trigger.failure_threshold:
        return tally.error
    return known.error if known else ""


def _conditions(observed: Observed, step: Step, last_known_good: str) -> Iterator[Condition]:
    generation = observed.deployment.meta.generation
    for type_, value, reason, message in (
        _ready(observed, step),
        _healthy(observed),
        _progressing(observed),
        _rolled_back(observed),
        _known_good(observed, last_known_good),
        _conflict(observed),
        _opted_in(observed),
        _stalled(observed, step),
    ):
        yield Condition(type=type_, status=truth(value), reason=str(reason), message=message, generation=generation)


Row = tuple[Type, bool | None, Reason | str, str]


def _ready(observed: Observed, step: Step) -> Row:
    status = observed.deployment.status
    if step.reason not in (Reason.SERVING, *_MOMENTS) or not status.snapshot:
        return Type.READY, False, step.reason, step.message
    if serves(observed):
        return Type.READY, True, Reason.SERVING, f"{status.snapshot} serves"
    if status.available_at:
        return Type.READY, False, Reason.UNAVAILABLE, f"not every pod serves {status.snapshot}"
    return Type.READY, False, Reason.DEPLOYING, f"the pods of {status.snapshot} are starting"


def _healthy(observed: Observed) -> Row:
    """Breached by any trigger; unknown while pods start or a trigger has no data; healthy otherwise."""
    triggers = observed.deployment.triggers
    verdicts = {trigger.name: verdict(observed, trigger) for trigger in triggers}
    # After a restart there are no samples yet: what was breached stays so until a look says otherwise.
    known = [name for name, value in verdicts.items() if value == Verdict.BREACHED]
    breached = dict.fromkeys([*(item.name for item in fired(observed)), *known])
    if breached:
        return Type.HEALTHY, False, Reason.TRIGGER_FIRED, f"fired: {', '.join(breached)}"
    if not observed.deployment.status.snapshot:
        return Type.HEALTHY, None, Reason.NO_DATA, "nothing was deployed yet"
    if not serves(observed):
        return Type.HEALTHY, None, Reason.UNAVAILABLE, "not every pod serves it yet"
    silent = [name for name, value in verdicts.items() if value == Verdict.INCONCLUSIVE]
    if silent:
        return Type.HEALTHY, None, Reason.NO_DATA, f"no verdict from: {', '.join(silent)}"
    return Type.HEALTHY, True, Reason.HEALTHY, f"{len(triggers)} triggers healthy, every pod available"


def _progressing(observed: Observed) -> Row:
    status = observed.deployment.status
    if status.active:
        return Type.PROGRESSING, True, Reason.INTENT, f"ModelRollback {status.active.name} is under way"
    if status.snapshot and not status.available_at:
        return Type.PROGRESSING, True, Reason.DEPLOYING, f"the pods of {status.snapshot} are starting"
    return Type.PROGRESSING, False, Reason.SERVING, ""


def _rolled_back(observed: Observed) -> Row:
    status = observed.deployment.status
    last = status.rollbacks[-1] if status.rollbacks else None
    if last is None:
        return Type.ROLLED_BACK, False, Reason.NOT_ROLLED_BACK, ""
    by = status.history[-1].by if status.history else ""
    switched = by == last.name and last.outcome in (Outcome.SUCCEEDED, Outcome.UNVALIDATED)
    return (
        Type.ROLLED_BACK,
        switched,
        last.reason or Reason.NOT_ROLLED_BACK,
        f"ModelRollback {last.name}: {last.outcome}",
    )


def _known_good(observed: Observed, name: str) -> Row:
    if not observed.complete:
        return Type.KNOWN_GOOD_AVAILABLE, None, Reason.WAITING, "the lists to choose from are not complete yet"
    if not name:
        message = "there is no snapshot that a rollback could go to"
        return Type.KNOWN_GOOD_AVAILABLE, False, Reason.NO_KNOWN_GOOD, message
    return Type.KNOWN_GOOD_AVAILABLE, True, Reason.KNOWN_GOOD, f"a rollback would go to {name}"


def _conflict(observed: Observed) -> Row:
    if observed.workload is None or not conflicts(observed.workload, observed.deployment.bindings):
        return Type.GITOPS_CONFLICT, False, Reason.NO_CONFLICT, ""
    return Type.GITOPS_CONFLICT, True, Reason.FIELD_OWNED, conflict_message(observed)


def _opted_in(observed: Observed) -> Row:
    problem = workload_problem(observed.deployment, observed.workload)
    if problem and problem[0] in (Reason.TARGET_NOT_FOUND, Reason.NOT_OPTED_IN):
        return Type.OPTED_IN, False, *problem
    return Type.OPTED_IN, True, Reason.OPTED_IN, ""


def _stalled(observed: Observed, step: Step) -> Row:
    problem = workload_problem(observed.deployment, observed.workload)
    if problem:
        return Type.STALLED, True, *problem
    if step.reason in _LASTING:
        return Type.STALLED, True, step.reason, step.message
    return Type.STALLED, False, Reason.SERVING, ""


def soak_rest(observed: Observed) -> timedelta | None:
    """Return how long what serves must stay healthy until it counts as known good; None where it does not soak."""
    status = observed.deployment.status
    healthy = status.conditions.get(Type.HEALTHY)
    last = status.history[-1] if status.history else None
    if last is None or last.soaked_at or not status.available_at or status.active:
        return None
    if healthy is None or healthy.status != "True" or healthy.since is None or not serves(observed):
        return None
    return max(healthy.since, status.available_at) + observed.deployment.rollback.soak - observed.now
