"""Who goes first: while a rollback has not switched yet, what can wait lets it use the disk and the API server."""

import asyncio
from contextlib import suppress
from typing import Final

HOLD_SECONDS: Final = 2.0  # what waits waits this long at most: nobody may keep evidence or Events from being written


class Calm:
    """Says whether anybody presses; one for the whole operator."""

    def __init__(self) -> None:
        self._pressing: set[object] = set()
        self._calm = asyncio.Event()
        self._calm.set()

    def press(self, who: object) -> None:
        """Let others wait while `who` has something more urgent to do."""
        self._pressing.add(who)
        self._calm.clear()

    def relax(self, who: object) -> None:
        """Let others go on, as far as `who` is concerned."""
        self._pressing.discard(who)
        if not self._pressing:
            self._calm.set()

    async def wait(self, *, seconds: float = HOLD_SECONDS) -> None:
        """Wait until nobody presses, or until so many seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calm.wait()
