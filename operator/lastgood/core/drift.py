"""Something else wrote a bound field: it is written back, with a growing pause, once a minute at most."""

from datetime import timedelta

from lastgood.api.names import Reason
from lastgood.api.snapshot import ModelSnapshot
from lastgood.core.selection import quarantine_reason
from lastgood.core.state import Observed, Step, Switch, Tell, Verify
from lastgood.core.workload import carries, workload_problem

_LONGEST = timedelta(minutes=1)


def pause(count: int) -> timedelta:
    """Return the pause before the next write, after `count` of them in a row: 0, 1, 2, 4 … 60 seconds."""
    return timedelta(0) if count == 0 else min(_LONGEST, timedelta(seconds=2 ** min(count - 1, 6)))


def reassert(observed: Observed, serving: ModelSnapshot) -> Step | None:
    """Write back what should serve. It is verified first: a rule of its own is no way around that one."""
    workload = observed.workload
    if workload is None or workload_problem(observed.deployment, workload) or not observed.complete:
        return None  # half a list does not know what is quarantined
    if carries(workload, observed.deployment.bindings, serving) or quarantine_reason(observed, serving):
        return None
    # A revoked key or a floor is no reason to leave what somebody else wrote in its place: it goes on serving.
    message = f"something else wrote a bound field; it is set to {serving.name} again"
    fresh = observed.fresh(serving)
    if fresh is None:
        busy = serving.name in observed.verifying
        return Step(reason=Reason.DRIFTED, message=message, action=None if busy else Verify(snapshot=serving))
    if fresh.reason != Reason.VERIFIED:
        return Step(reason=fresh.reason, message=fresh.message, after=30.0)
    rest = _rest(observed, serving)
    if rest > 0:
        return Step(reason=Reason.DRIFTED, message=message, after=rest)
    return Step(reason=Reason.DRIFTED, message=message, action=Switch(snapshot=serving, drift=True), tell=Tell.WARNING)


def _rest(observed: Observed, serving: ModelSnapshot) -> float:
    """Return the seconds until the next write is due."""
    if observed.was_refused(serving.name):
        return _LONGEST.total_seconds()
    last = observed.drift.last
    return (last + pause(observed.drift.count) - observed.now).total_seconds() if last else 0.0
