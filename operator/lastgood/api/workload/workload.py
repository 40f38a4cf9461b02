"""A workload as observed: the facts that a decision goes by, the same for every kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lastgood.api.meta import Meta
from lastgood.api.workload.companion import Companion, ObjectRef


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container of the pod template; `computed` names the variables that take their value from elsewhere."""

    name: str
    init: bool = False
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    computed: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How far the workload's controller has come; `desired` and the counts are pods."""

    seen: bool = False
    desired: int = 0
    updated: int = 0
    available: int = 0
    total: int = 0
    deadline_exceeded: bool = False
    exceeded_at: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether every pod is of the newest template and available (as `kubectl rollout status` has it)."""
        return self.seen and self.total == self.updated == self.desired and self.available >= self.desired

    def exceeded(self, since: datetime | None) -> bool:
        """Tell whether the controller gave up on what is rolled out since then.

        What it said of an earlier template stays in its status until a pod of the newest one makes progress.
        """
        stale = self.exceeded_at is not None and since is not None and self.exceeded_at <= since
        return self.seen and self.deadline_exceeded and not stale


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A workload, with what a decision needs of it.

    `rivals` are other ModelDeployments that target it; nobody looks for them where the label says whose it is. `owners`
    are the field managers, each with what it owns of the pod template, as `managedFields` has it. `kind` is what
    `spec.targetRef.kind` calls it. `companions` are what bindings write beside it, None if an object is missing.
    """

    meta: Meta
    kind: str = "Deployment"
    containers: Mapping[str, Container] = field(default_factory=dict)
    template_annotations: Mapping[str, str] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    rollout: Rollout = field(default_factory=Rollout)
    owners: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    rivals: tuple[str, ...] = ()
    companions: Mapping[ObjectRef, Companion | None] = field(default_factory=dict)


def container_list(among: Mapping[str, Container], name: str) -> str:
    """Return the list of the pod template that holds a container."""
    return "initContainers" if name in among and among[name].init else "containers"
