"""When external scanners look at a snapshot, and what is written of their answers."""

from dataclasses import replace
from datetime import timedelta

from lastgood.api.facts.external import ExternalScan
from lastgood.api.names import Reason, Type
from lastgood.core.actions import ScanSnapshot, UpdateSnapshot
from lastgood.core.snapshot.external import claim_copy, external_problem, merged, said_before, scan_by, unheard
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Step, Tell
from lastgood.core.trust.policy import Problem, Scanner

RETRY = timedelta(minutes=1)
"""When a scanner that gave no result is asked again at the earliest; the pause grows with the time that it has none."""


def scans_reported(observed: ObservedSnapshot) -> Step | None:
    """Scanners have answered, or could not: it is written at once."""
    if not observed.scans:
        return None
    snapshot = observed.snapshot
    rows = merged(snapshot.status.external, observed.scans, snapshot)
    if rows == snapshot.status.external:
        return None
    reason, message, tell = _told(observed, rows)
    status = replace(snapshot.status, external=rows)
    return Step(
        reason=reason,
        message=f"{snapshot.name}: {message}",
        action=UpdateSnapshot(snapshot=snapshot, status=status),
        tell=tell,
    )


def _told(observed: ObservedSnapshot, rows: tuple[ExternalScan, ...]) -> tuple[Reason, str, Tell]:
    """Say what it comes to; the same failure again is no news."""
    before = _problem(observed, observed.snapshot.status.external)
    after = _problem(observed, rows)
    if after is None:
        said = "; ".join(f"{scan.title}: {scan.verdict}" for scan in rows)
        return Reason.SCANNED, f"external scans done: {said}", Tell.INFO
    return (*after, Tell.NOBODY if after == before else Tell.WARNING)


def _problem(observed: ObservedSnapshot, rows: tuple[ExternalScan, ...]) -> Problem | None:
    return external_problem(observed.trust, observed.snapshot, rows)


def scan_due(observed: ObservedSnapshot) -> Step | None:
    """A policy names scanners that have not told this process of these bytes, and they are where a scanner can look."""
    if not _may_scan(observed) or not (wanted := _wanted(observed)):
        return None
    snapshot = observed.snapshot
    if claim_copy(snapshot) is None:
        return None  # the condition says so
    rests = {scanner: _rest(observed, scanner) for scanner in wanted}
    due = tuple(scanner for scanner, rest in rests.items() if rest <= timedelta(0))
    message = f"{snapshot.name}: scan running: {', '.join(scanner.name for scanner in due or wanted)}"
    if not due:
        return Step(reason=Reason.NOT_SCANNED, message=message, after=min(rests.values()).total_seconds())
    return Step(reason=Reason.NOT_SCANNED, message=message, action=ScanSnapshot(snapshot=snapshot, scanners=due))


def _wanted(observed: ObservedSnapshot) -> tuple[Scanner, ...]:
    """What an earlier process was told is asked again as well, but only after this one has read the bytes.

    So a restart does not ask about every snapshot at once: readings are spread over the interval.
    """
    wanted = unheard(observed.trust, observed.snapshot, observed.scans)
    read = observed.checked is not None
    return tuple(scanner for scanner in wanted if read or not said_before(scanner, observed.snapshot))


def _may_scan(observed: ObservedSnapshot) -> bool:
    """Tell whether scanners may be asked now: what is not verified, or never served, is not worth a look."""
    snapshot = observed.snapshot
    if observed.scanning or observed.verifying or not observed.complete:
        return False
    return snapshot.verified and snapshot.status.quarantine is None and not snapshot.meta.deleting


def _rest(observed: ObservedSnapshot, scanner: Scanner) -> timedelta:
    """Return how long a scanner is left alone after a try that came to nothing; another image is tried at once."""
    snapshot = observed.snapshot
    last = scan_by(scanner, snapshot, observed.scans) or scan_by(scanner, snapshot, snapshot.status.external)
    if last is None or last.counts or last.time > observed.now or last.image != scanner.image:
        return timedelta(0)
    pause = max(RETRY, min(_missing_for(observed), observed.interval))
    return max(timedelta(0), last.time + pause - observed.now)


def _missing_for(observed: ObservedSnapshot) -> timedelta:
    """Return for how long there has been no result that counts."""
    condition = observed.snapshot.status.conditions.get(Type.SCANNED)
    if condition is None or condition.status == "True" or condition.since is None:
        return timedelta(0)
    return max(timedelta(0), observed.now - condition.since)
