"""`ModelRollback`: one rollback to one target, from intent to outcome."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lastgood.api.facts.deployment_status import Intent
from lastgood.api.fields import Fields, compact, format_time
from lastgood.api.meta import Condition, Meta, read_conditions
from lastgood.api.names import INTENT, Digest, Outcome, RecordName, SnapshotName, known

MAX_INTENT: Final = 2048  # characters of the annotation
_MAX_CANDIDATES: Final = 100


@dataclass(frozen=True, kw_only=True)
class FiredTrigger:
    """The trigger behind an automatic rollback, with the value that was seen."""

    name: str
    severity: str
    value: str = ""
    condition: str = ""


@dataclass(frozen=True, kw_only=True)
class RollbackSpec:
    """What was asked for, and by whom; immutable."""

    deployment: str
    deployment_uid: str = ""
    source: SnapshotName = SnapshotName("")
    source_digest: Digest = Digest("")
    to: SnapshotName = SnapshotName("")
    before: datetime | None = None
    reason: str = ""
    trigger: FiredTrigger | None = None
    incident: str = ""
    emergency: bool = False
    automatic: bool = False
    requested_by: str = "unknown"
    continues: RecordName = RecordName("")

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        fired = self.trigger
        return compact(
            {
                "deployment": compact({"name": self.deployment, "uid": self.deployment_uid or None}),
                "from": compact({"snapshot": self.source, "digest": self.source_digest or None})
                if self.source
                else None,
                "to": self.to or None,
                "before": format_time(self.before),
                "reason": self.reason[:1024] or "no reason given",
                "trigger": {
                    "name": fired.name,
                    "severity": fired.severity,
                    "value": fired.value[:256],
                    "condition": fired.condition[:1024],
                }
                if fired
                else None,
                "incident": self.incident[:128] or None,
                "emergency": self.emergency,
                "automatic": self.automatic,
                "requestedBy": self.requested_by[:256],
                "continues": self.continues or None,
            }
        )

    @classmethod
    def from_fields(cls, spec: Fields) -> "RollbackSpec":
        """Read a spec, whose bounds the API server has checked."""
        deployment, source, fired = spec.child("deployment"), spec.child("from"), spec.child("trigger")
        return cls(
            deployment=deployment.text("name"),
            deployment_uid=deployment.text("uid"),
            source=SnapshotName(source.text("snapshot")),
            source_digest=Digest(source.text("digest")),
            to=SnapshotName(spec.text("to")),
            before=spec.time("before"),
            reason=spec.text("reason"),
            trigger=FiredTrigger(
                name=fired.text("name"),
                severity=fired.text("severity"),
                value=fired.text("value"),
                condition=fired.text("condition"),
            )
            if fired.has("name")
            else None,
            incident=spec.text("incident"),
            emergency=spec.flag("emergency"),
            automatic=spec.flag("automatic"),
            requested_by=spec.text("requestedBy", "unknown"),
            continues=RecordName(spec.text("continues")),
        )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A snapshot that was considered; `verdict` is Chosen, PassedOver or NotNeeded."""

    snapshot: SnapshotName
    digest: Digest
    verdict: str
    reason: str
    message: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "snapshot": self.snapshot,
            "digest": self.digest,
            "verdict": self.verdict,
            "reason": str(self.reason),
            "message": self.message[:512],
        }


def _chosen_first(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Return candidates so that the one that was chosen is never cut off; else they keep their order, best first."""
    if len(candidates) <= _MAX_CANDIDATES:
        return candidates
    return sorted(candidates, key=lambda item: item.verdict != "Chosen")


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a validation check ended with."""

    name: str
    verdict: str
    value: str = ""
    error: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {"name": self.name, "verdict": self.verdict, "value": self.value[:256], "error": self.error[:512]}


@dataclass(frozen=True, kw_only=True)
class RollbackStatus:
    """Facts and times of one rollback; `verification` is Fresh or Recent (an emergency's).

    Whose it is and what it replaces is in the spec only where the operator wrote that: these facts say it always.
    """

    deployment_uid: str = ""
    source: SnapshotName = SnapshotName("")
    source_digest: Digest = Digest("")
    target: SnapshotName = SnapshotName("")
    target_digest: Digest = Digest("")
    candidates: tuple[Candidate, ...] = ()
    candidates_left_out: int = 0
    verified_at: datetime | None = None
    verification: str = ""
    intent_at: datetime | None = None
    switched_at: datetime | None = None
    available_at: datetime | None = None
    checks: tuple[CheckReport, ...] = ()
    quarantined: tuple[str, ...] = ()
    outcome: Outcome | None = None
    outcome_reason: str = ""
    outcome_at: datetime | None = None
    message: str = ""
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def as_body(self) -> dict[str, Any]:
        """Return the whole status; null removes a field under a merge patch."""
        return {
            "deployment": {"uid": self.deployment_uid} if self.deployment_uid else None,
            "from": compact({"snapshot": self.source, "digest": self.source_digest or None}) if self.source else None,
            "target": {"snapshot": self.target, "digest": self.target_digest} if self.target else None,
            "candidates": [item.as_body() for item in _chosen_first(self.candidates)[:_MAX_CANDIDATES]],
            "candidatesLeftOut": len(self.candidates[_MAX_CANDIDATES:]) or self.candidates_left_out or None,
            "verifiedAt": format_time(self.verified_at),
            "verification": self.verification or None,
            "intentAt": format_time(self.intent_at),
            "switchedAt": format_time(self.switched_at),
            "availableAt": format_time(self.available_at),
            "checks": [item.as_body() for item in self.checks],
            "quarantined": list(self.quarantined),
            "outcome": str(self.outcome) if self.outcome else None,
            "outcomeReason": str(self.outcome_reason) or None,
            "outcomeAt": format_time(self.outcome_at),
            "message": self.message[:1024] or None,
            "conditions": [compact(condition.as_body()) for condition in self.conditions.values()],
        }

    @classmethod
    def from_fields(cls, status: Fields) -> "RollbackStatus":
        """Read what the operator wrote; nonsense written by another counts as absent."""
        source = status.child("from")
        return cls(
            deployment_uid=status.child("deployment").text("uid"),
            source=SnapshotName(source.text("snapshot")),
            source_digest=Digest(source.text("digest")),
            target=SnapshotName(status.child("target").text("snapshot")),
            target_digest=Digest(status.child("target").text("digest")),
            candidates=tuple(_candidate(item) for item in status.items("candidates")),
            candidates_left_out=status.integer("candidatesLeftOut", 0),
            verified_at=status.time("verifiedAt"),
            verification=status.text("verification"),
            intent_at=status.time("intentAt"),
            switched_at=status.time("switchedAt"),
            available_at=status.time("availableAt"),
            checks=tuple(_check(item) for item in status.items("checks")),
            quarantined=status.texts("quarantined"),
            outcome=known(Outcome, status.text("outcome"), None),
            outcome_reason=status.text("outcomeReason"),
            outcome_at=status.time("outcomeAt"),
            message=status.text("message"),
            conditions=read_conditions(status),
        )


@dataclass(frozen=True, kw_only=True)
class ModelRollback:
    """A record of one rollback. `intent` is what an emergency's record was made with."""

    meta: Meta
    spec: RollbackSpec
    status: RollbackStatus = field(default_factory=RollbackStatus)
    intent: Intent | None = None

    @property
    def name(self) -> RecordName:
        """The name of the object."""
        return RecordName(self.meta.name)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "ModelRollback":
        """Parse an object of the API server; its schema has bounded the spec."""
        whole, meta = Fields(body, strict=False), Meta.from_body(body)
        return cls(
            meta=meta,
            intent=_intent(meta.annotations.get(INTENT, "")),
            spec=RollbackSpec.from_fields(whole.child("spec")),
            status=RollbackStatus.from_fields(whole.child("status")),
        )


def _intent(text: str) -> Intent | None:
    """Read the annotation; whoever may annotate a record may write anything there."""
    try:
        found = json.loads(text[:MAX_INTENT]) if text else None
    except (ValueError, RecursionError):
        return None
    return Intent.from_fields(Fields(found, strict=False)) if isinstance(found, dict) else None


def _candidate(item: Fields) -> Candidate:
    return Candidate(
        snapshot=SnapshotName(item.text("snapshot")),
        digest=Digest(item.text("digest")),
        verdict=item.text("verdict"),
        reason=item.text("reason"),
        message=item.text("message"),
    )


def _check(item: Fields) -> CheckReport:
    return CheckReport(
        name=item.text("name"), verdict=item.text("verdict"), value=item.text("value"), error=item.text("error")
    )
