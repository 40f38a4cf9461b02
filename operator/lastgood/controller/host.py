"""kopf as host and edge: it watches and hands over events; every decision, retry and write is ours.

Its stateful handlers, timers, indices and peering are not used, see docs/adr.
"""

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

import kopf

from lastgood.api.names import OPT_IN_LABEL
from lastgood.controller.feed import Feed
from lastgood.errors import BrokenError
from lastgood.kube.api.connection import Connection
from lastgood.kube.cache import RESOURCES, Kind

logger = logging.getLogger(__name__)

PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LOGIN_PAUSE: Final = 1.0
_LONGEST_LOGIN_PAUSE: Final = 30.0
_REQUEST_SECONDS: Final = 30.0

Handler = Callable[..., Awaitable[None]]


class Endless:
    """Pauses without an end, and without a length: with one, kopf gives up and exits when it is used up."""

    def __iter__(self) -> Iterator[float]:
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            yield pause * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret


class NothingToCompare(kopf.DiffBaseStorage):
    """Keeps no last-handled state: we compare with what is, not with what was handled."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """Return nothing, which costs nothing."""
        del body, extra_fields
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Know nothing."""
        del body
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Write nothing: annotations of ours on somebody's object would be a write on a quiet cluster."""


class NothingInProgress(kopf.ProgressStorage):
    """Keeps nothing of what a handler did so far: ours are done with an event when they return."""

    def fetch(self, *, key: kopf.HandlerId, body: kopf.Body) -> kopf.ProgressRecord | None:
        """Know nothing."""
        del key, body
        return None

    def store(self, *, key: kopf.HandlerId, record: kopf.ProgressRecord, body: kopf.Body, patch: kopf.Patch) -> None:
        """Write nothing."""

    def purge(self, *, key: kopf.HandlerId, body: kopf.Body, patch: kopf.Patch) -> None:
        """Have nothing to take away."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Write nothing."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Have nothing to take away, which costs nothing."""
        return essence


class Host:
    """Runs kopf on our session until it is stopped."""

    def __init__(self, connection: Connection, feed: Feed, *, namespaces: tuple[str, ...] | None) -> None:
        self._connection = connection
        self._feed = feed
        self._namespaces = namespaces
        self._stop = asyncio.Event()
        self._logins: list[float] = []
        self._ended = asyncio.Event()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Watch until `stop`.

        Raises:
            BrokenError: kopf has stopped watching by itself. It then takes seconds to end, blind, so we do not
                wait for it. A definition that is deleted, and a right that is lost, are no reason: see connection.
        """
        operator = asyncio.create_task(self._operate(), name="kopf")
        ended = asyncio.create_task(self._ended.wait(), name="kopf has stopped")
        try:
            await asyncio.wait({operator, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                raise BrokenError("kopf has stopped watching")
            await operator
        finally:
            ended.cancel()
            operator.cancel()

    async def _operate(self) -> None:
        await kopf.operator(
            registry=self._registry(),
            settings=settings(),
            standalone=True,
            clusterwide=self._namespaces is None,
            namespaces=self._namespaces or (),
            stop_flag=self._stop,
            ready_flag=self.ready,
        )

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stop.set()

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(self._login)
        kopf.on.cleanup(registry=registry, id="ended")(self.note_end)
        for kind in Kind:
            resource = RESOURCES[kind]
            route = kopf.on.event(
                resource.group, resource.version, resource.plural, registry=registry, id=resource.plural
            )
            route(self._route(kind))
        return registry

    def _route(self, kind: Kind) -> Handler:
        async def see(*, event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401  # kopf passes two dozen more
            self._feed.see(kind, event["type"], dict(event["object"]))

        return see

    async def note_end(self, **_: Any) -> None:  # noqa: ANN401  # kopf passes what we do not need
        """Take note that kopf has no watchers any more; it is a handler of kopf's."""
        self._ended.set()

    async def _login(self, **_: Any) -> kopf.AiohttpSession:  # noqa: ANN401  # kopf passes what we do not need
        """Hand over the session; kopf asks again when it was refused, and must not do so in a tight loop."""
        now = time.monotonic()
        self._logins = [at for at in self._logins if now - at < _LONGEST_LOGIN_PAUSE]
        await asyncio.sleep(min(_LONGEST_LOGIN_PAUSE, _LOGIN_PAUSE * len(self._logins)))
        self._logins.append(time.monotonic())
        return kopf.AiohttpSession(
            server=self._connection.server,
            aiohttp_session=self._connection.session,
            default_namespace=self._connection.namespace,
        )


def settings() -> kopf.OperatorSettings:
    """Return what was measured to be right for events only, at tens of thousands of objects."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False  # Events are ours
    chosen.peering.standalone = True  # peers of equal priority all pause; the Lease decides
    chosen.scanning.disabled = True  # fixed kinds and namespaces need no rights to list CRDs and namespaces
    chosen.watching.chunk_size = 500
    chosen.watching.initial_streaming = False  # it loses objects
    chosen.watching.label_selectors[("apps", "v1", "deployments")] = OPT_IN_LABEL
    chosen.queueing.idle_timeout = 0.05  # a task for each object is kept no longer than its event
    chosen.queueing.worker_limit = None  # a limit below the number of objects can deadlock
    chosen.networking.error_backoffs = Endless()
    chosen.networking.request_timeout = _REQUEST_SECONDS
    chosen.persistence.diffbase_storage = NothingToCompare()
    chosen.persistence.progress_storage = NothingInProgress()
    return chosen
