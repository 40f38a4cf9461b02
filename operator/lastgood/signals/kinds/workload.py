"""The workload itself: pods that crash, are not available, or do not come up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Self

from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.fields import Fields
from lastgood.api.names import DIGEST_STAMP, LookError
from lastgood.api.workload.workload import Workload
from lastgood.signals.signal import Question, Signal, Tools
from lastgood.signals.workload import crash_looping

CRASH_LOOP: Final = "CrashLoop"
FAULTS: Final = ("Unavailable", "ProgressDeadlineExceeded", CRASH_LOOP)


@dataclass(frozen=True, kw_only=True)
class WorkloadSource(Signal):
    """Which faults of the workload count."""

    kind: ClassVar[str] = "workload"
    conditional: ClassVar[bool] = False
    on: tuple[str, ...] = FAULTS

    @classmethod
    def read(cls, item: Fields) -> Self:
        """Read `workload.on`."""
        return cls(on=item.child("workload").texts("on", FAULTS, limit=len(FAULTS)))

    async def look(self, question: Question, tools: Tools) -> Sample:
        """Look at what the workload says of itself, and at its pods where their crashes count."""
        observed = question.observed
        if observed is None:
            return Sample(verdict=Verdict.INCONCLUSIVE, error="nothing is known of it", kind=LookError.NOT_READY)
        workload, status = observed.workload, observed.deployment.status
        asked = workload is not None and CRASH_LOOP in self.on
        pods = await tools.pods(workload) if workload and asked else ()
        crash = crash_looping([pod for pod in pods if workload and _is_of(pod, workload)])
        since = status.history[-1].since if status.history else None
        return workload_sample(self, workload, crash, status.available_at, since)


SIGNAL: Final = WorkloadSource


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
        CRASH_LOOP: crash or "",
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


def _is_of(pod: Mapping[str, Any], workload: Workload) -> bool:
    """Tell whether a pod is of the template as it is now: old ones that crash say nothing about what serves."""
    annotations = pod["metadata"].get("annotations") or {}
    return bool(annotations.get(DIGEST_STAMP) == workload.template_annotations.get(DIGEST_STAMP))
