"""One pass over one object: observe, decide, act, until there is nothing more to do at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from lastgood.api.fields import Fields, compact
from lastgood.api.meta import Meta, read_conditions
from lastgood.api.names import Reason
from lastgood.controller.errands.capturer import Capturer
from lastgood.controller.errands.errands import Means
from lastgood.controller.errands.keeper import Keeper
from lastgood.controller.errands.repairer import Repairer
from lastgood.controller.errands.scanner import ExternalScanners
from lastgood.controller.errands.verifier import Verifier
from lastgood.controller.queue import Queue
from lastgood.controller.sampler import Sampler
from lastgood.core.actions import (
    Action,
    CaptureSnapshot,
    CreateRecord,
    KeepEvidence,
    RepairSnapshot,
    RunChecks,
    ScanSnapshot,
    Verify,
    before_its_lock,
)
from lastgood.core.decide import decide
from lastgood.core.execute import FOR_GONE, FOR_SNAPSHOTS, Answer, Pass, Rest, Turn, execute
from lastgood.core.gate import refused
from lastgood.core.requests.gone import ObservedGone, decide_gone
from lastgood.core.snapshot.decide import decide_snapshot
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Decision, Observed, Tell
from lastgood.core.status.report import unread
from lastgood.core.workload import companions_of
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import ConflictError, NotFoundError
from lastgood.kube.cache import RESOURCES, Cache, Key, Kind
from lastgood.kube.calm import Calm
from lastgood.kube.memory import Memory
from lastgood.kube.notices.notice import Notices
from lastgood.kube.observe import Invalid, Observer
from lastgood.kube.shared.companions import READ_AGAIN, Companions
from lastgood.kube.shared.quarantine import Quarantine
from lastgood.kube.shared.remembered import RememberedFacts
from lastgood.kube.shared.trust import TrustPolicies
from lastgood.kube.writes.act import Actor, Write
from lastgood.settings import Settings
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.hosts import HostPolicy, parse_rules
from lastgood.signals.http import HttpProbe
from lastgood.signals.usable import unusable

logger = logging.getLogger(__name__)

LONGEST = 300.0
Seen = TypeVar("Seen")
Looking = Callable[[], Awaitable[Seen | Invalid | None]]
Writing = Callable[[Key, Turn[Seen]], Awaitable[None]]


class Reconciler:
    """Decides and acts for every object that the queue names."""

    def __init__(
        self,
        *,
        client: Client,
        cache: Cache,
        queue: Queue,
        quarantine: Quarantine,
        remembered: RememberedFacts,
        trust: TrustPolicies,
        notices: Notices,
        calm: Calm,
        settings: Settings,
        memory: Memory,
    ) -> None:
        self._client = client
        self._cache = cache
        self._memory = memory
        hosts = _hosts(settings)
        self._probe = HttpProbe(deny=AddressPolicy(allow_loopback=settings.allow_loopback), hosts=hosts)
        companions = Companions(client)
        self._observer = Observer(
            client=client,
            cache=cache,
            companions=companions,
            quarantine=quarantine,
            trust=trust,
            memory=memory,
            remembered=remembered,
            reverify=timedelta(seconds=settings.reverify_interval),
            judge=lambda deployment: unusable(deployment, hosts),
        )
        self._remembered = remembered
        self._actor = Actor(
            client=client,
            cache=cache,
            companions=companions,
            quarantine=quarantine,
            remembered=remembered,
            notices=notices,
            memory=self._memory,
        )
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
        async def look() -> ObservedSnapshot | Invalid | None:
            return self._observer.snapshot(key)

        rest = await self._drive(key, execute(decide_snapshot, FOR_SNAPSHOTS), look, self._write_snapshot)
        if isinstance(rest, Invalid):
            return await self._invalid(key, rest)
        return rest.after if rest.observed else self._forget(key)

    async def _deployment(self, key: Key) -> float | None:
        async def look() -> Observed | Invalid | None:
            return await self._observer.deployment(key)

        try:
            rest = await self._drive(key, execute(decide, refused=refused), look, self._write)
            if isinstance(rest, Invalid):
                return await self._invalid(key, rest)
            if rest.observed and rest.decision:
                return self._rest(key, rest.observed, rest.decision)
            self._forget(key)
            return await self._gone(key)
        finally:
            self._calm.relax(key)

    async def _gone(self, key: Key) -> float | None:
        """End the records of a ModelDeployment that is not there; a record may be seen before what it is about."""

        async def look() -> ObservedGone | Invalid | None:
            return None if self._cache.get(key) else self._observer.gone(key)

        rest = await self._drive(key, execute(decide_gone, FOR_GONE), look, self._write_gone)
        return rest.after if isinstance(rest, Rest) and rest.observed else 0.0

    async def _drive(
        self, key: Key, steps: Pass[Seen], look: Looking[Seen], write: Writing[Seen]
    ) -> Rest[Seen] | Invalid:
        """Carry out what a pass asks for, until it rests."""
        answer: Seen | Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                found: Rest[Seen] = end.value
                return found
            if isinstance(step, Turn):
                answer = await self._take(key, step, write)
                continue
            seen = await look()
            if isinstance(seen, Invalid):
                return seen
            answer = seen

    async def _take(self, key: Key, turn: Turn[Seen], write: Writing[Seen]) -> Answer:
        """Write and read at the same time."""
        if isinstance(turn.observed, Observed):
            self._press(key, turn.observed, turn.decision.action)
        try:
            reads = [self._observer.read(key, turn.reads, turn.observed)] if turn.reads else []
            await _together(write(key, turn), *reads)
        except (ConflictError, NotFoundError) as error:
            if error.told:
                raise  # a definition is missing: to look again is no use
            return Answer.CONFLICT
        return Answer.DONE

    async def _write_snapshot(self, key: Key, turn: Turn[ObservedSnapshot]) -> None:
        snapshot = turn.observed.snapshot
        for action in turn.actions:
            match action:
                case Verify():
                    await self._verifier.start(action.snapshot, key)
                case RepairSnapshot() | KeepEvidence():
                    await self._actor.tell(snapshot.meta, "ModelSnapshot", turn.decision, digest=snapshot.digest)
                    errands = self._repairer if isinstance(action, RepairSnapshot) else self._keeper
                    errands.start(action.snapshot, key)
                case CaptureSnapshot():
                    self._capturer.start(action.snapshot, key)
                case ScanSnapshot():
                    self._scanners.start(action.snapshot, action.scanners, key)
                case RunChecks():
                    raise _misplaced(action, key)
                case _:
                    await self._actor.act(key, action)
                    await self._actor.tell(snapshot.meta, "ModelSnapshot", turn.decision, digest=snapshot.digest)

    async def _write_gone(self, key: Key, turn: Turn[ObservedGone]) -> None:
        for action in turn.actions:
            if turn.observed.waiting and isinstance(action, Write):
                await self._actor.tell(turn.observed.waiting.meta, str(RESOURCES[Kind.ROLLBACK].kind), turn.decision)
                await self._actor.act(key, action)

    async def _write(self, key: Key, turn: Turn[Observed]) -> None:
        """Carry out a decision about a ModelDeployment: told first, and then all at the same time, and what follows."""
        observed, writes = turn.observed, list[Write]()
        for action in turn.actions:
            match action:
                case Verify():
                    await self._verifier.start(action.snapshot, key)
                case RunChecks():
                    self._sampler.check(key, observed.deployment, action.checks)
                case CaptureSnapshot() | ScanSnapshot():
                    raise _misplaced(action, key)
                case _:
                    writes.append(action)
        if writes:
            await self._tell(observed, turn.decision)
        await _together(*(self._actor.act(key, action, observed) for action in writes))
        await _together(*(self._actor.act(key, action, observed) for action in turn.then if isinstance(action, Write)))

    async def _tell(self, observed: Observed, decision: Decision) -> None:
        """Say what is done, and what else people have to hear of."""
        beside = (
            Decision(
                reason=item.reason, message=item.message, actions=(item.action,) if item.action else (), tell=item.tell
            )
            for item in decision.alerts
        )
        for told in (decision, *beside):
            await self._actor.tell(observed.deployment.meta, "ModelDeployment", told, **facts_of(observed, told.action))

    def _press(self, key: Key, observed: Observed, action: Action | None) -> None:
        """Let Events and copies wait while a rollback has not switched yet: they take the same server and disk."""
        active = observed.deployment.status.active
        record = observed.active
        waits = active is not None and (record is None or record.status.switched_at is None)
        if waits or isinstance(action, CreateRecord) or before_its_lock(action):
            self._calm.press(key)
        else:
            self._calm.relax(key)

    def _rest(self, key: Key, observed: Observed, decision: Decision) -> float | None:
        longest = READ_AGAIN if companions_of(observed.deployment.bindings) else LONGEST
        waits = [longest, decision.requeue_after, self._sampler.follow(key, observed)]
        return min(wait for wait in waits if wait is not None)

    def _forget(self, key: Key) -> float | None:
        self._memory.forget(key)
        if key.kind is Kind.DEPLOYMENT:
            self._remembered.doubt(key.namespace, key.name)
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
        old = read_conditions(status)
        new = unread(
            old,
            invalid.message,
            serves=key.kind is Kind.DEPLOYMENT,
            generation=meta.generation,
            now=self._memory.now(),
        )
        if new == old:
            return None
        body: Mapping[str, Any] = {
            "metadata": {"resourceVersion": meta.resource_version},
            "status": {"conditions": [compact(item.as_body()) for item in new.values()]},
        }
        try:
            answer = await self._client.patch(
                RESOURCES[key.kind], key.namespace, key.name, dict(body), subresource="status"
            )
        except (ConflictError, NotFoundError) as error:
            if error.told:
                raise
            return 1.0  # it has changed since, or is gone, which the watch is about to say
        self._cache.put(key.kind, answer)
        decision = Decision(reason=Reason.INVALID_SPEC, message=invalid.message, tell=Tell.WARNING)
        await self._actor.tell(meta, str(RESOURCES[key.kind].kind), decision)
        return None


def _misplaced(action: Action, key: Key) -> TypeError:
    return TypeError(f"{type(action).__name__} is no action on {key}")


def _hosts(settings: Settings) -> HostPolicy:
    return HostPolicy(
        rules=parse_rules(settings.trigger_hosts, settings.cluster_domain),
        domain=settings.cluster_domain,
        allow_loopback=settings.allow_loopback,
    )


async def _together(*work: Awaitable[None]) -> None:
    """Await all of them, and only then raise what went wrong first."""
    if len(work) == 1:
        return await work[0]
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
    return None


def facts_of(observed: Observed, action: Action | None) -> dict[str, object]:
    """Return what a line of the security log says beside the reason."""
    status, active = observed.deployment.status, observed.deployment.status.active
    rollback, by = (active.name, active.spec.get("requestedBy", "")) if active else ("", "")
    if record := before_its_lock(action):
        rollback, by = record.name, record.spec.requested_by
    return {
        "model": observed.deployment.model,
        "serving": status.snapshot,
        "digest": status.digest,
        "desired": observed.deployment.snapshot,
        "rollback": rollback,
        "requestedBy": by,
    }
