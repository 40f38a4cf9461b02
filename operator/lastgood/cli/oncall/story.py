"""All that a person on call has to know of one ModelDeployment before he asks for anything."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lastgood.api.fields import Fields
from lastgood.cli.oncall import tables
from lastgood.cli.oncall.cluster import (
    CLUSTER_POLICIES,
    DEPLOYMENTS,
    POLICIES,
    SNAPSHOTS,
    WORKLOADS,
    Cluster,
    ClusterError,
    MissingError,
    Plural,
)
from lastgood.cli.oncall.prospects import HEADER, Read, prospects
from lastgood.errors import InvalidSpecError
from lastgood.verify import printable

Body = Mapping[str, Any]
_WIDEST: Final = 300


def of_one(cluster: Cluster, name: str, now: datetime) -> str:
    """Return what serves, the conditions, the triggers, and each snapshot with why a rollback would go there or not."""
    body = cluster.get(DEPLOYMENTS, name)
    parts = [
        tables.table(tables.STATUS, [tables.status_row(body, now)]),
        tables.table(tables.CONDITIONS, tables.condition_rows(body), widest=_WIDEST),
    ]
    if triggers := tables.trigger_rows(body, now):
        parts.append(tables.table(tables.TRIGGERS, triggers, widest=_WIDEST))
    return "\n\n".join((*parts, _snapshots(cluster, body, now)))


def _snapshots(cluster: Cluster, body: Body, now: datetime) -> str:
    try:
        found = prospects(_read(cluster, body), now)
    except ClusterError as error:
        return f"no rollback target can be shown: {error}"
    except InvalidSpecError as error:
        return f"no rollback target can be shown: the ModelDeployment is invalid: {error}"
    table = tables.table(HEADER, found.rows, widest=_WIDEST) if found.rows else "the model has no snapshots"
    return "\n".join((table, *(f"  {printable(note, 600)}" for note in found.notes)))


def _read(cluster: Cluster, body: Body) -> Read:
    """Read what the rules ask for; the snapshots must be readable, and the rest is said where it is not."""
    unread: list[str] = []
    target = Fields(body, strict=False).child("spec").child("targetRef").text("name")
    workload: Body | None = None
    try:
        workload = cluster.get(WORKLOADS, target)
    except MissingError:
        unread.append(f"there is no Deployment {target!r}: no switch is possible")
    except ClusterError as error:
        unread.append(f"unknown whether the workload can be switched, and mounts a claim: {error}")
    policies = [*_policies(cluster, POLICIES, unread), *_policies(cluster, CLUSTER_POLICIES, unread)]
    snapshots = cluster.find_all(SNAPSHOTS)
    return Read(deployment=body, workload=workload, snapshots=snapshots, policies=policies, unread=tuple(unread))


def _policies(cluster: Cluster, plural: Plural, unread: list[str]) -> Sequence[Body]:
    """Return trust policies; what they may refuse is not known where they cannot be read."""
    try:
        return cluster.find_all(plural, everywhere=plural == CLUSTER_POLICIES)
    except ClusterError as error:
        unread.append(f"unknown what these trust policies refuse: {error}")
        return ()
