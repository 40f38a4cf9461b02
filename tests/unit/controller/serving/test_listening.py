"""Who opens connections and says nothing takes a few of them, and for a while."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from lastgood.controller.serving.listening import Door


@asynccontextmanager
async def answering(*, most: int = 4, longest: float = 30.0) -> AsyncIterator[int]:
    """Serve on a free port."""

    async def ok(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/", ok)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    door = Door(web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1), most=most, longest=longest)
    await door.open("127.0.0.1", port, variable="PORT")
    try:
        yield port
    finally:
        await door.close()


async def ask(port: int) -> bytes:
    """Ask on a connection of its own; nothing where it is refused."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    writer.close()
    return found


async def test_silent_connections_take_no_more_than_their_number() -> None:
    async with answering(most=4) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in silent:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")  # and never an end
        ends = await asyncio.gather(*(ended(reader, within=1.0) for reader, _ in silent))
        assert ends.count(False) == 4
        assert await ask(port) == b""
        for _, writer in silent:
            writer.close()
        await asyncio.sleep(0.1)
        assert b"200 OK" in await ask(port)


async def test_silent_connections_end_by_themselves() -> None:
    async with answering(most=1, longest=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        assert await ended(reader, within=5.0)
        assert time.monotonic() - began > 0.2
        writer.close()
        assert b"200 OK" in await ask(port)


async def test_many_short_connections_are_all_answered() -> None:
    async with answering(most=4) as port:
        for _ in range(50):
            await asyncio.sleep(0.03)
            assert b"200 OK" in await ask(port)


async def ended(reader: asyncio.StreamReader, *, within: float) -> bool:
    """Tell whether the other side ends a connection in this time."""
    try:
        return await asyncio.wait_for(reader.read(), within) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
