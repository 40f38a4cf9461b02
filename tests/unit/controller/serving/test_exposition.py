"""The server of `/metrics`: what it costs is never for those to choose who ask."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from lastgood.controller.serving.exposition import Exposition, Form
from lastgood.controller.serving.metrics import Scrape, Seen
from lastgood.errors import TerminalError
from lastgood.kube.cache import Key, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HOST = "127.0.0.1"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
# What Prometheus 3 sends.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3"
)


class Counted:
    """A look at nothing, that counts how often it was taken."""

    def __init__(self, **more: Any) -> None:
        self.times = 0
        self._more: dict[str, Any] = {"now": NOW, "leader": True, "bodies": {}, **more}

    def __call__(self) -> Seen:
        self.times += 1
        return Seen(**self._more)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(look: Callable[[], Seen], **more: Any) -> AsyncIterator[str]:
    port = free_port()
    exposition = await Exposition(look, **more).start(HOST, port)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        await exposition.stop()


async def get(url: str, *, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str, bytes, Any]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(method, url + path, headers={"Accept-Encoding": "identity", **headers}) as answer,
    ):
        return answer.status, answer.headers.get("Content-Type", ""), await answer.read(), answer.headers


async def test_person_with_curl_gets_text() -> None:
    async with serving(Counted()) as url:
        status, kind, body, _ = await get(url, Accept="*/*")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert {family.name for family in parse_text(body.decode())} > {"lastgood_leader", "lastgood_snapshot_condition"}


async def test_prometheus_gets_openmetrics_packed() -> None:
    async with serving(Counted()) as url:
        _, kind, body, headers = await get(url, **{"Accept": PROMETHEUS, "Accept-Encoding": "gzip"})
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert headers["Content-Encoding"] == "gzip"
    told = gzip.decompress(body).decode()
    assert told.endswith("# EOF\n")
    assert "lastgood_leader" in {family.name for family in parse_openmetrics(told)}  # type: ignore[no-untyped-call]  # theirs


async def test_version_that_is_no_number_is_no_error() -> None:
    async with serving(Counted()) as url:
        status, kind, *_ = await get(url, Accept="application/openmetrics-text; version=x\t; escaping=\\")
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/metrics", 405), ("GET", "/", 404)])
async def test_nothing_else_is_served(method: str, path: str, status: int) -> None:
    look = Counted()
    async with serving(look) as url:
        assert (await get(url, path=path, method=method))[0] == status
    assert look.times == 0


async def test_nothing_is_looked_at_when_nobody_asks() -> None:
    look = Counted()
    async with serving(look):
        await asyncio.sleep(0.1)
    assert look.times == 0


async def test_address_that_is_taken_is_told() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        exposition = Exposition(Counted())
        with pytest.raises(TerminalError, match=f"LASTGOOD_METRICS: cannot listen at {HOST}:"):
            await exposition.start(HOST, other.getsockname()[1])
        await exposition.stop()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let each answer take 50 ms to write, and tell which threads wrote one."""
    threads: list[str] = []
    write = Form.write

    def slowly(form: Form, scrape: Scrape) -> bytes:
        threads.append(threading.current_thread().name)
        time.sleep(0.05)
        return write(form, scrape)

    monkeypatch.setattr(Form, "write", slowly)
    return threads


async def test_who_asks_all_the_time_gets_what_is_there(slow: list[str]) -> None:
    look = Counted()
    async with serving(look) as url:
        answers = await asyncio.gather(*(get(url) for _ in range(20)))
        answers += [await get(url) for _ in range(20)]
    assert {answer[2] for answer in answers} == {answers[0][2]}
    assert look.times == len(slow) == 1


async def test_answer_is_made_anew_when_it_was_given_ten_times_as_long_as_it_took(slow: list[str]) -> None:
    look = Counted()
    async with serving(look) as url:
        began = time.monotonic()
        while look.times < 3:
            await get(url)
        taken = time.monotonic() - began
    assert taken >= 2 * 10 * 0.05
    assert len(slow) == 3


async def test_answer_is_written_by_a_thread_of_its_own(slow: list[str]) -> None:
    look = Counted()
    async with serving(look) as url:
        await get(url)
    assert slow == ["metrics_0"]


async def test_event_loop_goes_on_while_thousands_are_told_of() -> None:
    names = [f"digits-v{number}" for number in range(5000)]
    bodies = {
        Key(Kind.SNAPSHOT, "ml", name): {
            "metadata": {"namespace": "ml", "name": name, "creationTimestamp": "2026-02-01T00:00:00Z"}
        }
        for name in names
    }
    turns = 0
    async with serving(Counted(bodies=bodies)) as url:
        scrape = asyncio.create_task(get(url))
        while not scrape.done():
            await asyncio.sleep(0.001)
            turns += 1
    assert (await scrape)[2].count(b"lastgood_snapshot_created_timestamp_seconds{") == 5000
    assert turns > 10


async def test_who_asks_and_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Counted(), sending=0.3) as url:
        with monkeypatch.context() as large:
            large.setattr(Form, "write", lambda _form, _scrape: b"x" * 2**26)
            host, port = url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(1.0)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(2**26)
            writer.close()
        # In another form: the large answer is given again for nine times as long as it took to make.
        status, _, answer, _ = await get(url, Accept="application/openmetrics-text")
        assert (status, len(answer) < 2**20) == (200, True), "whoever reads is served; a small answer is sent at once"


async def test_who_goes_away_half_way_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Form, "write", lambda _form, _scrape: b"x" * 2**26)
    async with serving(Counted()) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(1000)
        writer.transport.abort()
        await asyncio.sleep(0.2)
    assert caplog.records == []


async def test_error_while_writing_an_answer_is_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Form.write
    with monkeypatch.context() as broken:

        def failing(_form: Form, _scrape: Scrape) -> bytes:
            raise MemoryError

        broken.setattr(Form, "write", failing)
        async with serving(Counted()) as url:
            assert (await get(url))[0] == 500
            broken.setattr(Form, "write", write)
            assert (await get(url))[0] == 200
