"""`ModelSnapshot`: one immutable, versioned, verifiable checkpoint."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lastgood.api.facts.evidence import (
    MAX_COPIES,
    Capture,
    Forensics,
    PassedOver,
    Scan,
    examined_body,
    read_capture,
    read_examined,
    read_forensics,
    read_passed_over,
    read_scan,
)
from lastgood.api.facts.external import ExternalScan, read_external
from lastgood.api.facts.signature import Examined
from lastgood.api.fields import Fields, compact, format_time
from lastgood.api.meta import Condition, Meta, read_conditions
from lastgood.api.names import Digest, Reason, SnapshotName, Type
from lastgood.api.specs.sources import (
    MAX_MIRRORS,
    PvcSource,
    Source,
    StoreSource,
    read_path,
    read_source,
    require_literal,
)
from lastgood.api.text import listed
from lastgood.errors import InvalidSpecError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,32}(\.[0-9]{1,32})?([eE][-+]?[0-9]{1,3})?")
_CAPTURE = "capture"
_ON_CLAIM = re.compile(rf"{_CAPTURE}@([a-z0-9](?:[-a-z0-9.]{{0,53}}[a-z0-9])?)")
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_MAX_BUNDLES = 8
_MAX_METRICS = 32


@dataclass(frozen=True, kw_only=True)
class ConfigMapBundle:
    """A signature bundle under a key of a ConfigMap in the snapshot's namespace."""

    name: str
    key: str


@dataclass(frozen=True, kw_only=True)
class PathBundle:
    """A signature bundle inside the source: relative to the checkpoint's directory, and no part of what is signed."""

    path: str


Bundle = ConfigMapBundle | PathBundle


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A value that the snapshot was measured with; text, so that nothing rounds it."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What the last verification found; `reason` is Verified, DigestMismatch or Unreadable.

    Attributes:
        verified_at: when the declared digest was last found; None after a mismatch, kept while it cannot be read.
        blake3: over all files, recorded at the first full verification for faster ones.
        copy: which copy was good: `source`, `mirrors[0]` and so on, `capture`, or `capture@` and a store claim.
        passed_over: the copies before it, and why each was not used.
    """

    reason: str
    message: str = ""
    time: datetime | None = None
    next_time: datetime | None = None
    seconds: float = 0.0
    bytes_per_second: int = 0
    findings: tuple[str, ...] = ()
    verified_at: datetime | None = None
    blake3: str = ""
    copy: str = ""
    passed_over: tuple[PassedOver, ...] = ()

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "reason": self.reason,
            "message": self.message[:1024],
            "lastTime": format_time(self.time),
            "nextTime": format_time(self.next_time),
            "durationSeconds": round(self.seconds, 6),
            "bytesPerSecond": self.bytes_per_second,
            "findings": [finding[:512] for finding in listed(self.findings, 20)] or None,
            "verifiedAt": format_time(self.verified_at),
            "blake3": self.blake3 or None,
            "copy": self.copy or None,
            "passedOver": [item.as_body() for item in self.passed_over[:MAX_COPIES]] or None,
        }


@dataclass(frozen=True, kw_only=True)
class QuarantineMark:
    """Why a snapshot is quarantined; `scope` is Snapshot, Namespace or All.

    `forensics` is what became of the copy of what was there; None until it has been tried.
    """

    scope: str
    by: str = "unknown"
    reason: str = ""
    incident: str = ""
    since: datetime | None = None
    forensics: Forensics | None = None

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
            "forensics": self.forensics.as_body() if self.forensics else None,
        }


@dataclass(frozen=True, kw_only=True)
class SnapshotStatus:
    """Facts the operator found, never claims."""

    digest: Digest = Digest("")
    size_bytes: int = 0
    file_count: int = 0
    first_seen: datetime | None = None
    verification: Verification | None = None
    signatures: Examined | None = None
    scan: Scan | None = None
    external: tuple[ExternalScan, ...] = ()
    capture: Capture | None = None
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
            "signatures": examined_body(self.signatures) if self.signatures else None,
            "scan": self.scan.as_body() if self.scan else None,
            "externalScans": [scan.as_body() for scan in self.external] or None,
            "capture": self.capture.as_body() if self.capture else None,
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
    mirrors: tuple[Source, ...] = ()
    repair: bool = False
    signatures: tuple[Bundle, ...] = ()
    capture: bool = False
    metrics: tuple[Metric, ...] = ()
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

    @property
    def copies(self) -> tuple[tuple[str, Source], ...]:
        """The copies by the names that a status has for them, in the order in which they are tried."""
        named = ("source", self.source), *((f"mirrors[{index}]", item) for index, item in enumerate(self.mirrors))
        return (*named, *self._captured())

    @property
    def captured_path(self) -> str:
        """Where a store keeps it (`verify.store.path_of`): the digest says, so that no status can lead elsewhere."""
        hexadecimal = self.digest.removeprefix("sha256:")
        return f"sha256/{hexadecimal[:2]}/{hexadecimal}"

    def _captured(self) -> tuple[tuple[str, Source], ...]:
        """The copy that a capture made, as the last one; none where it is the source itself."""
        found = self.status.capture
        if found is None or (found.reason, found.path) != (Reason.CAPTURED, self.captured_path):
            return ()
        name = f"{_CAPTURE}@{found.claim}" if found.claim else _CAPTURE
        place = self._capture(name)
        return ((name, place),) if place and place not in (self.source, *self.mirrors) else ()

    def _capture(self, copy: str) -> Source | None:
        """Where a copy is whose name says that a capture made it: `capture`, or `capture@` and the store claim.

        The name and the spec say all of it: what was verified under a name is what a workload is pointed at, whatever
        becomes of `status.capture` in between.
        """
        if copy == _CAPTURE:
            return StoreSource(path=self.captured_path)
        match = _ON_CLAIM.fullmatch(copy)
        return PvcSource(claim=match[1], path=self.captured_path) if match else None

    @property
    def place(self) -> Source:
        """Where the copy is that was good when it was last read: what a workload is pointed at."""
        copy = self.status.verification.copy if self.status.verification else ""
        return self._named(copy) or self.source

    @property
    def place_name(self) -> str:
        """How a status names that copy."""
        copy = self.status.verification.copy if self.status.verification else ""
        return copy if self._named(copy) else "source"

    def _named(self, copy: str) -> Source | None:
        return dict(self.copies).get(copy) or self._capture(copy)

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
            version=require_literal(spec.text("version", limit=128, required=True), spec.at("version")),
            source=read_source(spec.child("source")),
            digest=_digest(spec),
            trained_at=spec.time("trainedAt"),
            data_cutoff=spec.time("dataCutoff"),
            image=require_literal(spec.child("runtime").text("image", limit=512), "spec.runtime.image"),
            mirrors=tuple(read_source(item) for item in spec.items("mirrors", limit=MAX_MIRRORS)),
            repair=_repair(spec),
            signatures=tuple(_bundle(item) for item in spec.items("signatures", limit=_MAX_BUNDLES)),
            capture=spec.flag("capture"),
            metrics=_metrics(spec),
            status=_status(Fields(body, strict=False).child("status")),
        )


def _digest(spec: Fields) -> Digest:
    value = spec.text("digest", limit=71, required=True)
    if not _DIGEST.fullmatch(value):
        raise InvalidSpecError("spec.digest: must be sha256: and 64 lower-case hex digits")
    return Digest(value)


def _repair(spec: Fields) -> bool:
    value = spec.text("repair", "Never")
    if value not in ("Never", "FromMirror"):
        raise InvalidSpecError("spec.repair: must be Never or FromMirror")
    if value == "FromMirror" and not spec.value.get("mirrors"):
        raise InvalidSpecError("spec.repair: FromMirror needs a copy to repair from; name one in spec.mirrors")
    return value == "FromMirror"


def _bundle(item: Fields) -> Bundle:
    if item.has("configMapKeyRef") == item.has("path"):
        raise InvalidSpecError(f"{item.path}: must have exactly one of configMapKeyRef and path")
    if item.has("path"):
        return PathBundle(path=read_path(item))
    reference = item.child("configMapKeyRef")
    name, key = reference.text("name", limit=253, required=True), reference.text("key", limit=253, required=True)
    if not _OBJECT.fullmatch(name):
        raise InvalidSpecError(f"{reference.at('name')}: must be the name of a ConfigMap in this namespace")
    if not _KEY.fullmatch(key):
        raise InvalidSpecError(f"{reference.at('key')}: must be a key of a ConfigMap, such as model.sig")
    return ConfigMapBundle(name=name, key=key)


def _metrics(spec: Fields) -> tuple[Metric, ...]:
    metrics: list[Metric] = []
    for item in spec.items("metrics", limit=_MAX_METRICS):
        name, value = item.text("name", limit=63, required=True), item.text("value", limit=64, required=True)
        if not _NUMBER.fullmatch(value):
            raise InvalidSpecError(f'{item.at("value")}: must be a decimal number in quotes, such as "0.97"')
        if any(name == metric.name for metric in metrics):
            raise InvalidSpecError(f"{item.at('name')}: {name!r} is given twice")
        metrics.append(Metric(name=name, value=value))
    return tuple(metrics)


def _status(status: Fields) -> SnapshotStatus:
    return SnapshotStatus(
        digest=Digest(status.text("digest", limit=71)),
        size_bytes=status.integer("sizeBytes", 0, high=2**63),
        file_count=status.integer("fileCount", 0),
        first_seen=status.time("firstSeen"),
        verification=_verification(status.child("verification")),
        signatures=read_examined(status.child("signatures")),
        scan=read_scan(status.child("scan")),
        external=read_external(status),
        capture=read_capture(status.child("capture")),
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
        verified_at=fields.time("verifiedAt"),
        blake3=fields.text("blake3", limit=128),
        copy=fields.text("copy", limit=64),
        passed_over=read_passed_over(fields),
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
        forensics=read_forensics(fields.child("forensics")),
    )
