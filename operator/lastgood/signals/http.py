"""Metrics over HTTP: one GET, one JSON value or a sentence that says why there is none.

The URL is written by whoever may write a ModelDeployment, and the answer by whoever serves it: neither is
trusted. `hosts.py` says which hosts are asked at all. An address is checked in the resolver, which sees all addresses
of a name, and again in the socket factory, which sees the very address that is about to be connected to, literal or
resolved. Nothing of an answer is shown but numbers and booleans, and no error repeats what a library says: see
`failures.py`.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Self, TypeVar
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.names import LookError
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.answers import MAX_BYTES, UnusableValueError, parse_json
from lastgood.signals.errors import ExpressionError, ProbeError, StandInError
from lastgood.signals.expression import MISSING, Expression, at, shown_path
from lastgood.signals.failures import failure
from lastgood.signals.hosts import HostPolicy, Target
from lastgood.signals.sentences import one_sentence

T = TypeVar("T")
_Lookup = Callable[[str, int, socket.AddressFamily], Awaitable[Sequence[ResolveResult]]]

_CHUNK = 64 * 1024
_LOOKUPS = 8
_AT_ONCE = 64  # requests of one namespace; endpoints of one that hang keep no other's waiting
_OK = 200
_SMALL = 32 * 1024  # bytes; what is larger is read and judged off the event loop, one after another
_REDIRECTS = range(300, 400)
_HEADERS = {
    "User-Agent": f"lastgood/{version('lastgood')}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # and nothing else is unpacked: a small body cannot grow
}


class HttpProbe:
    """Asks metrics endpoints. An asynchronous context manager; one serves all triggers."""

    def __init__(self, *, deny: AddressPolicy, hosts: HostPolicy | None = None, lookup: _Lookup | None = None) -> None:
        """Make a probe; it opens nothing before its first request.

        Args:
            deny: the addresses that are never called.
            hosts: the hosts that may be asked; by default, only Services of the namespace that asks.
            lookup: resolves a name instead of the system's resolver.
        """
        self._deny = deny
        self._hosts = hosts or HostPolicy(allow_loopback=deny.allow_loopback)
        self._lookup = lookup
        self._session: aiohttp.ClientSession | None = None
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._judge = ThreadPoolExecutor(1, thread_name_prefix="lastgood-judge")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is open."""
        self._judge.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def sample(self, url: str, failure_condition: Expression, timeout: float, *, namespace: str = "") -> Sample:  # noqa: ASYNC109 total
        """Look once: the condition tells what failure is, so true is Breached and false is Healthy."""
        return await self._look(url, failure_condition, timeout, namespace, when_true=Verdict.BREACHED)

    async def check(self, url: str, success_condition: Expression, timeout: float, *, namespace: str = "") -> Sample:  # noqa: ASYNC109 total
        """Look once: the condition tells what success is, so true is Healthy and false is Breached."""
        return await self._look(url, success_condition, timeout, namespace, when_true=Verdict.HEALTHY)

    async def fetch(self, url: str, timeout: float, *, namespace: str = "") -> object:  # noqa: ASYNC109 all of it, slow drips too
        """Return the JSON value behind a URL; see `_fetch`."""
        value, _ = await self._fetch(url, timeout, namespace)
        return value

    async def _worked(self, size: int, work: Callable[[], T]) -> T:
        """Do what takes long for a large answer where it keeps nobody waiting but other large answers.

        A hostile answer within all limits takes 0.2 s of processor time; one endpoint after another must not add up
        to seconds in which no emergency is heard.
        """
        if size <= _SMALL:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._judge, work)

    async def _fetch(self, url: str, timeout: float, namespace: str) -> tuple[object, int]:  # noqa: ASYNC109 as fetch
        """Return the JSON value behind a URL, and how many bytes it was.

        Args:
            url: http or https, without user information.
            timeout: seconds for everything: name, connection, headers and body.
            namespace: whose Services may be asked.

        Raises:
            ProbeError: one sentence, without the path and query of the URL, and without anything that was read.
        """
        target = self._hosts.target(url, namespace)
        try:
            async with asyncio.timeout(timeout):
                async with self._rooms.setdefault(namespace, asyncio.Semaphore(_AT_ONCE)):
                    body = await self._body(target)
                return await self._worked(len(body), lambda: parse_json(body)), len(body)
        except TimeoutError:
            raise _error(target, LookError.TIMED_OUT, f"gave no complete answer within {timeout:g} s") from None
        except UnusableValueError as error:
            raise _error(target, LookError.UNUSABLE_JSON, f"answered, but the body {error}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _error(target, *failure(error)) from None

    async def _look(
        self,
        url: str,
        condition: Expression,
        timeout: float,  # noqa: ASYNC109 as fetch
        namespace: str,
        *,
        when_true: Verdict,
    ) -> Sample:
        try:
            result, size = await self._fetch(url, timeout, namespace)
        except ProbeError as error:
            return Sample(verdict=Verdict.INCONCLUSIVE, error=str(error), kind=error.kind)
        value = observed(condition, result)
        try:
            holds = await self._worked(size, lambda: condition.evaluate(result))
        except ExpressionError as error:
            told = one_sentence(f"the condition cannot be evaluated: {error}")
            return Sample(verdict=Verdict.INCONCLUSIVE, value=value, error=told, kind=LookError.NO_ANSWER)
        otherwise = Verdict.HEALTHY if when_true is Verdict.BREACHED else Verdict.BREACHED
        return Sample(verdict=when_true if holds else otherwise, value=value)

    async def _body(self, target: Target) -> bytes:
        asked = self._opened().get(
            target.url,
            allow_redirects=False,
            headers={"Host": target.header},
            server_hostname=target.host.strip("[]"),  # a certificate names the Service as people do
        )
        async with asked as response:
            _check_head(target, response)
            return await _read(target, response)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None),  # the deadline is around all of it, see fetch
                auto_decompress=False,
                trust_env=False,  # no proxy, no .netrc
                read_bufsize=_CHUNK,
            )
        return self._session

    def _connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            resolver=CheckedResolver(deny=self._deny, hosts=self._hosts, lookup=self._lookup),
            socket_factory=self._socket,
            limit=0,  # each namespace has a bound of its own
            use_dns_cache=False,
            force_close=True,  # a connection is checked when it is made, so none is kept
        )

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        self._deny.check(str(address[0]))
        return socket.socket(family, kind, protocol)


class CheckedResolver(AbstractResolver):
    """Resolves names; refuses one with any address that is never called, and a Service that stands for another host."""

    def __init__(self, *, deny: AddressPolicy, hosts: HostPolicy, lookup: _Lookup | None) -> None:
        self._deny = deny
        self._hosts = hosts
        # Threads of their own: names that take long to resolve must not hold up those who hash files.
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="lastgood-lookup")
        self._lookup = lookup or self._system_lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            RefusedAddressError: for one address that is never called: a name that mixes them is no mistake.
        """
        found = list(await self._lookup(host, port, family))
        for result in found:
            self._deny.check(result["host"])
            # What a name service calls it in the end, where that is another name (CNAME): an ExternalName Service.
            if self._hosts.is_service(host) and result["hostname"].removesuffix(".") != host.removesuffix("."):
                raise StandInError("a Service that stands for another host")
        return found

    async def close(self) -> None:
        """Let go of the threads; a lookup under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _system_lookup(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        flags = socket.AI_ADDRCONFIG | socket.AI_CANONNAME
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=flags)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        canonical = next((name for _, _, _, name, _ in found if name), host).lower()
        return [_resolved(canonical, family, str(address[0]), port) for family, _, _, _, address in found]


def _resolved(name: str, family: socket.AddressFamily, address: str, port: int) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=name, host=address, port=port, family=family, proto=0, flags=flags)


def observed(condition: Expression, result: object) -> str:
    """Return what the condition reads of a result, such as `result.accuracy=0.93`, at most 256 characters.

    The paths are those of the expression. Of the result there are numbers and booleans, and nothing else: whoever
    writes a ModelDeployment must not read an endpoint through its status.
    """
    return one_sentence(", ".join(f"{shown_path(path)}={_shown(at(result, path))}" for path in condition.reads))


def _shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case int() | float():
            return str(value)
        case _ if value is MISSING:
            return "(missing)"
        case _:
            return next((shown for kind, shown in _KINDS if isinstance(value, kind)), "(null)")


_KINDS = ((str, "(text)"), (list, "(list)"), (dict, "(object)"))


def _error(target: Target, kind: LookError, what: str) -> ProbeError:
    return ProbeError(one_sentence(f"{target.place} {what}"), kind)


def _check_head(target: Target, response: aiohttp.ClientResponse) -> None:
    if response.status in _REDIRECTS:
        what = f"answered with a redirect ({response.status}), which is not followed"
        raise _error(target, LookError.REDIRECT, what)
    if response.status != _OK:
        raise _error(target, LookError.STATUS, f"answered with status {response.status} instead of {_OK}")
    _check_encoding(target, response.headers)
    if (response.content_length or 0) > MAX_BYTES:
        raise _too_large(target)


def _check_encoding(target: Target, headers: Mapping[str, str]) -> None:
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise _error(target, LookError.PACKED, "answered with a compressed body (Content-Encoding): not supported")


async def _read(target: Target, response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise _too_large(target)
    return bytes(body)


def _too_large(target: Target) -> ProbeError:
    return _error(target, LookError.TOO_LARGE, f"answered with more than {MAX_BYTES} bytes")
