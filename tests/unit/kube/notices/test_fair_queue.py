"""A queue in which each namespace has a turn, and the longest line is cut."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.kube.notices.fair_queue import FairQueue


async def taken(queue: FairQueue[str]) -> list[str]:
    found = []
    while len(queue):
        found.append(await queue.take())
        queue.done()
    return found


async def test_lines_take_turns_and_each_keeps_its_order() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        assert queue.put(item[0], item) is None
    assert await taken(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_line_that_comes_later_has_its_turn_after_those_that_wait() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for item in ("a1", "a2", "b1"):
        queue.put(item[0], item)
    assert await queue.take() == "a1"
    queue.put("c", "c1")
    assert await taken(queue) == ["b1", "a2", "c1"]


async def test_the_newest_of_the_longest_line_is_dropped() -> None:
    queue: FairQueue[str] = FairQueue(3)
    for item in ("a1", "a2", "b1"):
        queue.put(item[0], item)
    assert queue.put("c", "c1") == "a2"
    assert len(queue) == 3
    assert await taken(queue) == ["a1", "b1", "c1"]


async def test_of_equally_long_lines_the_last_is_cut() -> None:
    queue: FairQueue[str] = FairQueue(3)
    for item in ("a1", "b1", "c1"):
        queue.put(item[0], item)
    assert queue.put("d", "d1") == "d1"
    assert await taken(queue) == ["a1", "b1", "c1"]


async def test_who_alone_fills_it_loses_what_comes_last() -> None:
    queue: FairQueue[str] = FairQueue(2)
    assert [queue.put("a", item) for item in ("a1", "a2", "a3")] == [None, None, "a3"]
    assert await taken(queue) == ["a1", "a2"]


async def test_taking_waits_for_an_item() -> None:
    queue: FairQueue[str] = FairQueue(2)
    task = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not task.done()
    queue.put("a", "a1")
    assert await task == "a1"


async def test_joining_waits_until_what_was_taken_is_dealt_with() -> None:
    queue: FairQueue[str] = FairQueue(1)
    queue.put("a", "a1")
    queue.put("b", "b1")  # one of the two is dropped, and counts as dealt with
    await queue.take()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.join(), 0.01)
    queue.done()
    await asyncio.wait_for(queue.join(), 1)


@settings(deadline=None)  # a loop for each example: how long that takes is the machine's affair
@given(st.lists(st.sampled_from("abc-")), st.integers(1, 8))
def test_nothing_is_lost_but_what_is_told(moves: list[str], limit: int) -> None:
    """A letter is a namespace that puts an item, and a dash takes one."""

    async def played() -> list[str]:
        queue: FairQueue[str] = FairQueue(limit)
        found: list[str | None] = []
        for place, move in enumerate(moves):
            if move != "-":
                found.append(queue.put(move, f"{move}{place}"))
            elif len(queue):
                found.append(await queue.take())
                queue.done()
            assert len(queue) <= limit
        found += await taken(queue)
        await asyncio.wait_for(queue.join(), 30)
        return [item for item in found if item is not None]

    expected = [f"{move}{place}" for place, move in enumerate(moves) if move != "-"]
    assert sorted(asyncio.run(played())) == sorted(expected)
