"""From the API server to the cache and the queue: events, a first list, and a sweep that trusts neither.

kopf never lists again: an event that got lost, or an object that was deleted while a watch was down, is found
by the sweep only.
"""

import asyncio
import gc
import logging
import random
from collections.abc import Collection
from typing import Any, Final

from lastgood.api.names import OPT_IN_LABEL
from lastgood.controller.queue import Queue, backoff
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import ApiError, ForbiddenError, NotFoundError, quiet
from lastgood.kube.cache import RESOURCES, Cache, Key, Kind, key_of, related_name, version_of

logger = logging.getLogger(__name__)

Body = dict[str, Any]

FIRST_SWEEP: Final = 5.0
_SWEEP_EVERY: Final = 60.0
_SETTLE: Final = 2.0  # what is on its way in the watch must not be fetched as well
_YOUNG: Final = 20_000  # objects
_SELECTORS: Final = {Kind.WORKLOAD: OPT_IN_LABEL}


class Feed:
    """Keeps the cache true and the queue informed."""

    def __init__(self, client: Client, cache: Cache, queue: Queue, *, namespaces: tuple[str, ...] | None) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._scopes: tuple[str | None, ...] = namespaces if namespaces is not None else (None,)
        # Whoever learns something first, also a pass from the answer to its own write, wakes whom it concerns:
        # the watch brings it later, when it is no news any more.
        cache.on_change = self._wake

    def see(self, kind: Kind, type_: str | None, body: Body) -> None:
        """Take in one watch event (type None: from a list), and wake whom it concerns."""
        if type_ == "DELETED":
            self._gone(kind, body)
        else:
            self._cache.put(kind, body)

    def quarantine_changed(self, digests: frozenset[str] | None) -> None:
        """Ask for a pass of whatever has one of these digests; None is any digest, and so of everything.

        One emergency quarantines one digest: to look at thousands of objects for it would delay the next emergency.
        """
        if digests is None:
            for key in self._cache.keys((Kind.SNAPSHOT, Kind.DEPLOYMENT)):
                self._queue.add(key)
            return
        for key in [key for digest in digests for key in self._cache.bearing(digest)]:
            if body := self._cache.get(key):
                self._wake(key.kind, body)

    def trust_changed(self, namespace: str) -> None:
        """Ask for a pass of whatever a change of trust may concern; an empty text is every namespace."""
        for key in self._cache.keys((Kind.SNAPSHOT, Kind.DEPLOYMENT)):
            if namespace in ("", key.namespace):
                self._queue.add(key)

    def remembered_changed(self, namespace: str, names: Collection[str]) -> None:
        """Ask for a pass of the ModelDeployments of which something else is kept than before.

        Each new one has what is kept read once: to look at all of its namespace then would cost n for each of n.
        """
        for key in self._cache.keys((Kind.DEPLOYMENT,)):
            if key.namespace == namespace and key.name in names:
                self._queue.add(key)

    def deployments(self, namespace: str) -> list[str]:
        """Return the names of the ModelDeployments that are there."""
        return [str(body["metadata"]["name"]) for body in self._cache.list(Kind.DEPLOYMENT, namespace)]

    async def fill(self) -> None:
        """List everything, however long it takes until the API server answers; then the cache is complete."""
        failures = 0
        while True:
            try:
                await self._list_all()
                break
            except ApiError as error:
                failures += 1
                pause = backoff(failures)
                logger.log(quiet(error), "initial list failed, retrying in %.1f s: %s", pause, explained(error))
                await asyncio.sleep(pause)
        self._cache.complete = True
        settle_memory()

    async def run(self) -> None:
        """Sweep for ever."""
        await asyncio.sleep(FIRST_SWEEP * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, no secret
        while True:
            try:
                await self.sweep()
            except ApiError as error:
                logger.log(quiet(error), "cannot resync the caches, retrying later: %s", error)
            await asyncio.sleep(_SWEEP_EVERY * random.uniform(0.8, 1.2))  # noqa: S311  # jitter, no secret

    async def sweep(self, *, settle: float = _SETTLE) -> int:
        """Compare the cache with what is there, repair it, and return how much was wrong."""
        suspects = [key for kind in Kind for scope in self._scopes for key in await self._doubted(kind, scope)]
        if not suspects:
            return 0
        await asyncio.sleep(settle)
        repaired = [await self._settle(key, version) for key, version in suspects]
        return sum(repaired)

    async def _doubted(self, kind: Kind, scope: str | None) -> list[tuple[Key, int | None]]:
        """One list that cannot be read, and is told elsewhere, keeps no other from being compared."""
        try:
            return await self._doubtful(kind, scope)
        except ApiError as error:
            if not error.told:
                raise
            return []

    async def _list_all(self) -> None:
        for kind in Kind:
            for scope in self._scopes:
                for body in await self._listed(kind, scope):
                    self.see(kind, None, body)

    async def _listed(self, kind: Kind, scope: str | None) -> list[Body]:
        """Return a list; where we may not look in one namespace the others go on, and it counts as incomplete."""
        try:
            return (await self._list(kind, scope, metadata_only=False))[0]
        except ForbiddenError as error:
            if scope is None or len(self._scopes) == 1 or not error.told:
                raise
            return []

    async def _list(self, kind: Kind, scope: str | None, *, metadata_only: bool) -> tuple[list[Body], str]:
        selector = _SELECTORS.get(kind, "")
        return await self._client.list(RESOURCES[kind], scope, label_selector=selector, metadata_only=metadata_only)

    async def _doubtful(self, kind: Kind, scope: str | None) -> list[tuple[Key, int | None]]:
        """Return the keys of objects that we do not know, know too old, or know though they are gone."""
        known = {key for key in self._cache.keys([kind]) if scope in (None, key.namespace)}
        items, _ = await self._list(kind, scope, metadata_only=True)
        listed = {key_of(kind, body): version_of(body) for body in items}
        late = [(key, version) for key, version in listed.items() if self._behind(key, version)]
        return late + [(key, None) for key in known - listed.keys()]

    def _behind(self, key: Key, version: int | None) -> bool:
        known = self._cache.get(key)
        if known is None:
            return True
        ours = version_of(known)
        return ours is None or version is None or ours < version

    async def _settle(self, key: Key, version: int | None) -> bool:
        """Ask for the object itself, unless the watch has brought it meanwhile."""
        ghost = version is None
        known = self._cache.get(key)
        if known is None if ghost else not self._behind(key, version):
            return False
        try:
            body = await self._client.get(RESOURCES[key.kind], key.namespace, key.name)
        except NotFoundError:
            return known is not None and self._report(key, known, gone=True)
        if key.kind is Kind.WORKLOAD and not related_name(key.kind, body):
            return known is not None and self._report(key, known, gone=True)  # it took back its label
        return self._report(key, body, gone=False)

    def _report(self, key: Key, body: Body, *, gone: bool) -> bool:
        if gone:
            self._gone(key.kind, body)
        elif not self._cache.put(key.kind, body):
            return False
        logger.warning("the watch missed an event: %s %s", key, "is gone" if gone else "has changed")
        return True

    def _gone(self, kind: Kind, body: Body) -> None:
        if self._cache.drop(key_of(kind, body), uid=body["metadata"].get("uid")):
            self._wake(kind, body)

    def _wake(self, kind: Kind, body: Body) -> None:
        for key in self._concerned(kind, body):
            self._queue.add(key)

    def _concerned(self, kind: Kind, body: Body) -> list[Key]:
        """Return whose pass an object's change may alter."""
        own, name = key_of(kind, body), related_name(kind, body)
        match kind:
            case Kind.DEPLOYMENT:
                return [own, *self._soaked(own.namespace, body)]
            case Kind.SNAPSHOT:
                users = self._cache.related(Kind.DEPLOYMENT, own.namespace, name)
                return [own, *(key_of(Kind.DEPLOYMENT, user) for user in users)]
            case Kind.ROLLBACK | Kind.WORKLOAD:
                return [Key(Kind.DEPLOYMENT, own.namespace, name)] if name else []

    def _soaked(self, namespace: str, body: Body) -> list[Key]:
        """Return the snapshots that soaked where those are to be captured."""
        spec, status = body.get("spec") or {}, body.get("status") or {}
        if not (spec.get("rollback") or {}).get("captureSoaked"):
            return []
        names = {str(item.get("snapshot")) for item in status.get("history") or [] if item.get("soakedAt")}
        keys = [Key(Kind.SNAPSHOT, namespace, name) for name in names]
        return [key for key in keys if self._cache.get(key)]


def explained(error: ApiError) -> str:
    """Return the error with the remedy that a newcomer needs."""
    if isinstance(error, NotFoundError):
        return f"{error} (are the custom resource definitions in crds/ installed?)"
    return str(error)


def settle_memory() -> None:
    """Take the first list out of the garbage collector's rounds: each would pause the loop by 30 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)  # every 700 new objects a pause of up to a millisecond; a rollback makes some thousands
