"""Observed values, from the cache, this process's memory, and for what matters from the API server itself."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from lastgood.api.deployment import ModelDeployment
from lastgood.api.rollback import ModelRollback
from lastgood.api.snapshot import ModelSnapshot
from lastgood.core.capture import asks_for_capture
from lastgood.core.observed_snapshot import ObservedSnapshot
from lastgood.core.state import Observed
from lastgood.core.trust import Trust
from lastgood.core.workload import Workload
from lastgood.errors import InvalidSpecError
from lastgood.kube.cache import RESOURCES, Cache, Key, Kind, key_of
from lastgood.kube.client import Client
from lastgood.kube.memory import Memory
from lastgood.kube.problems import NotFoundError
from lastgood.kube.quarantine import Quarantine
from lastgood.kube.trust import TrustPolicies

Body = dict[str, Any]
T = TypeVar("T")
PARSERS: Mapping[Kind, Callable[[Body], Any]] = {
    Kind.SNAPSHOT: ModelSnapshot.from_body,
    Kind.DEPLOYMENT: ModelDeployment.from_body,
    Kind.ROLLBACK: ModelRollback.from_body,
    Kind.WORKLOAD: Workload.from_body,
}


@dataclass(frozen=True, kw_only=True)
class Invalid:
    """An object whose spec cannot be understood, and the sentence that says so."""

    body: Body
    message: str


class Observer:
    """Makes observed values."""

    def __init__(
        self,
        *,
        client: Client,
        cache: Cache,
        quarantine: Quarantine,
        trust: TrustPolicies,
        memory: Memory,
        reverify: timedelta,
    ) -> None:
        self._client = client
        self._cache = cache
        self._quarantine = quarantine
        self._trust = trust
        self._memory = memory
        self._reverify = reverify
        self._parsed: dict[Key, tuple[int, Any]] = {}

    async def deployment(self, key: Key) -> Observed | Invalid | None:
        """Return what a decision about a ModelDeployment is made from, or None where it is gone."""
        deployment = self._parse(key)
        if deployment is None or isinstance(deployment, Invalid):
            return deployment
        workload_key = Key(Kind.WORKLOAD, key.namespace, deployment.target)
        if self._cache.get(workload_key) is None:
            workload = await self._unlabelled(workload_key)
        else:
            workload = self._parse(workload_key)
        return self._observed(key, deployment, workload)

    def _observed(self, key: Key, deployment: ModelDeployment, workload: Workload | None) -> Observed:
        snapshot_keys = self._family(key, deployment)
        checked, verifying = self._memory.names(snapshot_keys)
        watch = self._memory.watch(key, deployment)
        records = self._cache.related(Kind.ROLLBACK, key.namespace, key.name)
        return Observed(
            now=self._memory.now(),
            deployment=deployment,
            workload=workload,
            complete=self._complete,
            trust=self._policies(key.namespace),
            snapshots=self._all(snapshot_keys, ModelSnapshot),
            quarantined=self._quarantine.entries(key.namespace),
            records=self._all([key_of(Kind.ROLLBACK, body) for body in records], ModelRollback),
            checked=checked,
            verifying=verifying,
            tallies=dict(watch.tallies),
            checks=dict(watch.checks),
            drift=watch.drift,
            taken=frozenset(watch.taken),
            refused=dict(watch.refused),
            early=frozenset(watch.early),
            nonce=secrets.token_hex(16),
            heard=self._memory.heard(snapshot_keys),
        )

    def _family(self, key: Key, deployment: ModelDeployment) -> list[Key]:
        """Return the snapshots of the model, and the one that is named though it may be of another."""
        bodies = self._cache.related(Kind.SNAPSHOT, key.namespace, deployment.model)
        keys = [key_of(Kind.SNAPSHOT, body) for body in bodies]
        named = {Key(Kind.SNAPSHOT, key.namespace, name) for name in (deployment.snapshot, deployment.status.snapshot)}
        return keys + [name for name in named if name not in keys and self._cache.get(name)]

    def snapshot(self, key: Key) -> ObservedSnapshot | Invalid | None:
        """Return what a decision about a ModelSnapshot is made from, or None where it is gone."""
        snapshot = self._parse(key)
        if snapshot is None or isinstance(snapshot, Invalid):
            return snapshot
        entries = self._quarantine.entries(key.namespace)
        return ObservedSnapshot(
            now=self._memory.now(),
            snapshot=snapshot,
            interval=self._reverify,
            checked=self._memory.checked(key),
            verifying=self._memory.verifying(key),
            complete=self._complete,
            trust=self._policies(key.namespace),
            captured=self._memory.captured(key),
            capturing=self._memory.capturing(key),
            repaired=self._memory.repaired(key),
            scans=self._memory.scans(key),
            scanning=self._memory.scanning(key),
            forensics=self._memory.forensics(key, snapshot.meta.uid),
            refused=self._memory.refused(key),
            capture_asked=self._capture_asked(key, snapshot),
            quarantined=entries,
            everywhere=frozenset(
                digest for digest in entries if self._quarantine.scope(key.namespace, digest) == "All"
            ),
        )

    @property
    def _complete(self) -> bool:
        """Tell whether everything that a choice rests on is known."""
        return self._cache.complete and self._quarantine.synced and self._trust.synced

    def _policies(self, namespace: str) -> tuple[Trust, ...]:
        return tuple(policy.trust for policy in self._trust.of(namespace))

    def _capture_asked(self, key: Key, snapshot: ModelSnapshot) -> bool:
        users = self._cache.related(Kind.DEPLOYMENT, key.namespace, snapshot.model)
        deployments = self._all([key_of(Kind.DEPLOYMENT, body) for body in users], ModelDeployment)
        return any(asks_for_capture(deployment, snapshot) for deployment in deployments)

    async def refresh(self, *keys: Key) -> None:
        """Read objects, and the quarantine, from the API server: a watch is never fresh enough to act on."""
        await asyncio.gather(self._quarantine.refresh(), *(self._read(each) for each in keys))

    async def _read(self, key: Key) -> None:
        try:
            self._cache.put(key.kind, await self._client.get(RESOURCES[key.kind], key.namespace, key.name))
        except NotFoundError:
            self._cache.drop(key)

    async def _unlabelled(self, key: Key) -> Workload | None:
        """The watch sees only labelled workloads: one without the label may be there all the same."""
        try:
            return Workload.from_body(await self._client.get(RESOURCES[key.kind], key.namespace, key.name))
        except NotFoundError:
            return None

    def _all(self, keys: list[Key], type_: type[T]) -> tuple[T, ...]:
        parsed = (self._parse(key) for key in keys)
        return tuple(item for item in parsed if isinstance(item, type_))

    def _parse(self, key: Key) -> Any:  # noqa: ANN401 - the kind of the key decides what it is
        """Return an object parsed once for each body: a pass must not cost what a list costs."""
        body = self._cache.get(key)
        if body is None:
            self._parsed.pop(key, None)
            return None
        known = self._parsed.get(key)
        if known is None or known[0] != id(body):
            self._parsed[key] = known = (id(body), _parsed(key.kind, body))
        return known[1]


def _parsed(kind: Kind, body: Body) -> object:
    try:
        return PARSERS[kind](body)
    except InvalidSpecError as error:
        return Invalid(body=body, message=str(error))
