"""Listening for whoever can reach a port: so many connections, each for so long, whatever they send or do not send.

An HTTP server waits for the rest of a request for ever, and each connection takes memory and a descriptor, which
the API server's connections and the files of snapshots need.
"""

import asyncio
from typing import Final

from aiohttp import web

from lastgood.errors import TerminalError

MOST: Final = 64  # connections at a time; the kubelet needs one, a Prometheus one
LONGEST: Final = 30.0  # seconds
OPENING: Final = 0.02  # seconds; the loop tells a connection of its socket in its next round


class Door:
    """A listening socket in front of a server; close it before the server."""

    def __init__(self, runner: web.AppRunner, *, most: int = MOST, longest: float = LONGEST) -> None:
        self._runner = runner
        self._most = most
        self._longest = longest
        self._open: dict[web.RequestHandler, float] = {}  # since when, on the loop's clock
        self._socket: asyncio.Server | None = None

    async def open(self, host: str, port: int, *, variable: str) -> None:
        """Listen.

        Raises:
            TerminalError: that is not possible at this address; it names the variable that says so.
        """
        await self._runner.setup()
        try:
            self._socket = await asyncio.get_running_loop().create_server(self._admit, host, port)
        except OSError as error:
            raise TerminalError(f"{variable}: cannot listen at {host}:{port}: {error.strerror}") from error

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        if self._socket is not None:
            self._socket.close()
        await self._runner.cleanup()

    def _admit(self) -> asyncio.BaseProtocol:
        """Return who answers a new connection: the server, or nobody."""
        server, loop = self._runner.server, asyncio.get_running_loop()
        now = loop.time()
        self._open = {one: since for one, since in self._open.items() if one.transport or now - since < OPENING}
        if server is None or len(self._open) >= self._most:
            return Refusal()
        answering: web.RequestHandler = server()
        self._open[answering] = now
        loop.call_later(self._longest, self._end, answering)
        return answering

    def _end(self, answering: web.RequestHandler) -> None:
        """End a connection, also one that still sends: scrapers and kubelets make a new one."""
        if answering.transport is not None:
            answering.transport.abort()


class Refusal(asyncio.Protocol):
    """Ends a connection at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """End it."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()
