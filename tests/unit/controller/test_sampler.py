"""Looks are bounded whatever somebody does to the triggers."""

import asyncio
from dataclasses import replace
from typing import Any, cast

from lastgood.api.facts.signal import Sample
from lastgood.controller.sampler import MOST_LOOKS, Sampler
from lastgood.kube.cache import Key, Kind
from lastgood.kube.memory import Memory
from tests.unit.core.builders import ACCURACY, declaring, world


class Hanging:
    """An endpoint that never answers."""

    async def sample(self, *_: Any, **__: Any) -> Sample:
        await asyncio.sleep(60)
        raise AssertionError


async def test_triggers_that_change_their_names_all_the_time_fill_neither_memory_nor_sockets() -> None:
    key = Key(Kind.DEPLOYMENT, "ml", "digits")
    sampler = Sampler(client=cast("Any", None), probe=cast("Any", Hanging()), memory=Memory(), wake=lambda _: None)
    for number in range(20):
        triggers = tuple(replace(ACCURACY, name=f"t{number}-{each}") for each in range(16))
        assert sampler.follow(key, declaring(world(), triggers=triggers)) is not None
    assert len(sampler._busy) == MOST_LOOKS  # noqa: SLF001 what it holds is what is asked
    assert len(sampler._last[key]) <= 16  # noqa: SLF001 the same; sixteen triggers
    await sampler.close()
