"""Between the operator and the API server: a proxy that ends its life at a chosen write, or holds its watches."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import aiohttp
import yaml
from aiohttp import web

from lastgood.kube.api.credentials import Credentials
from lastgood.kube.api.wire import lines

CHUNK: Final = 64 * 1024
LARGEST: Final = 16 * 1024 * 1024
HOP_BY_HOP: Final = frozenset({"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding"})
WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
COUNTED: Final = re.compile(r"/apis/lastgood\.dev/|/apps/v1/.*/deployments|/configmaps(/lastgood-quarantine)?$")
"""What a rollback writes; the Lease and the Events come and go as they like."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a life ends: before the n-th write reaches the API server, or after it, when its answer is lost."""

    number: int
    when: Literal["before", "after"]


@dataclass(kw_only=True)
class Proxy:
    """Passes everything on, counts writes once it is armed, and at the cut kills and falls silent.

    It speaks plain HTTP on loopback, and TLS with the credentials of a kubeconfig to the API server. What a watch
    of `stalled` brings is held, until it is let through.
    """

    session: aiohttp.ClientSession
    upstream: str
    kill: Callable[[], None]
    writes: list[str] = field(default_factory=list)
    cut: Cut | None = None
    armed: bool = False
    silent: bool = False
    stalled: str = ""
    held: list[tuple[web.StreamResponse, bytes]] = field(default_factory=list)
    under_way: set[asyncio.Task[web.Response]] = field(default_factory=set)

    def arm(self, cut: Cut | None) -> None:
        """Count from here on."""
        self.cut, self.armed = cut, True

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Answer one request with the API server's answer, unless the life is over."""
        number = self._count(request)
        if self.silent or self._ends("before", number):
            return self._dropped(request)
        body = await request.read()
        if not number:
            return await self._streamed(request, body)
        # What was sent arrives, also when its sender dies meanwhile: the API server may have made a write of which its
        # audit log says that it failed, because the one who asked had gone.
        task = asyncio.ensure_future(self._written(request, body, number))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return await asyncio.shield(task)

    def holds(self, text: bytes) -> bool:
        """Tell whether something with this text is held."""
        return any(text in chunk for _, chunk in self.held)

    async def let_through(self, last: bytes) -> None:
        """Pass on what is held up to the first with this text, and nothing after it."""
        passed = b""
        while last not in passed:
            response, passed = self.held.pop(0)
            await response.write(passed)

    async def settled(self) -> None:
        """Wait until no write is on its way any more."""
        await asyncio.gather(*self.under_way)

    async def _written(self, request: web.Request, body: bytes, number: int) -> web.Response:
        """Return the whole answer to a write, unless the life ends after it."""
        async with self._asked(request, body) as answer:
            whole = web.Response(status=answer.status, headers=passed_on(answer.headers), body=await answer.read())
        return self._dropped(request) if self._ends("after", number) else whole

    async def _streamed(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Pass an answer on as it comes: it may be a watch."""
        async with self._asked(request, body) as answer:
            response = web.StreamResponse(status=answer.status, headers=passed_on(answer.headers))
            with contextlib.suppress(ConnectionError):  # the operator has died meanwhile
                await response.prepare(request)
                async for chunk in pieces(request, answer.content):
                    if self._is_stalled(request):
                        self.held.append((response, chunk))
                    else:
                        await response.write(chunk)
                await response.write_eof()
            return response

    def _asked(self, request: web.Request, body: bytes) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        url, headers = f"{self.upstream}{request.raw_path}", passed_on(request.headers)
        return self.session.request(request.method, url, data=body or None, headers=headers, allow_redirects=False)

    def _is_stalled(self, request: web.Request) -> bool:
        return bool(self.stalled) and "watch" in request.query and request.path.endswith(f"/{self.stalled}")

    def _count(self, request: web.Request) -> int:
        """Return which write it is, or 0 if it is none that counts."""
        if not self.armed or request.method not in WRITES or not COUNTED.search(request.path):
            return 0
        self.writes.append(f"{request.method} {request.path}")
        return len(self.writes)

    def _is(self, when: str, number: int) -> bool:
        return self.cut is not None and (self.cut.when, self.cut.number) == (when, number)

    def _ends(self, when: str, number: int) -> bool:
        if not self._is(when, number):
            return False
        self.silent = True  # what the process has sent in its last moment goes nowhere
        self.kill()
        return True

    def _dropped(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


async def pieces(request: web.Request, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield an answer in pieces; a watch by whole events, for half of one that is held is an event that never comes."""
    if "watch" not in request.query:
        async for chunk in content.iter_chunked(CHUNK):
            yield chunk
        return
    async for line in lines(content):
        yield line + b"\n"


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that belong to the message and not to one connection."""
    return {name: text for name, text in headers.items() if name.lower() not in HOP_BY_HOP}


@asynccontextmanager
async def proxied(way_in: Credentials, kill: Callable[[], None]) -> AsyncIterator[tuple[Proxy, str]]:
    """Run a proxy to the API server, and return it with its URL."""
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0, ssl=way_in.tls)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        proxy = Proxy(session=session, upstream=way_in.server, kill=kill)
        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{path:.*}", proxy.pass_on)
        async with serving(app) as url:
            yield proxy, url
        await proxy.settled()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback, and return its URL; requests under way end with it."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def write_kubeconfig(target: Path, url: str) -> None:
    """Write a kubeconfig that leads to a proxy, which asks for no credentials."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": url}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "current-context": "proxy",
    }
    target.write_text(yaml.safe_dump(config))
