"""The trust policies as the API server has them, watched on their own; until all are read nothing is trusted.

A policy that was not read yet must not look like one that does not exist: it may be the one that revokes a key.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import ApiError, ExpiredError, NotFoundError, quiet
from lastgood.kube.api.resources import CLUSTER_TRUST_POLICIES, TRUST_POLICIES, Resource
from lastgood.kube.cache import version_of
from lastgood.verify.trust_ids import NO_SCANNERS, TrustPolicy, read_policy

logger = logging.getLogger(__name__)

Body = dict[str, Any]
STALE_SECONDS: Final = 150.0  # two silent bookmarks
PAUSES: Final = (0.2, 1.0, 3.0, 10.0)
CLUSTER: Final = ""


class TrustPolicies:
    """All policies of the watched namespaces and of the cluster.

    `scanners` are the images of the external scanners, by name. `on_change` hears in which namespace something
    changed; an empty text is everywhere.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespaces: tuple[str, ...] | None,
        scanners: Mapping[str, str] = NO_SCANNERS,
        on_change: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._scanners = scanners
        self._on_change = on_change
        self._clock = clock
        scopes: tuple[str | None, ...] = namespaces if namespaces is not None else (None,)
        self._feeds = [(TRUST_POLICIES, scope) for scope in scopes] + [(CLUSTER_TRUST_POLICIES, None)]
        self._contact: dict[tuple[Resource, str | None], float] = {}
        self._versions: dict[tuple[str, str], int | None] = {}
        self._known: dict[tuple[str, str], TrustPolicy] = {}

    @property
    def synced(self) -> bool:
        """Tell whether every list was read whole, and is followed as far as a watch can tell."""
        now = self._clock()
        return all(now - self._contact.get(feed, float("-inf")) < STALE_SECONDS for feed in self._feeds)

    def synced_in(self, namespace: str) -> bool:
        """Tell the same of the lists that hold in one namespace: another one's may be out of our reach."""
        now = self._clock()
        feeds = [(resource, scope) for resource, scope in self._feeds if scope in (None, namespace)]
        return all(now - self._contact.get(feed, float("-inf")) < STALE_SECONDS for feed in feeds)

    def of(self, namespace: str) -> tuple[TrustPolicy, ...]:
        """Return the policies that hold in a namespace, in the order of their names."""
        found = [(key, policy) for key, policy in self._known.items() if key[0] in (CLUSTER, namespace)]
        return tuple(policy for _, policy in sorted(found, key=lambda item: item[0]))

    async def run(self) -> None:
        """Follow all of them for ever."""
        async with asyncio.TaskGroup() as group:
            for resource, scope in self._feeds:
                group.create_task(self._follow_for_ever(resource, scope))

    async def _follow_for_ever(self, resource: Resource, scope: str | None) -> None:
        failures = 0
        while True:
            try:
                await self._follow(resource, scope)
                failures = 0
            except ExpiredError:
                failures = 0
            except ApiError as error:
                pause = PAUSES[min(failures, len(PAUSES) - 1)] * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
                failures += 1
                logger.log(
                    quiet(error), "cannot watch %s, retrying in %.1f s: %s", resource.plural, pause, explained(error)
                )
                await asyncio.sleep(pause)

    async def _follow(self, resource: Resource, scope: str | None) -> None:
        items, version = await self._client.list(resource, scope)
        self._replace(resource, scope, items)
        while True:
            async for event in self._client.watch(resource, scope, field_selector="", resource_version=version):
                version = event["object"]["metadata"]["resourceVersion"]
                self._see(event["type"], event["object"])
                self._heard(resource, scope)

    def _replace(self, resource: Resource, scope: str | None, items: list[Body]) -> None:
        """Take in a list: what is not in it is gone."""
        listed = {_key(body) for body in items}
        gone = [key for key in self._known if key not in listed and _in(key, resource, scope)]
        for key in gone:
            self._forget(key)
        for body in items:
            self._learn(body)
        self._heard(resource, scope)

    def _heard(self, resource: Resource, scope: str | None) -> None:
        """Note a sign of life; once all of them are there, whoever waits for the policies may go on, everywhere."""
        before = self.synced
        self._contact[resource, scope] = self._clock()
        if self.synced and not before:
            self._on_change(CLUSTER)

    def _see(self, type_: str, body: Body) -> None:
        if type_ == "DELETED":
            self._forget(_key(body))
        elif type_ in ("ADDED", "MODIFIED"):
            self._learn(body)

    def _learn(self, body: Body) -> None:
        key, version = _key(body), version_of(body)
        known = self._versions.get(key)
        if known is not None and version is not None and version <= known:
            return
        self._versions[key] = version
        self._known[key] = policy = read_policy(body, self._scanners)
        if policy.trust.problem:
            logger.warning("%s is invalid, and trusts nobody: %s", policy.trust.name, policy.trust.problem)
        self._on_change(key[0])

    def _forget(self, key: tuple[str, str]) -> None:
        self._versions.pop(key, None)
        if self._known.pop(key, None) is not None:
            logger.warning("trust policy %s was deleted: it no longer refuses anything", "/".join(key))
            self._on_change(key[0])


def _key(body: Body) -> tuple[str, str]:
    return body["metadata"].get("namespace") or CLUSTER, body["metadata"]["name"]


def _in(key: tuple[str, str], resource: Resource, scope: str | None) -> bool:
    """Tell whether a key belongs to what one list covers."""
    if resource == CLUSTER_TRUST_POLICIES:
        return key[0] == CLUSTER
    return key[0] != CLUSTER and scope in (None, key[0])


def explained(error: ApiError) -> str:
    """Return the error with the remedy that an upgrade needs."""
    if isinstance(error, NotFoundError):
        return f"{error} (its CRD in crds/ is missing; until it is installed no snapshot is deployed)"
    return str(error)
