"""`ModelDeployment`: which snapshot a workload serves, what unhealthy means, and what to do then."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from lastgood.api.bindings.binding import Binding, read_bindings
from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.names import Severity, SnapshotName
from lastgood.api.specs.signals import Source, read_source
from lastgood.api.workload.target import read_target
from lastgood.errors import InvalidSpecError


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A watch on what serves; `failure_condition` is CEL over `result`, empty where the signal judges itself."""

    name: str
    severity: Severity
    source: Source
    failure_condition: str = ""
    interval: timedelta = timedelta(seconds=10)
    failure_threshold: int = 3
    alert_on_no_data: bool = False


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check that a rollback's target must pass; `success_condition` is CEL over `result`."""

    name: str
    source: Source
    success_condition: str


@dataclass(frozen=True, kw_only=True)
class RollbackPolicy:
    """What may happen by itself, and to what it may go back."""

    automatic: tuple[str, ...] = (Severity.CRITICAL, Severity.HIGH)
    require_soaked: bool = True
    soak: timedelta = timedelta(minutes=10)
    max_verification_age: timedelta = timedelta(hours=24)
    cooldown: timedelta = timedelta(minutes=5)
    max_per_hour: int = 3
    progress_deadline: timedelta = timedelta(minutes=10)
    history_limit: int = 20
    capture_soaked: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelDeployment:
    """A served model as declared, and the facts recorded about it."""

    meta: Meta
    model: str
    snapshot: SnapshotName
    target: str
    bindings: tuple[Binding, ...]
    target_kind: str = "Deployment"
    triggers: tuple[Trigger, ...] = ()
    rollback: RollbackPolicy = field(default_factory=RollbackPolicy)
    checks: tuple[Check, ...] = ()
    next_on_failure: bool = True
    suspend: bool = False
    status: DeploymentStatus = field(default_factory=DeploymentStatus)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "ModelDeployment":
        """Parse an object of the API server.

        Raises:
            InvalidSpecError: if a field of the spec is missing or out of its bounds.
        """
        spec = Fields(body).child("spec")
        validation, meta = spec.child("validation"), Meta.from_body(body)
        kind, target = read_target(spec.child("targetRef"))
        return cls(
            meta=meta,
            model=spec.text("model", limit=63, required=True),
            snapshot=SnapshotName(spec.text("snapshot", limit=253, required=True)),
            target_kind=kind,
            target=target,
            bindings=read_bindings(spec),
            triggers=tuple(_trigger(item) for item in spec.items("triggers", limit=16)),
            rollback=_policy(spec.child("rollback")),
            checks=tuple(_check(item) for item in validation.items("checks", limit=16)),
            next_on_failure=validation.text("onFailure", "NextKnownGood") == "NextKnownGood",
            suspend=spec.flag("suspend"),
            status=DeploymentStatus.from_body(body).of(meta.uid),
        )

    def again(self, body: Mapping[str, Any]) -> "ModelDeployment":
        """Parse a later body with the same spec: most writes change nothing but the status."""
        meta = Meta.from_body(body)
        return replace(self, meta=meta, status=DeploymentStatus.from_body(body).of(meta.uid))


def _trigger(item: Fields) -> Trigger:
    source = read_source(item)
    return Trigger(
        name=item.text("name", limit=63, required=True),
        severity=_severity(item),
        source=source,
        failure_condition=item.text("failureCondition", limit=1024, required=source.conditional),
        interval=max(item.duration("interval", "10s"), timedelta(seconds=1)),
        failure_threshold=item.integer("failureThreshold", 3, low=1, high=100),
        alert_on_no_data=item.text("onNoData", "Ignore") == "Alert",
    )


def _severity(item: Fields) -> Severity:
    try:
        return Severity(item.text("severity", "high"))
    except ValueError as error:
        raise InvalidSpecError(f"{item.at('severity')}: must be critical, high, medium or low") from error


def _check(item: Fields) -> Check:
    return Check(
        name=item.text("name", limit=63, required=True),
        source=read_source(item, check=True),
        success_condition=item.text("successCondition", limit=1024, required=True),
    )


def _policy(policy: Fields) -> RollbackPolicy:
    good = policy.child("knownGood")
    return RollbackPolicy(
        automatic=policy.texts("automatic", (Severity.CRITICAL, Severity.HIGH), limit=2),
        require_soaked=good.text("require", "Soaked") != "Verified",
        soak=good.duration("soak", "10m"),
        max_verification_age=policy.duration("maxVerificationAge", "24h"),
        cooldown=policy.duration("cooldown", "5m"),
        max_per_hour=policy.integer("maxPerHour", 3, low=1, high=60),
        progress_deadline=policy.duration("progressDeadline", "10m"),
        history_limit=policy.integer("historyLimit", 20, low=1, high=200),
        capture_soaked=policy.flag("captureSoaked"),
    )
