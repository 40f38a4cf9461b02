"""Places for verifications: fair among namespaces, and routine is never in the way of a rollback."""

import asyncio
from collections.abc import Callable

import pytest

from lastgood.controller.errands.turns import Lanes, Unhurried
from lastgood.verify import Budget


class Line:
    """Somebody in line, who keeps the place until told to go."""

    def __init__(self, lanes: Lanes, namespace: str, *, urgent: bool = False) -> None:
        self.urgent, self.inside = asyncio.Event(), False
        if urgent:
            self.urgent.set()
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._stand(lanes, namespace))

    async def _stand(self, lanes: Lanes, namespace: str) -> None:
        async with lanes.take(namespace, self.urgent):
            self.inside = True
            await self._go.wait()
        self.inside = False

    async def leave(self) -> None:
        self._go.set()
        await self.task

    async def give_up(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def lines(make: Callable[[int], Line], count: int) -> list[Line]:
    made = [make(index) for index in range(count)]
    await settled()
    return made


def inside(found: list[Line]) -> int:
    return sum(item.inside for item in found)


async def clear(*found: Line) -> None:
    for item in found:
        await item.leave()


async def test_a_namespace_that_asks_a_lot_leaves_places_to_others() -> None:
    lanes = Lanes(places=4, each=2)
    greedy = await lines(lambda _: Line(lanes, "greedy"), 20)
    modest = await lines(lambda _: Line(lanes, "modest"), 2)

    assert inside(greedy) == 2
    assert inside(modest) == 2
    await clear(*modest, *greedy)


async def test_all_places_taken_are_given_on_in_the_order_of_asking() -> None:
    lanes = Lanes(places=1, each=1)
    first, second, third = await lines(lambda index: Line(lanes, f"ns-{index}"), 3)
    assert [first.inside, second.inside, third.inside] == [True, False, False]
    await first.leave()
    await settled()
    assert [second.inside, third.inside] == [True, False]
    await clear(second, third)


async def test_routine_that_takes_every_place_does_not_delay_what_is_urgent() -> None:
    lanes = Lanes(places=2, each=2)
    routine = await lines(lambda index: Line(lanes, f"ns-{index % 5}"), 50)
    (rollback,) = await lines(lambda _: Line(lanes, "ns-0", urgent=True), 1)

    assert rollback.inside
    await clear(rollback, *routine)


async def test_a_rollback_storm_in_one_namespace_leaves_places_to_a_rollback_in_another() -> None:
    lanes = Lanes(places=4, each=2)
    storm = await lines(lambda _: Line(lanes, "storm", urgent=True), 20)
    (other,) = await lines(lambda _: Line(lanes, "other", urgent=True), 1)

    assert (inside(storm), other.inside) == (2, True)
    await clear(other, *storm)


async def test_who_turns_urgent_while_waiting_changes_over_at_once() -> None:
    lanes = Lanes(places=1, each=1)
    holder, waiting = await lines(lambda _: Line(lanes, "ns"), 2)
    assert not waiting.inside
    waiting.urgent.set()
    await settled()

    assert waiting.inside
    await clear(waiting, holder)
    (again,) = await lines(lambda _: Line(lanes, "ns"), 1)
    assert again.inside, "the place in the routine line that it gave up is free"
    await again.leave()


async def test_who_turns_urgent_in_the_moment_of_getting_a_place_takes_one_place_only() -> None:
    lanes = Lanes(places=1, each=1)
    holder, waiting = await lines(lambda _: Line(lanes, "ns"), 2)
    waiting.urgent.set()
    await holder.leave()
    await settled()
    assert waiting.inside
    await waiting.leave()

    routine, urgent = Line(lanes, "ns"), Line(lanes, "ns", urgent=True)
    await settled()
    assert (routine.inside, urgent.inside) == (True, True), "every place was given back"
    await clear(routine, urgent)


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("passes", range(12))
async def test_who_is_cancelled_gives_the_place_back_at_whatever_moment(passes: int, urgent: bool) -> None:  # noqa: FBT001  # pytest's
    lanes = Lanes(places=1, each=1)
    holder = Line(lanes, "ns", urgent=urgent)
    await settled()
    leaving = Line(lanes, "ns", urgent=urgent)
    await settled()
    holding = asyncio.create_task(holder.leave())
    for _ in range(passes):
        await asyncio.sleep(0)
    await leaving.give_up()
    await holding
    await settled()

    (successor,) = await lines(lambda _: Line(lanes, "ns", urgent=urgent), 1)
    assert successor.inside
    await successor.leave()


async def test_who_is_cancelled_inside_gives_the_place_back() -> None:
    lanes = Lanes(places=1, each=1)
    (holder,) = await lines(lambda _: Line(lanes, "ns"), 1)
    await holder.give_up()
    (successor,) = await lines(lambda _: Line(lanes, "ns"), 1)
    assert successor.inside
    await successor.leave()


async def test_a_failure_inside_gives_the_place_back() -> None:
    lanes = Lanes(places=1, each=1)
    with pytest.raises(ValueError, match="the disk"):
        async with lanes.take("ns", asyncio.Event()):
            raise ValueError("the disk")
    async with asyncio.timeout(1), lanes.take("ns", asyncio.Event()):
        pass


async def test_a_slow_routine_reading_goes_at_full_speed_once_a_rollback_waits_for_it() -> None:
    hurry = asyncio.Event()
    pace = Unhurried(budget=Budget(1), hurry=hurry)
    reading = asyncio.create_task(asyncio.to_thread(pace.take, 1000, lambda: None))
    await asyncio.sleep(0.2)
    assert not reading.done(), "a thousand bytes at one byte a second"
    hurry.set()
    async with asyncio.timeout(5):
        await reading
        await asyncio.to_thread(pace.take, 10**9, lambda: None)


async def test_a_slow_reading_still_ends_when_it_is_told_to() -> None:
    def stop() -> None:
        raise ValueError("the operator ends")

    with pytest.raises(ValueError, match="the operator ends"):
        await asyncio.to_thread(Unhurried(budget=Budget(1), hurry=asyncio.Event()).take, 1000, stop)
