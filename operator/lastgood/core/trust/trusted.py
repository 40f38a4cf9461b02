"""What all trust policies together say of a snapshot: may it be deployed, and if not, why."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lastgood.api.facts.evidence import (
    FINDING,
    LOOKED,
    MAX_FINDINGS,
    Finding,
    Scan,
    gravest_first,
)
from lastgood.api.facts.external import ExternalScan
from lastgood.api.facts.signature import Claims, Examined
from lastgood.api.names import Reason, Severity
from lastgood.api.specs.scan_rules import CODE, UNIDENTIFIED, UNKNOWN_CODE, UNKNOWN_FORMAT, judged
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.text import shortened
from lastgood.core.snapshot.external import external_problem, more
from lastgood.core.trust.policy import Judgement, Problem, Trust, anchors_digest, judge, vouched

_ORDER = list(Severity)
Policies = Sequence[Trust]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was found of a snapshot: as its status has it, or as a verification of just now has it."""

    examined: Examined | None
    scan: Scan | None
    external: tuple[ExternalScan, ...] = ()


def evidence_of(snapshot: ModelSnapshot) -> Evidence:
    """Return what the status of a snapshot has."""
    return Evidence(examined=snapshot.status.signatures, scan=snapshot.status.scan, external=snapshot.status.external)


def _claims_of(snapshot: ModelSnapshot) -> Claims:
    """Return what a snapshot says that it is."""
    return Claims(
        model=snapshot.model,
        version=snapshot.version,
        trained_at=snapshot.trained_at,
        data_cutoff=snapshot.data_cutoff,
        image=snapshot.image,
    )


def revoked(policies: Policies, digest: str) -> str:
    """Return why a digest is revoked, or nothing; for every model: bytes are bad under any name."""
    found = next((policy for policy in policies if digest in policy.revoked_digests), None)
    if found is None:
        return ""
    why = next(reason for known, reason in found.revoked_digests.items() if known == digest)
    return f"{found.name} revokes its digest" + (f": {why}" if why else "")


def signed(
    policies: Policies, snapshot: ModelSnapshot, evidence: Evidence, now: datetime, *, required: bool = False
) -> Judgement:
    """Return whether the signatures suffice for every policy that names signers for the model.

    `required` leaves out those that merely know signers. One that requires signatures speaks before one that only knows
    signers; of those alike, the first that is not satisfied.
    """
    concerned = [policy for policy in policies if policy.concerns(snapshot.model) and _names_signers(policy)]
    asking = [policy for policy in concerned if policy.required or policy.problem or not required]
    asking.sort(key=lambda policy: not policy.required)
    if not asking:
        message = "no trust policy names signers for this model"
        return Judgement(signed=None, reason=Reason.NO_TRUST_POLICY, message=message)
    facts = evidence.examined.facts if evidence.examined else ()
    beside = vouched(facts, concerned, now=now)
    judgements = [_judged(policy, snapshot, evidence.examined, now, beside) for policy in asking]
    if bad := next((item for item in judgements if item.signed is not True), None):
        return bad
    return _all_of(judgements)


def _all_of(judgements: Sequence[Judgement]) -> Judgement:
    """A date, and an image, counts only where every policy has it signed."""
    signers = dict.fromkeys(name for item in judgements for name in item.signers)
    cutoffs, ends = {item.data_cutoff for item in judgements}, {item.trained_at for item in judgements}
    images = {item.image for item in judgements}
    return Judgement(
        signed=True,
        reason=Reason.SIGNATURE_TRUSTED,
        message="; ".join(item.message for item in judgements),
        signers=tuple(signers),
        data_cutoff=cutoffs.pop() if len(cutoffs) == 1 else None,
        trained_at=ends.pop() if len(ends) == 1 else None,
        image=images.pop() if len(images) == 1 else "",
    )


def _names_signers(policy: Trust) -> bool:
    return policy.required or bool(policy.keys or policy.roots or policy.problem)


def _judged(
    policy: Trust, snapshot: ModelSnapshot, examined: Examined | None, now: datetime, beside: frozenset[int]
) -> Judgement:
    ours = examined is not None and examined.digest == snapshot.digest
    if snapshot.signatures and not ours and not policy.problem:
        message = f"{policy.name}: its signatures have not been checked yet"
        return Judgement(signed=None, reason=Reason.NOT_EXAMINED, message=message)
    facts, problems = (examined.facts, examined.problems) if examined and ours else ((), ())
    return judge(facts, policy, now=now, expected=_claims_of(snapshot), problems=problems, beside=beside)


@dataclass(frozen=True, kw_only=True)
class _Case:
    policies: Policies
    snapshot: ModelSnapshot
    evidence: Evidence
    now: datetime


Rule = Callable[[_Case], Problem | None]


def _revoked(case: _Case) -> Problem | None:
    why = revoked(case.policies, case.snapshot.digest)
    return (Reason.DIGEST_REVOKED, why) if why else None


def _unsigned(case: _Case) -> Problem | None:
    """Only what a policy requires refuses; what it merely knows is told in the condition Signed."""
    if not any(policy.required or policy.problem for policy in _concerned(case)):
        return None
    found = signed(case.policies, case.snapshot, case.evidence, case.now, required=True)
    return None if found.signed else (found.reason, found.message)


def _unscanned(case: _Case) -> Problem | None:
    asking = next((policy for policy in _concerned(case) if _scans(policy)), None)
    if asking is None:
        return None
    scan = _scan(case)
    if scan is None:
        return Reason.NOT_SCANNED, f"{asking.name} requires a scan, but it has not been scanned yet"
    if scan.verdict not in LOOKED:
        return Reason.NOT_SCANNED, f"{asking.name} requires a scan, but it could not be scanned"
    return None


def _found(case: _Case) -> Problem | None:
    """A finding that counts for a policy; one without particulars counts as the gravest."""
    scan = _scan(case)
    for policy in _concerned(case):
        if scan is None or not policy.scanned:
            continue
        if not scan.findings and (scan.verdict == FINDING or scan.left_out):
            return Reason.SCAN_FINDING, "a scanner found something, but lists no finding"
        grave = gravest_first(item for item in scan.findings if _counts(policy, item))
        others = [item for item in grave if not _spoken_for(policy, scan, item)]
        if first := next(iter(others or (grave if _cut(policy, scan) else ())), None):
            told = f"{first.rule} ({first.severity}) in {shortened(first.file, 128)!r}: {first.evidence[:256]}"
            return Reason.SCAN_FINDING, f"{told}{more(scan)}{_remedy(policy, scan, first)}"
    return None


def _counts(policy: Trust, found: Finding) -> bool:
    """From the severity on that the policy names; what could not be judged at any, for nobody knows how grave it is."""
    grave = _ORDER.index(found.severity) <= _ORDER.index(policy.fail_on)
    return grave or not (policy.allow_unjudged or judged(found.rule, found.severity))


def _cut(policy: Trust, scan: Scan) -> bool:
    """Tell whether something that counts may be left out: only where all that is listed counts, the gravest first."""
    cut = bool(scan.left_out) or len(scan.findings) >= MAX_FINDINGS
    return cut and all(_counts(policy, item) for item in scan.findings)


def _spoken_for(policy: Trust, scan: Scan, found: Finding) -> bool:
    """A file that no parser accounts for is no reason where the policy allows the format `unknown`, nor allowed code.

    Such a file inside an archive is one; the digest of code is that of all code, wherever it lies.
    """
    if found.rule in CODE:
        return scan.code in policy.code
    allowed = policy.formats is not None and UNKNOWN_FORMAT in policy.formats
    return allowed and found.rule == UNIDENTIFIED and "!" not in found.file


def _remedy(policy: Trust, scan: Scan, found: Finding) -> str:
    """Return what to do about a finding, where there is something to do but another snapshot."""
    if found.rule in CODE and scan.code == UNKNOWN_CODE:
        return "; its code could not be read in full, so it cannot be allowed"
    if found.rule in CODE and scan.code and scan.code not in policy.code:
        return f"; to allow exactly this code, add {scan.code} to spec.scan.allowedCode of {policy.name}"
    if _ORDER.index(found.severity) > _ORDER.index(policy.fail_on):
        remedy = f"to accept it, set spec.scan.allowUnjudged in {policy.name}"
        return f"; it could not be judged, which refuses a snapshot whatever spec.scan.failOn says; {remedy}"
    return ""


def _external(case: _Case) -> Problem | None:
    return external_problem(case.policies, case.snapshot, case.evidence.external)


def _format(case: _Case) -> Problem | None:
    scan = _scan(case)
    for policy in _concerned(case):
        if scan is None or policy.formats is None:
            continue
        refused = [name for name in scan.formats if name not in policy.formats]
        if refused or not scan.formats:
            told = ", ".join(refused[:5]) or "nothing that has a name"
            return Reason.FORMAT_REFUSED, f"{policy.name} does not allow its formats: {told}"
    return None


def _below(case: _Case) -> Problem | None:
    """A date that is not there, or not signed where signatures are required, lies below every floor."""
    for policy in _concerned(case):
        for name, floor in (("dataCutoff", policy.floor.data_cutoff), ("trainedAt", policy.floor.trained_at)):
            if floor is None:
                continue
            date, problem = date_of(case.policies, case.snapshot, case.evidence, case.now, only=name)
            if date is None:
                why = problem[1] if problem else "it has no date"
                return Reason.BELOW_FLOOR, f"{policy.name} sets spec.floor.{name}, but {why}"
            if date < floor:
                told = f"its {name} {date.isoformat()} is below the floor {floor.isoformat()} of {policy.name}"
                return Reason.BELOW_FLOOR, told
    return None


_RULES: tuple[Rule, ...] = (
    _revoked,  # somebody said no to these very bytes
    _unsigned,  # before anything that it claims of itself is believed
    _found,  # also where not all of it could be looked at: what was found is certain
    _unscanned,
    _external,
    _format,
    _below,
)


def distrust(policies: Policies, snapshot: ModelSnapshot, evidence: Evidence, now: datetime) -> Problem | None:
    """Return the first reason for which the policies do not let a snapshot be deployed."""
    case = _Case(policies=policies, snapshot=snapshot, evidence=evidence, now=now)
    return next((found for rule in _RULES if (found := rule(case))), None)


def finding_problem(policies: Policies, snapshot: ModelSnapshot) -> Problem | None:
    """Return what our own scan found that a policy refuses."""
    now = datetime.max.replace(tzinfo=UTC)  # what was found, and what is allowed, do not change with time
    return _found(_Case(policies=policies, snapshot=snapshot, evidence=evidence_of(snapshot), now=now))


def judges_findings(policies: Policies, model: str) -> bool:
    """Tell whether a policy says which findings of our own scan it refuses."""
    return any(policy.concerns(model) and policy.scanned for policy in policies)


def date_of(
    policies: Policies, snapshot: ModelSnapshot, evidence: Evidence, now: datetime, *, only: str = ""
) -> tuple[datetime | None, Problem | None]:
    """Return the date of a snapshot's data, or why it has none that counts.

    Where a policy requires signatures, only what the signers put their names to is a date: else whoever writes the
    manifest of a poisoned model dates it back. `only` asks for one field instead of dataCutoff, else trainedAt.
    """
    names = [only] if only else ["dataCutoff", "trainedAt"]
    required = any(policy.concerns(snapshot.model) and policy.required for policy in policies)
    said: Claims | Judgement = _claims_of(snapshot)
    if required:
        said = signed(policies, snapshot, evidence, now, required=True)
    dates = {"dataCutoff": said.data_cutoff, "trainedAt": said.trained_at}
    if date := next((dates[name] for name in names if dates[name]), None):
        return date, None
    told = " nor ".join(names)
    if required:
        return None, (Reason.DATE_NOT_SIGNED, f"neither {told} is signed" if not only else f"its {told} is not signed")
    return None, (Reason.AFTER_DATE, f"it has neither {told}" if not only else f"it has no {told}")


def _scan(case: _Case) -> Scan | None:
    """A scan of other bytes is none."""
    scan = case.evidence.scan
    return scan if scan and scan.digest == case.snapshot.digest else None


def _scans(policy: Trust) -> bool:
    return policy.scanned or policy.formats is not None


def _concerned(case: _Case) -> list[Trust]:
    return [policy for policy in case.policies if policy.concerns(case.snapshot.model)]


def wants_scan(policies: Policies, model: str) -> bool:
    """Tell whether a policy asks for the findings or the formats of a scan."""
    return any(policy.concerns(model) and _scans(policy) for policy in policies)


def wants_look(policies: Policies, snapshot: ModelSnapshot) -> bool:
    """Tell whether the bytes must be read again for what the policies ask, whatever the interval says."""
    concerned = [policy for policy in policies if policy.concerns(snapshot.model)]
    known, scan = snapshot.status.signatures, snapshot.status.scan
    wanted = anchors_digest(concerned)
    if snapshot.signatures and wanted and (known is None or (known.anchors, known.digest) != (wanted, snapshot.digest)):
        return True
    return wants_scan(concerned, snapshot.model) and (scan is None or scan.digest != snapshot.digest)


def next_change(policies: Policies, snapshot: ModelSnapshot, now: datetime) -> datetime | None:
    """Return when the answer may change by time alone: a term begins or ends, a revocation begins."""
    return min((time for time in _moments(policies, snapshot) if time and time > now), default=None)


def _moments(policies: Iterable[Trust], snapshot: ModelSnapshot) -> Iterator[datetime | None]:
    for policy in policies:
        for key in policy.keys:
            yield from (key.not_before, key.not_after, key.revoked)
        for root in policy.roots:
            yield from (root.not_before, root.not_after, root.revoked)
    examined = snapshot.status.signatures
    for fact in examined.facts if examined else ():
        yield from (fact.not_before, fact.not_after)
