"""What the kubelet asks: is the process alive, and does it know enough to be of use.

kopf has such a server, but starts it late: an operator that waits for the API server would be killed for it.
"""

from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

from lastgood.errors import TerminalError


class Health:
    """Serves `/healthz` and `/readyz`; each asks one question anew."""

    def __init__(self, *, alive: Callable[[], bool], ready: Callable[[], bool]) -> None:
        self._app = web.Application()
        self._app.add_routes([web.get("/healthz", _answer(alive)), web.get("/readyz", _answer(ready))])
        self._runner = web.AppRunner(self._app, handle_signals=False, access_log=None, shutdown_timeout=0.5)

    async def start(self, host: str, port: int) -> Self:
        """Listen.

        Raises:
            TerminalError: that is not possible at this address.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise TerminalError(f"LASTGOOD_LIVENESS: cannot listen at {host}:{port}: {error.strerror}") from error
        return self

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


def _answer(question: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok") if question() else web.Response(text="no", status=503)

    return answer
