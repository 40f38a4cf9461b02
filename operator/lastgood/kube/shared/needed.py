"""Who needs which digest, read whole from the API server: a watch is not fresh enough to delete by."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from lastgood.api.names import DIGEST_STAMP, OPT_IN_LABEL
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.snapshot.retention import Found
from lastgood.errors import InvalidSpecError, TerminalError
from lastgood.kube.api.client import Client
from lastgood.kube.api.resources import DEPLOYMENTS, ROLLBACKS, SNAPSHOTS, WORKLOADS
from lastgood.kube.shared.quarantine import Quarantine
from lastgood.kube.shared.trust import TrustPolicies

Body = dict[str, Any]
T = TypeVar("T")
_AT_ONCE: Final = 100  # objects that are parsed before the loop may do something more urgent


class NotReadableError(TerminalError):
    """An object says something that cannot be understood: what it needs is not known."""


async def read_needed(client: Client, quarantine: Quarantine, trust: TrustPolicies) -> Found:
    """Read all snapshots, ModelDeployments, rollbacks and labelled workloads of all namespaces, and the quarantine.

    Raises:
        NotReadableError: an object cannot be understood.
        ApiError: a list could not be read to its end.
    """
    await quarantine.refresh()
    bodies, _ = await client.list(SNAPSHOTS, None)
    snapshots = await _parsed(bodies, ModelSnapshot.from_body)
    namespaces = {item.meta.namespace for item in snapshots}
    listed = (quarantine.entries(namespace) for namespace in namespaces)
    policies = (policy for namespace in namespaces for policy in trust.of(namespace))
    bodies, _ = await client.list(DEPLOYMENTS, None)
    deployments = await _parsed(bodies, ModelDeployment.from_body)
    bodies, _ = await client.list(ROLLBACKS, None)
    records = await _parsed(bodies, ModelRollback.from_body)
    workloads, _ = await client.list(WORKLOADS, None, label_selector=OPT_IN_LABEL)
    return Found(
        snapshots=snapshots,
        deployments=deployments,
        records=records,
        carried=frozenset(_carried(workloads)),
        quarantined=frozenset(digest for entries in listed for digest in entries)
        | frozenset(digest for policy in policies for digest in policy.trust.revoked_digests),
    )


async def _parsed(bodies: Sequence[Body], parse: Callable[[Body], T]) -> tuple[T, ...]:
    found: list[T] = []
    for index, body in enumerate(bodies):
        if index % _AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            found.append(parse(body))
        except InvalidSpecError as error:
            name = f"{body['metadata'].get('namespace')}/{body['metadata'].get('name')}"
            raise NotReadableError(f"{name} is invalid: {error}") from error
    return tuple(found)


def _carried(workloads: Iterable[Body]) -> list[str]:
    metadata = (body["spec"]["template"].get("metadata") or {} for body in workloads)
    return [str((item.get("annotations") or {}).get(DIGEST_STAMP, "")) for item in metadata]
