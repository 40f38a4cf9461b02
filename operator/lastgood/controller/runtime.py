"""The life of the operator: what starts in which order, and how it ends in less than five seconds."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from lastgood.api.names import QUARANTINE_CONFIG_MAP, Reason
from lastgood.controller.errands.retainer import Retainer
from lastgood.controller.feed import Feed
from lastgood.controller.host import Host
from lastgood.controller.queue import Queue
from lastgood.controller.serving.exposition import Exposition
from lastgood.controller.serving.health import Health
from lastgood.controller.serving.metrics import Seen
from lastgood.errors import BrokenError
from lastgood.kube.access import Missing, rights_on, sentence
from lastgood.kube.api.client import Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.problems import ApiError
from lastgood.kube.api.resources import (
    CLUSTER_TRUST_POLICIES,
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    ROLLBACKS,
    SNAPSHOTS,
    TRUST_POLICIES,
    WORKLOADS,
)
from lastgood.kube.cache import Cache, Key
from lastgood.kube.calm import Calm
from lastgood.kube.lease import NAME, Lease
from lastgood.kube.memory import Memory
from lastgood.kube.notices.events import Events
from lastgood.kube.notices.notice import Notice, Notices, Severity
from lastgood.kube.notices.security_log import SecurityLog
from lastgood.kube.shared.quarantine import Quarantine
from lastgood.kube.shared.remembered import RememberedFacts, names_for
from lastgood.kube.shared.trust import TrustPolicies
from lastgood.settings import Settings

logger = logging.getLogger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_PASSES_END: Final = 1.5  # seconds for each step of the end; all of them together stay below five
_EVENTS_END: Final = 0.5
_CLOSE_END: Final = 0.5
_DISCOVERY_PAUSE: Final = 0.2
_HOST_END: Final = 1.0


class Reconciler(Protocol):
    """What the runtime needs of the reconciler."""

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass; return in how many seconds the next one is due, if one is."""

    async def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a reconciler is made of."""

    client: Client
    cache: Cache
    queue: Queue
    quarantine: Quarantine
    remembered: RememberedFacts
    trust: TrustPolicies
    notices: Notices
    calm: Calm
    settings: Settings
    memory: Memory


_MakeReconciler = Callable[[Parts], Reconciler]


class Runtime:
    """All parts, wired; `run` returns after a signal, or raises when a part breaks."""

    def __init__(self, connection: Connection, settings: Settings, make: _MakeReconciler) -> None:
        self._connection = connection
        self._settings = settings
        self._bare = Client(connection)
        self._access = connection.access
        self._access.on_lost, self._access.on_back = self._access_lost, self._access_back
        self._lease = Lease(
            self._bare,
            namespace=settings.operator_namespace,
            identity=settings.identity,
            seconds=settings.lease_seconds,
            on_change=self._lease_changed,
        )
        client = Client(connection, fence=self._lease)
        self._cache, self._queue, self._memory = Cache(), Queue(), Memory()
        self._queue.pause()
        self._feed = Feed(client, self._cache, self._queue, namespaces=settings.namespaces)
        self._host = Host(connection, self._feed, namespaces=settings.namespaces)
        parts = self._parts(client)
        self._quarantine, self._remembered, self._trust = parts.quarantine, parts.remembered, parts.trust
        self._notices = parts.notices
        self._retainer = Retainer(
            client=client,
            settings=settings,
            quarantine=self._quarantine,
            trust=self._trust,
            notices=self._notices,
            mine=lambda: self._lease.mine,
        )
        self._health = Health(alive=self._alive, ready=self._ready)
        self._exposition = Exposition(self.seen)
        self._reconciler = make(parts)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._signalled = asyncio.Event()
        self._refill = asyncio.Event()

    def _parts(self, client: Client) -> Parts:
        """Make what a reconciler is made of; each wakes the queue through the feed."""
        settings, feed, calm = self._settings, self._feed, Calm()
        own = settings.operator_namespace
        return Parts(
            client=client,
            cache=self._cache,
            queue=self._queue,
            quarantine=Quarantine(client, namespace=own, on_change=feed.quarantine_changed),
            remembered=RememberedFacts(
                client, namespace=own, alive=feed.deployments, on_change=feed.remembered_changed
            ),
            trust=TrustPolicies(
                client, namespaces=settings.namespaces, scanners=settings.scanners, on_change=feed.trust_changed
            ),
            notices=Notices([SecurityLog(), Events(client, instance=settings.identity, calm=calm)]),
            calm=calm,
            settings=settings,
            memory=self._memory,
        )

    async def run(self) -> None:
        """Live until a signal.

        Raises:
            BrokenError: a part that must run for ever has ended.
        """
        self._listen()
        try:
            await self._start()
            await self._watch_over()
        finally:
            await self._end()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled.set)

    async def _start(self) -> None:
        """Answer the kubelet, compete for the Lease, know everything, and only then watch and work."""
        if self._settings.liveness is not None:
            await self._health.start(*self._settings.liveness)
        if self._settings.metrics is not None:
            await self._exposition.start(*self._settings.metrics)
        self._spawn("access", self._access.run(self._bare.is_given, needed_rights(self._settings)))
        self._spawn("lease", self._lease.run())
        self._spawn("quarantine", self._quarantine.run())
        self._spawn("trust", self._trust.run())
        self._spawn("remembered", self._remembered.run())
        self._spawn("notices", self._notices.run())
        self._spawn("start", self._work())

    async def _work(self) -> None:
        await self._feed.fill()
        await self._defined()
        logger.info("caches synced: %d objects", len(self._cache.keys()))
        self._spawn("host", self._host.run())
        await self._host.ready.wait()
        await asyncio.sleep(0.01)
        self._listen()  # kopf has put its own handlers in the place of ours
        self._spawn("sweep", self._feed.run())
        self._spawn("refill", self._fill_again())
        if self._retainer.wanted:
            self._spawn("retention", self._retainer.run())
        await self._queue.run(self._reconciler.reconcile)

    async def _defined(self) -> None:
        """Wait until the discovery names what kopf is to watch: it looks once, and never again."""
        kinds = [Missing(resource=resource.plural) for resource in (SNAPSHOTS, DEPLOYMENTS, ROLLBACKS)]
        while not all([await self._bare.is_given(kind) for kind in kinds]):
            await self._access.rest(_DISCOVERY_PAUSE)

    async def _watch_over(self) -> None:
        """Wait for a signal, or for a part to end that must not."""
        waiter = asyncio.create_task(self._signalled.wait(), name="signal")
        try:
            while not waiter.done():
                tasks = {waiter, *self._tasks.values()}
                await asyncio.wait(tasks, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                self._check()
        finally:
            waiter.cancel()

    def _check(self) -> None:
        for name, task in self._tasks.items():
            if task.done() and not self._signalled.is_set():
                raise BrokenError(f"task {name} ended unexpectedly") from _outcome(task)

    async def _end(self) -> None:
        """End what works, then what writes, then what reads; let go of the Lease once nothing writes."""
        logger.info("shutting down")
        await self._queue.stop(grace=_PASSES_END)
        await _within(_CLOSE_END, self._reconciler.close())
        await _within(_EVENTS_END + 0.1, self._notices.drain(seconds=_EVENTS_END))
        host = self._tasks.pop("host", None)
        await _cancel(self._tasks.values())
        self._retainer.close()
        await self._lease.release()
        self._host.stop()
        if host is not None:
            await asyncio.wait({host}, timeout=_HOST_END)
            await _cancel([host])
        await _within(_CLOSE_END, self._exposition.stop())
        await _within(_CLOSE_END, self._health.stop())
        await self._connection.close()

    def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=name)

    def _lease_changed(self, mine: bool) -> None:  # noqa: FBT001  # the one thing to say
        if mine:
            self._remembered.forget()
            self._queue.resume()
        else:
            self._queue.pause()

    def _access_lost(self, lost: Sequence[Missing]) -> None:
        """Say it as one alert."""
        needed = any(item.needed for item in lost)
        logger.log(logging.ERROR if needed else logging.WARNING, "%s", sentence(lost))
        reason = Reason.RIGHT_MISSING if any(item.verb for item in lost) else Reason.DEFINITION_MISSING
        self._tell_access(reason, sentence(lost), "alert" if needed else "warning")

    def _access_back(self, there: Sequence[Missing]) -> None:
        """Whoever failed meanwhile need not wait for the end of a pause."""
        message = f"access restored: {', '.join(str(item) for item in there)}"
        logger.info(message)
        self._tell_access(Reason.ACCESS_RESTORED, message, "info")
        if any(item.blinds for item in there):
            self._refill.set()
        self._feed.trust_changed("")

    def _tell_access(self, reason: Reason, message: str, severity: Severity) -> None:
        subject = {"kind": "Lease", "namespace": self._settings.operator_namespace, "name": NAME}
        notice = Notice(what="Access", reason=str(reason), message=message, subject=subject, severity=severity)
        self._notices.tell(notice)

    async def _fill_again(self) -> None:
        """List everything once more after it could not be watched; what is gone is found as in every sweep."""
        while True:
            await self._refill.wait()
            self._refill.clear()
            await self._feed.fill()
            with contextlib.suppress(ApiError):
                await self._feed.sweep()
            self._feed.trust_changed("")

    def _alive(self) -> bool:
        return self._lease.beating and not any(task.done() for task in self._tasks.values())

    def _ready(self) -> bool:
        synced = self._cache.complete and self._quarantine.synced and self._trust.synced
        return self._alive() and self._access.complete and synced

    def seen(self) -> Seen:
        """Return what a scrape is made from: a copy of references, which takes no time."""
        return Seen(
            now=self._memory.now(),
            leader=self._lease.mine,
            bodies=self._cache.copy() if self._cache.complete else None,
            verifications=dict(self._memory.verifications),
            verified_bytes=self._memory.verified_bytes,
        )


READ: Final = ("list", "watch")
NEEDED: Final = (
    (WORKLOADS, ("get", "patch", *READ)),  # first what a rollback cannot do without
    (ROLLBACKS, ("create", "get", "patch/status", *READ)),
    (DEPLOYMENTS, ("get", "patch/status", *READ)),
    (SNAPSHOTS, ("get", "patch/status", *READ)),
    (TRUST_POLICIES, READ),
    (EVENTS, ("create",)),
)


def needed_rights(settings: Settings) -> list[Missing]:
    """Return the rights that are asked for now and then: a watch outlives the right to it, and a write is rare."""
    scopes = settings.namespaces if settings.namespaces is not None else (None,)
    own = (settings.operator_namespace,)
    return [
        *rights_on([(LEASES, ("get", "patch"))], own, name=NAME),
        *rights_on([(CONFIGMAPS, ("get", "patch", *READ))], own, name=QUARANTINE_CONFIG_MAP),
        *rights_on([(CLUSTER_TRUST_POLICIES, READ)], [None]),
        *rights_on(NEEDED, scopes),
        *_to_remember(settings),  # the last, for they are many
    ]


def _to_remember(settings: Settings) -> list[Missing]:
    """Where every namespace is watched, the role has no names: see charts/."""
    names = [name for each in settings.namespaces for name in names_for(each)] if settings.namespaces else [""]
    own = (settings.operator_namespace,)
    return [right for name in names for right in rights_on([(CONFIGMAPS, ("get", "patch"))], own, name=name)]


async def _within(seconds: float, work: Awaitable[None]) -> None:
    """Give a step of the end its time, and go on whatever comes of it."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except Exception:  # the end goes on, or the Lease is not released
        logger.exception("a task failed during shutdown")


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _outcome(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
