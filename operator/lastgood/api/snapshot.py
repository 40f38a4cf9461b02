"""`ModelSnapshot`: one immutable, versioned, verifiable checkpoint."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lastgood.api.fields import Fields, compact, format_time
from lastgood.api.meta import Condition, Meta, read_conditions
from lastgood.api.names import Digest, SnapshotName, Type
from lastgood.errors import InvalidSpecError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_PATH = 1024


@dataclass(frozen=True, kw_only=True)
class StoreSource:
    """A path in the operator's own snapshot store."""

    path: str


@dataclass(frozen=True, kw_only=True)
class PvcSource:
    """A path on a PersistentVolumeClaim in the snapshot's namespace."""

    claim: str
    path: str


Source = StoreSource | PvcSource


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What the last verification found; `reason` is Verified, DigestMismatch or Unreadable."""

    reason: str
    message: str = ""
    time: datetime | None = None
    next_time: datetime | None = None
    seconds: float = 0.0
    bytes_per_second: int = 0
    findings: tuple[str, ...] = ()

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "reason": self.reason,
            "message": self.message[:1024],
            "lastTime": format_time(self.time),
            "nextTime": format_time(self.next_time),
            "durationSeconds": round(self.seconds, 6),
            "bytesPerSecond": self.bytes_per_second,
            "findings": [finding[:512] for finding in self.findings[:20]] or None,
        }


@dataclass(frozen=True, kw_only=True)
class QuarantineMark:
    """Why a snapshot is quarantined; `scope` is Snapshot, Namespace or All."""

    scope: str
    by: str = "unknown"
    reason: str = ""
    incident: str = ""
    since: datetime | None = None

    @property
    def told(self) -> str:
        """Why, with the incident number said once."""
        return self.reason if self.incident in self.reason else f"{self.incident}: {self.reason}"

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "scope": self.scope,
            "by": self.by[:256],
            "reason": self.reason[:1024],
            "incident": self.incident[:128] or None,
            "since": format_time(self.since),
        }


@dataclass(frozen=True, kw_only=True)
class SnapshotStatus:
    """Facts the operator found, never claims."""

    digest: Digest = Digest("")
    size_bytes: int = 0
    file_count: int = 0
    first_seen: datetime | None = None
    verification: Verification | None = None
    quarantine: QuarantineMark | None = None
    handled: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    observed_generation: int = 0

    def as_body(self) -> dict[str, Any]:
        """Return the whole status; null removes a field under a merge patch."""
        return {
            "observedGeneration": self.observed_generation,
            "digest": self.digest or None,
            "sizeBytes": self.size_bytes,
            "fileCount": self.file_count,
            "firstSeen": format_time(self.first_seen),
            "verification": self.verification.as_body() if self.verification else None,
            "quarantine": self.quarantine.as_body() if self.quarantine else None,
            "handledRequests": dict(self.handled),
            "conditions": [compact(condition.as_body()) for condition in self.conditions.values()],
        }


@dataclass(frozen=True, kw_only=True)
class ModelSnapshot:
    """A checkpoint as declared, and what was found of it."""

    meta: Meta
    model: str
    version: str
    source: Source
    digest: Digest
    trained_at: datetime | None = None
    data_cutoff: datetime | None = None
    image: str = ""
    status: SnapshotStatus = field(default_factory=SnapshotStatus)

    @property
    def name(self) -> SnapshotName:
        """The name of the object."""
        return SnapshotName(self.meta.name)

    @property
    def verified(self) -> bool:
        """Whether the last verification found the declared digest."""
        condition = self.status.conditions.get(Type.VERIFIED)
        return condition is not None and condition.status == "True" and self.status.digest == self.digest

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "ModelSnapshot":
        """Parse an object of the API server.

        Raises:
            InvalidSpecError: if a field of the spec is missing or out of its bounds.
        """
        spec = Fields(body).child("spec")
        return cls(
            meta=Meta.from_body(body),
            model=spec.text("model", limit=63, required=True),
            version=spec.text("version", limit=128, required=True),
            source=_source(spec.child("source")),
            digest=_digest(spec),
            trained_at=spec.time("trainedAt"),
            data_cutoff=spec.time("dataCutoff"),
            image=spec.child("runtime").text("image", limit=512),
            status=_status(Fields(body, strict=False).child("status")),
        )


def _digest(spec: Fields) -> Digest:
    value = spec.text("digest", limit=71, required=True)
    if not _DIGEST.fullmatch(value):
        raise InvalidSpecError("spec.digest: must be sha256: and 64 lower-case hex digits")
    return Digest(value)


def _source(source: Fields) -> Source:
    store, pvc = source.has("store"), source.has("pvc")
    if store == pvc:
        raise InvalidSpecError("spec.source: must have exactly one of store and pvc")
    if store:
        return StoreSource(path=_path(source.child("store")))
    claim = source.child("pvc")
    return PvcSource(claim=claim.text("claimName", limit=253, required=True), path=_path(claim))


def _path(holder: Fields) -> str:
    path = holder.text("path", limit=_MAX_PATH, required=True)
    if any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable() or "\\" in path:
        raise InvalidSpecError(f"{holder.at('path')}: must be relative, without '..', '.' or empty segments")
    return path


def _status(status: Fields) -> SnapshotStatus:
    return SnapshotStatus(
        digest=Digest(status.text("digest", limit=71)),
        size_bytes=status.integer("sizeBytes", 0, high=2**63),
        file_count=status.integer("fileCount", 0),
        first_seen=status.time("firstSeen"),
        verification=_verification(status.child("verification")),
        quarantine=_quarantine(status.child("quarantine")),
        handled=status.mapping("handledRequests"),
        conditions=read_conditions(status),
        observed_generation=status.integer("observedGeneration", 0),
    )


def _verification(fields: Fields) -> Verification | None:
    if not fields.has("lastTime"):
        return None
    return Verification(
        reason=fields.text("reason"),
        message=fields.text("message"),
        time=fields.time("lastTime"),
        next_time=fields.time("nextTime"),
        seconds=fields.number("durationSeconds"),
        bytes_per_second=fields.integer("bytesPerSecond", 0),
        findings=fields.texts("findings"),
    )


def _quarantine(fields: Fields) -> QuarantineMark | None:
    if not fields.has("scope"):
        return None
    return QuarantineMark(
        scope=fields.text("scope"),
        by=fields.text("by", "unknown"),
        reason=fields.text("reason"),
        incident=fields.text("incident"),
        since=fields.time("since"),
    )
