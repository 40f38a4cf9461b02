"""The values of a scan: what to put up with, what was found, and the verdict.

A scan answers "may this file even be here". It knows findings and anomalies; that it found none of them says
nothing about what the weights have learned.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from lastgood.api.names import Severity
from lastgood.api.specs.scan_rules import judged
from lastgood.verify.reading.printable import printable
from lastgood.verify.scan.pickles.imports import problem_with
from lastgood.verify.values import Limits

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
NO_DIGEST: Final = "must be sha256: and 64 lower-case hex digits, as `lastgood scan` prints them for code"
_MAX_EVIDENCE: Final = 200
MAX_MESSAGE: Final = 400
ORDER: Final = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW)  # the gravest first


class ScanVerdict(StrEnum):
    """What a scan found; cannot-read and found-something never mix, and none of them means "harmless"."""

    NO_FINDING = "NoFinding"
    ANOMALY = "Anomaly"
    FINDING = "Finding"
    UNREADABLE = "Unreadable"


class Kind(StrEnum):
    """A finding breaks a rule; an anomaly is unusual, or could not be looked at, and a person should judge it."""

    FINDING = "finding"
    ANOMALY = "anomaly"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        rule: a stable id, such as `pickle-import`.
        file: the path below what was scanned; what is inside an archive follows after `!`.
        evidence: what was seen: printable, and at most 200 characters.
        message: one sentence on what it means.
    """

    kind: Kind
    severity: Severity
    rule: str
    file: str
    evidence: str
    message: str

    @property
    def judged(self) -> bool:
        """Whether it is about something that was looked at; else nobody knows how grave it is."""
        return judged(self.rule, self.severity)


def finding(severity: Severity, rule: str, file: str, message: str, evidence: str = "") -> Finding:
    """Return a finding, with all that came from a disk made printable and bounded."""
    return _make(Kind.FINDING, severity, rule, file, message, evidence)


def anomaly(severity: Severity, rule: str, file: str, message: str, evidence: str = "") -> Finding:
    """Return an anomaly, with all that came from a disk made printable and bounded."""
    return _make(Kind.ANOMALY, severity, rule, file, message, evidence)


def packed(name: str) -> Finding:
    """Return what is said of a file in an archive that is too large to be unpacked for a look."""
    return anomaly(Severity.HIGH, "not-checked-compressed", name, "not scanned: too large to unpack")


def _make(  # noqa: PLR0917 - the parts of one value, made in one place
    kind: Kind, severity: Severity, rule: str, file: str, message: str, evidence: str
) -> Finding:
    return Finding(
        kind=kind,
        severity=severity,
        rule=rule,
        file=printable(file),
        evidence=printable(evidence, _MAX_EVIDENCE),
        message=printable(message, MAX_MESSAGE),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A file, or a part of one, that was not looked at, and why."""

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What may be there.

    Attributes:
        formats: names of `Format`; a file of any other is a finding. None: any format that its name agrees with, and
            that we can account for. `unknown` among them allows files that no parser claims.
        imports: what pickles may import besides `imports.ALLOWED`: `module.name` in full, without wildcards.
        code: digests of code that somebody vouches for: each of all files that are code, as `ScanResult.code` has it.
        values: look at every number of the weights, for NaN, Inf and constant tensors; needs numpy.
    """

    formats: frozenset[str] | None = None
    imports: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()
    values: bool = True

    def __post_init__(self) -> None:
        """Refuse what would allow more than was meant.

        Raises:
            ValueError: if an import is not the full name of one thing, or what stands for code is no digest.
        """
        for name in sorted(self.imports):
            if problem := problem_with(name):
                raise ValueError(f"imports: {name!r}: {problem}")
        for digest in sorted(self.code):
            if not DIGEST.fullmatch(digest):
                raise ValueError(f"code: {digest!r}: {NO_DIGEST}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanLimits:
    """What a scan puts up with; what is beyond is a finding, or unreadable, and never passed over in silence.

    Attributes:
        tree: files, bytes and depth of the directory.
        findings: how many are kept, the gravest first.
        parts: members of all archives of one file together.
        inflated: bytes of a compressed member that are looked at in memory.
        pickle_seconds: for the child process that reads one pickle; as CPU time, and as wall-clock time.
        pickle_failures: how many pickles of one scan may take too much; those after them are not looked at.
        pickle_bytes: memory of that process above what Python itself needs.
    """

    tree: Limits = field(default_factory=Limits)
    findings: int = 200
    parts: int = 20_000
    inflated: int = 8 * 2**20
    pickle_seconds: float = 15.0
    pickle_failures: int = 2
    pickle_bytes: int = 64 * 2**20


class Pattern(StrEnum):
    """How weights differ from their baseline."""

    IDENTICAL = "identical"
    LOCALISED = "localised"
    GLOBAL = "global"


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """How far weights are from their baseline; a relative change is |new - old| / |old| (Frobenius norm)."""

    pattern: Pattern
    compared: int
    changed: int
    median: float
    largest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanResult:
    """The outcome of one scan.

    Attributes:
        findings: findings and anomalies, the gravest first; `left_out` more were found, none of them graver.
        scanned: how many files were looked at, `size_bytes` their sizes together.
        skipped: what was not looked at, with reasons; at most 200, and `unlisted` more.
        complete: whether all of it could be read.
        drift: how far the weights are from the baseline, if one was given and there was something to compare.
        message: one sentence.
        formats: of the files themselves, each once; what is inside an archive has its own.
        code: the digest of all files that are code; empty where there is none.
    """

    verdict: ScanVerdict
    findings: tuple[Finding, ...]
    left_out: int
    scanned: int
    size_bytes: int
    skipped: tuple[Skipped, ...]
    drift: Drift | None
    seconds: float
    message: str
    formats: tuple[str, ...] = ()
    unlisted: int = 0
    complete: bool = True
    code: str = ""

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """Return what is as grave as this, or graver."""
        return tuple(found for found in self.findings if ORDER.index(found.severity) <= ORDER.index(severity))

    def refusing(self, severity: Severity, *, unjudged: bool = False) -> tuple[Finding, ...]:
        """Return what refuses: from a severity on, and what could not be judged, unless that is allowed."""
        grave = self.at_least(severity)
        return grave if unjudged else tuple(found for found in self.findings if found in grave or not found.judged)
