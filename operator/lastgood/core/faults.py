"""What a workload trigger says of the workload."""

from datetime import datetime

from lastgood.api.deployment import WorkloadSource
from lastgood.api.signal import Sample, Verdict
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
        return Sample(verdict=Verdict.INCONCLUSIVE, error="the workload is not there")
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
        return Sample(verdict=Verdict.INCONCLUSIVE, error="the pods are starting")
    return Sample(verdict=Verdict.HEALTHY, value=f"{rollout.available} of {rollout.desired} pods available")
