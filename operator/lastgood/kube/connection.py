"""The one HTTP session that kopf and our client share, and the header that proves who we are."""

import asyncio
import contextlib
import logging
import time
from typing import Final, Self

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType

from lastgood.kube import credentials
from lastgood.kube.credentials import Credentials

logger = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 60.0  # the kubelet rotates a token long before it expires
REFUSAL_PAUSE: Final = 1.0
KEEP_ALIVE: Final = 60.0
UNAUTHORIZED: Final = 401


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
        connector = aiohttp.TCPConnector(limit=0, ssl=self._way_in.tls, keepalive_timeout=KEEP_ALIVE)
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": "lastgood", "Accept": "application/json"},
            middlewares=(self._authorize,),
        )

    async def _authorize(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        """Add the header, and try once more with a new one if the server no longer knows the old one."""
        await self._refresh(older_than=REFRESH_SECONDS)
        self._sign(request)
        response = await handler(request)
        if response.status != UNAUTHORIZED:
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
            logger.warning("cannot refresh the credentials, going on with the old ones: %s", error)
