"""The soak: how long what serves has to stay healthy until it is known good."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from lastgood.api.names import Type
from lastgood.core.state import Observed
from lastgood.core.status.pace import EVERY
from lastgood.core.workload import carries


def serves(observed: Observed) -> bool:
    """Tell whether every pod of the workload serves what the status says."""
    workload, status = observed.workload, observed.deployment.status
    serving = observed.snapshot(status.snapshot) if status.snapshot else None
    if workload is None or serving is None or not workload.rollout.complete:
        return False
    return carries(workload, observed.deployment.bindings, serving)


def soak_end(observed: Observed) -> datetime | None:
    """Return when what serves will be known good if it stays healthy; None where it does not soak."""
    status = observed.deployment.status
    healthy = status.conditions.get(Type.HEALTHY)
    last = status.history[-1] if status.history else None
    if last is None or last.soaked_at or not status.available_at or status.active:
        return None
    if healthy is None or healthy.status != "True" or healthy.since is None or not serves(observed):
        return None
    return max((healthy.since, status.available_at, *_shaken(observed))) + observed.deployment.rollback.soak


def _shaken(observed: Observed) -> Iterator[datetime]:
    """Yield when what serves was not healthy, though the status may not say so yet: it follows at most once a minute.

    What a process has heard and not written is lost when it ends; it was heard within a minute of the last write, for
    after that nothing waits.
    """
    names = {trigger.name for trigger in observed.deployment.triggers}
    yield from (tally.fell for name, tally in observed.tallies.items() if name in names and tally.fell)
    if observed.unserved:
        yield observed.unserved
    last, watched = observed.deployment.status.signalled_at, observed.watched
    if last and watched and last <= watched:
        yield min(watched, last + EVERY)


def soak_rest(observed: Observed) -> timedelta | None:
    """Return how long that is from now."""
    end = soak_end(observed)
    return end - observed.now if end else None
