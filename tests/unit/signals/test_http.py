"""A metrics endpoint that misbehaves, in every way that we know, is Inconclusive and never a breach."""

import asyncio
import gzip
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest

from lastgood.api.facts.signal import Verdict
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.errors import ProbeError
from lastgood.signals.expression import Expression
from lastgood.signals.http import HttpProbe
from tests.unit.signals.servers import Answer, answer, serving

MEBIBYTE = 1024 * 1024
FAILING = Expression.compile("result.accuracy < 0.9")
ALWAYS = Expression.compile("true")
DEADLINE = 1.5
GOOD = answer(b'{"accuracy": 0.93}')


@pytest.fixture
async def probe() -> AsyncIterator[HttpProbe]:
    async with HttpProbe(deny=AddressPolicy(allow_loopback=True)) as probe:
        yield probe


@pytest.mark.parametrize(
    ("body", "failing", "succeeding"),
    [
        pytest.param(b'{"accuracy": 0.93}', Verdict.HEALTHY, Verdict.BREACHED, id="good"),
        pytest.param(b'{"accuracy": 0.8}', Verdict.BREACHED, Verdict.HEALTHY, id="bad"),
    ],
)
async def test_a_condition_is_a_vote(probe: HttpProbe, body: bytes, failing: Verdict, succeeding: Verdict) -> None:
    async with serving(answer(body)) as server:
        sample = await probe.sample(server.url, FAILING, DEADLINE)
        check = await probe.check(server.url, FAILING, DEADLINE)
    assert (sample.verdict, check.verdict) == (failing, succeeding)
    assert sample.value == "result.accuracy=" + body.decode()[13:-1]
    assert not sample.error


async def slow_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)
    writer.write(GOOD)


async def dripping_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Drip: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"", length=1000))
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_interim(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless_chunks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
        await writer.drain()


async def endless_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b" " * 4096)
        await writer.drain()


async def endless_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"a" * 4000 + b"\r\n")
        await writer.drain()


async def cut_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b'{"accuracy"', length=1000))


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


BOMB = gzip.compress(b'{"accuracy": 0.1, "x": "' + b"a" * 100 * MEBIBYTE + b'"}')

BAD_ANSWERS = [
    pytest.param(slow_head, "no complete answer within 1.5 s", id="slow header"),
    pytest.param(dripping_head, "no complete answer within 1.5 s", id="dripping header"),
    pytest.param(dripping_body, "no complete answer within 1.5 s", id="dripping body"),
    pytest.param(endless_interim, "no complete answer within 1.5 s", id="endless interim answers"),
    pytest.param(endless_chunks, "more than 1048576 bytes", id="endless chunks"),
    pytest.param(endless_body, "more than 1048576 bytes", id="endless without a length"),
    pytest.param(endless_headers, "no usable answer", id="endless headers"),
    pytest.param(cut_off, "no usable answer", id="cut off"),
    pytest.param(reset, "no usable answer", id="reset"),
    pytest.param(b"", "no usable answer", id="closed without a word"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "no usable answer", id="not HTTP"),
    pytest.param(answer(b" " * (MEBIBYTE + 1)), "more than 1048576 bytes", id="huge"),
    pytest.param(answer(b"", length=10**18), "more than 1048576 bytes", id="huge by its own word"),
    pytest.param(answer(b""), "is empty", id="empty"),
    pytest.param(answer(b"accuracy 0.1\n"), "is not JSON", id="not JSON"),
    pytest.param(answer(b'{"accuracy": 0.1} trailing'), "is not JSON", id="JSON and more"),
    pytest.param(answer(b'{"accuracy": "\xff"}'), "is not UTF-8", id="not UTF-8"),
    pytest.param(answer(b'{"accuracy": NaN}'), "has NaN", id="NaN"),
    pytest.param(answer(b'{"accuracy": -Infinity}'), "has -Infinity", id="-Infinity"),
    pytest.param(answer(b'{"accuracy": -1e999}'), "a number too large", id="too large a number"),
    pytest.param(answer(b"1" * 5000), "a number too large", id="too long an integer"),
    pytest.param(answer(b'{"accuracy": 0.95, "accuracy": 0.1}'), "same key twice", id="duplicate keys"),
    pytest.param(answer(b'{"accuracy": 0.1, "s": "\\ud800"}'), "lone surrogate", id="half a character"),
    pytest.param(answer(b"[" * 100_000), "more than 10000 values", id="100,000 brackets"),
    pytest.param(answer(b"[" * 5_000), "nested deeper than 32", id="5,000 brackets"),
    pytest.param(answer(b"[" + b"1," * 20_000 + b"1]"), "more than 10000 values", id="too many values"),
    pytest.param(answer(b"{}", "Location: /x", status="302 Found"), "a redirect (302)", id="redirect"),
    pytest.param(answer(b'{"accuracy": 0.1}', status="500 Oh No"), "status 500", id="status 500"),
    pytest.param(answer(b"", status="204 No Content"), "status 204", id="status 204"),
    pytest.param(answer(b'{"accuracy": 0.1}', status="404 Not Found"), "status 404", id="status 404"),
    pytest.param(answer(BOMB, "Content-Encoding: gzip"), "compressed body", id="gzip bomb"),
    pytest.param(answer(b'"x"', "Content-Encoding: zstd"), "compressed body", id="other packing"),
]


@pytest.mark.parametrize(("what", "sentence"), BAD_ANSWERS)
async def test_a_bad_answer_is_no_vote(probe: HttpProbe, what: bytes | Answer, sentence: str) -> None:
    async with serving(what) as server:
        started = time.monotonic()
        sample = await probe.sample(server.url, FAILING, DEADLINE)
        took = time.monotonic() - started
        check = await probe.check(server.url, FAILING, DEADLINE)
    assert sample.verdict is check.verdict is Verdict.INCONCLUSIVE
    assert sentence in sample.error
    assert sample.error.startswith(f"127.0.0.1:{server.port} ")
    assert len(sample.error) <= 256
    assert sample.error.isprintable()
    assert took < DEADLINE + 10


async def test_an_endpoint_that_is_down_is_no_vote(probe: HttpProbe) -> None:
    async with serving(GOOD) as server:
        pass
    sample = await probe.sample(server.url, ALWAYS, DEADLINE)
    assert sample.verdict is Verdict.INCONCLUSIVE
    assert "cannot be reached" in sample.error


async def test_a_missing_field_is_no_vote_and_says_what_was_seen(probe: HttpProbe) -> None:
    async with serving(answer(b'{"precision": 0.1}')) as server:
        sample = await probe.sample(server.url, FAILING, DEADLINE)
    assert sample.verdict is Verdict.INCONCLUSIVE
    assert sample.value == "result.accuracy=(missing)"
    assert sample.error == "the condition cannot be evaluated: the result has no field result.accuracy"


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data", "{own}", "//127.0.0.1/", "file:///etc/passwd"]
)
async def test_no_redirect_is_followed(probe: HttpProbe, location: str) -> None:
    target = answer(b'{"accuracy": 0.1}')
    async with serving(target) as own:
        header = "Location: " + location.replace("{own}", own.url)
        async with serving(answer(b"", header, status="307 Temporary Redirect")) as server:
            sample = await probe.sample(server.url, FAILING, DEADLINE)
    assert sample.verdict is Verdict.INCONCLUSIVE
    assert "redirect (307), which is not followed" in sample.error
    assert own.requests == []


@pytest.mark.parametrize("body", [endless_chunks, answer(BOMB, "Content-Encoding: gzip"), endless_body])
async def test_a_large_answer_takes_little_memory(probe: HttpProbe, body: bytes | Answer) -> None:
    async with serving(body) as server:
        tracemalloc.start()
        try:
            with pytest.raises(ProbeError):
                await probe.fetch(server.url, DEADLINE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * MEBIBYTE


async def test_the_request_says_who_asks_and_carries_nothing_else(
    probe: HttpProbe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    async with serving(GOOD) as proxy, serving(answer(b"{}", "Set-Cookie: a=b")) as server:
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await probe.fetch(server.url, DEADLINE)
        await probe.fetch(server.url, DEADLINE)
    assert proxy.requests == []
    head = server.requests[1].decode().lower()
    assert head.startswith("get /metrics.json http/1.1\r\n")
    assert f"user-agent: lastgood/{version('lastgood')}\r\n" in head
    assert "accept-encoding: identity\r\n" in head
    assert "cookie" not in head
    assert "authorization" not in head


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "127.0.0.1/x",
        "http:///x",
        "http://user:pw@127.0.0.1/x",
        "http://127.0.0.1:99999/x",
        "http://[::1/x",
        "http://127.0.0.1:0/x",
        "",
    ],
)
async def test_another_kind_of_url_is_refused(probe: HttpProbe, url: str) -> None:
    with pytest.raises(ProbeError, match=r"^the URL "):
        await probe.fetch(url, DEADLINE)


async def test_the_sentence_shows_no_path_and_no_query(probe: HttpProbe) -> None:
    async with serving(answer(b"", status="403 Forbidden")) as server:
        with pytest.raises(ProbeError) as raised:
            await probe.fetch(server.url + "?token=sesame", DEADLINE)
    assert "sesame" not in str(raised.value)
    assert "metrics" not in str(raised.value)


async def test_each_request_has_a_connection_of_its_own(probe: HttpProbe) -> None:
    """A connection is checked when it is made; one that is kept would outlive a change of the name."""

    async def keeping_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        again.append(await reader.read(1))

    again: list[bytes] = []
    async with serving(keeping_alive) as server:
        await probe.fetch(server.url, DEADLINE)
        await probe.fetch(server.url, DEADLINE)
    assert len(server.requests) == 2
    assert again[0] == b""  # nothing more came over the first one


async def test_a_failing_endpoint_leaves_others_alone(probe: HttpProbe) -> None:
    async with serving(slow_head) as slow, serving(GOOD) as good:
        samples = await asyncio.gather(
            *(probe.sample(server.url, FAILING, DEADLINE) for server in (slow, good, slow, good))
        )
    assert [sample.verdict for sample in samples] == [Verdict.INCONCLUSIVE, Verdict.HEALTHY] * 2


@pytest.mark.parametrize(
    ("padding", "loop"), [pytest.param(0, True, id="small"), pytest.param(MEBIBYTE // 2, False, id="large")]
)
async def test_a_large_answer_is_judged_where_it_keeps_no_emergency_waiting(
    probe: HttpProbe,
    monkeypatch: pytest.MonkeyPatch,
    padding: int,
    loop: bool,  # noqa: FBT001 - a column of the table
) -> None:
    where: list[bool] = []
    evaluate = Expression.evaluate

    def noting(self: Expression, result: object) -> bool:
        where.append(threading.current_thread() is threading.main_thread())
        return evaluate(self, result)

    monkeypatch.setattr(Expression, "evaluate", noting)
    async with serving(answer(b'{"accuracy": 0.8, "more": "' + b"x" * padding + b'"}')) as server:
        sample = await probe.sample(server.url, FAILING, DEADLINE)
    assert (sample.verdict, where) == (Verdict.BREACHED, [loop])


async def test_endpoints_of_a_namespace_that_hang_keep_no_other_namespace_waiting(probe: HttpProbe) -> None:
    """A few ModelDeployments, sixteen triggers each, and a Service that never answers."""

    async def hang(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    ok = Expression.compile("result.ok")
    async with serving(hang) as bad, serving(answer(b'{"ok": true}')) as good:
        looks = [asyncio.create_task(probe.check(bad.url, ok, 20.0, namespace="evil")) for _ in range(150)]
        await asyncio.sleep(0.5)
        found = await probe.check(good.url, ok, 10.0, namespace="ml")
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        assert found.verdict == Verdict.HEALTHY, found.error
        assert len(bad.requests) <= 64
