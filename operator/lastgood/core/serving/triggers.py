"""Triggers: what the samples say, and which of them may act by itself."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from lastgood.api.facts.deployment_status import TriggerReport
from lastgood.api.facts.signal import Verdict
from lastgood.api.names import Outcome, Reason, Severity, Type, known
from lastgood.api.specs.deployment import Trigger
from lastgood.api.specs.rollback import FiredTrigger
from lastgood.core.candidates.eligible import Question, quarantine_reason
from lastgood.core.candidates.images import doubt
from lastgood.core.candidates.selection import ask, select
from lastgood.core.requests.requests import base_spec, open_record
from lastgood.core.state import Observed, Step, Tally, Tell
from lastgood.core.trust.trusted import evidence_of, revoked
from lastgood.core.words import INTEGRITY
from lastgood.core.workload import workload_problem

_ORDER = list(Severity)
_HOUR = timedelta(hours=1)
SILENT_LOOKS = 10
"""A trigger without a verdict for so many of its intervals protects nobody."""
_SWITCHED = (Outcome.SUCCEEDED, Outcome.UNVALIDATED)
"""A person's rollback that switched nothing starts no cooldown."""


def known_report(observed: Observed, trigger: Trigger) -> TriggerReport | None:
    """Return what the status says of a trigger."""
    return next((item for item in observed.deployment.status.triggers if item.name == trigger.name), None)


def lasts(trigger: Trigger, tally: Tally) -> bool:
    """Tell whether a trigger has said the same for as many looks in a row as count; silence counts after ten."""
    needed = trigger.failure_threshold
    return tally.streak >= (min(needed, SILENT_LOOKS) if tally.verdict == Verdict.INCONCLUSIVE else needed)


def verdict(observed: Observed, trigger: Trigger) -> Verdict:
    """Return what is known of a trigger; no sample yet leaves what was known before."""
    if f"trigger/{trigger.name}" in observed.unusable:
        return Verdict.INCONCLUSIVE
    tally, told = observed.tallies.get(trigger.name), known_report(observed, trigger)
    before = known(Verdict, told.verdict if told else "", Verdict.INCONCLUSIVE)
    if tally is None:
        return before
    if tally.verdict == Verdict.HEALTHY or lasts(trigger, tally):
        return tally.verdict
    return Verdict.INCONCLUSIVE if undecided(observed, trigger) else before


def undecided(observed: Observed, trigger: Trigger) -> bool:
    """Tell whether looks have been neither healthy nor often enough the same in a row, for longer than a row takes.

    Breaches and silence by turns, as of a model that is bad and slow, would else never fire, and never be told.
    """
    tally = observed.tallies.get(trigger.name)
    return tally is not None and _undecided(trigger, tally, observed.now)


def _undecided(trigger: Trigger, tally: Tally, now: datetime) -> bool:
    if tally.verdict == Verdict.HEALTHY or lasts(trigger, tally) or tally.settled is None:
        return False
    return now - tally.settled > max(SILENT_LOOKS, trigger.failure_threshold) * trigger.interval


def fallen(trigger: Trigger, tally: Tally, now: datetime) -> bool:
    """Tell whether a trigger is not healthy, for as many looks as count."""
    return tally.verdict != Verdict.HEALTHY and (lasts(trigger, tally) or _undecided(trigger, tally, now))


def breached(observed: Observed, trigger: Trigger) -> bool:
    """Tell whether a trigger fired: breached by as many samples in a row as its threshold asks for."""
    tally = observed.tallies.get(trigger.name)
    usable = f"trigger/{trigger.name}" not in observed.unusable  # what was seen before it was changed does not count
    return usable and tally is not None and tally.verdict == Verdict.BREACHED and lasts(trigger, tally)


def fired(observed: Observed) -> list[FiredTrigger]:
    """Return the triggers that fired, the gravest first."""
    declared = [
        FiredTrigger(
            name=trigger.name,
            severity=trigger.severity,
            value=observed.tallies[trigger.name].value,
            condition=trigger.failure_condition or trigger.source.kind,
        )
        for trigger in observed.deployment.triggers
        if breached(observed, trigger)
    ]
    found = [item for item in (integrity(observed),) if item] + declared
    return sorted(found, key=lambda item: _ORDER.index(Severity(item.severity)))


def integrity(observed: Observed) -> FiredTrigger | None:
    """What serves is not what was verified, was quarantined, or is revoked; a revoked key is told, see `told`."""
    status = observed.deployment.status
    serving = observed.snapshot(status.snapshot)
    if status.digest and (why := revoked(observed.trust, status.digest)):
        return _integrity(Reason.DIGEST_REVOKED, why)
    if status.digest and status.digest in observed.quarantined:
        return _integrity(Reason.QUARANTINED, observed.quarantined[status.digest])
    if serving is None or serving.digest != status.digest:
        return None
    if why := quarantine_reason(observed, serving):
        return _integrity(Reason.QUARANTINED, why)
    condition = serving.status.conditions.get(Type.VERIFIED)
    if condition and condition.status == "False" and condition.reason == Reason.DIGEST_MISMATCH:
        return _integrity(Reason.DIGEST_MISMATCH, condition.message)
    return None


def _integrity(reason: Reason, value: str) -> FiredTrigger:
    return FiredTrigger(name=INTEGRITY, severity=Severity.CRITICAL, value=value[:256], condition=str(reason))


def automatic(observed: Observed) -> Step | None:
    """A trigger that may act by itself has fired, and nothing binds it."""
    firing = _acting(observed)
    return (bound(observed, firing) or _open(observed, firing)) if firing else None


def kept_from_acting(observed: Observed) -> Step | None:
    """A trigger that would act by itself has fired, and is bound: that is told whatever else goes on."""
    firing = _acting(observed)
    return bound(observed, firing) if firing else None


def gravest(observed: Observed) -> FiredTrigger | None:
    """Return the gravest trigger that fired and may act by itself; a graver one that may not rolls nothing back."""
    allowed = observed.deployment.rollback.automatic
    return next((item for item in fired(observed) if item.severity in allowed), None)


def _acting(observed: Observed) -> FiredTrigger | None:
    """Return the same where there is something to act on."""
    firing = gravest(observed)
    if firing is None or not observed.deployment.status.snapshot or not observed.complete:
        return None
    return None if workload_problem(observed.deployment, observed.workload) else firing


def _open(observed: Observed, firing: FiredTrigger) -> Step | None:
    message = f"trigger {firing.name} ({firing.severity}) fired: {firing.value}"
    spec = base_spec(observed, reason=message[:1024], trigger=firing, automatic=True, requested_by="lastgood")
    return open_record(observed, spec, Reason.TRIGGER_FIRED, message)


def bound(observed: Observed, firing: FiredTrigger) -> Step | None:
    """Return what keeps an automatic rollback from happening now; none of this binds a person."""
    if firing.name == INTEGRITY and firing.condition in (Reason.QUARANTINED, Reason.DIGEST_REVOKED):
        return _fruitless(observed, firing)  # a quarantine, and a policy, are a person's word
    return _suspended(observed, firing) or _fruitless(observed, firing) or _rate_limited(observed) or _cooling(observed)


def _suspended(observed: Observed, firing: FiredTrigger) -> Step | None:
    if not observed.deployment.suspend:
        return None
    message = f"a trigger fired, but spec.suspend is true: {firing.name} ({firing.severity})"
    return Step(reason=Reason.SUSPENDED, message=message, tell=Tell.ALERT, about=firing.name)


def _fruitless(observed: Observed, firing: FiredTrigger) -> Step | None:
    """Where the last try found nothing to go back to and nothing has appeared since, another would be noise."""
    status = observed.deployment.status
    last = status.rollbacks[-1] if status.rollbacks else None
    if last is None or last.reason != Reason.NO_KNOWN_GOOD or last.at is None:
        return None
    if status.history and status.history[-1].since and status.history[-1].since > last.at:
        return None
    if select(observed, _question_of(observed, firing))[0]:
        return None
    return Step(
        reason=Reason.NO_KNOWN_GOOD,
        message=f"a trigger fired, but there is no rollback target; see ModelRollback {last.name}",
        tell=Tell.NOBODY,  # the record's end was the one alert
    )


def normal_question(observed: Observed) -> Question:
    """Return the question that an automatic rollback would ask now."""
    return _question_of(observed, gravest(observed))


def _question_of(observed: Observed, firing: FiredTrigger | None) -> Question:
    """Return the question that a trigger asks of the snapshots."""
    return ask(observed, base_spec(observed, trigger=firing, automatic=True))


def _rate_limited(observed: Observed) -> Step | None:
    limit = observed.deployment.rollback.max_per_hour
    done = observed.deployment.status.rollbacks
    # A trigger's own is never rejected: anybody may create a record that says it is one, and is.
    recent = [item for item in done if item.automatic and item.at and item.outcome != Outcome.REJECTED]
    times = [item.at for item in recent if item.at and observed.now - item.at < _HOUR]
    if len(times) < limit:
        return None
    return Step(
        reason=Reason.RATE_LIMITED,
        message=f"{limit} automatic rollbacks within an hour (spec.rollback.maxPerHour): manual intervention required",
        after=max(1.0, (min(times) + _HOUR - observed.now).total_seconds()),
        tell=Tell.ALERT,
    )


def _cooling(observed: Observed) -> Step | None:
    done = observed.deployment.status.rollbacks
    times = [item.at for item in done if item.at and (item.automatic or item.outcome in _SWITCHED)]
    if not times:
        return None
    rest = (max(times) + observed.deployment.rollback.cooldown - observed.now).total_seconds()
    if rest <= 0:
        return None
    return Step(
        reason=Reason.COOLDOWN,
        message="a trigger fired within spec.rollback.cooldown of the last rollback",
        after=rest,
        tell=Tell.WARNING,
    )


def told(observed: Observed) -> Step | None:
    """What a trigger says that nobody acts on: people hear of it, and what serves goes on serving."""
    firing, quiet = for_people(observed), silent(observed)
    return unusable(observed) or _all(firing) or distrusted(observed) or _all(quiet)


def _all(steps: Sequence[Step]) -> Step | None:
    """Return one step for all that say the same of one trigger each; people hear of each of them (alerts.py)."""
    if not steps:
        return None
    begin = steps[0].message.partition(": ")[0]
    return replace(steps[0], message=f"{begin}: {', '.join(step.message.partition(': ')[2] for step in steps)}")


def unusable(observed: Observed) -> Step | None:
    """Triggers or checks cannot be used as they are declared: said when they are written, the others go on."""
    if not observed.unusable:
        return None
    message = "; ".join(item.message for item in observed.unusable.values())[:1024]
    return Step(reason=Reason.INVALID_SPEC, message=message, tell=Tell.WARNING, about=message)


def for_people(observed: Observed) -> list[Step]:
    """Triggers fired that may not act by themselves; a step for each, or their combinations would all be news."""
    allowed = observed.deployment.rollback.automatic
    firing = [item for item in fired(observed) if item.severity not in allowed]
    # Without the value, which changes with each look: it is in status.triggers as it was when the verdict changed.
    told = [f"trigger {item.name} ({item.severity})" for item in firing]
    return [Step(reason=Reason.TRIGGER_FIRED, message=f"fired: {each}", tell=Tell.ALERT, about=each) for each in told]


def distrusted(observed: Observed) -> Step | None:
    """What serves is no longer trusted, such as by a revoked key: its bytes are what they were, so nothing rolls back.

    Else whoever may write a policy, or let a certificate expire, could stop every service at once.
    """
    status = observed.deployment.status
    serving = observed.snapshot(status.snapshot)
    if serving is None or serving.digest != status.digest or not serving.verified or not observed.complete:
        return None
    problem = doubt(observed, serving, evidence_of(serving))
    if problem is None:
        return None
    message = f"{serving.name} serves, but is no longer trusted: {problem[1]}; to replace it, request a rollback"
    return Step(reason=problem[0], message=message[:1024], tell=Tell.WARNING, about=f"serving {serving.name}")


def silent(observed: Observed) -> list[Step]:
    """Triggers have no verdict, and somebody wants to hear of that early."""
    names = [
        trigger.name
        for trigger in observed.deployment.triggers
        if trigger.alert_on_no_data
        and (tally := observed.tallies.get(trigger.name))
        and tally.verdict == Verdict.INCONCLUSIVE
        and lasts(trigger, tally)
    ]
    told = [(name, f"no data from trigger: {name}") for name in names]
    return [Step(reason=Reason.NO_DATA, message=message, tell=Tell.ALERT, about=name) for name, message in told]
