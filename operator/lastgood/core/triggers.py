"""Triggers: what the samples say, and which of them may act by itself."""

from datetime import timedelta

from lastgood.api.deployment import Trigger
from lastgood.api.names import Outcome, Reason, Severity, Type
from lastgood.api.rollback import FiredTrigger
from lastgood.api.signal import Verdict
from lastgood.core.requests import base_spec, open_record
from lastgood.core.selection import Question, quarantine_reason, select
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.trusted import distrust, evidence_of, revoked
from lastgood.core.words import INTEGRITY
from lastgood.core.workload import workload_problem

_ORDER = list(Severity)
_HOUR = timedelta(hours=1)
_SWITCHED = (Outcome.SUCCEEDED, Outcome.UNVALIDATED)
"""A person's rollback that switched nothing starts no cooldown."""


def verdict(observed: Observed, trigger: Trigger) -> Verdict:
    """Return what is known of a trigger; no sample yet leaves what was known before."""
    tally = observed.tallies.get(trigger.name)
    known = next((item for item in observed.deployment.status.triggers if item.name == trigger.name), None)
    before = Verdict(known.verdict) if known and known.verdict in set(Verdict) else Verdict.INCONCLUSIVE
    if tally is None:
        return before
    if tally.verdict == Verdict.HEALTHY or tally.streak >= trigger.failure_threshold:
        return tally.verdict
    return before


def breached(observed: Observed, trigger: Trigger) -> bool:
    """Tell whether a trigger fired: breached by as many samples in a row as its threshold asks for."""
    tally = observed.tallies.get(trigger.name)
    return tally is not None and tally.verdict == Verdict.BREACHED and tally.streak >= trigger.failure_threshold


def fired(observed: Observed) -> list[FiredTrigger]:
    """Return the triggers that fired, the gravest first."""
    declared = [
        FiredTrigger(
            name=trigger.name,
            severity=trigger.severity,
            value=observed.tallies[trigger.name].value,
            condition=trigger.failure_condition or "workload",
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
    allowed = observed.deployment.rollback.automatic
    firing = next((item for item in fired(observed) if item.severity in allowed), None)
    if firing is None or not observed.deployment.status.snapshot or not observed.complete:
        return None
    if workload_problem(observed.deployment, observed.workload):
        return None
    return bound(observed, firing) or _open(observed, firing)


def _open(observed: Observed, firing: FiredTrigger) -> Step:
    message = f"trigger {firing.name} ({firing.severity}) fired: {firing.value}"
    spec = base_spec(observed, reason=message[:1024], trigger=firing, automatic=True, requested_by="lastgood")
    return open_record(observed, spec, Reason.TRIGGER_FIRED, message)


def bound(observed: Observed, firing: FiredTrigger) -> Step | None:
    """Return what keeps an automatic rollback from happening now; none of this binds a person."""
    if firing.name == INTEGRITY and firing.condition in (Reason.QUARANTINED, Reason.DIGEST_REVOKED):
        return _fruitless(observed, firing)  # a quarantine, and a policy, are a person's word
    return _suspended(observed) or _fruitless(observed, firing) or _rate_limited(observed) or _cooling(observed)


def _suspended(observed: Observed) -> Step | None:
    if not observed.deployment.suspend:
        return None
    return Step(reason=Reason.SUSPENDED, message="a trigger fired, but spec.suspend is true", tell=Tell.ALERT)


def _fruitless(observed: Observed, firing: FiredTrigger) -> Step | None:
    """Where the last try found nothing to go back to and nothing has appeared since, another would be noise."""
    status = observed.deployment.status
    last = status.rollbacks[-1] if status.rollbacks else None
    if last is None or last.reason != Reason.NO_KNOWN_GOOD or last.at is None:
        return None
    if status.history and status.history[-1].since and status.history[-1].since > last.at:
        return None
    if select(observed, question_of(observed, firing))[0]:
        return None
    return Step(
        reason=Reason.NO_KNOWN_GOOD,
        message=f"a trigger fired, but there is nothing to go back to; see ModelRollback {last.name}",
        tell=Tell.NOBODY,  # the record's end was the one alert
    )


def question_of(observed: Observed, firing: FiredTrigger | None) -> Question:
    """Return the question that a trigger asks of the snapshots."""
    status = observed.deployment.status
    bad_copy = firing is not None and firing.name == INTEGRITY and firing.condition == Reason.DIGEST_MISMATCH
    return Question(leaving=status.snapshot, leaving_digest=status.digest, bad_copy=bad_copy)


def _rate_limited(observed: Observed) -> Step | None:
    limit = observed.deployment.rollback.max_per_hour
    recent = [item for item in observed.deployment.status.rollbacks if item.automatic and item.at]
    times = [item.at for item in recent if item.at and observed.now - item.at < _HOUR]
    if len(times) < limit:
        return None
    return Step(
        reason=Reason.RATE_LIMITED,
        message=f"{limit} automatic rollbacks within an hour (spec.rollback.maxPerHour): a person must look at this",
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
    return _unusable(observed) or _for_people(observed) or _distrusted(observed) or _silent(observed)


def _unusable(observed: Observed) -> Step | None:
    wrong = [
        f"spec.triggers[{trigger.name}].{tally.error}"
        for trigger in observed.deployment.triggers
        if (tally := observed.tallies.get(trigger.name)) and tally.invalid
    ]
    return Step(reason=Reason.INVALID_SPEC, message="; ".join(wrong), tell=Tell.WARNING) if wrong else None


def _for_people(observed: Observed) -> Step | None:
    allowed = observed.deployment.rollback.automatic
    firing = [item for item in fired(observed) if item.severity not in allowed]
    if not firing:
        return None
    # Without the value, which changes with each look: it is in status.triggers as it was when the verdict changed.
    message = "fired: " + ", ".join(f"trigger {item.name} ({item.severity})" for item in firing)
    return Step(reason=Reason.TRIGGER_FIRED, message=message, tell=Tell.ALERT)


def _distrusted(observed: Observed) -> Step | None:
    """What serves is no longer trusted, such as by a revoked key: its bytes are what they were, so nothing rolls back.

    Else whoever may write a policy, or let a certificate expire, could stop every service at once.
    """
    status = observed.deployment.status
    serving = observed.snapshot(status.snapshot)
    if serving is None or serving.digest != status.digest or not serving.verified or not observed.complete:
        return None
    problem = distrust(observed.trust, serving, evidence_of(serving), observed.now)
    if problem is None:
        return None
    message = f"{serving.name} serves and is no longer trusted: {problem[1]}; to leave it, ask for a rollback"
    return Step(reason=problem[0], message=message[:1024], tell=Tell.WARNING)


def _silent(observed: Observed) -> Step | None:
    names = [
        trigger.name
        for trigger in observed.deployment.triggers
        if trigger.alert_on_no_data
        and (tally := observed.tallies.get(trigger.name))
        and tally.verdict == Verdict.INCONCLUSIVE
        and tally.streak >= trigger.failure_threshold
    ]
    if not names:
        return None
    return Step(reason=Reason.NO_DATA, message=f"no data from: {', '.join(names)}", tell=Tell.ALERT)
