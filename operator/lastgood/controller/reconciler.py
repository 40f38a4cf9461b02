"""One pass over one object: observe, decide, act, until there is nothing more to do at once."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lastgood.api.fields import Fields, compact
from lastgood.api.meta import Condition, Meta, merge_conditions, read_conditions
from lastgood.api.names import Reason, Type
from lastgood.controller.capturer import Capturer
from lastgood.controller.errands import Means
from lastgood.controller.keeper import Keeper
from lastgood.controller.queue import Queue
from lastgood.controller.repairer import Repairer
from lastgood.controller.sampler import Sampler
from lastgood.controller.scanner import ExternalScanners
from lastgood.controller.verifier import Verifier
from lastgood.core.decide import Early, decide, early, foreseen, intending
from lastgood.core.observed_snapshot import ObservedSnapshot
from lastgood.core.requests import waiting_records
from lastgood.core.snapshot import decide_snapshot
from lastgood.core.state import (
    CaptureSnapshot,
    CreateRecord,
    Decision,
    KeepEvidence,
    Observed,
    RepairSnapshot,
    RunChecks,
    ScanSnapshot,
    Tell,
    Verify,
)
from lastgood.errors import TransientError
from lastgood.kube.act import Actor
from lastgood.kube.audit import Audit
from lastgood.kube.cache import RESOURCES, Cache, Key, Kind
from lastgood.kube.calm import Calm
from lastgood.kube.client import Client
from lastgood.kube.memory import Memory
from lastgood.kube.observe import Invalid, Observer
from lastgood.kube.problems import ConflictError, NotFoundError
from lastgood.kube.quarantine import Quarantine
from lastgood.kube.trust import TrustPolicies
from lastgood.settings import Settings
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.http import HttpProbe

logger = logging.getLogger(__name__)

MOST_STEPS = 40
MOST_CONFLICTS = 5
MOST_WAITING = 16
LONGEST = 300.0


class Reconciler:
    """Decides and acts for every object that the queue names."""

    def __init__(
        self,
        *,
        client: Client,
        cache: Cache,
        queue: Queue,
        quarantine: Quarantine,
        trust: TrustPolicies,
        audit: Audit,
        calm: Calm,
        settings: Settings,
        memory: Memory,
    ) -> None:
        self._client = client
        self._cache = cache
        self._memory = memory
        self._probe = HttpProbe(deny=AddressPolicy(allow_loopback=settings.allow_loopback))
        self._observer = Observer(
            client=client,
            cache=cache,
            quarantine=quarantine,
            trust=trust,
            memory=memory,
            reverify=timedelta(seconds=settings.reverify_interval),
        )
        self._actor = Actor(client=client, cache=cache, quarantine=quarantine, audit=audit, memory=self._memory)
        self._verifier = Verifier(client=client, settings=settings, memory=self._memory, trust=trust, wake=queue.add)
        self._copying(client, settings, queue, calm)
        self._scanners = ExternalScanners(
            client=client, settings=settings, memory=self._memory, verifier=self._verifier, trust=trust, wake=queue.add
        )
        self._verifier.hear = self._scanners.hear
        self._calm = calm
        self._sampler = Sampler(client=client, probe=self._probe, memory=self._memory, wake=queue.add)

    def _copying(self, client: Client, settings: Settings, queue: Queue, calm: Calm) -> None:
        means = Means(
            actor=self._actor,
            client=client,
            settings=settings,
            memory=self._memory,
            wake=queue.add,
            calm=calm,
            pace=self._verifier.budget,
        )
        self._capturer = Capturer(means)
        self._repairer = Repairer(replace(means, pace=None))  # a rollback may come to need it
        self._keeper = Keeper(means)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return in how many seconds the next one is due, if one is."""
        for _ in range(MOST_CONFLICTS):
            try:
                return await self._pass(key)
            except (ConflictError, NotFoundError):
                await self._observer.refresh(key)
        raise TransientError(f"{key}: somebody else writes it all the time")

    async def _pass(self, key: Key) -> float | None:
        match key.kind:
            case Kind.SNAPSHOT:
                return await self._snapshot(key)
            case Kind.DEPLOYMENT:
                return await self._deployment(key)
            case Kind.ROLLBACK | Kind.WORKLOAD:
                return None  # their changes wake the ModelDeployment

    async def close(self) -> None:
        """Let go of everything."""
        await self._sampler.close()
        await self._capturer.close()
        await self._repairer.close()
        await self._scanners.close()
        await self._keeper.close()
        await self._verifier.close()
        await self._probe.close()

    async def _snapshot(self, key: Key) -> float | None:
        for _ in range(MOST_STEPS):
            observed = self._observer.snapshot(key)
            if observed is None:
                return self._forget(key)
            if isinstance(observed, Invalid):
                return await self._invalid(key, observed)
            decision = decide_snapshot(observed)
            if decision.action is None:
                return decision.requeue_after
            await self._do_snapshot(key, observed, decision)
        raise TransientError(f"{key}: no end after {MOST_STEPS} steps")

    async def _do_snapshot(self, key: Key, observed: ObservedSnapshot, decision: Decision) -> None:
        action, snapshot = decision.action, observed.snapshot
        if isinstance(action, Verify):
            await self._verifier.start(action.snapshot, key)
        elif isinstance(action, RepairSnapshot | KeepEvidence):
            await self._actor.tell(snapshot.meta, "ModelSnapshot", decision, digest=snapshot.digest)
            errands = self._repairer if isinstance(action, RepairSnapshot) else self._keeper
            errands.start(action.snapshot, key)
        elif isinstance(action, ScanSnapshot):
            self._scanners.start(action.snapshot, action.scanners, key)
        elif isinstance(action, CaptureSnapshot):
            self._capturer.start(action.snapshot, key)
        elif action is not None and not isinstance(action, RunChecks):
            await self._actor.act(key, action)
            await self._actor.tell(snapshot.meta, "ModelSnapshot", decision, digest=snapshot.digest)

    async def _deployment(self, key: Key) -> float | None:
        try:
            return await self._steps(key)
        finally:
            self._calm.relax(key)

    async def _steps(self, key: Key) -> float | None:
        fresh = False
        for _ in range(MOST_STEPS):
            observed = await self._observer.deployment(key)
            if observed is None:
                return self._forget(key)
            if isinstance(observed, Invalid):
                return await self._invalid(key, observed)
            if fresh and (first := early(observed)):
                await self._switch_first(key, first)
                continue
            decision = decide(observed)
            if decision.action is None:
                return self._rest(key, observed, decision)
            self._press(key, observed, decision)
            if isinstance(decision.action, CreateRecord):
                await self._open(key, observed, decision, decision.action)
                fresh = True
                continue
            if not fresh:
                await self._refresh(key, observed)
                fresh = True
                continue
            if not await self._do(key, observed, decision):
                return self._rest(key, observed, decision)
        raise TransientError(f"{key}: no end after {MOST_STEPS} steps")

    async def _refresh(self, key: Key, observed: Observed) -> None:
        """Nothing is done on the word of a watch."""
        keys = [Key(Kind.WORKLOAD, key.namespace, observed.deployment.target)]
        active = observed.deployment.status.active
        if active:
            keys.append(Key(Kind.ROLLBACK, key.namespace, active.name))
        # One that is over must not be taken up again because the watch has not told of its outcome.
        waiting = waiting_records(observed)[:MOST_WAITING]
        keys += [Key(Kind.ROLLBACK, key.namespace, record.name) for record in waiting]
        await self._observer.refresh(key, *(each for each in keys if self._cache.get(each)))

    def _press(self, key: Key, observed: Observed, decision: Decision) -> None:
        """Let Events and copies wait while a rollback has not switched yet: they take the same server and disk."""
        active = observed.deployment.status.active
        record = observed.active
        waits = active is not None and (record is None or record.status.switched_at is None)
        if waits or isinstance(decision.action, CreateRecord):
            self._calm.press(key)
        else:
            self._calm.relax(key)

    async def _open(self, key: Key, observed: Observed, decision: Decision, create: CreateRecord) -> None:
        """Write a record and its lock, and look afresh at what the choice will rest on, all at the same time.

        A record made on a stale view is harmless: its name is derived from what was seen, and is there already then.
        """
        await self._actor.tell(observed.deployment.meta, "ModelDeployment", decision, **_facts(observed))
        if create.spec.emergency and observed.deployment.status.active is None:
            record = self._actor.act(key, intending(observed, create), observed)
            await _together(record, self._observer.refresh(key))  # its lock waits until it has switched
            return
        record, lock = self._actor.act(key, create, observed), foreseen(observed, create)
        if lock is None:
            await _together(self._refresh(key, observed), record)
            return
        # The lock is written under the resource version that was seen, and its answer is the ModelDeployment as it is.
        # So is the switch under the workload's: on a stale view it is refused, and everything is looked at afresh.
        await _together(self._lock(key, observed, lock), record, self._observer.refresh())

    async def _switch_first(self, key: Key, first: Early) -> None:
        """Make an emergency's switch, and then write its lock with the intent that it was made with."""
        self._press(key, first.holding, first.switch)
        await self._do(key, first.holding, first.switch)
        self._memory.watch(key, first.observed.deployment).early.add(first.record)
        await self._do(key, first.observed, first.lock)

    async def _lock(self, key: Key, observed: Observed, decision: Decision) -> None:
        await self._do(key, observed, decision)

    async def _do(self, key: Key, observed: Observed, decision: Decision) -> bool:
        """Carry out a decision; tell whether the next one can be made at once."""
        action, meta = decision.action, observed.deployment.meta
        if isinstance(action, Verify):
            await self._verifier.start(action.snapshot, key)
            return True
        if isinstance(action, RunChecks):
            self._sampler.check(key, observed.deployment, action.checks)
            return False
        if action is not None and not isinstance(action, CaptureSnapshot | ScanSnapshot):
            await self._actor.tell(meta, "ModelDeployment", decision, **_facts(observed))
            await self._actor.act(key, action, observed)
        return True

    def _rest(self, key: Key, observed: Observed, decision: Decision) -> float | None:
        waits = [LONGEST, decision.requeue_after, self._sampler.follow(key, observed)]
        return min(wait for wait in waits if wait is not None)

    def _forget(self, key: Key) -> float | None:
        self._memory.forget(key)
        self._verifier.forget(key)
        self._capturer.forget(key)
        self._repairer.forget(key)
        self._scanners.forget(key)
        self._keeper.forget(key)
        self._sampler.forget(key)
        return None

    async def _invalid(self, key: Key, invalid: Invalid) -> float | None:
        """Say what is wrong with a spec; everything else of the object stays as it is."""
        meta = Meta.from_body(invalid.body)
        status = Fields(invalid.body, strict=False).child("status")
        rows = [
            Condition(
                type=type_,
                status=value,
                reason=Reason.INVALID_SPEC,
                message=invalid.message,
                generation=meta.generation,
            )
            for type_, value in ((Type.READY, "False"), (Type.STALLED, "True"))
        ]
        old = read_conditions(status)
        new = merge_conditions(old, rows, self._memory.now())
        if new == old:
            return None
        body: Mapping[str, Any] = {
            "metadata": {"resourceVersion": meta.resource_version},
            "status": {"conditions": [compact(item.as_body()) for item in new.values()]},
        }
        answer = await self._client.patch(
            RESOURCES[key.kind], key.namespace, key.name, dict(body), subresource="status"
        )
        self._cache.put(key.kind, answer)
        decision = Decision(reason=Reason.INVALID_SPEC, message=invalid.message, tell=Tell.WARNING)
        await self._actor.tell(meta, str(RESOURCES[key.kind].kind), decision)
        return None


async def _together(*work: Awaitable[None]) -> None:
    """Await all of them, and only then raise what went wrong first."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _facts(observed: Observed) -> dict[str, object]:
    """Return what a line of the security log says beside the reason."""
    status, active = observed.deployment.status, observed.deployment.status.active
    return {
        "model": observed.deployment.model,
        "serving": status.snapshot,
        "digest": status.digest,
        "desired": observed.deployment.snapshot,
        "rollback": active.name if active else "",
        "requestedBy": active.spec.get("requestedBy", "") if active else "",
    }
