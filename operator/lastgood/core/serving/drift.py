"""A bound field was overwritten: it is written back, with a growing pause, once a minute at most."""

from datetime import timedelta
from typing import Final

from lastgood.api.names import FIELD_MANAGER, Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.workload import Workload
from lastgood.core.actions import Adopt, Switch, Verify
from lastgood.core.candidates.eligible import DRIFT, ineligible, quarantine_reason
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.workload import borrowed, carries, conflicts, render, workload_problem

_LONGEST = timedelta(minutes=1)
_TOLD: Final = 3


def pause(count: int) -> timedelta:
    """Return the pause before the next write, after `count` of them in a row: 0, 1, 2, 4 … 60 seconds."""
    return timedelta(0) if count == 0 else min(_LONGEST, timedelta(seconds=2 ** min(count - 1, 6)))


def reassert(observed: Observed, serving: ModelSnapshot) -> Step | None:
    """Write back what should serve. It is verified first: a rule of its own is no way around that one."""
    workload = observed.workload
    if workload is None or not observed.complete or _not_to_be_written(observed, serving):
        return None  # half a list does not know what is quarantined
    if carries(workload, observed.deployment.bindings, serving):
        return adopt(observed, serving)
    # A revoked key or a floor is no reason to leave what somebody else wrote in its place: it goes on serving.
    message = _overwritten(workload, observed, serving)
    return _unfit(observed, serving, message) or _write(observed, serving, message)


def _overwritten(workload: Workload, observed: Observed, serving: ModelSnapshot) -> str:
    """Name the field managers that own a bound field with another value than the one that should serve."""
    bound = render(observed.deployment.bindings, serving, serving.place) or ()
    wrong = [item.binding for item in bound if item.binding.current(workload) != item.value]
    managers = sorted({repr(manager[:128]) for _, manager in conflicts(workload, wrong)})
    if not managers:
        return f"the pod template was changed and no longer names {serving.name}; restoring it"
    return f"overwritten by field manager {', '.join(managers[:_TOLD])}; restoring {serving.name}"


def _unfit(observed: Observed, serving: ModelSnapshot, message: str) -> Step | None:
    """It may not be written, or its bytes are not known to be right at this moment."""
    fresh = observed.fresh(serving)
    if problem := ineligible(observed, DRIFT, serving):
        told = Tell.NOBODY if fresh and fresh.reason == problem[0] else Tell.WARNING  # a wrong copy is told as such
        return Step(
            reason=problem[0], message=f"{serving.name}: {problem[1]}", after=30.0 if fresh else None, tell=told
        )
    if fresh:
        return None
    busy = serving.name in observed.verifying
    return Step(reason=Reason.DRIFTED, message=message, action=None if busy else Verify(snapshot=serving))


def _write(observed: Observed, serving: ModelSnapshot, message: str) -> Step:
    rest = _rest(observed, serving)
    if rest > 0:
        return Step(reason=Reason.DRIFTED, message=message, after=rest)
    return Step(reason=Reason.DRIFTED, message=message, action=Switch(snapshot=serving, drift=True), tell=Tell.WARNING)


def _not_to_be_written(observed: Observed, serving: ModelSnapshot) -> bool:
    return bool(workload_problem(observed.deployment, observed.workload) or quarantine_reason(observed, serving))


def adopt(observed: Observed, serving: ModelSnapshot) -> Step | None:
    """What the workload carries by another's word alone would go with that word, so it is applied as it is.

    Nothing is verified for it: no pod template changes. The pause is that of a drift, for whoever takes ownership away.
    """
    workload = observed.workload
    others = borrowed(workload, observed.deployment.bindings) if workload else ()
    if not others:
        return None
    whose = f"field manager {FIELD_MANAGER} takes ownership of the bound fields of {serving.name}"
    message = f"{whose}; values unchanged, no restart"
    rest = _rest(observed, serving)
    if rest > 0:
        return Step(reason=Reason.ADOPTED, message=message, after=rest)
    action = Adopt(snapshot=serving, ref=others[0].beside)  # one object at a time, as in a switch
    return Step(reason=Reason.ADOPTED, message=message, action=action, tell=Tell.INFO)


def _rest(observed: Observed, serving: ModelSnapshot) -> float:
    """Return the seconds until the next write is due."""
    if rest := observed.rest(serving.name):
        return rest
    last = observed.drift.last
    return (last + pause(observed.drift.count) - observed.now).total_seconds() if last else 0.0
