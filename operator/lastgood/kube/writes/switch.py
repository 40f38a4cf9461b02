"""The only place that writes to a workload: one server-side apply, on the very version that was decided on.

What a binding writes to an object beside it is written here as well, before the pod template.
"""

from typing import Any

from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.companion import ObjectRef
from lastgood.api.workload.workload import Workload
from lastgood.core.actions import Adopt, Prepare, Switch, SwitchFirst
from lastgood.core.state import Drift, Observed
from lastgood.core.workload import Bound, beside, carried, render, template
from lastgood.errors import TransientError
from lastgood.kube.api.client import Client
from lastgood.kube.api.resources import WORKLOADS
from lastgood.kube.cache import Cache, Key, Kind
from lastgood.kube.memory import Memory
from lastgood.kube.shared.companions import Companions
from lastgood.kube.shared.quarantine import Quarantine

Body = dict[str, Any]


class Switcher:
    """Writes the bound fields of a workload."""

    def __init__(
        self, *, client: Client, cache: Cache, companions: Companions, quarantine: Quarantine, memory: Memory
    ) -> None:
        self._client = client
        self._companions = companions
        self._cache = cache
        self._quarantine = quarantine
        self._memory = memory

    async def write(self, key: Key, action: Switch | Prepare | Adopt, observed: Observed) -> None:
        """Point the workload at a snapshot, write what comes before that, or become an owner of what it carries.

        Raises:
            ForbiddenError, InvalidError: the API server, or a policy in it, does not allow it.
            ConflictError: somebody else wrote the workload; observe again.
            TransientError: it can no longer be written as it was decided.
        """
        match action:
            case Adopt():
                await self._adopt(key, action, observed)
            case Prepare():
                await self._prepare(key, action, observed)
            case Switch():
                await self._switch(key, action, observed)

    async def _prepare(self, key: Key, action: Prepare, observed: Observed) -> None:
        """Apply what one object beside the workload needs before a switch."""
        workload, _, bound = self._bound(key, action.switch, observed)
        await self._beside(workload, action.ref, beside(bound)[action.ref])
        if action.switch.drift:
            self._count_drift(key, observed)

    def _bound(self, key: Key, action: Switch, observed: Observed) -> tuple[Workload, ModelSnapshot, tuple[Bound, ...]]:
        workload, snapshot = observed.workload, observed.found_now(action.snapshot)
        bound = render(observed.deployment.bindings, snapshot)
        if workload is None or bound is None:
            raise TransientError(f"{snapshot.name} can no longer be bound to {observed.deployment.target}")
        if snapshot.digest in self._quarantine.entries(key.namespace):
            raise TransientError(f"{snapshot.name} has just been quarantined")
        return workload, snapshot, bound

    async def _beside(self, workload: Workload, ref: ObjectRef, body: Body) -> None:
        there = workload.companions.get(ref)
        if there is None:
            raise TransientError(f"{ref} is not there: a binding writes to it")
        await self._companions.apply(there, ref, body)

    async def _switch(self, key: Key, action: Switch, observed: Observed) -> None:
        """Apply every bound field of the workload at once, forced."""
        workload, snapshot, bound = self._bound(key, action, observed)
        await self._apply(workload, template(bound, snapshot, into=workload))
        self._memory.watch(key, observed.deployment).allow(snapshot.name)
        if action.drift:
            self._count_drift(key, observed)
        if isinstance(action, SwitchFirst) and action.record.intent:
            self._memory.watch(key, observed.deployment).switched_first[action.record.name] = action.record.intent

    async def _adopt(self, key: Key, action: Adopt, observed: Observed) -> None:
        """Apply the bound fields as they are."""
        workload, snapshot = observed.workload, action.snapshot
        bound = carried(workload, observed.deployment.bindings, snapshot) if workload else None
        if workload is None or bound is None:
            raise TransientError(f"{observed.deployment.target} no longer carries {snapshot.name}")
        if action.ref:
            await self._beside(workload, action.ref, beside(bound)[action.ref])
        else:
            await self._apply(workload, template(bound, into=workload))
        self._memory.watch(key, observed.deployment).allow(snapshot.name)
        self._count_drift(key, observed)

    async def _apply(self, workload: Workload, body: Body) -> None:
        meta = workload.meta
        identity = {"namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version}
        whole = {"metadata": identity, **body}
        answer = await self._client.apply(WORKLOADS, meta.namespace, meta.name, whole, force=True)
        self._cache.put(Kind.WORKLOAD, answer)

    def _count_drift(self, key: Key, observed: Observed) -> None:
        watch = self._memory.watch(key, observed.deployment)
        watch.drift = Drift(count=watch.drift.count + 1, last=self._memory.now())
