"""An `apps/v1` Deployment."""

from typing import ClassVar, Final

from lastgood.api.fields import Fields
from lastgood.api.workload.target import Target
from lastgood.api.workload.workload import Rollout


class Deployment(Target):
    """Its controller counts pods in the status, and gives up after `progressDeadlineSeconds`."""

    kind: ClassVar[str] = "Deployment"

    @classmethod
    def rollout(cls, whole: Fields) -> Rollout:
        """Read the counts, and the condition `Progressing`."""
        status = whole.child("status")
        progressing = [item for item in status.items("conditions") if item.text("type") == "Progressing"]
        exceeded = [item for item in progressing if item.text("reason") == "ProgressDeadlineExceeded"]
        return Rollout(
            seen=status.integer("observedGeneration", 0) >= whole.child("metadata").integer("generation", 0),
            desired=whole.child("spec").integer("replicas", 1),
            updated=status.integer("updatedReplicas", 0),
            available=status.integer("availableReplicas", 0),
            total=status.integer("replicas", 0),
            deadline_exceeded=bool(exceeded),
            exceeded_at=exceeded[0].time("lastUpdateTime") if exceeded else None,
        )


TARGET: Final = Deployment
