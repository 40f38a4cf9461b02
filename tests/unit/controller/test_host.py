"""kopf as host: it ends when we say so, and when it ends by itself, so do we."""

import asyncio
import itertools
from typing import Any

import kopf
import pytest

from lastgood.controller.host import Endless, Host, NothingInProgress, NothingToCompare, settings
from lastgood.errors import BrokenError


def host() -> Host:
    unused: Any = None
    return Host(unused, unused, namespaces=("ml",))


async def test_kopf_that_stops_watching_by_itself_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    running = host()

    async def lingering(**_: Any) -> None:
        await running.note_end()  # what kopf calls when its watchers are gone
        await asyncio.sleep(60)  # and then it waits for what is left, blindly

    monkeypatch.setattr(kopf, "operator", lingering)
    async with asyncio.timeout(1):
        with pytest.raises(BrokenError, match="stopped watching"):
            await running.run()


async def test_kopf_that_was_asked_to_stop_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def obedient(*, stop_flag: asyncio.Event, **_: Any) -> None:
        await stop_flag.wait()

    monkeypatch.setattr(kopf, "operator", obedient)
    running = host()
    task = asyncio.create_task(running.run())
    await asyncio.sleep(0.01)
    running.stop()
    await task


def test_kopf_never_gives_up_on_the_api_server() -> None:
    pauses = settings().networking.error_backoffs
    assert isinstance(pauses, Endless)
    assert not hasattr(pauses, "__len__")
    assert all(0 < pause <= 10 for pause in itertools.islice(pauses, 1000))


def test_kopf_neither_writes_nor_scans() -> None:
    found = settings()
    assert not found.posting.enabled
    assert found.peering.standalone
    assert found.scanning.disabled
    assert isinstance(found.persistence.diffbase_storage, NothingToCompare)
    assert isinstance(found.persistence.progress_storage, NothingInProgress)
