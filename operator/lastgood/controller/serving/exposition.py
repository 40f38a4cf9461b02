"""Serves `/metrics` to Prometheus: made when asked for, off the event loop, and never often enough to matter.

Whoever can reach the port can ask as often as they like; what they cost must not be theirs to choose.
"""

import asyncio
import gzip
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from aiohttp import web
from prometheus_client import exposition as text
from prometheus_client.openmetrics import exposition as openmetrics

from lastgood.controller.serving.listening import Door
from lastgood.controller.serving.metrics import Rows, Scrape, Seen

SPARED: Final = 9.0  # times as long as it took to make an answer, it is given again: at most a tenth of one processor
CHUNK: Final = 2**16
_SENDING: Final = 10.0  # seconds, as long as Prometheus waits


@dataclass(frozen=True)
class Form:
    """How an answer is written. There are four: an answer is kept for a moment in each of them."""

    openmetrics: bool
    packed: bool

    @classmethod
    def of(cls, request: web.Request) -> Self:
        """Return the form that a request asks for; the library's own choice fails on a version that is no number."""
        return cls(
            openmetrics="application/openmetrics-text" in request.headers.get("Accept", ""),
            packed=text.gzip_accepted(request.headers.get("Accept-Encoding", "")),
        )

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of itself."""
        kind = openmetrics.CONTENT_TYPE_LATEST if self.openmetrics else text.CONTENT_TYPE_PLAIN_0_0_4
        found = {"Content-Type": kind, "Vary": "Accept, Accept-Encoding"}
        return {**found, "Content-Encoding": "gzip"} if self.packed else found

    def write(self, scrape: Scrape) -> bytes:
        """Write an answer; 10,000 snapshots take about a second."""
        # Our names need no escaping; with this word, the library does not look at each of their letters.
        plain = partial(openmetrics.generate_latest, escaping=openmetrics.ALLOWUTF8)
        written: bytes = plain(scrape) if self.openmetrics else text.generate_latest(scrape)
        return gzip.compress(written, compresslevel=1) if self.packed else written


class Exposition:
    """Serves `/metrics`; `look` takes what is seen at this moment, quickly."""

    def __init__(self, look: Callable[[], Seen], *, sending: float = _SENDING) -> None:
        self._look = look
        self._sending = sending
        self._rows = Rows()
        self._answers: dict[Form, bytes] = {}
        self._one = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._app = web.Application()
        self._app.add_routes([web.get("/metrics", self._serve, allow_head=False)])
        self._door = Door(web.AppRunner(self._app, handle_signals=False, access_log=None, shutdown_timeout=0.5))

    async def start(self, host: str, port: int) -> Self:
        """Listen.

        Raises:
            TerminalError: that is not possible at this address.
        """
        await self._door.open(host, port, variable="LASTGOOD_METRICS")
        return self

    async def stop(self) -> None:
        """Stop listening."""
        await self._door.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        form = Form.of(request)
        answer = await self._answer(form)
        response = web.StreamResponse(headers=form.headers)
        response.content_length = len(answer)
        try:
            async with asyncio.timeout(self._sending):
                await _send(request, response, answer)
        except (TimeoutError, ConnectionError):  # who asks and does not read must not keep the answer in memory
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _answer(self, form: Form) -> bytes:
        """Return an answer; while one is being made, all others wait for it."""
        async with self._one:
            known = self._answers.get(form)
            if known is not None:
                return known
            began = time.monotonic()
            answer = await self._made(form)
            self._keep(form, answer, SPARED * (time.monotonic() - began))
            return answer

    async def _made(self, form: Form) -> bytes:
        scrape = Scrape(self._look(), self._rows)
        return await asyncio.get_running_loop().run_in_executor(self._thread, form.write, scrape)

    def _keep(self, form: Form, answer: bytes, seconds: float) -> None:
        self._answers[form] = answer
        asyncio.get_running_loop().call_later(seconds, self._answers.pop, form, None)


async def _send(request: web.Request, response: web.StreamResponse, answer: bytes) -> None:
    """Send an answer piece by piece: a connection holds no more of it than it has not sent yet."""
    await response.prepare(request)
    view = memoryview(answer)
    for start in range(0, len(view), CHUNK):
        await response.write(view[start : start + CHUNK])
    await response.write_eof()
