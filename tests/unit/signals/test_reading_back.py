"""Reading back: what an endpoint says comes out as numbers and booleans, and in no other way."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp.abc import ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.api.facts.signal import Verdict
from lastgood.api.names import LookError
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.errors import ExpressionError
from lastgood.signals.expression import Expression
from lastgood.signals.hosts import HostPolicy, parse_rules
from lastgood.signals.http import HttpProbe, observed
from tests.unit.signals.servers import answer, serving
from tests.unit.signals.test_names import Names, _result

SECRET = "s3same"
DEADLINE = 2.0
BODY = json.dumps({"a": SECRET, "n": 0.5, "flag": True, SECRET: {SECRET: [SECRET]}, "list": [SECRET], "none": None})


@pytest.fixture
async def probe() -> AsyncIterator[HttpProbe]:
    async with HttpProbe(deny=AddressPolicy(allow_loopback=True)) as probe:
        yield probe


READERS = [
    "result.a == 'x'",
    "result.a > 1.0",
    "result.a",
    "result",
    "result.list[0] == 'x'",
    "result.list == []",
    "int(result.a) > 1",
    "double(result.a) > 1.0",
    "duration(result.a) > duration('1s')",
    "timestamp(result.a) > timestamp('2026-01-01T00:00:00Z')",
    "string(result.list) == ''",
    "result[result.a] > 1.0",
    "result[result.a][result.a] > 1.0",
    "result.nope[result.a] == 1.0",
    "{'x': 1}[result.a] == 1",
    "{result.a: 1, result.a: 2} == {}",
    "result.all(key, result[key] > 1.0)",
    "result.exists(key, result.none[key] > 1.0)",
    "result.list[int(result.n) + 7] == 'x'",
    "result.a + 1.0 > 1.0",
    "-result.a < 0.0",
    "result.a ? true : false",
    "result.list.map(x, int(x)) == []",
    "result.a.b.c == 1.0",
]


@pytest.mark.parametrize("text", READERS)
async def test_reading_a_secret_through_a_condition_shows_nothing_of_it(probe: HttpProbe, text: str) -> None:
    condition = Expression.compile(text)
    async with serving(answer(BODY.encode())) as server:
        for sample in (
            await probe.sample(server.url, condition, DEADLINE),
            await probe.check(server.url, condition, DEADLINE),
        ):
            assert SECRET not in sample.value + sample.error


ANSWERS = [
    pytest.param(answer(BODY.encode(), status=f"500 {SECRET}"), id="the words of a status"),
    pytest.param(answer(b"", f"Location: http://{SECRET}/", status="302 Found"), id="where a redirect leads"),
    pytest.param(answer(b"", f"Content-Encoding: {SECRET}"), id="a header"),
    pytest.param(answer(SECRET.encode()), id="no JSON"),
    pytest.param(answer(f'{{"{SECRET}": {SECRET}}}'.encode()), id="no JSON after a key"),
    pytest.param(answer(f'{{"{SECRET}": 1, "{SECRET}": 2}}'.encode()), id="a key twice"),
    pytest.param(answer(f'{{"{SECRET}": NaN}}'.encode()), id="NaN under a key"),
    pytest.param(answer(b'{"a": "' + SECRET.encode() + b'\\ud800"}'), id="half a character"),
    pytest.param(f"{SECRET}\r\n\r\n".encode(), id="no HTTP"),
    pytest.param(f"HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n{{}}".encode(), id="a header without a colon"),
    pytest.param(f"HTTP/1.1 2{SECRET} OK\r\n\r\n".encode(), id="a status that is no number"),
    pytest.param(f"HTTP/1.1 200 OK\r\nContent-Length: {SECRET}\r\n\r\n".encode(), id="a length that is no number"),
    pytest.param(
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n".encode(), id="a chunk that is no number"
    ),
    pytest.param(answer(SECRET.encode(), length=1000), id="cut off"),
]


@pytest.mark.parametrize("what", ANSWERS)
async def test_reading_a_secret_through_an_error_shows_nothing_of_it(probe: HttpProbe, what: bytes) -> None:
    async with serving(what) as server:
        sample = await probe.sample(server.url, Expression.compile("result.a > 1.0"), DEADLINE)
    assert sample.verdict is Verdict.INCONCLUSIVE
    assert sample.kind is not None
    assert SECRET not in sample.value + sample.error
    for word in ("aiohttp", "Error", "Errno", "errno", "[", "Expecting", "http.client", "ssl"):
        assert word not in sample.error, "no library's text"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", SECRET]), inner, max_size=3),
)


@settings(deadline=None)  # a busy machine is no failure
@given(result=JSON, text=st.sampled_from(READERS))
def test_no_result_and_no_condition_show_a_text(result: object, text: str) -> None:
    condition = Expression.compile(text)
    assert SECRET not in observed(condition, result)
    assert SECRET not in said(condition, result)


def said(condition: Expression, result: object) -> str:
    try:
        return str(condition.evaluate(result))
    except ExpressionError as error:
        return str(error)


def test_what_is_shown_are_numbers_and_booleans() -> None:
    condition = Expression.compile(
        "[result.a, result.n, result.flag, result.list, result.none, result.x, result.m] == []"
    )
    result = {"a": SECRET, "n": 0.5, "flag": True, "list": [SECRET], "none": None, "m": {SECRET: 1.0}}
    shown = "result.a=(text), result.n=0.5, result.flag=true, result.list=(list), result.none=(null)"
    assert observed(condition, result) == shown + ", result.x=(missing), result.m=(object)"


async def test_a_service_that_stands_for_another_host_is_not_asked() -> None:
    """An ExternalName Service is a CNAME: whoever may write Services would choose any host with it."""

    async def external(host: str, port: int, _: object) -> Sequence[ResolveResult]:
        assert host == "metrics.ml.svc.cluster.local."
        return [{**_result("internal.corp.example", port, "127.0.0.1"), "hostname": "internal.corp.example"}]

    async with (
        serving(answer(b"{}")) as server,
        HttpProbe(deny=AddressPolicy(allow_loopback=True), lookup=external) as probe,
    ):
        condition = Expression.compile("true")
        sample = await probe.sample(f"http://metrics:{server.port}/", condition, DEADLINE, namespace="ml")
    assert sample.kind is LookError.HOST_NOT_ALLOWED
    assert "ExternalName" in sample.error
    assert "corp" not in sample.error
    assert server.requests == []


async def test_a_service_that_leads_to_metadata_is_not_asked() -> None:
    names = Names(["169.254.169.254"])
    async with HttpProbe(deny=AddressPolicy(), lookup=names.lookup) as probe:
        sample = await probe.sample("http://metrics/", Expression.compile("true"), DEADLINE, namespace="ml")
    assert sample.kind is LookError.ADDRESS_REFUSED


async def test_the_server_is_told_the_name_that_people_write() -> None:
    names = Names(["127.0.0.1"])
    async with (
        serving(answer(b"{}")) as server,
        HttpProbe(deny=AddressPolicy(allow_loopback=True), lookup=names.lookup) as probe,
    ):
        await probe.fetch(f"http://metrics.ml.svc:{server.port}/x?y=z", DEADLINE, namespace="ml")
    head = server.requests[0].decode().lower()
    assert head.startswith("get /x?y=z http/1.1\r\n")
    assert f"host: metrics.ml.svc:{server.port}\r\n" in head
    assert head.count("host:") == 1


async def test_strict_mtls_closes_the_connection_and_the_sentence_says_what_to_do(probe: HttpProbe) -> None:
    async with serving(b"") as server:
        sample = await probe.sample(server.url, Expression.compile("true"), DEADLINE)
    assert sample.kind is LookError.CONNECTION_CLOSED
    assert "closed the connection" in sample.error
    assert "mTLS" in sample.error


async def test_a_name_of_the_list_is_asked_where_it_is() -> None:
    names = Names(["127.0.0.1"])
    hosts = HostPolicy(rules=parse_rules(["*.metrics.example"]))
    async with (
        serving(answer(b"{}")) as server,
        HttpProbe(deny=AddressPolicy(allow_loopback=True), hosts=hosts, lookup=names.lookup) as probe,
    ):
        assert await probe.fetch(f"http://a.metrics.example:{server.port}/", DEADLINE, namespace="ml") == {}


async def test_a_certificate_that_is_not_trusted_is_said_so(probe: HttpProbe, tmp_path: Path) -> None:
    async with encrypted(tmp_path) as port:
        sample = await probe.sample(f"https://127.0.0.1:{port}/", Expression.compile("true"), DEADLINE)
    assert sample.kind is LookError.NOT_TRUSTED
    assert sample.error == f"127.0.0.1:{port} has a certificate that is not trusted, or not for this host"


async def test_an_http_port_that_is_asked_for_tls_is_said_so(probe: HttpProbe) -> None:
    async with serving(answer(b"{}")) as server:
        url = server.url.replace("http:", "https:")
        sample = await probe.sample(url, Expression.compile("true"), DEADLINE)
    assert sample.kind in {LookError.TLS_FAILED, LookError.CONNECTION_CLOSED, LookError.TIMED_OUT}
    assert "SSL" not in sample.error


@asynccontextmanager
async def encrypted(directory: Path) -> AsyncIterator[int]:
    """Serve nothing over TLS, with a certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SECRET)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1)).sign(key, SHA256())
    file = directory / "pair.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(secret + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
