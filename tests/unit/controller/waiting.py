"""Waiting for what other tasks and threads do."""

import asyncio
from collections.abc import Callable
from typing import Any

PAUSE = 0.005


async def until(what: Callable[[], Any], *, within: float = 30.0) -> None:
    """Wait until something is so; it is looked at now and then, for threads set no event."""
    for _ in range(int(within / PAUSE)):
        if what():
            return
        await asyncio.sleep(PAUSE)
    raise AssertionError("it did not happen")
