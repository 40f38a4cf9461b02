"""What external scanners said of a snapshot, as its status has it: one row for each scanner.

Like all evidence it is read back leniently: a row that makes no sense counts as none, and none is no pass.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lastgood.api.facts.evidence import FINDING, LOOKED, Finding, gravest_first, read_findings
from lastgood.api.fields import Fields, format_time
from lastgood.api.names import Digest

MAX_SCANNERS = 8
MAX_FINDINGS = 8


@dataclass(frozen=True, kw_only=True)
class ExternalScan:
    """What one external scanner said of a digest, or why it said nothing that counts.

    Attributes:
        scanner: the name that an administrator installed it under.
        image: which image answered, or was to.
        version: what it calls its version.
        verdict: NoFinding, Anomaly, Finding, or Unreadable where it gave no answer.
        complete: whether it looked at all of it, by its own word.
        message: why there is no answer, or what it left out.
        findings: findings and anomalies alike, the gravest first; `left_out` more were found, none of them graver.
    """

    scanner: str
    image: str
    time: datetime
    digest: Digest
    verdict: str
    version: str = ""
    complete: bool = False
    message: str = ""
    findings: tuple[Finding, ...] = ()
    left_out: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is a result that a policy can go by: whole, with a verdict that we know."""
        return self.complete and self.verdict in LOOKED

    @property
    def found(self) -> bool:
        """Whether it found something; that is certain, whatever it did not look at besides."""
        return self.verdict == FINDING or bool(self.findings) or self.left_out > 0

    @property
    def title(self) -> str:
        """How messages call the scanner."""
        return f"{self.scanner} {self.version}".strip()

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it; it is an item of a list, and so has no nulls."""
        findings = gravest_first(self.findings)
        return {
            "scanner": self.scanner,
            "image": self.image[:512],
            "version": self.version[:64],
            "time": format_time(self.time),
            "digest": self.digest,
            "verdict": self.verdict,
            "complete": self.complete,
            "message": self.message[:512],
            "findings": [item.as_body() for item in findings[:MAX_FINDINGS]],
            "leftOut": self.left_out + len(findings[MAX_FINDINGS:]),
        }


def read_external(status: Fields) -> tuple[ExternalScan, ...]:
    """Read the rows of all external scanners."""
    rows = (_row(item) for item in status.items("externalScans", limit=MAX_SCANNERS))
    return tuple(row for row in rows if row)


def _row(item: Fields) -> ExternalScan | None:
    time = item.time("time")
    if time is None or not item.text("scanner"):
        return None
    return ExternalScan(
        scanner=item.text("scanner"),
        image=item.text("image"),
        version=item.text("version"),
        time=time,
        digest=Digest(item.text("digest", limit=71)),
        verdict=item.text("verdict"),
        complete=item.flag("complete"),
        message=item.text("message"),
        findings=read_findings(item, MAX_FINDINGS),
        left_out=item.integer("leftOut", 0),
    )
