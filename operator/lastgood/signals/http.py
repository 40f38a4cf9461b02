"""Metrics over HTTP: one GET, one JSON value or a sentence that says why there is none.

The URL is written by whoever may write a ModelDeployment, and the answer by whoever serves it: neither is
trusted. An address is checked in the resolver, which sees all addresses of a name, and again in the socket
factory, which sees the very address that is about to be connected to, literal or resolved.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from lastgood.api.signal import Sample, Verdict
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.errors import ExpressionError, ProbeError, RefusedAddressError
from lastgood.signals.expression import Expression
from lastgood.signals.language.nodes import Path
from lastgood.signals.sentences import one_sentence
from lastgood.signals.strictjson import MAX_BYTES, UnusableValueError, parse_json

T = TypeVar("T")
Lookup = Callable[[str, int, socket.AddressFamily], Awaitable[Sequence[ResolveResult]]]

_CHUNK = 64 * 1024
_LOOKUPS = 8
_SHOWN = 64
_OK = 200
_SMALL = 32 * 1024  # bytes; what is larger is read and judged off the event loop, one after another
_REDIRECTS = range(300, 400)
_HEADERS = {
    "User-Agent": f"lastgood/{version('lastgood')}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # and nothing else is unpacked: a small body cannot grow
}
_MISSING = object()


class HttpProbe:
    """Asks metrics endpoints. An asynchronous context manager; one serves all triggers."""

    def __init__(self, *, deny: AddressPolicy, lookup: Lookup | None = None) -> None:
        """Make a probe; it opens nothing before its first request.

        Args:
            deny: the addresses that are never called.
            lookup: resolves a name instead of the system's resolver.
        """
        self._deny = deny
        self._lookup = lookup
        self._session: aiohttp.ClientSession | None = None
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

    async def sample(self, url: str, failure_condition: Expression, timeout: float) -> Sample:  # noqa: ASYNC109 total
        """Look once: the condition tells what failure is, so true is Breached and false is Healthy."""
        return await self._look(url, failure_condition, timeout, when_true=Verdict.BREACHED)

    async def check(self, url: str, success_condition: Expression, timeout: float) -> Sample:  # noqa: ASYNC109 total
        """Look once: the condition tells what success is, so true is Healthy and false is Breached."""
        return await self._look(url, success_condition, timeout, when_true=Verdict.HEALTHY)

    async def fetch(self, url: str, timeout: float) -> object:  # noqa: ASYNC109 it bounds all of it, slow drips too
        """Return the JSON value behind a URL; see `_fetch`."""
        value, _ = await self._fetch(url, timeout)
        return value

    async def _worked(self, size: int, work: Callable[[], T]) -> T:
        """Do what takes long for a large answer where it keeps nobody waiting but other large answers.

        A hostile answer within all limits takes 0.2 s of processor time; one endpoint after another must not add up
        to seconds in which no emergency is heard.
        """
        if size <= _SMALL:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._judge, work)

    async def _fetch(self, url: str, timeout: float) -> tuple[object, int]:  # noqa: ASYNC109 as fetch
        """Return the JSON value behind a URL, and how many bytes it was.

        Args:
            url: http or https, without user information.
            timeout: seconds for everything: name, connection, headers and body.

        Raises:
            ProbeError: one sentence, without the path and query of the URL.
        """
        target = _target(url)
        try:
            async with asyncio.timeout(timeout):
                body = await self._body(target)
                return await self._worked(len(body), lambda: parse_json(body)), len(body)
        except TimeoutError:
            raise ProbeError(f"{_place(target)} gave no complete answer within {timeout:g} s") from None
        except UnusableValueError as error:
            raise ProbeError(one_sentence(f"{_place(target)} answered, but the body {error}")) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ProbeError(one_sentence(f"{_place(target)} {_said(error)}")) from None

    async def _look(self, url: str, condition: Expression, timeout: float, *, when_true: Verdict) -> Sample:  # noqa: ASYNC109 as fetch
        try:
            result, size = await self._fetch(url, timeout)
        except ProbeError as error:
            return Sample(verdict=Verdict.INCONCLUSIVE, error=str(error))
        value = observed(condition, result)
        try:
            holds = await self._worked(size, lambda: condition.evaluate(result))
        except ExpressionError as error:
            return Sample(
                verdict=Verdict.INCONCLUSIVE,
                value=value,
                error=one_sentence(f"the condition has no answer: {error}"),
            )
        otherwise = Verdict.HEALTHY if when_true is Verdict.BREACHED else Verdict.BREACHED
        return Sample(verdict=when_true if holds else otherwise, value=value)

    async def _body(self, target: URL) -> bytes:
        async with self._opened().get(target, allow_redirects=False) as response:
            _check_head(response)
            return await _read(response)

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
            resolver=CheckedResolver(deny=self._deny, lookup=self._lookup),
            socket_factory=self._socket,
            use_dns_cache=False,
            force_close=True,  # a connection is checked when it is made, so none is kept
        )

    def _socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        self._deny.check(str(address[0]))
        return socket.socket(family, kind, protocol)


class CheckedResolver(AbstractResolver):
    """Resolves names, and refuses a name with any address that is never called."""

    def __init__(self, *, deny: AddressPolicy, lookup: Lookup | None) -> None:
        self._deny = deny
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
        return found

    async def close(self) -> None:
        """Let go of the threads; a lookup under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _system_lookup(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [_resolved(host, family, str(address[0]), port) for family, _, _, _, address in found]


def _resolved(name: str, family: socket.AddressFamily, address: str, port: int) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=name, host=address, port=port, family=family, proto=0, flags=flags)


def observed(condition: Expression, result: object) -> str:
    """Return what the condition reads of a result, such as `result.accuracy=0.93`, at most 256 characters."""
    return one_sentence(", ".join(f"{_shown_path(path)}={_shown(_at(result, path))}" for path in condition.reads))


def _at(result: object, path: Path) -> object:
    for step in path:
        match result, step:
            case dict(), str() if step in result:
                result = result[step]
            case list(), int() if 0 <= step < len(result):
                result = result[step]
            case _:
                return _MISSING
    return result


def _shown_path(path: Path) -> str:
    steps = (f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{json.dumps(step)}]" for step in path)
    return "result" + "".join(steps)


def _shown(value: object) -> str:
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case list() | dict():
            return f"({len(value)} elements)"
        case _ if value is _MISSING:
            return "(missing)"
        case _:
            return one_sentence(json.dumps(value), _SHOWN)


def _target(url: str) -> URL:
    try:
        target = URL(url)
        host, port = target.host, target.port  # a host may turn out to be no name only when it is asked for
    except ValueError:
        raise ProbeError("the URL cannot be read") from None
    if target.scheme not in {"http", "https"} or not host or not port:
        raise ProbeError("the URL is not an http or https URL with a host")
    if target.user is not None or target.password is not None:
        raise ProbeError("the URL has a user or a password in it, which is not supported")
    return target


def _place(target: URL) -> str:
    """Return what of a URL may be shown: a path or a query may hold a secret."""
    return one_sentence(f"{target.host}:{target.port}", 128)


def _check_head(response: aiohttp.ClientResponse) -> None:
    if response.status in _REDIRECTS:
        raise ProbeError(f"{_place(response.url)} answered with a redirect ({response.status}); none is followed")
    if response.status != _OK:
        raise ProbeError(f"{_place(response.url)} answered with status {response.status} instead of {_OK}")
    _check_encoding(response.url, response.headers)
    if (response.content_length or 0) > MAX_BYTES:
        raise ProbeError(f"{_place(response.url)} answered with more than {MAX_BYTES} bytes")


def _check_encoding(url: URL, headers: Mapping[str, str]) -> None:
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise ProbeError(one_sentence(f"{_place(url)} answered with a body packed as {encoding}; none is unpacked"))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise ProbeError(f"{_place(response.url)} answered with more than {MAX_BYTES} bytes")
    return bytes(body)


def _said(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorError(os_error=RefusedAddressError() as refused):
            return f"is not called: {refused}"
        case RefusedAddressError():
            return f"is not called: {error}"
        case aiohttp.ClientConnectorDNSError(os_error=cause):
            return f"has no address: {cause.strerror or cause}"
        case aiohttp.ClientConnectorError(os_error=cause):
            return f"cannot be reached: {cause.strerror or cause}"
        case aiohttp.InvalidURL():
            return "is not called: it is no address that is spelled as usual"
        case _:
            return f"gave no usable answer: {type(error).__name__} {error}"
