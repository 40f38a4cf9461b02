"""Whose signatures count: a policy and the time judge facts, so that a revoked key acts without a byte being read.

A fact says which key signed exactly the files that were read (`api.signature`). Nothing here looks at a file, a
key or a clock; every way of not knowing ends in "not signed".
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lastgood.api.names import Digest, Reason, Severity
from lastgood.api.signature import Claims, Method, SignatureFact, SignatureProblem

MAX_FACTS = 16
"""More signatures than that are not looked at: a list without an end is how a judge is kept busy."""


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A public key; `key_id` is the sha256 of its SubjectPublicKeyInfo (DER), in hex."""

    name: str
    key_id: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TrustedRoot:
    """A root certificate together with the one identity that it may vouch for; both have to fit."""

    name: str
    root_id: str
    identity: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The oldest dates that may be deployed; a snapshot without the date lies below."""

    data_cutoff: datetime | None = None
    trained_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """An external scanner that a policy names; `image` is empty where this operator has none of that name."""

    name: str
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """One trust policy, as it counts for decisions.

    Attributes:
        name: how messages call it, such as `ModelTrustPolicy release`.
        models: the model families it is for; `*` stands for all.
        required: whether a snapshot without enough signatures is refused.
        threshold: how many different signers it takes, at least 1.
        revoked_digests: digests and why; they count for every model, for bytes are bad under any name.
        formats: the formats that may be there; None where the policy does not say.
        scanned, fail_on: whether a scan is required, and the severity from which a finding refuses.
        external: the external scanners whose results are required as well.
        cluster: whether it is for every namespace.
        problem: why the policy cannot be understood; then nothing that it is for is trusted.
    """

    name: str
    models: tuple[str, ...] = ("*",)
    required: bool = False
    threshold: int = 1
    keys: tuple[TrustedKey, ...] = ()
    roots: tuple[TrustedRoot, ...] = ()
    allow_left_out: bool = False
    revoked_digests: Mapping[Digest, str] = field(default_factory=dict)
    floor: Floor = field(default_factory=Floor)
    formats: frozenset[str] | None = None
    scanned: bool = False
    cluster: bool = False
    fail_on: Severity = Severity.HIGH
    external: tuple[Scanner, ...] = ()
    problem: str = ""

    def concerns(self, model: str) -> bool:
        """Tell whether this policy is for a model."""
        return "*" in self.models or model in self.models


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether the signatures suffice, why, and who signed.

    `signed` is None where nobody says whom to trust, or where a bundle could not be read. The dates are those that
    as many of the signers as the policy asks for put their names to.
    """

    signed: bool | None
    reason: Reason
    message: str
    signers: tuple[str, ...] = ()
    data_cutoff: datetime | None = None
    trained_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Signer:
    name: str
    claims: Claims | None
    identity: str = ""


Problem = tuple[Reason, str]

_GRAVEST = (
    Reason.KEY_REVOKED,  # an attacker may have that key
    Reason.CLAIMS_MISMATCH,  # somebody presents one model as another
    Reason.FILES_LEFT_OUT,
    Reason.SIGNATURE_INVALID,
    Reason.KEY_NOT_VALID,
    Reason.SIGNATURE_UNTRUSTED,
)
"""Which of several refusals is told: the one that somebody should look at first."""


def judge(
    facts: Sequence[SignatureFact],
    trust: Trust,
    *,
    now: datetime,
    expected: Claims,
    problems: Sequence[SignatureProblem] = (),
) -> Judgement:
    """Return whether signatures suffice for one policy; nothing to check is not a pass.

    Args:
        facts: what was proven of the bundles.
        trust: the policy.
        now: validity and revocation are judged at this moment: no bundle proves when it was made.
        expected: what the snapshot says it is; the claims of a bundle must say the same.
        problems: bundles that proved nothing, and why; they explain, and never count against the others.
    """
    if wrong := _unusable(trust):
        return Judgement(signed=False, reason=Reason.POLICY_INVALID, message=f"{trust.name}: {wrong}")
    counted: dict[str, _Signer] = {}
    refusals: list[Problem] = [(item.reason, item.message) for item in problems]
    # Bare keys first: a key that also has a certificate must not use up the certificate's vote.
    for fact in sorted(facts[:MAX_FACTS], key=lambda fact: fact.method != Method.KEY):
        if problem := _refusal(fact, trust, now, expected):
            refusals.append(problem)
            continue
        signer = _signer(fact, trust)
        if signer and fact.key_id not in counted and not _counts_already(signer, counted.values()):
            counted[fact.key_id] = signer
    return _counted(trust, tuple(counted.values()), refusals)


def _counts_already(signer: _Signer, counted: Iterable[_Signer]) -> bool:
    """Tell whether it is somebody who counts already: an identity is one signer, under however many roots."""
    return any(signer.name == item.name or (signer.identity and signer.identity == item.identity) for item in counted)


def _unusable(trust: Trust) -> str:
    if trust.problem:
        return trust.problem
    if not trust.keys and not trust.roots:
        return "it names no key and no certificate to verify against"
    return "a threshold below 1 would let unsigned models pass" if trust.threshold < 1 else ""


def _counted(trust: Trust, signers: tuple[_Signer, ...], refusals: Sequence[Problem]) -> Judgement:
    names = tuple(signer.name for signer in signers)
    if len(signers) >= trust.threshold:
        message = f"signed by {', '.join(names)} ({trust.name})"
        return Judgement(
            signed=True,
            reason=Reason.SIGNATURE_TRUSTED,
            message=message,
            signers=names,
            data_cutoff=_agreed((signer.claims.data_cutoff for signer in signers if signer.claims), trust.threshold),
            trained_at=_agreed((signer.claims.trained_at for signer in signers if signer.claims), trust.threshold),
        )
    reason, why = _told(names, refusals)
    message = f"{trust.name}: {len(names)} of {trust.threshold} signatures: {why}"
    unknown = reason == Reason.UNREADABLE
    return Judgement(signed=None if unknown else False, reason=reason, message=message, signers=names)


def _told(names: Sequence[str], refusals: Sequence[Problem]) -> Problem:
    found = sorted(refusals, key=lambda item: _GRAVEST.index(item[0]) if item[0] in _GRAVEST else len(_GRAVEST))
    if found:
        return found[0]
    if names:
        return Reason.TOO_FEW_SIGNATURES, f"signed only by {', '.join(names)}"
    return Reason.SIGNATURE_MISSING, "it has no signature"


def _agreed(dates: Iterable[datetime | None], threshold: int) -> datetime | None:
    """Return the date that as many signers claim as the policy asks for, if they all claim the same."""
    found = [date for date in dates if date]
    return found[0] if len(found) >= threshold and len(set(found)) == 1 else None


def _refusal(fact: SignatureFact, trust: Trust, now: datetime, expected: Claims) -> Problem | None:
    """Return why a fact does not count; the order is that of a verifier: who, when, what."""
    return (
        _stolen(fact, trust, now)
        or _stranger(fact, trust)
        or _untimely(fact, trust, now)
        or _claims_mismatch(fact, expected)
        or _left_out(fact, trust)
    )


def _stolen(fact: SignatureFact, trust: Trust, now: datetime) -> Problem | None:
    """A revoked key is worth nothing: also where a certificate vouches for it, or where it is listed once more."""
    keys = [key for key in trust.keys if key.key_id == fact.key_id]
    for anchor in (*keys, *_anchors(fact, trust)):
        if anchor.revoked and anchor.revoked <= now:
            return Reason.KEY_REVOKED, f"{anchor.name!r} was revoked at {anchor.revoked.isoformat()}"
    return None


def _stranger(fact: SignatureFact, trust: Trust) -> Problem | None:
    if _anchors(fact, trust):
        return None
    if fact.method == Method.KEY:
        return Reason.SIGNATURE_UNTRUSTED, f"no trusted key has the id {fact.key_id[:16]}…"
    if any(root.root_id == fact.root_id for root in trust.roots):
        return Reason.SIGNATURE_UNTRUSTED, f"the certificate is for {fact.identity[:256]!r}, who is not trusted"
    return Reason.SIGNATURE_UNTRUSTED, f"no trusted certificate has the id {fact.root_id[:16]}…"


def _untimely(fact: SignatureFact, trust: Trust, now: datetime) -> Problem | None:
    """One entry that is valid suffices: a key may be listed again with a new term."""
    found = [_outside(repr(item.name), item.not_before, item.not_after, now) for item in _anchors(fact, trust)]
    if all(found):
        return found[0]
    if fact.method != Method.CERTIFICATE:
        return None
    # The certificate's own term, at this moment: `signed_at` is only the signer's word for when it was.
    holder = f"the certificate of {fact.identity[:256]!r}"
    if fact.not_before is None or fact.not_after is None:
        return Reason.KEY_NOT_VALID, f"{holder} has no term"
    return _outside(holder, fact.not_before, fact.not_after, now)


def _outside(what: str, start: datetime | None, end: datetime | None, now: datetime) -> Problem | None:
    if start and now < start:
        return Reason.KEY_NOT_VALID, f"{what} is not valid before {start.isoformat()}"
    if end and now > end:
        return Reason.KEY_NOT_VALID, f"{what} is not valid after {end.isoformat()}"
    return None


def _claims_mismatch(fact: SignatureFact, expected: Claims) -> Problem | None:
    """What the signer says it is must be what the snapshot says it is, as far as both speak."""
    claims = fact.claims
    if claims is None:
        return None
    for name in ("model", "version"):
        signed, said = getattr(claims, name), getattr(expected, name)
        if signed != said:
            return Reason.CLAIMS_MISMATCH, f"it was signed as {name} {signed[:128]!r}, and spec.{name} is {said!r}"
    for name, field_name in (("trained_at", "trainedAt"), ("data_cutoff", "dataCutoff")):
        signed, said = getattr(claims, name), getattr(expected, name)
        if signed and said and signed != said:
            told = f"it was signed with {field_name} {signed.isoformat()}, and spec.{field_name} is {said.isoformat()}"
            return Reason.CLAIMS_MISMATCH, told
    return None


def _left_out(fact: SignatureFact, trust: Trust) -> Problem | None:
    """Files that a bundle leaves out are where a payload hides."""
    if not fact.left_out or trust.allow_left_out:
        return None
    return Reason.FILES_LEFT_OUT, f"the signature leaves out files that are there: {', '.join(fact.left_out[:3])}"[:512]


def _anchors(fact: SignatureFact, trust: Trust) -> list[TrustedKey | TrustedRoot]:
    if fact.method == Method.KEY:
        return [key for key in trust.keys if key.key_id == fact.key_id]
    return [root for root in trust.roots if (root.root_id, root.identity) == (fact.root_id, fact.identity)]


def _signer(fact: SignatureFact, trust: Trust) -> _Signer | None:
    """Return who a fact counts for: one key and one identity count once, however many bundles they made."""
    anchors = _anchors(fact, trust)
    return _Signer(name=anchors[0].name, claims=fact.claims, identity=fact.identity) if anchors else None


def anchors_digest(policies: Iterable[Trust]) -> str:
    """Return what names a set of trusted keys and roots, so that facts can say what they were examined with.

    Dates, identities and thresholds are left out: they are judged here, and need no byte to be read again.
    """
    policies = tuple(policies)
    keys = {f"key {key.key_id}" for policy in policies for key in policy.keys}
    roots = {f"root {root.root_id}" for policy in policies for root in policy.roots}
    text = "\n".join(sorted(keys | roots))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if text else ""
