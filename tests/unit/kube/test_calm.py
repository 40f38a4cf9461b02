"""What can wait gives way to a rollback that has not switched yet, and not for ever."""

import asyncio
import gc

import pytest

from lastgood.kube.calm import Calm


async def passes(calm: Calm, *, seconds: float) -> bool:
    """Tell whether a wait ends by itself, long before it is given up."""
    try:
        async with asyncio.timeout(seconds):
            await calm.wait(seconds=60)
    except TimeoutError:
        return False
    return True


async def test_nobody_waits_while_nobody_presses() -> None:
    assert await passes(Calm(), seconds=5)


async def test_what_can_wait_waits_until_the_last_one_is_through() -> None:
    calm = Calm()
    calm.press("digits")
    calm.press("fraud")
    calm.relax("digits")
    assert not await passes(calm, seconds=0.05)
    calm.relax("fraud")
    assert await passes(calm, seconds=5)


async def test_who_presses_twice_is_through_at_once() -> None:
    calm = Calm()
    calm.press("digits")
    calm.press("digits")
    calm.relax("digits")
    assert await passes(calm, seconds=5)


async def test_somebody_who_presses_for_ever_delays_and_no_more() -> None:
    calm = Calm()
    calm.press("digits")
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(30):
        await calm.wait(seconds=0.1)
    assert asyncio.get_running_loop().time() - began >= 0.09


async def test_garbage_is_not_collected_while_a_rollback_waits_for_its_switch() -> None:
    calm = Calm()
    calm.press("digits")
    calm.press("fraud")
    assert not gc.isenabled()
    calm.relax("digits")
    assert not gc.isenabled()
    calm.relax("fraud")
    assert gc.isenabled()


async def test_somebody_who_presses_for_ever_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lastgood.kube.calm.HOLD_SECONDS", 0.05)
    calm = Calm()
    calm.press("digits")
    await asyncio.sleep(0.2)
    assert gc.isenabled()


async def test_who_relaxes_without_having_pressed_changes_nothing() -> None:
    gc.disable()
    try:
        Calm().relax("digits")
        assert not gc.isenabled()
    finally:
        gc.enable()
