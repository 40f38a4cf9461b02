"""No name, spelling or answer of a name service leads a request to an address that is never called."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp.abc import ResolveResult

from lastgood.api.facts.signal import Verdict
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.errors import ProbeError
from lastgood.signals.expression import Expression
from lastgood.signals.hosts import HostPolicy, parse_rules
from lastgood.signals.http import HttpProbe
from tests.unit.signals.servers import Server, answer, serving

FAILING = Expression.compile("result.accuracy < 0.9")
ALWAYS = Expression.compile("true")
DEADLINE = 0.5
LISTED = HostPolicy(rules=parse_rules(["metrics.example"]))
GOOD = answer(b'{"accuracy": 0.93}')


@pytest.fixture
async def probe() -> AsyncIterator[HttpProbe]:
    async with HttpProbe(deny=AddressPolicy(allow_loopback=True)) as probe:
        yield probe


class Names:
    """A name service whose answers change from one question to the next."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def lookup(self, host: str, port: int, _: socket.AddressFamily) -> list[ResolveResult]:
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [_result(host, port, address) for address in addresses]


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that a socket of the event loop is connected to; no packet leaves this machine."""
    addresses: list[str] = []
    connect = asyncio.selector_events.BaseSelectorEventLoop.sock_connect

    async def recorded(
        loop: asyncio.selector_events.BaseSelectorEventLoop, sock: socket.socket, to: tuple[str, int]
    ) -> None:
        addresses.append(to[0])
        assert to[0].startswith("127.")
        await connect(loop, sock, to)

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", recorded)
    return addresses


def named(server: Server) -> str:
    return server.url.replace("127.0.0.1", "metrics.example")


METADATA = ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "0.0.0.0"]  # noqa: S104 an address to refuse


@pytest.mark.parametrize("address", METADATA)
@pytest.mark.parametrize("first", [[], ["127.0.0.1"]])
async def test_a_name_that_leads_to_metadata_is_not_called(
    connected: list[str], address: str, first: list[str]
) -> None:
    names = Names([*first, address])
    async with (
        serving(GOOD) as server,
        HttpProbe(deny=AddressPolicy(allow_loopback=True), hosts=LISTED, lookup=names.lookup) as probe,
    ):
        sample = await probe.sample(named(server), ALWAYS, DEADLINE)
    assert sample.verdict is Verdict.INCONCLUSIVE
    assert "never called" in sample.error
    assert connected == []


async def test_dns_rebinding_connects_to_checked_addresses_only(connected: list[str]) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with (
        serving(GOOD) as server,
        HttpProbe(deny=AddressPolicy(allow_loopback=True), hosts=LISTED, lookup=names.lookup) as probe,
    ):
        first = await probe.sample(named(server), FAILING, DEADLINE)
        second = await probe.sample(named(server), FAILING, DEADLINE)
    assert (first.verdict, second.verdict) == (Verdict.HEALTHY, Verdict.INCONCLUSIVE)
    assert connected == ["127.0.0.1"]
    assert names.asked == 2  # once for each connection: no second answer to the same question is used


async def test_a_resolver_that_is_not_ours_cannot_get_past_the_socket(
    connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unchecked(_: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        assert family >= 0
        return [_result(host, port, "169.254.169.254")]

    monkeypatch.setattr("lastgood.signals.http.CheckedResolver.resolve", unchecked)
    async with HttpProbe(deny=AddressPolicy(), hosts=LISTED) as probe:
        with pytest.raises(ProbeError, match="metadata address, which is never called"):
            await probe.fetch("http://metrics.example/", DEADLINE)
    assert connected == []


SPELLINGS = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.254.169.254.",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[2002:a9fe:a9fe::1]",
    "[fe80::1%25lo]",
    "[fe80::1%25eth0]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[::]",
    "0",
    "0.0.0.0",  # noqa: S104 an address to refuse
    "255.255.255.255",
    "224.0.0.1",
    "100.100.100.200",
    "168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_a_refused_address_is_called(connected: list[str], probe: HttpProbe, host: str) -> None:
    with pytest.raises(ProbeError):
        await probe.fetch(f"http://{host}/latest/meta-data", DEADLINE)
    assert connected == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0x7f000001"]
)
async def test_loopback_is_refused_unless_allowed(connected: list[str], host: str) -> None:
    async with HttpProbe(deny=AddressPolicy()) as probe:
        with pytest.raises(ProbeError, match="is not called"):
            await probe.fetch(f"http://{host}/", DEADLINE)
    assert connected == []


async def test_a_name_without_an_address_is_said_so() -> None:
    async def nothing(*_: object) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with HttpProbe(deny=AddressPolicy(), hosts=LISTED, lookup=nothing) as probe:
        with pytest.raises(ProbeError, match=r"metrics\.example:80 has no address: the name does not resolve"):
            await probe.fetch("http://metrics.example/", DEADLINE)


async def test_a_name_service_that_hangs_is_within_the_deadline() -> None:
    async def hanging(*_: object) -> list[ResolveResult]:
        await asyncio.sleep(30)
        return []

    async with HttpProbe(deny=AddressPolicy(), hosts=LISTED, lookup=hanging) as probe:
        with pytest.raises(ProbeError, match=r"within 0\.5 s"):
            await probe.fetch("http://metrics.example/", DEADLINE)
