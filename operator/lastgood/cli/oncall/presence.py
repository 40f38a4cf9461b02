"""Is an operator there? The Lease says so; what is asked for without one waits until one comes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from lastgood.api.fields import Fields, parse_time
from lastgood.cli.oncall.cluster import LEASES, Cluster, ClusterError, MissingError
from lastgood.kube.lease import LEASE_SECONDS, LONGEST_LEASE, NAME

USUAL: Final = "lastgood-system"
_SLACK: Final = timedelta(seconds=2)  # of clocks: it costs a second look, and no false alarm


@dataclass(frozen=True, kw_only=True)
class _Presence:
    """What is known of the operator: `there` is None where nothing is."""

    there: bool | None
    told: str

    @property
    def warning(self) -> str:
        """What a person who asks for something has to know, or nothing."""
        if self.there:
            return ""
        if self.there is None:
            return f"warning: cannot check for a running operator: {self.told}"
        return f"warning: no operator is running: {self.told}; requests wait until one is"


def presence(cluster: Cluster, namespace: str | None, *, sleep: Callable[[float], None] = time.sleep) -> _Presence:
    """Look at the Lease, twice where it seems to have expired: a clock may be wrong, a renewal is not."""
    try:
        leases, now = _leases(cluster, namespace)
    except ClusterError as error:
        return _Presence(there=None, told=f"{error} (--operator-namespace names where it is)")
    if not leases:
        where = f"in namespace {namespace}" if namespace else "in any namespace that you may read"
        return _Presence(there=False, told=f"there is no Lease {NAME!r} {where}")
    problems = [_problem(lease, now) for lease in leases]
    if not all(problems):
        return _Presence(there=True, told="")
    sleep(min(_duration(lease).total_seconds() for lease in leases))
    try:
        again, _ = _leases(cluster, namespace)
    except ClusterError as error:
        return _Presence(there=None, told=str(error))
    if {_version(lease) for lease in again} - {_version(lease) for lease in leases}:
        return _Presence(there=True, told="")
    return _Presence(there=False, told="; ".join(problems))


def _leases(cluster: Cluster, namespace: str | None) -> tuple[list[Mapping[str, Any]], datetime]:
    """Return the Leases of operators: of the namespace that was named, else of all, else of the usual ones."""
    if namespace:
        return _named(cluster, namespace)
    try:
        return cluster.leases(NAME)
    except ClusterError:
        return _anywhere(cluster)


def _anywhere(cluster: Cluster) -> tuple[list[Mapping[str, Any]], datetime]:
    """Look where an operator usually is, and beside the models; one of them may be out of reach."""
    empty, refusal = None, None
    for place in dict.fromkeys((USUAL, cluster.namespace)):
        try:
            answer = _named(cluster, place)
        except ClusterError as error:
            refusal = refusal or error
            continue
        if answer[0]:
            return answer
        empty = answer
    if refusal is not None or empty is None:
        raise refusal or ClusterError("there is no namespace to search for a Lease")
    return empty


def _named(cluster: Cluster, namespace: str) -> tuple[list[Mapping[str, Any]], datetime]:
    try:
        found, now = cluster.get_from(LEASES, NAME, namespace)
    except MissingError as error:
        return [], error.now
    return [found], now


def _problem(lease: Mapping[str, Any], now: datetime) -> str:
    """Say why a Lease is nobody's at this time of the API server, or nothing."""
    whole = Fields(lease, strict=False)
    meta, spec = whole.child("metadata"), whole.child("spec")
    name = f"the Lease {meta.text('namespace')}/{meta.text('name')}"
    holder = spec.text("holderIdentity")
    if not holder:
        return f"nobody holds {name}"
    try:
        expired = now - parse_time(spec.text("renewTime")) - _duration(lease)
    except ValueError:
        return f"{name} was never renewed"
    seconds = int(expired.total_seconds())
    return f"{name} of {holder} expired {seconds} s ago" if expired > _SLACK else ""


def _duration(lease: Mapping[str, Any]) -> timedelta:
    seconds = Fields(lease, strict=False).child("spec").integer("leaseDurationSeconds", 0) or LEASE_SECONDS
    return timedelta(seconds=min(float(seconds), LONGEST_LEASE))


def _version(lease: Mapping[str, Any]) -> tuple[str, str]:
    meta = Fields(lease, strict=False).child("metadata")
    return meta.text("uid"), meta.text("resourceVersion")
