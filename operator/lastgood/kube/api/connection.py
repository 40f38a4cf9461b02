"""The one HTTP session that kopf and our client share, and the header that proves who we are."""

import asyncio
import contextlib
import itertools
import json
import logging
import time
from typing import Final, Self

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType

from lastgood.kube.access import PAUSES, Access
from lastgood.kube.api import credentials
from lastgood.kube.api.credentials import Credentials
from lastgood.kube.api.problems import from_status

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 60.0  # the kubelet rotates a token long before it expires
REFUSAL_PAUSE: Final = 1.0
_KEEP_ALIVE: Final = 60.0
_UNAUTHORIZED: Final = 401
_REFUSALS: Final = (403, 404)
_CANNOT_GO_ON: Final = (400, 410)
_RESOURCE_VERSION: Final = "resourceVersion"


class Connection:
    """A session that outlives its credentials; make one with `Connection.open`."""

    def __init__(self, way_in: Credentials) -> None:
        self.server = way_in.server
        self.namespace = way_in.namespace
        self._way_in = way_in
        self._authorization = way_in.authorization()
        self._refreshed = time.monotonic()
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None
        self.access = Access()

    @classmethod
    async def open(cls, kubeconfig: str | None = None) -> Self:
        """Find the API server and the credentials; nothing is sent yet."""
        way_in = await credentials.load(kubeconfig)
        return cls(way_in)

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the session; kopf closes it when it loses faith in it, and then there is a new one."""
        if self._session is None or self._session.closed:
            self._session = self._new_session()
        return self._session

    async def close(self) -> None:
        """Close the session and its connections."""
        if self._session is not None and not self._session.closed:
            await self._session.close()

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._way_in.tls, keepalive_timeout=_KEEP_ALIVE)
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": "lastgood", "Accept": "application/json"},
            middlewares=(self._patiently, self.authorize),
        )

    async def _patiently(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        """Ask again for what is missing, and start a watch anew that cannot go on from where it was.

        kopf ends for a kind that is not defined and for a watch that is too old, and logs every refusal. It gets
        the answer once there is one. Our own client has errors of its own for both.
        """
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            response = await handler(request)
            if response.status in _CANNOT_GO_ON and _RESOURCE_VERSION in request.url.query:
                response.release()
                request.url = request.url.without_query_params(_RESOURCE_VERSION)  # it begins with all that is there
                continue
            if response.status not in _REFUSALS or not await self._refused(request, response):
                return response
            response.release()
            await self.access.rest(pause)
        raise AssertionError("no end of retries")

    async def _refused(self, request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> bool:
        """Tell whether an answer says that a right or a definition is missing."""
        try:
            answer = json.loads(await response.read())
        except ValueError:
            answer = None
        return self.access.note(from_status(response.status, answer), request.url.path)

    async def authorize(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        """Add the header, and try once more with a new one if the server no longer knows the old one."""
        await self._refresh(older_than=REFRESH_SECONDS)
        self._sign(request)
        response = await handler(request)
        if response.status != _UNAUTHORIZED:
            return response
        before = self._authorization
        await self._refresh(older_than=REFUSAL_PAUSE)
        if self._authorization == before:
            return response
        response.release()
        self._sign(request)
        return await handler(request)

    def _sign(self, request: aiohttp.ClientRequest) -> None:
        if self._authorization is not None:
            request.headers["Authorization"] = self._authorization

    async def _refresh(self, *, older_than: float) -> None:
        """Ask for the header again, off the loop: it may be a file, or a program that logs in."""
        if time.monotonic() - self._refreshed < older_than:
            return
        async with self._lock:
            if time.monotonic() - self._refreshed < older_than:
                return
            self._refreshed = time.monotonic()
            with contextlib.suppress(asyncio.CancelledError):
                await self._read_again()

    async def _read_again(self) -> None:
        try:
            self._authorization = await asyncio.to_thread(self._way_in.authorization)
        except Exception as error:  # noqa: BLE001  # a plugin may raise anything; the old header may still do
            logger.warning("cannot refresh the credentials, keeping the old ones: %s", error)
