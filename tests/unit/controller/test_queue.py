"""The queue: each key once at a time, the earliest first, and a failing one less and less often."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from lastgood.controller import queue as module
from lastgood.controller.queue import LONGEST_BACKOFF, Queue, backoff
from lastgood.errors import TransientError
from lastgood.kube.cache import Key, Kind


def key(name: str, kind: Kind = Kind.DEPLOYMENT) -> Key:
    return Key(kind, "ml", name)


@asynccontextmanager
async def working(worker: Callable[[Key], Awaitable[float | None]], *, workers: int = 16) -> AsyncIterator[Queue]:
    queue = Queue()
    task = asyncio.create_task(queue.run(worker, workers=workers))
    try:
        yield queue
    finally:
        await queue.stop(grace=0.1)
        await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # what is waited for is not always an event
            await asyncio.sleep(0.001)


async def test_a_key_that_was_added_many_times_is_worked_on_once() -> None:
    seen: list[Key] = []

    async def worker(it: Key) -> None:
        seen.append(it)

    async with working(worker) as queue:
        for _ in range(100):
            queue.add(key("a"))
        await until(lambda: bool(seen))
        await asyncio.sleep(0.02)
    assert seen == [key("a")]


async def test_never_two_workers_on_one_key_and_none_is_forgotten() -> None:
    running: Counter[Key] = Counter()
    done: Counter[Key] = Counter()

    async def worker(it: Key) -> None:
        running[it] += 1
        assert running[it] == 1
        await asyncio.sleep(0.002)
        running[it] -= 1
        done[it] += 1

    async with working(worker) as queue:
        for number in range(300):
            queue.add(key(str(number % 5)))
            await asyncio.sleep(0.0005)
        await until(lambda: queue.depth == 0)
    assert set(done) == {key(str(number)) for number in range(5)}
    assert not +running


async def test_a_key_added_while_it_is_worked_on_runs_again_afterwards() -> None:
    seen: list[int] = []
    go = asyncio.Event()

    async def worker(_: Key) -> None:
        seen.append(1)
        await go.wait()

    async with working(worker) as queue:
        queue.add(key("a"))
        await until(lambda: len(seen) == 1)
        queue.add(key("a"))
        queue.add(key("a"))
        await asyncio.sleep(0.01)
        assert len(seen) == 1
        go.set()
        await until(lambda: len(seen) == 2)
        await asyncio.sleep(0.02)
        assert len(seen) == 2


async def test_the_earliest_delay_wins() -> None:
    seen: list[str] = []

    async def worker(it: Key) -> None:
        seen.append(it.name)

    async with working(worker) as queue:
        queue.add(key("late"), delay=60)
        queue.add(key("second"), delay=0.05)
        queue.add(key("first"), delay=0.03)
        queue.add(key("late"), delay=0.01)
        queue.add(key("second"), delay=60)
        await until(lambda: len(seen) == 3)
    assert seen == ["late", "first", "second"]


async def test_what_a_worker_returns_is_when_it_runs_again() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def worker(_: Key) -> float | None:
        times.append(loop.time())
        return 0.05 if len(times) < 3 else None

    async with working(worker) as queue:
        queue.add(key("a"))
        await until(lambda: len(times) == 3)
        await asyncio.sleep(0.1)
        assert queue.depth == 0
    assert [later - sooner >= 0.045 for sooner, later in pairwise(times)] == [True, True]


async def test_an_event_does_not_wait_for_the_next_regular_pass() -> None:
    seen: list[int] = []

    async def worker(_: Key) -> float:
        seen.append(1)
        return 60.0

    async with working(worker) as queue:
        queue.add(key("a"))
        await until(lambda: len(seen) == 1)
        queue.add(key("a"))
        await until(lambda: len(seen) == 2)


async def test_a_failing_key_is_repeated_and_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "backoff", lambda failures: 0.001 * failures)
    seen: Counter[str] = Counter()

    async def worker(it: Key) -> None:
        seen[it.name] += 1
        if it.name == "bad" and seen["bad"] < 4:
            raise ValueError("a bug")

    async with working(worker) as queue:
        queue.add(key("bad"))
        queue.add(key("good"))
        await until(lambda: seen["bad"] == 4)
        assert queue.depth == 0
    assert seen["good"] == 1
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 3


async def test_a_transient_error_is_no_alarm(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "backoff", lambda _: 60.0)

    async def worker(_: Key) -> None:
        raise TransientError("the API server is away")

    with caplog.at_level("INFO"):
        async with working(worker) as queue:
            queue.add(key("a"))
            await until(lambda: bool(caplog.records))
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("INFO", None)]


def test_backoff_grows_is_bounded_and_spread() -> None:
    averages = [sum(backoff(count) for _ in range(200)) / 200 for count in (1, 3, 5, 8)]
    assert averages == sorted(averages)
    assert all(backoff(count) <= LONGEST_BACKOFF for count in (1, 10, 100, 10_000))
    assert len({backoff(6) for _ in range(10)}) > 1


async def test_a_paused_queue_keeps_what_is_added() -> None:
    seen: list[Key] = []

    async def worker(it: Key) -> None:
        seen.append(it)

    async with working(worker) as queue:
        queue.pause()
        queue.add(key("a"))
        await asyncio.sleep(0.02)
        assert not seen
        queue.resume()
        await until(lambda: seen == [key("a")])


async def test_snapshots_that_take_minutes_do_not_hold_up_a_rollback() -> None:
    hashing = asyncio.Event()
    seen: list[Key] = []

    async def worker(it: Key) -> None:
        if it.kind is Kind.SNAPSHOT:
            await hashing.wait()
        seen.append(it)

    async with working(worker, workers=2) as queue:
        for number in range(20):
            queue.add(key(str(number), Kind.SNAPSHOT))
        queue.add(key("urgent"))
        await until(lambda: seen == [key("urgent")])
        hashing.set()


async def test_no_more_workers_than_allowed() -> None:
    most = now = 0

    async def worker(_: Key) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1

    async with working(worker, workers=3) as queue:
        for number in range(30):
            queue.add(key(str(number)))
        await until(lambda: queue.depth == 0)
    assert most == 3


async def test_stop_lets_a_pass_end_and_cancels_one_that_does_not() -> None:
    ended: list[str] = []

    async def worker(it: Key) -> None:
        try:
            await asyncio.sleep(0.02 if it.name == "short" else 60)
            ended.append(it.name)
        except asyncio.CancelledError:
            ended.append(f"{it.name} cancelled")
            raise

    queue = Queue()
    task = asyncio.create_task(queue.run(worker))
    queue.add(key("short"))
    queue.add(key("long"))
    await until(lambda: queue.depth == 2)
    await asyncio.sleep(0.005)
    await queue.stop(grace=0.1)
    await task
    assert ended == ["short", "long cancelled"]
    queue.add(key("after the end"))
    assert queue.depth == 0
