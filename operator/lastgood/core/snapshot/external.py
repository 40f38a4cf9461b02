"""External scanners: what a policy that names them makes of their results. Every way of not knowing is no pass."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from lastgood.api.facts.evidence import LOOKED, Scan
from lastgood.api.facts.external import MAX_SCANNERS, ExternalScan
from lastgood.api.names import Reason, Severity
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource
from lastgood.api.text import shortened
from lastgood.core.trust.policy import Problem, Scanner, Trust

_ORDER = list(Severity)
Scans = Sequence[ExternalScan]


def asked(policies: Iterable[Trust], model: str) -> tuple[Scanner, ...]:
    """Return the external scanners that the policies name for a model, each once."""
    named = (scanner for policy in policies if policy.concerns(model) for scanner in policy.external)
    return tuple(dict.fromkeys(named))


def claim_copy(snapshot: ModelSnapshot) -> tuple[str, PvcSource] | None:
    """Return the copy that external scanners look at, by its name: the one that is used, else the first on a claim."""
    copies = sorted(snapshot.copies, key=lambda copy: copy[0] != snapshot.place_name)
    return next(((name, source) for name, source in copies if isinstance(source, PvcSource)), None)


def unheard(policies: Iterable[Trust], snapshot: ModelSnapshot, heard: Scans) -> tuple[Scanner, ...]:
    """Return the scanners that are there, and that this process has no result of that counts.

    `heard` is what they told this process: what a status says may be forged, and is asked again once (ADR 13).
    """
    wanted = asked(policies, snapshot.model)
    return tuple(scanner for scanner in wanted if scanner.image and not _counts(scanner, snapshot, heard))


def said_before(scanner: Scanner, snapshot: ModelSnapshot) -> bool:
    """Tell whether the status has a result that counts; then there is no hurry to hear it again."""
    return _counts(scanner, snapshot, snapshot.status.external)


def untold(policies: Iterable[Trust], snapshot: ModelSnapshot, heard: Scans) -> tuple[Scanner, ...]:
    """Return the scanners whose result is only in the status, as after a restart: a switch has to ask them first."""
    if claim_copy(snapshot) is None:
        return ()
    missing = (scanner for scanner in unheard(policies, snapshot, heard) if said_before(scanner, snapshot))
    return tuple(scanner for scanner in missing if scan_by(scanner, snapshot, heard) is None)


def _counts(scanner: Scanner, snapshot: ModelSnapshot, scans: Scans) -> bool:
    scan = scan_by(scanner, snapshot, scans)
    return scan is not None and scan.counts


def scan_by(scanner: Scanner, snapshot: ModelSnapshot, scans: Scans) -> ExternalScan | None:
    """Return what a scanner said of these bytes; of other bytes it said nothing."""
    return next((scan for scan in scans if (scan.scanner, scan.digest) == (scanner.name, snapshot.digest)), None)


def external_problem(policies: Iterable[Trust], snapshot: ModelSnapshot, scans: Scans) -> Problem | None:
    """Return the first reason for which the policies that name external scanners refuse a snapshot.

    What was found comes before what is not known: it is the graver news.
    """
    problems = list(_problems(policies, snapshot, scans))
    return next((item for item in problems if item[0] == Reason.SCAN_FINDING), problems[0] if problems else None)


def _problems(policies: Iterable[Trust], snapshot: ModelSnapshot, scans: Scans) -> Iterator[Problem]:
    for policy in policies:
        for scanner in policy.external if policy.concerns(snapshot.model) else ():
            scan = scan_by(scanner, snapshot, scans)
            if problem := _found(scan, policy.fail_on) or _not_known(policy, scanner, snapshot, scan):
                yield problem


def _found(scan: ExternalScan | None, fail_on: Severity) -> Problem | None:
    """A finding from the severity on that the policy names; one without particulars counts as the gravest."""
    if scan is None or not scan.found:
        return None
    if not scan.findings:
        return Reason.SCAN_FINDING, f"{scan.title} found something, but lists no finding"
    grave = [item for item in scan.findings if _ORDER.index(item.severity) <= _ORDER.index(fail_on)]
    if not grave:
        return None
    first = min(grave, key=lambda item: _ORDER.index(item.severity))
    told = f"{first.rule} ({first.severity}) in {shortened(first.file, 128)!r}: {first.evidence[:256]}"
    return Reason.SCAN_FINDING, f"{scan.title}: {told}{more(scan)}"


def more(scan: Scan | ExternalScan) -> str:
    """Return how many findings are not listed, as a message says it."""
    return f" ({scan.left_out} more are not listed)" if scan.left_out else ""


def _not_known(policy: Trust, scanner: Scanner, snapshot: ModelSnapshot, scan: ExternalScan | None) -> Problem | None:
    wants = f"{policy.name} asks for scanner {scanner.name!r}"
    if not scanner.image:
        remedy = f"an administrator installs it (--scanner {scanner.name}=IMAGE, chart: scanners)"
        return Reason.SCANNER_UNKNOWN, f"{wants}, which is not installed: {remedy}"
    if scan is not None and scan.counts:
        return None
    if claim_copy(snapshot) is None:
        return Reason.NOT_ON_CLAIM, f"{wants}, which scans PersistentVolumeClaims only: add a copy of kind pvc"
    if scan is None:
        return Reason.NOT_SCANNED, f"{wants}, which has no result yet for this operator: scan pending"
    failed = "skipped some files" if scan.verdict in LOOKED else "gave no usable result"
    return Reason.NOT_SCANNED, f"{wants}, which {failed} (retrying): {scan.message[:512]}"


def merged(old: Scans, heard: Scans, snapshot: ModelSnapshot) -> tuple[ExternalScan, ...]:
    """Return what a status says, with what this process was told in the place of anybody else's word."""
    rows = {scan.scanner: scan for scan in old}
    for scan in heard:
        known = rows.get(scan.scanner)
        row = _still_found(scan, known)
        if scan.digest == snapshot.digest and (known is None or known.as_body() != row.as_body()):
            rows[scan.scanner] = row
    if len(rows) <= MAX_SCANNERS:
        return tuple(rows.values())
    told = {scan.scanner for scan in heard}  # what anybody else wrote must not crowd them out
    order = sorted(rows.values(), key=lambda scan: (scan.scanner not in told, not scan.found))
    return tuple(order[:MAX_SCANNERS])  # a scanner whose row is gone is asked again, and is no pass until then


def _still_found(scan: ExternalScan, known: ExternalScan | None) -> ExternalScan:
    """What was found of these bytes stays found while the scanner cannot look again."""
    if known is None or known.digest != scan.digest or scan.counts or scan.found or not known.found:
        return scan
    return replace(scan, verdict=known.verdict, findings=known.findings, left_out=known.left_out)
