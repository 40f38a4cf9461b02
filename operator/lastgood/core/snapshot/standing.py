"""What a ModelSnapshot's conditions say: facts, policies and the time in one place."""

from collections.abc import Iterator
from datetime import datetime

from lastgood.api.facts.evidence import FINDING, LOOKED, gravest_first
from lastgood.api.meta import Condition, merge_conditions, truth
from lastgood.api.names import Reason, Type, known
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.text import shortened
from lastgood.core.snapshot.external import asked, external_problem, more, scan_by
from lastgood.core.trust.trusted import (
    Policies,
    distrust,
    evidence_of,
    finding_problem,
    judges_findings,
    revoked,
    signed,
)

_VERIFIED = {Reason.VERIFIED: True, Reason.DIGEST_MISMATCH: False}
Row = tuple[Type, bool | None, Reason | str, str]


def standing(snapshot: ModelSnapshot, policies: Policies, now: datetime, *, complete: bool) -> dict[str, Condition]:
    """Return the conditions that follow from the facts in a snapshot's status.

    While the policies have not been read whole, what they said before stays, and nothing becomes ready.
    """
    generation = snapshot.meta.generation
    conditions = [
        Condition(type=type_, status=truth(value), reason=str(reason), message=message, generation=generation)
        for type_, value, reason, message in _rows(snapshot, policies, now, complete=complete)
    ]
    return merge_conditions(snapshot.status.conditions, conditions, now)


def _rows(snapshot: ModelSnapshot, policies: Policies, now: datetime, *, complete: bool) -> Iterator[Row]:
    verified, quarantined = _verified(snapshot), _quarantined(snapshot, policies)
    yield verified
    yield quarantined
    yield _restorable(snapshot)
    if complete:
        judged = signed(policies, snapshot, evidence_of(snapshot), now)
        yield Type.SIGNED, judged.signed, judged.reason, judged.message
    if scanned := _scans(snapshot, policies, complete=complete):
        yield scanned
    if quarantined[1]:
        yield Type.READY, False, quarantined[2], ""
    elif not verified[1]:
        yield Type.READY, verified[1], verified[2], ""
    elif complete:
        yield _ready(snapshot, policies, now)
    elif Type.READY not in snapshot.status.conditions:
        yield Type.READY, None, Reason.WAITING, "the trust policies have not been read yet"


def _ready(snapshot: ModelSnapshot, policies: Policies, now: datetime) -> Row:
    problem = distrust(policies, snapshot, evidence_of(snapshot), now)
    return (Type.READY, False, *problem) if problem else (Type.READY, True, Reason.VERIFIED, "")


def _verified(snapshot: ModelSnapshot) -> Row:
    found = snapshot.status.verification
    if found is None:
        return Type.VERIFIED, None, Reason.PENDING, "it has not been verified yet"
    reason = known(Reason, found.reason, Reason.PENDING)
    message = f"its digest is {snapshot.digest}" if reason == Reason.VERIFIED else found.message
    return Type.VERIFIED, _VERIFIED.get(reason), reason, message


def _quarantined(snapshot: ModelSnapshot, policies: Policies) -> Row:
    mark = snapshot.status.quarantine
    if mark is None:
        return Type.QUARANTINED, False, Reason.NOT_QUARANTINED, ""
    by_policy = mark.scope != "Snapshot" and mark.reason == revoked(policies, snapshot.digest)
    return Type.QUARANTINED, True, Reason.DIGEST_REVOKED if by_policy else Reason.QUARANTINED, mark.told


def _restorable(snapshot: ModelSnapshot) -> Row:
    """Every verification reads all of it, and so is a restore drill."""
    found = snapshot.status.verification
    if found is None:
        return Type.RESTORABLE, None, Reason.PENDING, "it has not been read yet"
    if found.reason == Reason.VERIFIED:
        return Type.RESTORABLE, True, Reason.READ_WHOLE, f"all of it was read from {found.copy or 'source'}"
    reason = known(Reason, found.reason, Reason.PENDING)
    return Type.RESTORABLE, False, reason, "no copy is complete, readable and verified"


def _scans(snapshot: ModelSnapshot, policies: Policies, *, complete: bool) -> Row | None:
    """Say what scanners found, our own and those that policies name; what is refused is told before what is missing."""
    if not complete and Type.SCANNED in snapshot.status.conditions:
        return None
    own = _scanned(snapshot, policies if complete else ()) if snapshot.status.scan else None
    external = asked(policies, snapshot.model)
    if finding_problem(policies, snapshot) or not external:
        return own or _nobody_asks(snapshot)
    if problem := external_problem(policies, snapshot, snapshot.status.external):
        return Type.SCANNED, False, *problem
    if own and not own[1]:
        return own
    told = [scan.title for scanner in external if (scan := scan_by(scanner, snapshot, snapshot.status.external))]
    message = f"{', '.join(told)}: no findings at or above the limits of the policies"
    return Type.SCANNED, True, Reason.SCANNED, f"{own[3]}; {message}" if own else message


def _nobody_asks(snapshot: ModelSnapshot) -> Row | None:
    """A condition of a policy that is gone does not stay as it was."""
    if Type.SCANNED not in snapshot.status.conditions:
        return None
    return Type.SCANNED, None, Reason.NOT_SCANNED, "no trust policy requires a scan"


def _scanned(snapshot: ModelSnapshot, policies: Policies) -> Row:
    """Say that scanners looked, and whether they found something that no policy allows; never that a model is clean."""
    scan = snapshot.status.scan
    if scan is None or scan.digest != snapshot.digest or scan.verdict not in LOOKED:
        return Type.SCANNED, None, Reason.NOT_SCANNED, "it could not be scanned"
    first = next(iter(gravest_first(scan.findings)), None)
    told = f"{first.rule} ({first.severity}) in {shortened(first.file, 128)}" if first else "nothing listed"
    told += more(scan)
    allowed = judges_findings(policies, snapshot.model) and finding_problem(policies, snapshot) is None
    if scan.verdict == FINDING and allowed:
        return Type.SCANNED, True, Reason.SCANNED, f"{told}; the trust policies allow it"
    if scan.verdict == FINDING:
        return Type.SCANNED, False, Reason.SCAN_FINDING, told
    return Type.SCANNED, True, Reason.SCANNED, told if first else "no findings"
