"""What people have to hear of, whatever else goes on: each thing once, as long as it is so.

What is done next, and what `Ready` says, is one step. A warning must not depend on being that step: a deployment that
waits for the same reason, a hold, or a rollback under way would swallow it. So every rule that warns is asked, and the
status keeps what was told, which no restart forgets.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from lastgood.api.facts.alert import MAX_ALERTS, Alert, Resolved
from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.core.serving import triggers
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.status import protection
from lastgood.core.status.pace import RECENT

GRAVE = (Tell.WARNING, Tell.ALERT)

Notice = Callable[[Observed], Step | Sequence[Step] | None]
_NOTICES: tuple[Notice, ...] = (
    triggers.kept_from_acting,  # something is wrong now, and nothing is done about it
    triggers.for_people,
    triggers.distrusted,
    triggers.silent,
    triggers.unusable,  # something would not be noticed
    protection.unprotected,
)
"""Those that no action may hide; whatever else waits and warns is told as well."""


def grave(observed: Observed, waiting: Iterable[Step]) -> list[Step]:
    """Return all that people have to hear of now, each once."""
    noticed = [step for rule in _NOTICES for step in _steps(rule(observed))]
    found = {key(step): step for step in (*waiting, *noticed) if step.tell in GRAVE and not step.action}
    return list(found.values())[:MAX_ALERTS]


def _steps(found: Step | Sequence[Step] | None) -> Sequence[Step]:
    return [found] if isinstance(found, Step) else found or []


def key(step: Step) -> tuple[str, str]:
    """Return what makes two warnings the same."""
    return str(step.reason), step.about


def untold(observed: Observed, steps: Iterable[Step]) -> list[Step]:
    """Return those that people have not heard of."""
    known = {alert.key for alert in observed.deployment.status.alerts}
    return [step for step in steps if key(step) not in known]


def recorded(observed: Observed, steps: Iterable[Step]) -> tuple[Alert, ...]:
    """Return what the status keeps: what was told before stays as it was told."""
    known = {alert.key: alert for alert in observed.deployment.status.alerts}
    return tuple(
        known.get(key(step))
        or Alert(reason=str(step.reason), about=step.about, message=step.message[:1024], since=observed.now)
        for step in steps
    )


def resolved(status: DeploymentStatus, alerts: Sequence[Alert], now: datetime) -> tuple[Resolved, ...]:
    """Return what was told and is so no more, for as long as it would be no news (pace.py); the oldest go first."""
    standing = {alert.key for alert in alerts}
    if standing == {alert.key for alert in status.alerts}:
        return status.resolved  # not written for its own sake
    before = {item.key: item for item in status.resolved if item.until and now - item.until < RECENT}
    ended = {alert.key: Resolved(reason=alert.reason, about=alert.about, until=now) for alert in status.alerts}
    return tuple(item for key, item in (before | ended).items() if key not in standing)[-MAX_ALERTS:]
