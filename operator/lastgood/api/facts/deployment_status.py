"""The facts recorded about a ModelDeployment: what served when, what a rollback left, what was handled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lastgood.api.facts.alert import MAX_ALERTS, Alert, Resolved, read_alert, read_resolved
from lastgood.api.fields import Fields, compact, format_time
from lastgood.api.meta import Condition, read_conditions
from lastgood.api.names import Digest, RecordName, SnapshotName

_MAX_HISTORY = 50
MAX_LEFT = 64
_MAX_ROLLBACKS = 60  # as many as spec.rollback.maxPerHour may allow: they are counted here
MAX_HANDLED = 16
_MAX_DIGEST = 128
MAX_NAME = 253


@dataclass(frozen=True, kw_only=True)
class Served:
    """A period in which a snapshot served; `until` is None while it does, and `uid` is the object's."""

    snapshot: SnapshotName
    digest: Digest
    since: datetime | None
    until: datetime | None = None
    soaked_at: datetime | None = None
    by: str = ""
    uid: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return compact(
            {
                "snapshot": self.snapshot,
                "digest": self.digest,
                "since": format_time(self.since),
                "until": format_time(self.until),
                "soakedAt": format_time(self.soaked_at),
                "by": self.by,
                "uid": self.uid or None,
            }
        )


@dataclass(frozen=True, kw_only=True)
class Left:
    """A digest that a rollback left for what it is; no rollback goes back to it."""

    digest: Digest
    snapshot: SnapshotName
    reason: str
    at: datetime | None = None

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return compact(
            {"digest": self.digest, "snapshot": self.snapshot, "reason": self.reason, "at": format_time(self.at)}
        )


@dataclass(frozen=True, kw_only=True)
class Held:
    """The desired snapshot that stays without effect until someone names another."""

    snapshot: SnapshotName
    digest: Digest
    reason: str
    rollback: RecordName
    since: datetime | None = None

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return compact(
            {
                "snapshot": self.snapshot,
                "digest": self.digest,
                "reason": self.reason,
                "rollback": self.rollback,
                "since": format_time(self.since),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What is going to be switched to, where that is known early: the status of the record has it later.

    It is in the lock, and with an emergency, whose lock comes after its switch, in an annotation of its record.
    """

    target: SnapshotName
    digest: Digest
    at: datetime
    verification: str
    verified_at: datetime | None

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "snapshot": self.target,
            "digest": self.digest,
            "at": format_time(self.at),
            "verification": self.verification,
            "verifiedAt": format_time(self.verified_at),
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> "Intent | None":
        """Read it; what has no target or no time is none."""
        at, target = fields.time("at"), fields.text("snapshot")
        if at is None or not target:
            return None
        return cls(
            target=SnapshotName(target),
            digest=Digest(fields.text("digest")),
            at=at,
            verification=fields.text("verification"),
            verified_at=fields.time("verifiedAt"),
        )


@dataclass(frozen=True, kw_only=True)
class Active:
    """The record that holds this deployment: the lock, with what it takes to write the record again."""

    name: RecordName
    since: datetime | None
    spec: Mapping[str, Any]
    intent: Intent | None = None

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        intent = self.intent.as_body() if self.intent else None
        body = {"name": self.name, "since": format_time(self.since), "spec": dict(self.spec), "intent": intent}
        return {key: value for key, value in body.items() if value is not None or key != "intent"}


@dataclass(frozen=True, kw_only=True)
class Done:
    """A rollback that ended."""

    name: RecordName
    at: datetime | None
    automatic: bool
    outcome: str
    reason: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return compact(
            {
                "name": self.name,
                "at": format_time(self.at),
                "automatic": self.automatic,
                "outcome": self.outcome,
                "reason": self.reason,
            }
        )


@dataclass(frozen=True, kw_only=True)
class TriggerReport:
    """The verdict on a trigger as last written, with the value and the error seen then, and when they were seen."""

    name: str
    severity: str
    verdict: str
    value: str = ""
    error: str = ""
    since: datetime | None = None
    value_at: datetime | None = None
    error_at: datetime | None = None
    error_kind: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return compact(
            {
                "name": self.name,
                "severity": self.severity,
                "verdict": self.verdict,
                "value": self.value,
                "valueTime": format_time(self.value_at),
                "lastError": self.error,
                "lastErrorReason": self.error_kind or None,
                "lastErrorTime": format_time(self.error_at),
                "since": format_time(self.since),
            }
        )


@dataclass(frozen=True, kw_only=True)
class DeploymentStatus:
    """Facts, never a phase. `uid` is the object's that they are about: a backup may bring another one's.

    `signalled_at` is when anything was written last because of a signal: see core/status/pace.py.
    """

    uid: str = ""
    observed_generation: int = 0
    snapshot: SnapshotName = SnapshotName("")
    digest: Digest = Digest("")
    desired: str = ""
    last_known_good: str = ""
    emergency_fallback: str = ""
    fallback: str = ""
    available_at: datetime | None = None
    placement: int = 0
    active: Active | None = None
    continues: Mapping[str, Any] | None = None
    held: Held | None = None
    left: tuple[Left, ...] = ()
    history: tuple[Served, ...] = ()
    rollbacks: tuple[Done, ...] = ()
    triggers: tuple[TriggerReport, ...] = ()
    alerts: tuple[Alert, ...] = ()
    resolved: tuple[Resolved, ...] = ()
    signalled_at: datetime | None = None
    handled: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def of(self, uid: str) -> "DeploymentStatus":
        """Return what these facts mean for an object: those about an earlier one of its name say what it left, no more.

        What they say of the workload, of records and of the lock was true at the time of a backup.
        """
        if self.uid in ("", uid):
            return self
        return DeploymentStatus(held=self.held, left=self.left, handled=self.handled)

    def as_body(self) -> dict[str, Any]:
        """Return the whole status; null removes a field under a merge patch."""
        return {
            "uid": self.uid or None,
            "observedGeneration": self.observed_generation,
            "snapshot": self.snapshot or None,
            "digest": self.digest or None,
            "desired": self.desired or None,
            "lastKnownGood": self.last_known_good or None,
            "emergencyFallback": self.emergency_fallback or None,
            "fallback": self.fallback or None,
            "availableAt": format_time(self.available_at),
            "placement": self.placement,
            "activeRollback": self.active.as_body() if self.active else None,
            "continues": dict(self.continues) if self.continues else None,
            "held": self.held.as_body() if self.held else None,
            "left": [item.as_body() for item in self.left[-MAX_LEFT:]],
            "history": [item.as_body() for item in self.history[-_MAX_HISTORY:]],
            "rollbacks": [item.as_body() for item in self.rollbacks[-_MAX_ROLLBACKS:]],
            "triggers": [item.as_body() for item in self.triggers],
            "alerts": [item.as_body() for item in self.alerts[:MAX_ALERTS]] or None,
            "resolvedAlerts": [item.as_body() for item in self.resolved[-MAX_ALERTS:]] or None,
            "signalsTime": format_time(self.signalled_at),
            "handledRequests": dict(self.handled),
            "conditions": [compact(condition.as_body()) for condition in self.conditions.values()],
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "DeploymentStatus":
        """Read what the operator wrote; nonsense written by another counts as absent."""
        status = Fields(body, strict=False).child("status")
        return cls(
            uid=status.text("uid"),
            observed_generation=status.integer("observedGeneration", 0),
            snapshot=SnapshotName(status.text("snapshot")),
            digest=Digest(status.text("digest")),
            desired=status.text("desired"),
            last_known_good=status.text("lastKnownGood"),
            emergency_fallback=status.text("emergencyFallback"),
            fallback=status.text("fallback"),
            available_at=status.time("availableAt"),
            placement=status.integer("placement", 0),
            active=_active(status.child("activeRollback")),
            continues=_continues(status.child("continues")),
            held=read_held(status.child("held")),
            left=tuple(read_left(item) for item in status.items("left")),
            history=tuple(_served(item) for item in status.items("history")),
            rollbacks=tuple(_done(item) for item in status.items("rollbacks")),
            triggers=tuple(_trigger(item) for item in status.items("triggers")),
            alerts=tuple(read_alert(item) for item in status.items("alerts")),
            resolved=tuple(read_resolved(item) for item in status.items("resolvedAlerts")),
            signalled_at=status.time("signalsTime"),
            handled=status.mapping("handledRequests"),
            conditions=read_conditions(status),
        )


def _active(fields: Fields) -> Active | None:
    if not fields.text("name"):
        return None
    return Active(
        name=RecordName(fields.text("name")),
        since=fields.time("since"),
        spec=fields.child("spec").value,
        intent=Intent.from_fields(fields.child("intent")),
    )


def _continues(fields: Fields) -> Mapping[str, Any] | None:
    """Return from which record a new one goes on; without one, records would go on from nothing for ever."""
    return fields.value if fields.text("record") else None


def read_held(fields: Fields) -> Held | None:
    """Read what is held; what has no name is nothing."""
    name = fields.text("snapshot", limit=MAX_NAME)
    if not name:
        return None
    return Held(
        snapshot=SnapshotName(name),
        digest=Digest(fields.text("digest", limit=_MAX_DIGEST)),
        reason=fields.text("reason"),
        rollback=RecordName(fields.text("rollback", limit=MAX_NAME)),
        since=fields.time("since"),
    )


def read_left(item: Fields) -> Left:
    """Read a digest that a rollback left."""
    return Left(
        digest=Digest(item.text("digest", limit=_MAX_DIGEST)),
        snapshot=SnapshotName(item.text("snapshot", limit=MAX_NAME)),
        reason=item.text("reason"),
        at=item.time("at"),
    )


def _served(item: Fields) -> Served:
    return Served(
        snapshot=SnapshotName(item.text("snapshot")),
        digest=Digest(item.text("digest")),
        since=item.time("since"),
        until=item.time("until"),
        soaked_at=item.time("soakedAt"),
        by=item.text("by"),
        uid=item.text("uid"),
    )


def _done(item: Fields) -> Done:
    return Done(
        name=RecordName(item.text("name")),
        at=item.time("at"),
        automatic=item.flag("automatic"),
        outcome=item.text("outcome"),
        reason=item.text("reason"),
    )


def _trigger(item: Fields) -> TriggerReport:
    return TriggerReport(
        name=item.text("name"),
        severity=item.text("severity"),
        verdict=item.text("verdict"),
        value=item.text("value"),
        error=item.text("lastError"),
        since=item.time("since"),
        value_at=item.time("valueTime"),
        error_at=item.time("lastErrorTime"),
        error_kind=item.text("lastErrorReason"),
    )
