"""Which key is worked on next: each once at a time, the earliest first, a failing one less and less often."""

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from lastgood.errors import TransientError
from lastgood.kube.api.problems import ApiError, quiet
from lastgood.kube.cache import Key, Kind

logger = logging.getLogger(__name__)

_Worker = Callable[[Key], Awaitable[float | None]]

WORKERS: Final = 16
_FIRST_BACKOFF: Final = 0.1
LONGEST_BACKOFF: Final = 60.0
GRACE: Final = 2.0


class Queue:
    """Two lanes: hashing a large snapshot takes minutes, and no rollback may wait in line behind it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._slow = _Lane(clock=clock)
        self._fast = _Lane(clock=clock)
        self._lanes = (self._fast, self._slow)

    def add(self, key: Key, *, delay: float = 0.0) -> None:
        """Ask for a pass in `delay` seconds; an earlier one that is waiting already will do."""
        lane = self._slow if key.kind is Kind.SNAPSHOT else self._fast
        lane.add(key, delay=delay)

    def pause(self) -> None:
        """Start no more passes: somebody else has the Lease. What is added is kept."""
        for lane in self._lanes:
            lane.pause()

    def resume(self) -> None:
        """Go on."""
        for lane in self._lanes:
            lane.resume()

    @property
    def depth(self) -> int:
        """How many keys wait or are being worked on."""
        return sum(lane.depth for lane in self._lanes)

    async def run(self, worker: _Worker, *, workers: int = WORKERS) -> None:
        """Work until stopped, on at most `workers` keys of each lane at the same time."""
        await asyncio.gather(*(lane.run(worker, workers=workers) for lane in self._lanes))

    async def stop(self, *, grace: float = GRACE) -> None:
        """Start nothing more, let what runs end, and cancel it after `grace` seconds."""
        await asyncio.gather(*(lane.stop(grace=grace) for lane in self._lanes))


class _Lane:
    """Keys that are due, without doubles; `add` from anywhere in the loop, `run` once."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()  # first come, first served among equals; keys have no order
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._open = True
        self._stopped = False

    def add(self, key: Key, *, delay: float = 0.0) -> None:
        """See Queue.add."""
        due = self._clock() + delay
        if self._stopped or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        if key not in self._running:  # else it is pushed when the running pass has ended
            self._push(key)

    def pause(self) -> None:
        """See Queue.pause."""
        self._open = False

    def resume(self) -> None:
        """See Queue.resume."""
        self._open = True
        self._wake.set()

    @property
    def depth(self) -> int:
        """How many keys wait or are being worked on."""
        return len(self._due.keys() | self._running.keys())

    async def run(self, worker: _Worker, *, workers: int = WORKERS) -> None:
        """See Queue.run."""
        while not self._stopped:
            free = self._open and len(self._running) < workers
            key = self._next() if free else None
            if key is None:
                await self._sleep(free=free)
                continue
            task = asyncio.create_task(self._work(worker, key), name=str(key))
            self._running[key] = task

    async def stop(self, *, grace: float = GRACE) -> None:
        """See Queue.stop."""
        self._stopped = True
        self._wake.set()
        running = list(self._running.values())
        if running:
            _, late = await asyncio.wait(running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _push(self, key: Key) -> None:
        heapq.heappush(self._heap, (self._due[key], next(self._order), key))
        self._wake.set()

    def _next(self) -> Key | None:
        """Take the earliest key that is due; entries that were overtaken are thrown away on the way."""
        while self._heap and self._heap[0][0] <= self._clock():
            due, _, key = heapq.heappop(self._heap)
            if key not in self._running and self._due.get(key) == due:
                del self._due[key]
                return key
        return None

    async def _sleep(self, *, free: bool) -> None:
        """Wait for the next key to be due, or for something to change."""
        self._wake.clear()
        pause = max(0.0, self._heap[0][0] - self._clock()) if self._heap and free else None
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _work(self, worker: _Worker, key: Key) -> None:
        """Make one pass; whatever happens, the key is free again and its next pass is known."""
        try:
            again = await self._attempt(worker, key)
            if again is not None:
                self.add(key, delay=again)
        finally:
            del self._running[key]
            if key in self._due:
                self._push(key)
            self._wake.set()

    async def _attempt(self, worker: _Worker, key: Key) -> float | None:
        try:
            again = await worker(key)
        except Exception as error:  # noqa: BLE001  # one key's failure is not the others'
            return self._failed(key, error)
        self._failures.pop(key, None)
        return again

    def _failed(self, key: Key, error: Exception) -> float:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        pause = backoff(count)
        if isinstance(error, TransientError):
            logger.info("%s: %s; retrying in %.1f s", key, error, pause)
        elif isinstance(error, ApiError):  # the API server's own sentence: a traceback would say nothing more
            logger.log(quiet(error), "%s: %s; retrying in %.1f s", key, error, pause)
        else:
            logger.error("%s: reconcile failed; retrying in %.1f s", key, pause, exc_info=error)
        return pause


def backoff(failures: int) -> float:
    """Return the pause after so many failures in a row: doubling, bounded, and spread by chance."""
    longest = min(LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(failures - 1, 30))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret
