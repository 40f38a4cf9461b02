"""What a trigger's look says of what serves now."""

from datetime import datetime

from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.names import LookError
from lastgood.api.specs.deployment import HttpSource, Trigger, WorkloadSource
from lastgood.core.state import Observed
from lastgood.core.workload import Workload


def workload_sample(
    source: WorkloadSource,
    workload: Workload | None,
    crash: str | None,
    available_at: datetime | None,
    since: datetime | None = None,
) -> Sample:
    """Return the verdict on a workload; one that has never been available since the switch is still starting.

    What its controller said of the template before the switch, `since`, says nothing about what serves.
    """
    if workload is None:
        return Sample(verdict=Verdict.INCONCLUSIVE, error="the workload does not exist", kind=LookError.NOT_READY)
    rollout = workload.rollout
    faults = {
        "CrashLoop": crash or "",
        "ProgressDeadlineExceeded": "the rollout exceeded its progress deadline" if rollout.exceeded(since) else "",
        "Unavailable": f"{rollout.available} of {rollout.desired} pods available"
        if available_at and rollout.seen and rollout.available < rollout.desired
        else "",
    }
    found = next((faults[name] for name in faults if name in source.on and faults[name]), "")
    if found:
        return Sample(verdict=Verdict.BREACHED, value=found[:256])
    if not rollout.complete and not available_at:
        return Sample(verdict=Verdict.INCONCLUSIVE, error="the pods are starting", kind=LookError.NOT_READY)
    return Sample(verdict=Verdict.HEALTHY, value=f"{rollout.available} of {rollout.desired} pods available")


def speaks_of_what_serves(observed: Observed, trigger: Trigger) -> bool:
    """Tell whether an answer would be about what serves, and not of pods of what served before.

    A rollout that does not end is looked at all the same after the progress deadline: it may be half of the traffic.
    """
    status = observed.deployment.status
    if not isinstance(trigger.source, HttpSource) or status.available_at:
        return True
    since = status.history[-1].since if status.history else None
    return since is None or observed.now - since >= observed.deployment.rollback.progress_deadline
