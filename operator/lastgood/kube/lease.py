"""Who may write: one replica at a time, proven by a Lease that is compared, never by its times.

The election modules of the Python clients compare the wall clocks of two machines and do not fence writes.
Here a candidate watches the resourceVersion on its own monotonic clock, and a holder stops writing well
before anybody may take over.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from lastgood.errors import TransientError
from lastgood.kube.api.problems import AlreadyExistsError, ApiError, ConflictError, InvalidError, NotFoundError, quiet
from lastgood.kube.api.resources import LEASES, Resource

logger = logging.getLogger(__name__)

Body = dict[str, Any]

NAME: Final = "lastgood"
LEASE_SECONDS: Final = 6.0
_RENEW_SHARE: Final = 2 / 3  # of the duration: we stop writing then, and nobody takes over before the rest is over
_RENEW_EVERY: Final = 1 / 3
_LOOK_EVERY: Final = 1 / 12  # a standby's reads, so that a release is noticed at once
_GONE: Final = ""  # the version of a Lease that is not there
_DEAD_AFTER: Final = 3.0  # durations without an attempt
LONGEST_LEASE: Final = 300.0  # a foreign duration beyond it is not believed


class NotLeaderError(TransientError):
    """Another replica has the Lease, or we could not renew ours in time."""


class _LeaseClient(Protocol):
    """What the election needs of the client; it must not be fenced by this very Lease."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """Return the object."""

    async def create(self, resource: Resource, namespace: str | None, body: Body) -> Body:
        """Create the object."""

    async def patch(self, resource: Resource, namespace: str | None, name: str, body: Body) -> Body:
        """Merge the body into the object."""


@dataclass(frozen=True, kw_only=True)
class _Sighting:
    """A version of the Lease, and when we first saw it."""

    version: str
    since: float


def _boottime() -> float:
    """Return seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Lease:
    """Take it, keep it, and answer for every write whether it is still ours."""

    def __init__(  # an election has this many sides
        self,
        client: _LeaseClient,
        *,
        namespace: str,
        identity: str,
        name: str = NAME,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = _boottime,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.identity = identity
        self._client = client
        self._namespace = namespace
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._on_change = on_change
        self._valid_until = float("-inf")
        self._announced = False
        self._tried = clock()
        self._seen: _Sighting | None = None
        self._version = ""
        self._waits_for = ""

    @property
    def mine(self) -> bool:
        """Tell whether we hold the Lease at this moment."""
        return self.remaining() > 0

    def remaining(self) -> float:
        """Return for how many seconds we may go on writing without a renewal."""
        return max(0.0, self._valid_until - self._clock())

    @property
    def beating(self) -> bool:
        """Tell whether somebody still tries to take or keep the Lease: else this process is of no use."""
        return self._clock() - self._tried < self._seconds * _DEAD_AFTER

    def check(self) -> None:
        """Refuse if the Lease is not ours now.

        Raises:
            NotLeaderError: somebody else may be writing.
        """
        if not self.mine:
            raise NotLeaderError("this replica does not hold the Lease: another one may be writing")

    async def run(self) -> None:
        """Take and keep the Lease for ever."""
        while True:
            renewed = await self.step()
            await asyncio.sleep(self._seconds * (_RENEW_EVERY if renewed else _LOOK_EVERY))

    async def step(self) -> bool:
        """Try once to take or renew the Lease, and tell if it worked; a failure takes no time from us."""
        renewed, self._tried = False, self._clock()
        try:
            async with asyncio.timeout(self._seconds * _RENEW_EVERY):
                renewed = await self._attempt()
        except (ConflictError, AlreadyExistsError, InvalidError, NotFoundError) as error:
            self._version = ""  # look before trying again
            logger.info("another client changed or deleted the Lease: %s", error)
        except (ApiError, TimeoutError) as error:
            logger.log(quiet(error), "cannot reach the Lease: %s", error or "no answer in time")
        self._announce()
        return renewed

    async def release(self) -> None:
        """Let go at once, so that a standby need not wait; our own writes end here."""
        held, self._valid_until = self.mine, float("-inf")
        self._announce()
        if not held or not self._version:
            return
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now()}
        try:
            async with asyncio.timeout(self._seconds * _RENEW_EVERY):
                await self._patch(spec)
        except (ApiError, TimeoutError) as error:
            logger.warning("cannot release the Lease, it will expire: %s", error)

    async def _attempt(self) -> bool:
        sent = self._clock()  # before the request: the server may have waited with the answer, never with the write
        if self.mine and self._version:
            return self._keep(sent, await self._patch(self._spec(renew=True)))
        try:
            found = await self._client.get(LEASES, self._namespace, self._name)
        except NotFoundError:
            return self._may_create() and self._keep(sent, await self._create())
        self._version = ""
        why = self._why_free(found)
        if why:
            taken = await self._take(found)
            self._waits_for = ""
            logger.info("acquired the Lease: %s", why)
            return taken
        self._valid_until = float("-inf")  # somebody else holds it, whatever our clock says
        self._stand_by(found["spec"]["holderIdentity"])
        return False

    async def _take(self, found: Body) -> bool:
        spec = found.get("spec") or {}
        changes = self._spec(renew=spec.get("holderIdentity") == self.identity)
        if "acquireTime" in changes:
            changes["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        self._version = found["metadata"]["resourceVersion"]
        sent = self._clock()
        return self._keep(sent, await self._patch(changes))

    def _why_free(self, found: Body) -> str:
        """Ours, nobody's, or not touched for the whole duration that its holder asked for; empty if we have to wait."""
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity")
        if not holder:
            return "nobody held it"
        if holder == self.identity:
            return "this replica held it"
        duration = min(float(spec.get("leaseDurationSeconds") or self._seconds), LONGEST_LEASE)
        expired = self._unchanged(found["metadata"]["resourceVersion"]) >= duration
        return f"{holder} has not renewed it for {duration:g} s" if expired else ""

    def _stand_by(self, holder: str) -> None:
        """Say for whom we wait, once for each."""
        if holder != self._waits_for:
            self._waits_for = holder
            logger.info("standing by: %s holds the Lease", holder)

    def _may_create(self) -> bool:
        """Nobody's yet, as far as we know; if we saw another's that is gone, its holder may not know that yet."""
        return self._seen is None or self._unchanged(_GONE) >= self._seconds

    def _unchanged(self, version: str) -> float:
        """Return for how many seconds we have seen this version, by our own clock."""
        if self._seen is None or self._seen.version != version:
            self._seen = _Sighting(version=version, since=self._clock())
        return self._clock() - self._seen.since

    def _keep(self, sent: float, written: Body) -> bool:
        self._version = written["metadata"]["resourceVersion"]
        self._valid_until = sent + self._seconds * _RENEW_SHARE
        return True

    async def _create(self) -> Body:
        spec = {**self._spec(renew=False), "leaseTransitions": 0}
        return await self._client.create(LEASES, self._namespace, {"metadata": {"name": self._name}, "spec": spec})

    async def _patch(self, spec: Body) -> Body:
        body = {"metadata": {"resourceVersion": self._version}, "spec": spec}
        return await self._client.patch(LEASES, self._namespace, self._name, body)

    def _spec(self, *, renew: bool) -> Body:
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "renewTime": now(),
        }
        return spec if renew else {**spec, "acquireTime": now()}

    def _announce(self) -> None:
        """Say so once each time the answer to "may we write?" changes."""
        if self.mine != self._announced:
            self._announced = self.mine
            logger.info("this replica is %s", "the leader" if self._announced else "not the leader")
            self._on_change(self._announced)


def now() -> str:
    """Return the time as a Lease wants it; people read it, nothing here compares it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
