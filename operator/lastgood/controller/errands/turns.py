"""Whose bytes are read next: no namespace takes all the places, and no routine keeps a rollback waiting."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from lastgood.verify import Budget


class Turns:
    """So many places, and so many of them for each namespace."""

    def __init__(self, *, places: int, each: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._each: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(each))

    @asynccontextmanager
    async def take(self, namespace: str) -> AsyncIterator[None]:
        """Wait for a place, first in line of the own namespace: else one that asks a lot fills the line of all."""
        async with self._each[namespace], self._places:
            yield


class Lanes:
    """Two sets of places: one for what a rollback waits for, one for everything else."""

    def __init__(self, *, places: int, each: int, urgent: int | None = None) -> None:
        self._urgent = Turns(places=urgent or places, each=each)
        self._routine = Turns(places=places, each=each)

    @asynccontextmanager
    async def take(self, namespace: str, urgent: asyncio.Event) -> AsyncIterator[None]:
        """Wait for a place; whoever turns urgent while waiting changes over to the other line."""
        async with await self._first(namespace, urgent):
            yield

    async def _first(self, namespace: str, urgent: asyncio.Event) -> "_Held":
        if not urgent.is_set():
            held = _Held(self._routine, namespace)
            entering = asyncio.create_task(held.enter(), name=f"a routine place for {namespace}")
            turning = asyncio.create_task(urgent.wait(), name=f"a turn to urgent in {namespace}")
            try:
                await asyncio.wait({entering, turning}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await _give_up(entering, held)
                raise
            finally:
                turning.cancel()
            if entering.done():
                return held
            await _give_up(entering, held)
        held = _Held(self._urgent, namespace)
        await held.enter()
        return held


class _Held:
    """A place that one task waits for and another one gives back."""

    def __init__(self, turns: Turns, namespace: str) -> None:
        self._context = turns.take(namespace)
        self._entered = False

    async def enter(self) -> None:
        await self._context.__aenter__()
        self._entered = True

    async def leave(self) -> None:
        if self._entered:
            self._entered = False
            await self._context.__aexit__(None, None, None)

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, *_: object) -> None:
        await self.leave()


async def _give_up(entering: asyncio.Task[None], held: _Held) -> None:
    """Leave a line, and the place that was got in this very moment."""
    entering.cancel()
    await asyncio.gather(entering, return_exceptions=True)
    await held.leave()


class _HurryError(Exception):
    """Somebody waits: the rate is not kept any longer."""


@dataclass(frozen=True, kw_only=True)
class Unhurried:
    """A rate that is kept until `hurry` is set: a routine reading that a rollback comes to need goes at full speed."""

    budget: Budget
    hurry: asyncio.Event

    def take(self, count: int, check: Callable[[], None]) -> None:
        """Wait until so many bytes are paid for, or until somebody is in a hurry; called from threads."""

        def go_on() -> None:
            check()
            if self.hurry.is_set():
                raise _HurryError

        if not self.hurry.is_set():
            with suppress(_HurryError):
                self.budget.take(count, go_on)
