"""What the ModelDeployment's status says: facts into conditions, written only where something changed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from lastgood.api.facts.alert import Alert
from lastgood.api.facts.deployment_status import DeploymentStatus, Done, TriggerReport
from lastgood.api.facts.signal import Verdict
from lastgood.api.meta import Condition, merge_conditions, truth
from lastgood.api.names import Outcome, Reason, Type
from lastgood.api.specs.deployment import Trigger
from lastgood.core.candidates.fallback import Fallback, fallback, known_good
from lastgood.core.serving.deleted import lasting_message, serving_problem
from lastgood.core.serving.forward import conflict_message
from lastgood.core.serving.soak import serves
from lastgood.core.serving.triggers import fired, known_report, lasts, verdict
from lastgood.core.state import Observed, Step
from lastgood.core.status.alerts import resolved
from lastgood.core.status.pace import moved
from lastgood.core.status.protection import gap
from lastgood.core.workload import OWNERSHIP, conflicts, workload_problem

_MOMENTS = (Reason.SOAKED, Reason.DEPLOYED, Reason.ADOPTED, Reason.FALLBACK_DELETED)
"""What has just happened is no state."""
_LASTING = (Reason.RATE_LIMITED, Reason.SUSPENDED, Reason.NO_KNOWN_GOOD)
"""What only a person can change."""


def report(
    observed: Observed, step: Step, alerts: tuple[Alert, ...] | None = None, *, moment: Step | None = None
) -> DeploymentStatus:
    """Return the status that follows from what is observed and from the step that was decided on.

    `alerts` are what people were told and still is so; None where that was not looked at, and stays as it was. `moment`
    is what has just happened, where `step` is what waits beside it.
    """
    facts = step.facts or observed.deployment.status
    seen = _seen(observed, facts)
    if facts.available_at is None and serves(seen):
        facts = replace(facts, available_at=observed.now)
        seen = _seen(observed, facts)
    # Health first: the soak counts from the moment when it became healthy, which may be this one.
    health = merge_conditions(facts.conditions, [_condition(observed, _healthy(seen))], observed.now)
    seen = _seen(seen, replace(facts, conditions=health)) if health != facts.conditions else seen
    found = fallback(seen) if observed.complete else Fallback()
    conditions = merge_conditions(facts.conditions, _conditions(seen, step, found, moment or step), observed.now)
    if observed.complete:
        facts = _going_back(facts, found)
    alerts = facts.alerts if alerts is None else alerts
    said = replace(
        facts,
        uid=observed.deployment.meta.uid,
        observed_generation=observed.deployment.meta.generation,
        desired=observed.deployment.snapshot,
        triggers=tuple(_trigger(seen, trigger) for trigger in seen.deployment.triggers),
        alerts=alerts,
        resolved=resolved(facts, alerts, observed.now),
        conditions=conditions,
    )
    return replace(said, signalled_at=observed.now) if moved(observed.deployment.status, said) else said


def unread(
    old: Mapping[str, Condition], message: str, *, serves: bool, generation: int, now: datetime
) -> dict[str, Condition]:
    """Return the conditions of an object whose spec cannot be read; `serves` where it is a ModelDeployment.

    Nobody looks at its triggers then, and nothing would be switched: what was said of that before is no longer so.
    """
    rows: list[tuple[Type, bool | None]] = [(Type.READY, False), (Type.STALLED, True)]
    rows += [(Type.PROTECTED, False), (Type.HEALTHY, None)] if serves else []
    reason = str(Reason.INVALID_SPEC)
    found = [
        Condition(type=type_, status=truth(value), reason=reason, message=message, generation=generation)
        for type_, value in rows
    ]
    return merge_conditions(old, found, now)


def _going_back(facts: DeploymentStatus, found: Fallback) -> DeploymentStatus:
    return replace(
        facts,
        last_known_good=found.normal.name if found.normal else "",
        emergency_fallback=found.emergency.name if found.emergency else "",
        fallback=found.told,
    )


def _seen(observed: Observed, facts: DeploymentStatus) -> Observed:
    if facts is observed.deployment.status:
        return observed
    return replace(observed, deployment=replace(observed.deployment, status=facts))


def _trigger(observed: Observed, trigger: Trigger) -> TriggerReport:
    """A verdict is written when it changes, with value and error as they were then: a quiet cluster sees no writes.

    Another error is written as well: the one that there was may be mended. How often is a matter of pace.py.
    """
    known, tally = known_report(observed, trigger), observed.tallies.get(trigger.name)
    now, (error, kind) = verdict(observed, trigger), _lasting_error(observed, trigger)
    if known and (known.verdict, known.severity, bool(known.error)) == (now, trigger.severity, bool(error)):
        another = (known.error, known.error_kind) != (error, kind)
        return replace(known, error=error, error_kind=kind, error_at=observed.now) if another else known
    seen = tally is not None and bool(tally.value)
    return TriggerReport(
        name=trigger.name,
        severity=trigger.severity,
        verdict=now,
        value=tally.value if tally and seen else known.value if known else "",
        value_at=tally.at if tally and seen else known.value_at if known else None,
        error=error,
        error_kind=kind,
        error_at=observed.now if error else None,
        since=known.since if known and known.verdict == now else (tally and tally.since) or observed.now,
    )


def _lasting_error(observed: Observed, trigger: Trigger) -> tuple[str, str]:
    """Return the error, and its kind, that a trigger has for good, or for as many looks in a row as count."""
    known, tally = known_report(observed, trigger), observed.tallies.get(trigger.name)
    before = (known.error, known.error_kind) if known else ("", "")
    if wrong := observed.unusable.get(f"trigger/{trigger.name}"):
        return wrong.message, str(wrong.kind)
    if tally is None:
        return before
    if tally.verdict != Verdict.INCONCLUSIVE:
        return "", ""
    return (tally.error, str(tally.kind or "")) if lasts(trigger, tally) else before  # one look is a blip


def _conditions(observed: Observed, step: Step, found: Fallback, moment: Step) -> Iterator[Condition]:
    for row in (
        _ready(observed, step),
        _healthy(observed),
        _protected(observed),
        _progressing(observed),
        _rolled_back(observed),
        known_good(observed, found, lasting_message(observed, moment)),
        _conflict(observed),
        _opted_in(observed),
        _stalled(observed, step),
    ):
        yield _condition(observed, row)


def _condition(observed: Observed, row: "Row") -> Condition:
    type_, value, reason, message = row
    generation = observed.deployment.meta.generation
    return Condition(type=type_, status=truth(value), reason=str(reason), message=message, generation=generation)


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
    if observed.snapshot(observed.deployment.status.snapshot) is None and (problem := serving_problem(observed)):
        return Type.HEALTHY, None, *problem
    if not serves(observed):
        return Type.HEALTHY, None, Reason.UNAVAILABLE, "not every pod serves it yet"
    silent = [name for name, value in verdicts.items() if value == Verdict.INCONCLUSIVE]
    if silent:
        return Type.HEALTHY, None, Reason.NO_DATA, f"no data from trigger: {', '.join(silent)}"
    return Type.HEALTHY, True, Reason.HEALTHY, f"{len(triggers)} triggers healthy, every pod available"


def _protected(observed: Observed) -> Row:
    """Whether a model that goes bad would be noticed and left; where to is another condition."""
    found = gap(observed)
    if found is None:
        return Type.PROTECTED, True, Reason.PROTECTED, "every trigger has data and may start a rollback"
    return Type.PROTECTED, found.protected, found.reason, found.message


def _progressing(observed: Observed) -> Row:
    status = observed.deployment.status
    if status.active:
        return Type.PROGRESSING, True, Reason.INTENT, f"ModelRollback {status.active.name} is in progress"
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
        f"ModelRollback {last.name}: {last.outcome}" + _told(observed, last),
    )


def _told(observed: Observed, last: Done) -> str:
    """Return what the record of a rollback that switched nothing says, for as long as the record is there."""
    record = observed.record(last.name)
    told = last.outcome in (Outcome.FAILED, Outcome.REJECTED) and record and record.status.message
    return f": {told}" if told else ""


def _conflict(observed: Observed) -> Row:
    if observed.workload is None or not conflicts(observed.workload, observed.deployment.bindings):
        return Type.GITOPS_CONFLICT, False, Reason.NO_CONFLICT, ""
    return Type.GITOPS_CONFLICT, True, Reason.FIELD_OWNED, conflict_message(observed)


def _opted_in(observed: Observed) -> Row:
    problem = workload_problem(observed.deployment, observed.workload)
    unwritable = (Reason.TARGET_NOT_FOUND, Reason.NOT_OPTED_IN, Reason.NOT_BINDABLE, *OWNERSHIP)
    if problem and problem[0] in unwritable:
        return Type.OPTED_IN, False, *problem
    return Type.OPTED_IN, True, Reason.OPTED_IN, ""


def _stalled(observed: Observed, step: Step) -> Row:
    problem = workload_problem(observed.deployment, observed.workload)
    if problem:
        return Type.STALLED, True, *problem
    if step.reason in _LASTING:
        return Type.STALLED, True, step.reason, step.message
    return Type.STALLED, False, Reason.SERVING, ""
