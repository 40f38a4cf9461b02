"""Who goes first: while a rollback has not switched yet, what can wait lets it use the disk and the API server.

Collecting garbage can wait as well. It stops everything for up to 40 ms, and comes after so many new objects: in the
middle of the work that makes them, and not beside it.
"""

import asyncio
import gc
from contextlib import suppress
from typing import Final

HOLD_SECONDS: Final = 2.0  # what waits waits this long at most: nobody may keep evidence or Events from being written


class Calm:
    """Says whether anybody presses; one for the whole operator."""

    def __init__(self) -> None:
        self._pressing: set[object] = set()
        self._calm = asyncio.Event()
        self._calm.set()
        self._collecting: asyncio.TimerHandle | None = None  # when garbage is collected again at the latest

    def press(self, who: object) -> None:
        """Let others wait while `who` has something more urgent to do."""
        self._pressing.add(who)
        self._calm.clear()
        if self._collecting is None:
            gc.disable()
            self._collecting = asyncio.get_running_loop().call_later(HOLD_SECONDS, self._collect)

    def relax(self, who: object) -> None:
        """Let others go on, as far as `who` is concerned."""
        self._pressing.discard(who)
        if not self._pressing:
            self._calm.set()
            self._collect()

    async def wait(self, *, seconds: float = HOLD_SECONDS) -> None:
        """Wait until nobody presses, or until so many seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calm.wait()

    def _collect(self) -> None:
        """Let garbage be collected again, which it is at the next new object if there is enough of it."""
        if self._collecting is not None:
            self._collecting.cancel()
            self._collecting = None
            gc.enable()
