"""The life of the operator: what starts in which order, and how it ends in less than five seconds."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from lastgood.controller.exposition import Exposition
from lastgood.controller.feed import Feed
from lastgood.controller.health import Health
from lastgood.controller.host import Host
from lastgood.controller.metrics import Seen
from lastgood.controller.queue import Queue
from lastgood.controller.retainer import Retainer
from lastgood.errors import BrokenError
from lastgood.kube.audit import Audit
from lastgood.kube.cache import Cache, Key
from lastgood.kube.calm import Calm
from lastgood.kube.client import Client
from lastgood.kube.connection import Connection
from lastgood.kube.lease import Lease
from lastgood.kube.memory import Memory
from lastgood.kube.quarantine import Quarantine
from lastgood.kube.trust import TrustPolicies
from lastgood.settings import Settings

logger = logging.getLogger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
PASSES_END: Final = 1.5  # seconds for each step of the end; all of them together stay below five
EVENTS_END: Final = 0.5
CLOSE_END: Final = 0.5
HOST_END: Final = 1.0


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
    trust: TrustPolicies
    audit: Audit
    calm: Calm
    settings: Settings
    memory: Memory


MakeReconciler = Callable[[Parts], Reconciler]


class Runtime:
    """All parts, wired; `run` returns after a signal, or raises when a part breaks."""

    def __init__(self, connection: Connection, settings: Settings, make: MakeReconciler) -> None:
        self._connection = connection
        self._settings = settings
        bare = Client(connection)
        self._lease = Lease(
            bare,
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
        self._quarantine = Quarantine(
            client, namespace=settings.operator_namespace, on_change=self._feed.quarantine_changed
        )
        self._trust = TrustPolicies(
            client,
            namespaces=settings.namespaces,
            scanners=settings.scanners,
            on_change=self._feed.trust_changed,
        )
        calm = Calm()
        self._audit = Audit(client, instance=settings.identity, calm=calm)
        self._retainer = Retainer(
            client=client,
            settings=settings,
            quarantine=self._quarantine,
            trust=self._trust,
            audit=self._audit,
            mine=lambda: self._lease.mine,
        )
        self._health = Health(alive=self._alive, ready=self._ready)
        self._exposition = Exposition(self.seen)
        self._reconciler = make(
            Parts(
                client=client,
                cache=self._cache,
                queue=self._queue,
                quarantine=self._quarantine,
                trust=self._trust,
                audit=self._audit,
                calm=calm,
                settings=settings,
                memory=self._memory,
            )
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._signalled = asyncio.Event()

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
        self._spawn("lease", self._lease.run())
        self._spawn("quarantine", self._quarantine.run())
        self._spawn("trust", self._trust.run())
        self._spawn("events", self._audit.run())
        self._spawn("start", self._work())

    async def _work(self) -> None:
        await self._feed.fill()
        logger.info("everything is listed: %d objects", len(self._cache.keys()))
        self._spawn("host", self._host.run())
        await self._host.ready.wait()
        await asyncio.sleep(0.01)
        self._listen()  # kopf has put its own handlers in the place of ours
        self._spawn("sweep", self._feed.run())
        if self._retainer.wanted:
            self._spawn("retention", self._retainer.run())
        await self._queue.run(self._reconciler.reconcile)

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
                raise BrokenError(f"the {name} task has ended") from _outcome(task)

    async def _end(self) -> None:
        """End what works, then what writes, then what reads; let go of the Lease once nothing writes."""
        logger.info("ending")
        await self._queue.stop(grace=PASSES_END)
        await _within(CLOSE_END, self._reconciler.close())
        await _within(EVENTS_END + 0.1, self._audit.drain(seconds=EVENTS_END))
        host = self._tasks.pop("host", None)
        await _cancel(self._tasks.values())
        self._retainer.close()
        await self._lease.release()
        self._host.stop()
        if host is not None:
            await asyncio.wait({host}, timeout=HOST_END)
            await _cancel([host])
        await _within(CLOSE_END, self._exposition.stop())
        await _within(CLOSE_END, self._health.stop())
        await self._connection.close()

    def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=name)

    def _lease_changed(self, mine: bool) -> None:  # noqa: FBT001  # the one thing to say
        if mine:
            self._queue.resume()
        else:
            self._queue.pause()

    def _alive(self) -> bool:
        return self._lease.beating and not any(task.done() for task in self._tasks.values())

    def _ready(self) -> bool:
        return self._alive() and self._cache.complete and self._quarantine.synced and self._trust.synced

    def seen(self) -> Seen:
        """Return what a scrape is made from: a copy of references, which takes no time."""
        return Seen(
            now=self._memory.now(),
            leader=self._lease.mine,
            bodies=self._cache.copy() if self._cache.complete else None,
            verifications=dict(self._memory.verifications),
            verified_bytes=self._memory.verified_bytes,
        )


async def _within(seconds: float, work: Awaitable[None]) -> None:
    """Give a step of the end its time, and go on whatever comes of it."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except Exception:  # the end goes on, or the Lease is not released
        logger.exception("a part did not end well")


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def _outcome(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
