"""Observed values, from the cache, this process's memory, and for what matters from the API server itself."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from lastgood.api.facts.signal import Unusable
from lastgood.api.fields import Fields
from lastgood.api.names import OPT_IN_LABEL, RecordName
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.kinds.deployment import Deployment
from lastgood.api.workload.workload import Workload
from lastgood.core.execute import What
from lastgood.core.requests.gone import ObservedGone
from lastgood.core.requests.remember import recalled
from lastgood.core.requests.requests import pending, waiting_records
from lastgood.core.serving.soak import serves
from lastgood.core.snapshot.capture import asks_for_capture
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Observed
from lastgood.core.trust.policy import Trust
from lastgood.core.workload import companions_of
from lastgood.errors import InvalidSpecError
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import NotFoundError
from lastgood.kube.cache import RESOURCES, Cache, Key, Kind, key_of
from lastgood.kube.memory import Memory
from lastgood.kube.shared.companions import Companions
from lastgood.kube.shared.quarantine import Quarantine
from lastgood.kube.shared.remembered import RememberedFacts
from lastgood.kube.shared.trust import TrustPolicies

Body = dict[str, Any]
T = TypeVar("T")
_MOST_WAITING = 17  # open records that are read afresh
PARSERS: Mapping[Kind, Callable[[Body], Any]] = {
    Kind.SNAPSHOT: ModelSnapshot.from_body,
    Kind.DEPLOYMENT: ModelDeployment.from_body,
    Kind.ROLLBACK: ModelRollback.from_body,
    Kind.WORKLOAD: Deployment.read,
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
        companions: Companions,
        quarantine: Quarantine,
        trust: TrustPolicies,
        memory: Memory,
        remembered: RememberedFacts,
        reverify: timedelta,
        judge: Callable[[ModelDeployment], Mapping[str, Unusable]],
    ) -> None:
        self._client = client
        self._cache = cache
        self._companions = companions
        self._quarantine = quarantine
        self._trust = trust
        self._memory = memory
        self._remembered = remembered
        self._reverify = reverify
        self._judge = judge
        self._judged: dict[Key, tuple[ModelDeployment, Mapping[str, Unusable]]] = {}
        self._parsed: dict[Key, tuple[Body, Any]] = {}

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
        refs = companions_of(deployment.bindings)
        if workload and refs:
            workload = replace(workload, companions=await self._companions.of(key.namespace, refs))
        return self._observed(key, deployment, self._contested(key, deployment, workload))

    def _contested(self, key: Key, deployment: ModelDeployment, workload: Workload | None) -> Workload | None:
        """Say who else targets a workload, where its label does not settle it: only then are all of them looked at."""
        if workload is None or workload.meta.labels.get(OPT_IN_LABEL) == deployment.meta.name:
            return workload
        others = self._cache.list(Kind.DEPLOYMENT, key.namespace)
        rivals = {key_of(Kind.DEPLOYMENT, body).name for body in others if target_of(body) == deployment.target}
        return replace(workload, rivals=tuple(sorted(rivals - {key.name})))

    def _observed(self, key: Key, deployment: ModelDeployment, workload: Workload | None) -> Observed:
        records = self._records(key)
        snapshot_keys = self._family(key, deployment, records)
        checked, verifying = self._memory.names(snapshot_keys)
        watch = self._memory.watch(key, deployment)
        kept, problem = self._remembered.of(key.namespace, key.name, deployment.meta.uid)
        whole = recalled(deployment, kept)
        observed = Observed(
            now=self._memory.now(),
            deployment=whole,
            workload=workload,
            complete=self._complete(key.namespace),
            trust=self._policies(key.namespace),
            snapshots=self._all(snapshot_keys, ModelSnapshot),
            quarantined=self._quarantine.entries(key.namespace),
            records=records,
            checked=checked,
            verifying=verifying,
            tallies=dict(watch.tallies),
            checks=dict(watch.checks),
            drift=watch.drift,
            taken=frozenset(watch.taken),
            refused=dict(watch.refused),
            switched_first=dict(watch.switched_first),
            nonce=secrets.token_hex(16),
            heard=self._memory.heard(snapshot_keys),
            remembered=kept,
            remembered_problem=problem,
            recalled=whole is not deployment,
            unusable=self._unusable(key, deployment),
            watched=watch.since,
        )
        if whole.status.available_at and not serves(observed):
            watch.unserved = observed.now
        asked = watch.hear((request.key for request in pending(observed)), observed.now)
        return replace(observed, unserved=watch.unserved, asked=asked) if asked or watch.unserved else observed

    def _unusable(self, key: Key, deployment: ModelDeployment) -> Mapping[str, Unusable]:
        """Return what of a deployment can never be looked at, judged once for each body."""
        known = self._judged.get(key)
        if known is None or known[0] is not deployment:
            self._judged[key] = known = (deployment, self._judge(deployment))
        return known[1]

    def gone(self, key: Key) -> ObservedGone:
        """Return what a decision about the records of a ModelDeployment that is not there is made from."""
        bodies = self._cache.related(Kind.WORKLOAD, key.namespace, key.name)
        workload = next(iter(self._all([key_of(Kind.WORKLOAD, body) for body in bodies], Workload)), None)
        kept, problem = self._remembered.of(key.namespace, key.name)
        return ObservedGone(
            now=self._memory.now(),
            records=self._records(key),
            complete=self._complete(key.namespace),
            workload=workload,
            remembered=kept,
            remembered_problem=problem,
            refused=self._memory.refused(key),
        )

    def _records(self, key: Key) -> tuple[ModelRollback, ...]:
        bodies = self._cache.related(Kind.ROLLBACK, key.namespace, key.name)
        return self._all([key_of(Kind.ROLLBACK, body) for body in bodies], ModelRollback)

    def _family(self, key: Key, deployment: ModelDeployment, records: tuple[ModelRollback, ...]) -> list[Key]:
        """Return the snapshots of the model, and those that are named though they may be of another."""
        bodies = self._cache.related(Kind.SNAPSHOT, key.namespace, deployment.model)
        keys = [key_of(Kind.SNAPSHOT, body) for body in bodies]
        asked = [record.spec.to for record in records if record.spec.to and record.status.outcome is None]
        names = {deployment.snapshot, deployment.status.snapshot, *asked}
        named = [Key(Kind.SNAPSHOT, key.namespace, name) for name in sorted(names)]
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
            complete=self._complete(key.namespace),
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

    def _complete(self, namespace: str) -> bool:
        """Tell whether everything that a choice in a namespace rests on is known."""
        synced = self._cache.complete and self._quarantine.synced and self._trust.synced_in(namespace)
        return synced and not self._client.connection.access.blind(namespace)

    def _policies(self, namespace: str) -> tuple[Trust, ...]:
        return tuple(policy.trust for policy in self._trust.of(namespace))

    def _capture_asked(self, key: Key, snapshot: ModelSnapshot) -> bool:
        users = self._cache.related(Kind.DEPLOYMENT, key.namespace, snapshot.model)
        deployments = self._all([key_of(Kind.DEPLOYMENT, body) for body in users], ModelDeployment)
        return any(asks_for_capture(deployment, snapshot) for deployment in deployments)

    async def read(self, key: Key, what: Collection[What], observed: object) -> None:
        """Read afresh, from the API server, what a pass over an object needs to know."""
        reads = [self._read(each) for each in _keys(key, what, observed) if each == key or self._cache.get(each)]
        if What.QUARANTINE in what:
            reads.append(self._quarantine.refresh())
        if What.WORKLOAD in what and isinstance(observed, Observed):
            reads.append(self._companions.read(key.namespace, companions_of(observed.deployment.bindings)))
        await asyncio.gather(*reads)

    async def _read(self, key: Key) -> None:
        try:
            self._cache.put(key.kind, await self._client.get(RESOURCES[key.kind], key.namespace, key.name))
        except NotFoundError:
            self._cache.drop(key)

    async def _unlabelled(self, key: Key) -> Workload | None:
        """The watch sees only labelled workloads: one without the label may be there all the same."""
        try:
            return Deployment.read(await self._client.get(RESOURCES[key.kind], key.namespace, key.name))
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
            self._judged.pop(key, None)
            return None
        known = self._parsed.get(key)
        if known is None or known[0] is not body:  # the body itself is kept: the id of one that is gone is given again
            self._parsed[key] = known = (body, _parsed(key.kind, body, known))
        return known[1]


def _keys(key: Key, what: Collection[What], observed: object) -> Iterator[Key]:
    if What.OBJECT in what:
        yield key
    if What.WORKLOAD in what and isinstance(observed, Observed):
        yield Key(Kind.WORKLOAD, key.namespace, observed.deployment.target)
    if What.RECORDS in what and isinstance(observed, Observed | ObservedGone):
        yield from (Key(Kind.ROLLBACK, key.namespace, name) for name in islice(_open_records(observed), _MOST_WAITING))


def _open_records(observed: Observed | ObservedGone) -> Iterator[RecordName]:
    """One that is over must not be taken up again because the watch has not told of its outcome."""
    if isinstance(observed, ObservedGone):
        yield from (record.name for record in observed.open)
        return
    if active := observed.deployment.status.active:
        yield active.name
    yield from (record.name for record in waiting_records(observed))


def target_of(body: Body) -> str:
    """Return the workload that a ModelDeployment names."""
    return Fields(body, strict=False).child("spec").child("targetRef").text("name")


def _parsed(kind: Kind, body: Body, known: tuple[Body, Any] | None) -> object:
    if known and isinstance(known[1], ModelDeployment) and known[0].get("spec") == body.get("spec"):
        return known[1].again(body)
    try:
        return PARSERS[kind](body)
    except InvalidSpecError as error:
        return Invalid(body=body, message=str(error))
