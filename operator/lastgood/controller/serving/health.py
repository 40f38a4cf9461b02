"""What the kubelet asks: is the process alive, and does it know enough to be of use.

kopf has such a server, but starts it late: an operator that waits for the API server would be killed for it.
"""

from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

from lastgood.controller.serving.listening import Door


class Health:
    """Serves `/healthz` and `/readyz`; each asks one question anew."""

    def __init__(self, *, alive: Callable[[], bool], ready: Callable[[], bool]) -> None:
        self._app = web.Application()
        self._app.add_routes([web.get("/healthz", _answer(alive)), web.get("/readyz", _answer(ready))])
        self._door = Door(web.AppRunner(self._app, handle_signals=False, access_log=None, shutdown_timeout=0.5))

    async def start(self, host: str, port: int) -> Self:
        """Listen.

        Raises:
            TerminalError: that is not possible at this address.
        """
        await self._door.open(host, port, variable="LASTGOOD_LIVENESS")
        return self

    async def stop(self) -> None:
        """Stop listening."""
        await self._door.close()


def _answer(question: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok") if question() else web.Response(text="no", status=503)

    return answer
