"""Which digests in the store are needed, and by whom: what no limit of retention may reach."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lastgood.api.names import PIN
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LAST: Final = 2  # periods of the history: what serves, and what pods that are ending may still have loaded
Family = tuple[str, str]
"""A namespace and a model: equal names in two namespaces are two models."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that is known of who needs which digest.

    Attributes:
        snapshots, deployments, records: all there are, in every namespace.
        carried: digests that workloads carry on their pod templates, whoever looks after them.
        quarantined: digests that are on the list or revoked, in whichever namespace.
    """

    snapshots: tuple[ModelSnapshot, ...]
    deployments: tuple[ModelDeployment, ...] = ()
    records: tuple[ModelRollback, ...] = ()
    carried: frozenset[str] = frozenset()
    quarantined: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What `lastgood.verify.store.plan` asks for; `models` are the families of each digest that has any."""

    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pins: frozenset[str] = frozenset()
    serving: frozenset[str] = frozenset()
    last_known_good: frozenset[str] = frozenset()
    evidence: frozenset[str] = frozenset()


def needs(found: Found) -> Needs:
    """Return who needs which digest; what a status says of digests that are none counts for nothing."""
    names = {(item.meta.namespace, str(item.name)): str(item.digest) for item in found.snapshots}
    good = (
        names.get((item.meta.namespace, name), "")
        for item in found.deployments
        for name in (item.status.last_known_good, item.status.emergency_fallback)
    )
    serving = [digest for item in found.deployments for digest in _served(item, names)]
    return Needs(
        models=_models(found.snapshots),
        pins=_digests(item.digest for item in found.snapshots if PIN in item.meta.annotations),
        serving=_digests([*serving, *_under_way(found), *found.carried]),
        last_known_good=_digests(good),
        evidence=_digests([*found.quarantined, *(item.digest for item in found.snapshots if item.status.quarantine)]),
    )


def _digests(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(str(text) for text in texts if _DIGEST.fullmatch(text))


def _models(snapshots: Iterable[ModelSnapshot]) -> dict[str, frozenset[str]]:
    families: defaultdict[str, set[str]] = defaultdict(set)
    for item in snapshots:
        families[item.digest].add(f"{item.meta.namespace}/{item.model}")
    return {digest: frozenset(models) for digest, models in families.items()}


def _served(deployment: ModelDeployment, names: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Yield the digests that a ModelDeployment has, wants, holds or has left."""
    status = deployment.status
    yield status.digest
    yield from (item.digest for item in status.left)
    yield from (item.digest for item in status.history[-_LAST:])
    wanted = [str(deployment.snapshot), status.desired, str(status.snapshot)]
    if status.held:
        yield status.held.digest
        wanted.append(status.held.snapshot)
    yield from (names.get((deployment.meta.namespace, name), "") for name in wanted)


def _under_way(found: Found) -> Iterator[str]:
    """Yield all digests of a model of which a rollback is under way, or waits: it may choose any of them."""
    waiting = {(item.meta.namespace, item.spec.deployment) for item in found.records if item.status.outcome is None}
    busy: set[Family] = {
        (item.meta.namespace, item.model)
        for item in found.deployments
        if item.status.active or item.status.continues or (item.meta.namespace, item.meta.name) in waiting
    }
    yield from (item.digest for item in found.snapshots if (item.meta.namespace, item.model) in busy)
