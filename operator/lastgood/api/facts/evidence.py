"""What was found of a snapshot beside its digest: signatures, scan, copies in a store, and those passed over.

All of it is written by the operator and read back leniently: nonsense in a status counts as absent, and where
absent would be the friendlier answer, as the strictest one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lastgood.api.facts.signature import Claims, Examined, Method, SignatureFact, SignatureProblem
from lastgood.api.fields import Fields, compact, format_time
from lastgood.api.names import Digest, Reason, Severity, known
from lastgood.api.specs.scan_rules import judged
from lastgood.api.text import shortened

MAX_FACTS = 32
_MAX_OUTSIDE = 16
_MAX_PROBLEMS = 8
_MAX_LEFT_OUT = 20
MAX_FINDINGS = 20
MAX_FORMATS = 32
MAX_COPIES = 9  # the source and eight mirrors
_MAX_ATTEMPTS = 100
_ORDER = list(Severity)
FINDING = "Finding"
LOOKED = ("NoFinding", "Anomaly", FINDING)
"""The verdicts of scanners that could look; every other word is none."""
TOO_MANY_FORMATS = "too-many-to-list"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a scanner found; `rule` names what it looked for."""

    severity: Severity
    rule: str
    file: str = ""
    evidence: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "severity": str(self.severity),
            "rule": self.rule[:128],
            "file": shortened(self.file, 1024),
            "evidence": self.evidence[:512],
        }

    def shorter(self, length: int) -> "Finding":
        """Return it with each text cut to a length; its severity stays."""
        texts = (shortened(text, length) for text in (self.rule, self.file, self.evidence))
        rule, file, evidence = texts
        return replace(self, rule=rule, file=file, evidence=evidence)


UNREADABLE = Finding(
    severity=Severity.CRITICAL, rule="evidence-unreadable", evidence="the list of findings cannot be read"
)
"""What stands in the place of findings that make no sense: nobody knows how grave they were."""


def gravest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order in which they are kept where there is not room for all.

    Of those that are as grave, what could not be judged comes first: a policy may refuse it where it allows the others.
    """
    return sorted(findings, key=lambda item: (_ORDER.index(item.severity), judged(item.rule, item.severity)))


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the scanners said of the files of a digest; `verdict` is NoFinding, Anomaly, Finding or Unreadable.

    `findings` are findings and anomalies alike: a policy goes by their severity. `formats` are the names of all formats
    that are there, each once. `left_out` more were found than are listed, none of them graver. `code` is the digest of
    all files that are code, empty where there is none.
    """

    time: datetime
    digest: Digest
    verdict: str
    formats: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: int = 0
    code: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it, the gravest findings first: what is cut off must not be the worst."""
        findings = gravest_first(self.findings)
        formats = self.formats
        if len(formats) > MAX_FORMATS:
            formats = (*formats[: MAX_FORMATS - 1], TOO_MANY_FORMATS)
        return {
            "time": format_time(self.time),
            "digest": self.digest,
            "verdict": self.verdict,
            "formats": list(formats),
            "findings": [item.as_body() for item in findings[:MAX_FINDINGS]],
            "leftOut": self.left_out + len(findings[MAX_FINDINGS:]) or None,
            "code": self.code or None,
        }

    def fewer(self, count: int, length: int) -> "Scan":
        """Return it with its gravest findings only, in texts of that length, and the number of the others."""
        kept = tuple(item.shorter(length) for item in gravest_first(self.findings)[:count])
        return replace(self, findings=kept, left_out=self.left_out + len(self.findings) - len(kept))


@dataclass(frozen=True, kw_only=True)
class Capture:
    """The copy in a snapshot store: `reason` is Capturing, Captured or CaptureFailed.

    `path` is relative to the store; `claim` is the store claim in the snapshot's namespace, or empty for the
    operator's own store.
    """

    reason: str
    time: datetime
    path: str = ""
    claim: str = ""
    message: str = ""
    bytes_done: int = 0
    size_bytes: int = 0

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "reason": str(self.reason),
            "time": format_time(self.time),
            "path": self.path or None,
            "claim": self.claim or None,
            "message": self.message[:1024] or None,
            "bytesDone": self.bytes_done,
            "sizeBytes": self.size_bytes,
        }


@dataclass(frozen=True, kw_only=True)
class Forensics:
    """The copy of what was there when a snapshot was quarantined: `reason` is EvidenceKept or EvidenceFailed.

    Attributes:
        path: in the store, or on the store claim that `claim` names; empty where there is no copy.
        attempts: how many failed, up to where they are given up.
        next_time: when the next is due; None where there is a copy, or none is tried before the operator starts again.
    """

    reason: str
    time: datetime
    path: str = ""
    claim: str = ""
    message: str = ""
    attempts: int = 0
    next_time: datetime | None = None

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "reason": str(self.reason),
            "time": format_time(self.time),
            "path": self.path[:1024] or None,
            "claim": self.claim or None,
            "message": self.message[:1024] or None,
            "attempts": self.attempts or None,
            "nextTime": format_time(self.next_time),
        }


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """A copy that was not used, such as `mirrors[0]`; `reason` is DigestMismatch or Unreadable."""

    copy: str
    reason: str
    message: str = ""

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {"copy": self.copy[:64], "reason": str(self.reason), "message": self.message[:512]}


def examined_body(examined: Examined) -> dict[str, Any]:
    """Return an examination as the API server stores it."""
    return {
        "time": format_time(examined.time),
        "digest": examined.digest,
        "anchors": examined.anchors or None,
        "facts": [_fact_body(fact) for fact in examined.facts[:MAX_FACTS]],
        "problems": [
            {"source": item.source[:128], "reason": str(item.reason), "message": item.message[:1024]}
            for item in examined.problems[:_MAX_PROBLEMS]
        ],
    }


def _fact_body(fact: SignatureFact) -> dict[str, Any]:
    left_out = [shortened(path, 1024) for path in fact.left_out[:_MAX_LEFT_OUT]]
    return compact(
        {
            "method": str(fact.method),
            "keyID": fact.key_id,
            "rootID": fact.root_id or None,
            "identity": fact.identity[:1024] or None,
            "notBefore": format_time(fact.not_before),
            "notAfter": format_time(fact.not_after),
            "claims": _claims_body(fact.claims) if fact.claims else None,
            "leftOut": left_out or None,
            "index": fact.index,
            "outside": list(fact.outside) or None,
        }
    )


def _claims_body(claims: Claims) -> dict[str, Any]:
    return compact(
        {
            "model": claims.model[:256],
            "version": claims.version[:256],
            "trainedAt": format_time(claims.trained_at),
            "dataCutoff": format_time(claims.data_cutoff),
            "signedAt": format_time(claims.signed_at),
            "image": claims.image[:512] or None,
        }
    )


def read_examined(fields: Fields) -> Examined | None:
    """Read an examination."""
    time = fields.time("time")
    if time is None:
        return None
    facts = (_fact(item) for item in fields.items("facts", limit=MAX_FACTS))
    return Examined(
        time=time,
        digest=Digest(fields.text("digest", limit=71)),
        anchors=fields.text("anchors", limit=71),
        facts=tuple(fact for fact in facts if fact),
        problems=tuple(_problem(item) for item in fields.items("problems", limit=_MAX_PROBLEMS)),
    )


def _fact(item: Fields) -> SignatureFact | None:
    method = known(Method, item.text("method"), None)
    if method is None or not item.text("keyID"):
        return None
    left_out = item.texts("leftOut", limit=_MAX_LEFT_OUT)
    return SignatureFact(
        method=method,
        key_id=item.text("keyID"),
        root_id=item.text("rootID"),
        identity=item.text("identity"),
        not_before=item.time("notBefore"),
        not_after=item.time("notAfter"),
        claims=_claims(item.child("claims")) if item.value.get("claims") is not None else None,
        left_out=left_out if left_out or item.value.get("leftOut") is None else ("what cannot be read",),
        index=item.integer("index", 0),
        outside=_outside(item),
    )


def _outside(item: Fields) -> tuple[int, ...]:
    """Return the bundles that one is not over; what cannot be read is one that nobody vouches for."""
    found = item.value.get("outside")
    if found is None:
        return ()
    sound = isinstance(found, list) and all(isinstance(index, int) and index >= 0 for index in found)
    return tuple(found) if sound and len(found) <= _MAX_OUTSIDE else (-1,)


def _claims(fields: Fields) -> Claims:
    return Claims(
        model=fields.text("model"),
        version=fields.text("version"),
        trained_at=fields.time("trainedAt"),
        data_cutoff=fields.time("dataCutoff"),
        signed_at=fields.time("signedAt"),
        image=fields.text("image"),
    )


def _problem(item: Fields) -> SignatureProblem:
    reason = known(Reason, item.text("reason"), Reason.SIGNATURE_INVALID)
    return SignatureProblem(source=item.text("source"), reason=reason, message=item.text("message"))


def read_scan(fields: Fields) -> Scan | None:
    """Read a scan."""
    time = fields.time("time")
    if time is None:
        return None
    return Scan(
        time=time,
        digest=Digest(fields.text("digest", limit=71)),
        verdict=fields.text("verdict"),
        formats=fields.texts("formats", (TOO_MANY_FORMATS,), limit=MAX_FORMATS),
        findings=read_findings(fields, MAX_FINDINGS),
        left_out=fields.integer("leftOut", 0),
        code=fields.text("code", limit=71),
    )


def read_findings(fields: Fields, limit: int) -> tuple[Finding, ...]:
    """Read a list of findings; one that makes no sense, or is too long, holds the gravest."""
    rows = fields.value.get("findings")
    found = tuple(_read_finding(item) for item in fields.items("findings", limit=limit))
    whole = rows is None or (isinstance(rows, list) and len(found) == len(rows))
    return found if whole else (UNREADABLE, *found)


def _read_finding(item: Fields) -> Finding:
    """Read a finding; one of a severity that nobody knows is the gravest."""
    severity = known(Severity, item.text("severity"), Severity.CRITICAL)
    return Finding(severity=severity, rule=item.text("rule"), file=item.text("file"), evidence=item.text("evidence"))


def read_capture(fields: Fields) -> Capture | None:
    """Read a capture."""
    time = fields.time("time")
    if time is None:
        return None
    return Capture(
        reason=fields.text("reason"),
        time=time,
        path=fields.text("path"),
        claim=fields.text("claim"),
        message=fields.text("message"),
        bytes_done=fields.integer("bytesDone", 0, high=2**63 - 1),
        size_bytes=fields.integer("sizeBytes", 0, high=2**63 - 1),
    )


def read_forensics(fields: Fields) -> Forensics | None:
    """Read what became of a forensics copy."""
    time = fields.time("time")
    if time is None:
        return None
    return Forensics(
        reason=fields.text("reason"),
        time=time,
        path=fields.text("path"),
        claim=fields.text("claim"),
        message=fields.text("message"),
        attempts=fields.integer("attempts", 0, high=_MAX_ATTEMPTS),
        next_time=fields.time("nextTime"),
    )


def read_passed_over(fields: Fields) -> tuple[PassedOver, ...]:
    """Read the copies that were not used."""
    return tuple(
        PassedOver(copy=item.text("copy"), reason=item.text("reason"), message=item.text("message"))
        for item in fields.items("passedOver", limit=MAX_COPIES)
    )
