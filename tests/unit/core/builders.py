"""A good world of plain values: v3 of `digits` serves, v2 and v1 served well before it, v0 never served.

A test takes it, changes one thing and says what follows.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lastgood.api.bindings.binding import Binding
from lastgood.api.bindings.kinds.env import EnvBinding
from lastgood.api.bindings.kinds.image import ImageBinding
from lastgood.api.facts.deployment_status import Active, DeploymentStatus, Served
from lastgood.api.facts.signal import Verdict
from lastgood.api.meta import Condition, Meta
from lastgood.api.names import (
    BINDABLE,
    DIGEST_STAMP,
    OPT_IN_LABEL,
    SNAPSHOT_STAMP,
    Digest,
    Reason,
    RecordName,
    Severity,
    SnapshotName,
    Type,
)
from lastgood.api.specs.deployment import Check, ModelDeployment, Trigger
from lastgood.api.specs.rollback import ModelRollback, RollbackSpec, RollbackStatus
from lastgood.api.specs.snapshot import ModelSnapshot, SnapshotStatus, Verification
from lastgood.api.specs.sources import PvcSource
from lastgood.api.workload.workload import Container, Rollout, Workload
from lastgood.core.requests.remember import to_remember
from lastgood.core.state import Checked, Observed, Tally
from lastgood.core.trust.policy import Trust
from lastgood.core.workload import render
from lastgood.signals.kinds.http import HttpSource
from lastgood.signals.kinds.workload import WorkloadSource

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMESPACE, DEPLOYMENT, UID = "ml", "digits", "uid-of-digits"
HTTP = HttpSource(url="http://digits.ml.svc/metrics.json", timeout=timedelta(seconds=5))
BINDINGS: tuple[Binding, ...] = (EnvBinding(container="server", name="MODEL_PATH", value="/models/$(path)"),)
IMAGES = Trust(name="ModelTrustPolicy images", images=("registry.example/serving",))
IMAGE = ImageBinding(container="server", value="$(image)")
ACCURACY = Trigger(name="accuracy", severity=Severity.HIGH, source=HTTP, failure_condition="result.accuracy < 0.9")
PODS = Trigger(name="pods", severity=Severity.CRITICAL, source=WorkloadSource())
SMOKE = Check(name="smoke", source=HTTP, success_condition="result.ok")
ROLLED_OUT = Rollout(seen=True, desired=2, updated=2, available=2, total=2)
STARTING = Rollout(seen=True, desired=2, updated=1, available=2, total=3)


def ago(**how_long: float) -> datetime:
    """Return a time before now."""
    return NOW - timedelta(**how_long)


def digest(number: int | str) -> Digest:
    """Return the digest of a version's bytes."""
    return Digest(f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}")


def name(number: int | str) -> SnapshotName:
    """Return the name of a version's snapshot."""
    return SnapshotName(f"digits-v{number}")


def condition(type_: Type, status: str, reason: str, message: str = "", since: datetime = NOW) -> Condition:
    """Return a condition as it is read back."""
    return Condition(type=str(type_), status=status, reason=str(reason), message=message, since=since, generation=1)


def snapshot_status(number: int) -> SnapshotStatus:
    """Return what is known of a verified snapshot, the newer ones first seen later."""
    seen = ago(days=100 - 10 * number)
    return SnapshotStatus(
        digest=digest(number),
        size_bytes=1000,
        file_count=1,
        first_seen=seen,
        verification=Verification(reason=Reason.VERIFIED, time=ago(hours=1), next_time=NOW + timedelta(hours=23)),
        conditions={
            "Verified": condition(Type.VERIFIED, "True", Reason.VERIFIED, f"its digest is {digest(number)}", seen),
            "Quarantined": condition(Type.QUARANTINED, "False", Reason.NOT_QUARANTINED, "", seen),
            "Restorable": condition(Type.RESTORABLE, "True", Reason.READ_WHOLE, "all of it was read from source", seen),
            "Signed": condition(
                Type.SIGNED, "Unknown", Reason.NO_TRUST_POLICY, "no trust policy names signers for this model", seen
            ),
            "Ready": condition(Type.READY, "True", Reason.VERIFIED, "", seen),
        },
        observed_generation=1,
    )


def snapshot(number: int, **changes: Any) -> ModelSnapshot:
    """Return a verified snapshot on a claim that the workload mounts."""
    meta = Meta(
        namespace=NAMESPACE,
        name=name(number),
        uid=f"uid-of-v{number}",
        resource_version="1",
        generation=1,
        created=ago(days=100 - 10 * number),
    )
    good = ModelSnapshot(
        meta=meta,
        model="digits",
        version=str(number),
        source=PvcSource(claim="models", path=f"digits/{number}"),
        digest=digest(number),
        image=f"registry.example/serving/server:{number}@{digest(number)}",
        status=snapshot_status(number),
    )
    return replace(good, **changes)


def unverified(number: int, reason: Reason | None = None, message: str = "") -> ModelSnapshot:
    """Return a snapshot whose verification did not succeed, or has not been made."""
    good = snapshot(number)
    status = {None: "Unknown", Reason.UNREADABLE: "Unknown", Reason.DIGEST_MISMATCH: "False"}[reason]
    verified = condition(Type.VERIFIED, status, reason or Reason.PENDING, message)
    found = replace(good.status.verification or Verification(reason=""), reason=str(reason)) if reason else None
    return replace(good, status=replace(good.status, verification=found, conditions={"Verified": verified}))


SNAPSHOTS = tuple(snapshot(number) for number in range(4))
V0, V1, V2, V3 = SNAPSHOTS


def served(number: int, since: datetime, until: datetime | None, *, soaked: bool = True) -> Served:
    """Return a period in which a version served."""
    return Served(
        snapshot=name(number),
        digest=digest(number),
        since=since,
        until=until,
        soaked_at=since + timedelta(minutes=10) if soaked else None,
        by="forward",
        uid=f"uid-of-v{number}",
    )


HISTORY = (
    served(1, ago(days=20), ago(days=10)),
    served(2, ago(days=10), ago(hours=2)),
    served(3, ago(hours=2), None, soaked=False),
)


def deployment(**changes: Any) -> ModelDeployment:
    """Return a deployment that wants v3 and serves it."""
    good = ModelDeployment(
        meta=Meta(namespace=NAMESPACE, name=DEPLOYMENT, uid=UID, resource_version="1", generation=1),
        model="digits",
        snapshot=name(3),
        target="digits-server",
        bindings=BINDINGS,
        triggers=(ACCURACY,),
        status=DeploymentStatus(
            snapshot=name(3),
            digest=digest(3),
            desired=name(3),
            available_at=ago(hours=2),
            placement=7,
            history=HISTORY,
        ),
    )
    return replace(good, **changes)


def workload(serving: ModelSnapshot = V3, *, stamped: bool = True, **changes: Any) -> Workload:
    """Return a labelled workload that carries a snapshot."""
    (path,) = (bound.value for bound in render(BINDINGS, serving) or ())
    stamps = {SNAPSHOT_STAMP: str(serving.name), DIGEST_STAMP: str(serving.digest)}
    good = Workload(
        meta=Meta(
            namespace=NAMESPACE,
            name="digits-server",
            uid="uid-of-workload",
            resource_version="1",
            generation=1,
            labels={OPT_IN_LABEL: DEPLOYMENT},
            annotations={BINDABLE: "env:server/MODEL_PATH=/models/$(path)"},
        ),
        containers={"server": Container(name="server", image="registry.example/base:1", env={"MODEL_PATH": path})},
        template_annotations=stamps if stamped else {},
        claims=frozenset({"models"}),
        rollout=ROLLED_OUT,
    )
    return replace(good, **changes)


def allowing(there: Workload, *bindings: Binding) -> Workload:
    """Return a workload whose owner allows these bindings and no others."""
    words = "\n".join(binding.word for binding in bindings)
    return replace(there, meta=replace(there.meta, annotations={**there.meta.annotations, BINDABLE: words}))


def bringing(observed: Observed, *, trust: tuple[Trust, ...] | None = None) -> Observed:
    """Return a world in which the image of the server is bound as well, and allowed by its owner."""
    bindings = (*BINDINGS, IMAGE)
    there = allowing(observed.workload or workload(), *bindings)
    server = replace(there.containers["server"], image=V3.image)
    found = declaring(replace(observed, workload=replace(there, containers={"server": server})), bindings=bindings)
    return replace(found, trust=(IMAGES,) if trust is None else trust)


def world(**changes: Any) -> Observed:
    """Return the good world, with what is named changed."""
    good = Observed(now=NOW, deployment=deployment(), workload=workload(), snapshots=SNAPSHOTS)
    return replace(good, **changes) if "remembered" in changes else kept(replace(good, **changes))


def kept(observed: Observed) -> Observed:
    """Return a world in which what outlives the ModelDeployment is kept already."""
    return replace(observed, remembered=to_remember(replace(observed, remembered=None)))


def having(observed: Observed, **facts: Any) -> Observed:
    """Return a world whose ModelDeployment has other facts in its status."""
    return declaring(observed, status=replace(observed.deployment.status, **facts))


def declaring(observed: Observed, **fields: Any) -> Observed:
    """Return a world whose ModelDeployment says something else."""
    return kept(replace(observed, deployment=replace(observed.deployment, **fields)))


def annotated(observed: Observed, **annotations: str) -> Observed:
    """Return a world whose ModelDeployment has annotations, by their words: `emergency_rollback="INC-1: x"`."""
    words = {f"lastgood.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return declaring(observed, meta=replace(observed.deployment.meta, annotations=words))


def policy(observed: Observed, **fields: Any) -> Observed:
    """Return a world with another rollback policy."""
    return declaring(observed, rollback=replace(observed.deployment.rollback, **fields))


def swapped(observed: Observed, *snapshots: ModelSnapshot) -> Observed:
    """Return a world in which these snapshots take the places of those of their names."""
    names = {item.name for item in snapshots}
    return replace(observed, snapshots=(*(item for item in observed.snapshots if item.name not in names), *snapshots))


def checked(of: ModelSnapshot, reason: Reason = Reason.VERIFIED, at: datetime = NOW) -> dict[SnapshotName, Checked]:
    """Return a finished verification of a snapshot."""
    return {of.name: Checked(uid=of.meta.uid, digest=of.digest, reason=reason, at=at, message=f"{reason}, it says")}


def tally(verdict: Verdict, streak: int = 3, value: str = "accuracy=0.5", error: str = "") -> Tally:
    """Return what a trigger or check has said so many times in a row."""
    return Tally(verdict=verdict, streak=streak, at=NOW, value=value, error=error)


def spec(**changes: Any) -> RollbackSpec:
    """Return what a person asks for: away from v3."""
    good = RollbackSpec(
        deployment=DEPLOYMENT, deployment_uid=UID, source=name(3), source_digest=digest(3), reason="it answers nonsense"
    )
    return replace(good, **changes)


def record(called: str = "by-hand", asked: RollbackSpec | None = None, **facts: Any) -> ModelRollback:
    """Return a record with these facts in its status."""
    meta = Meta(namespace=NAMESPACE, name=called, uid=f"uid-of-{called}", resource_version="1", created=ago(minutes=1))
    return ModelRollback(meta=meta, spec=asked or spec(), status=RollbackStatus(**facts))


def locked(observed: Observed, of: ModelRollback, more: Iterable[ModelRollback] = ()) -> Observed:
    """Return a world in which a record holds the lock."""
    active = Active(name=RecordName(of.meta.name), since=ago(minutes=1), spec=of.spec.as_body())
    return replace(having(observed, active=active), records=(of, *more))
