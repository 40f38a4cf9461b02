"""Answers as they come over the network, in whatever pieces."""

import asyncio
import json

import pytest
from aiohttp import ClientSession, web

from lastgood.kube.api.problems import InvalidError
from lastgood.kube.api.wire import raise_for


async def test_refusal_that_comes_in_pieces_keeps_its_sentence() -> None:
    text = json.dumps({"kind": "Status", "message": "unknown field " + "x" * 300_000, "reason": "Invalid"}).encode()

    async def refuse(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=422)
        await response.prepare(request)
        for start in range(0, len(text), 50_000):
            await response.write(text[start : start + 50_000])
            await asyncio.sleep(0.001)
        return response

    app = web.Application()
    app.router.add_get("/", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
            with pytest.raises(InvalidError, match="unknown field"):
                await raise_for(response)
    finally:
        await runner.cleanup()
