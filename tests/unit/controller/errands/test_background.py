"""Work beside the passes: whatever comes of it, who waits hears of it, once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest

from lastgood.controller.errands.background import Background
from lastgood.errors import LastgoodError, TransientError
from lastgood.kube.cache import Key, Kind

KEY = Key(Kind.SNAPSHOT, "ml", "digits-v1")
Job = Callable[[], Awaitable[str]]


class Counting(Background[Job, str]):
    doing: ClassVar[str] = "counting"

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str | None] = []

    async def start(self, job: Job) -> None:
        self._raise_unasked(KEY)
        await asyncio.wait({self._launch(KEY, job)})

    def start_and_leave(self, job: Job) -> None:
        self._launch(KEY, job)

    def drop(self) -> bool:
        return self._drop(KEY)

    async def _do(self, key: Key, work: Job) -> str:  # noqa: ARG002 - there is one
        return await work()

    async def _failed(self, key: Key, work: Job, message: str) -> str:  # noqa: ARG002 - there is one
        return f"failed: {message}"

    def _ended(self, key: Key, found: str | None) -> None:  # noqa: ARG002 - there is one
        self.heard.append(found)


def job(outcome: str | Exception) -> Job:
    async def work() -> str:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return work


@pytest.mark.parametrize(
    ("outcome", "heard"),
    [
        ("seven", "seven"),
        (LastgoodError("the claim is not there"), "failed: the claim is not there"),
        (KeyError("secret"), "failed: KeyError while counting"),
        (TransientError("no answer"), None),
    ],
)
async def test_who_waits_hears_of_it_once(outcome: str | Exception, heard: str | None) -> None:
    work = Counting()
    await work.start(job(outcome))
    assert work.heard == [heard]


async def test_not_being_able_to_ask_is_raised_to_the_next_that_asks_and_to_nobody_else() -> None:
    work = Counting()
    await work.start(job(TransientError("no answer")))
    with pytest.raises(TransientError, match="no answer"):
        await work.start(job("seven"))
    await work.start(job("seven"))
    assert work.heard == [None, "seven"]


async def test_what_was_dropped_ends_nothing_of_what_has_its_name_now() -> None:
    work, hangs = Counting(), asyncio.Event()

    async def hang() -> str:
        try:
            await hangs.wait()
        finally:
            await asyncio.sleep(0)  # it takes a moment to stop
        return "late"

    work.start_and_leave(hang)
    await asyncio.sleep(0)
    assert work.drop()
    await work.start(job("another's"))
    await asyncio.sleep(0.01)
    assert work.heard == ["another's"]
    assert not work.drop()


async def test_close_stops_what_runs() -> None:
    work = Counting()
    work.start_and_leave(asyncio.Event().wait)  # type: ignore[arg-type]  # it never returns
    await asyncio.sleep(0)
    await asyncio.wait_for(work.close(), 1)
    assert work.heard == [None]
