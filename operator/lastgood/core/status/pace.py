"""How often the status follows signals: at most once a minute, however fast triggers and pods change their minds.

Nothing that is done waits for this: rules go by the samples in memory. Only what people read waits, and of that only
what they have heard of: what is news to them is written at once. The times are in the status, so that a restart begins
nothing anew.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from lastgood.api.facts.deployment_status import DeploymentStatus, TriggerReport
from lastgood.api.facts.signal import Verdict
from lastgood.api.meta import Condition
from lastgood.api.names import Reason, Type
from lastgood.core.state import Observed

EVERY: Final = timedelta(minutes=1)
RECENT: Final = timedelta(hours=1)
"""A warning that comes back within this time is no news: people have heard of it."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z")

SIGNALS: Final[Mapping[str, frozenset[str]]] = {
    Type.HEALTHY: frozenset({Reason.HEALTHY, Reason.TRIGGER_FIRED, Reason.NO_DATA, Reason.UNAVAILABLE}),
    Type.PROTECTED: frozenset({Reason.PROTECTED, Reason.NO_DATA, Reason.WAITING}),
    Type.READY: frozenset(
        {
            Reason.SERVING,
            Reason.UNAVAILABLE,
            Reason.TRIGGER_FIRED,
            Reason.NO_DATA,
            # A trigger fired, and is bound: it comes and goes with the trigger.
            Reason.COOLDOWN,
            Reason.RATE_LIMITED,
            Reason.SUSPENDED,
            Reason.NO_KNOWN_GOOD,
            # Somebody writes a bound field again and again: it comes and goes with each write.
            Reason.DRIFTED,
            Reason.ADOPTED,
        }
    ),
    Type.STALLED: frozenset({Reason.SERVING, Reason.RATE_LIMITED, Reason.SUSPENDED, Reason.NO_KNOWN_GOOD}),
    Type.GITOPS_CONFLICT: frozenset({Reason.FIELD_OWNED, Reason.NO_CONFLICT}),
    Type.KNOWN_GOOD_AVAILABLE: frozenset({Reason.NOTHING_SOAKED}),  # its message says when the soak ends
}
"""What conditions say because of a signal: a change from one of these reasons to another may wait, no other may."""


def rest(observed: Observed, report: DeploymentStatus) -> float | None:
    """Return for how many seconds a report waits; 0 where it is to be written now, None where it says nothing else."""
    known = observed.deployment.status
    if lasting(known, report) or _news(observed, report):
        return 0.0
    if not moved(known, report):
        return None
    return max(0.0, 0.0, *((time - observed.now).total_seconds() for time in _due(observed, report)))


def moved(known: DeploymentStatus, report: DeploymentStatus) -> bool:
    """Tell whether anything changed that a signal says."""
    if (known.triggers, known.alerts) != (report.triggers, report.alerts):
        return True
    return any(_of_signals(before, after) for before, after in _changed(known, report))


def lasting(known: DeploymentStatus, report: DeploymentStatus) -> bool:
    """Tell whether anything changed that no signal says, such as what serves, what is asked for, or who owns it."""
    if any(not _of_signals(before, after) for before, after in _changed(known, report)):
        return True
    return _unsignalled(known) != _unsignalled(report)


def _unsignalled(status: DeploymentStatus) -> DeploymentStatus:
    return replace(status, triggers=(), alerts=(), resolved=(), signalled_at=None, conditions={})


def _changed(known: DeploymentStatus, report: DeploymentStatus) -> Iterator[tuple[Condition | None, Condition | None]]:
    """Yield the conditions that differ by more than a time in a message, such as the end of a soak, which moves."""
    for type_ in known.conditions.keys() | report.conditions.keys():
        before, after = known.conditions.get(type_), report.conditions.get(type_)
        if before != after and _timeless(before) != _timeless(after):
            yield before, after


def _timeless(condition: Condition | None) -> Condition | None:
    return condition and replace(condition, message=_TIME.sub("", condition.message))


def _of_signals(before: Condition | None, after: Condition | None) -> bool:
    if before is None or after is None or before.generation != after.generation:
        return False
    return {before.reason, after.reason} <= SIGNALS.get(after.type, frozenset())


def _news(observed: Observed, report: DeploymentStatus) -> bool:
    """Tell whether a report is news to people: an alert, or a trigger's first verdict on what serves."""
    status, now = observed.deployment.status, observed.now
    heard = {alert.key for alert in status.alerts}
    heard |= {alert.key for alert in status.resolved if alert.until and now - RECENT < alert.until <= now}
    return any(alert.key not in heard for alert in report.alerts) or any(
        _first(observed, before) for before, _ in _verdicts(observed, report)
    )


def _verdicts(observed: Observed, report: DeploymentStatus) -> Iterator[tuple[TriggerReport | None, TriggerReport]]:
    """Yield the reports of triggers whose verdict has changed, each with the one before it."""
    known = {item.name: item for item in observed.deployment.status.triggers}
    for item in report.triggers:
        before = known.get(item.name)
        if before is None or before.verdict != item.verdict:
            yield before, item


def _first(observed: Observed, before: TriggerReport | None) -> bool:
    """Tell whether what was said of a trigger is not about what serves now, or from before its first verdict on that.

    A model that has just begun to serve often has too few samples at first: its soak must not begin a minute later.
    """
    if before is None or before.since is None:
        return True
    begin = began(observed.deployment.status)
    if before.verdict == Verdict.INCONCLUSIVE and (before.value_at is None or (begin and before.value_at <= begin)):
        return True
    return begin is not None and before.since <= begin


def began(status: DeploymentStatus) -> datetime | None:
    """Return since when looks are about what serves now, in all its pods."""
    since = status.history[-1].since if status.history else None
    return max((time for time in (since, status.available_at) if time), default=None)


def _due(observed: Observed, report: DeploymentStatus) -> Iterator[datetime]:
    """Yield the times before which a report is not written."""
    status, begin = observed.deployment.status, began(observed.deployment.status)
    last = status.signalled_at
    if last and last <= observed.now and (begin is None or last >= begin):  # who forges a later one stops no report
        yield last + EVERY
    changed = [after for _, after in _verdicts(observed, report)]
    if all(item.verdict == Verdict.HEALTHY for item in changed):  # a relapse would follow at once
        for item in changed:
            tally = observed.tallies.get(item.name)
            if fell := (tally and tally.fell) or observed.watched:
                yield fell + EVERY
