"""Whose signatures count: a policy and the time judge facts, so that a revoked key acts without a byte being read.

A fact says which key signed exactly the files that were read (`api.signature`). Nothing here looks at a file, a
key or a clock; every way of not knowing ends in "not signed".
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import TypeVar

from lastgood.api.facts.signature import Claims, Method, SignatureFact, SignatureProblem
from lastgood.api.names import Digest, Reason, Severity
from lastgood.api.text import listed

_Claim = TypeVar("_Claim", datetime, str)
MAX_FACTS = 32
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
    """A root certificate together with the one identity that it may vouch for; both have to fit.

    `root_id` is the sha256 of the certificate (DER), in hex, and `key_id` that of its key, as of a TrustedKey.
    """

    name: str
    root_id: str
    identity: str
    key_id: str = ""
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
        allow_unjudged: whether what the scan could not judge counts by its severity only; else it refuses at any.
        code: the digests of code beside weights that the policy allows.
        external: the external scanners whose results are required as well.
        images: the repositories whose images may be switched to; None where the policy does not say.
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
    allow_unjudged: bool = False
    code: frozenset[str] = frozenset()
    external: tuple[Scanner, ...] = ()
    images: tuple[str, ...] | None = None
    problem: str = ""

    def concerns(self, model: str) -> bool:
        """Tell whether this policy is for a model."""
        return "*" in self.models or model in self.models


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether the signatures suffice, why, and who signed.

    `signed` is None where nobody says whom to trust, or where a bundle could not be read. Dates and image are those
    that as many of the signers as the policy asks for put their names to.
    """

    signed: bool | None
    reason: Reason
    message: str
    signers: tuple[str, ...] = ()
    data_cutoff: datetime | None = None
    trained_at: datetime | None = None
    image: str = ""


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
    beside: frozenset[int] | None = None,
) -> Judgement:
    """Return whether signatures suffice for one policy; nothing to check is not a pass.

    Args:
        facts: what was proven of the bundles.
        trust: the policy.
        now: validity and revocation are judged at this moment: no bundle proves when it was made.
        expected: what the snapshot says it is; the claims of a bundle must say the same.
        problems: bundles that proved nothing, and why; they explain, and never count against the others.
        beside: the bundles that may be files which others do not sign (`vouched`); None asks this policy alone.
    """
    if wrong := _unusable(trust):
        return Judgement(signed=False, reason=Reason.POLICY_INVALID, message=f"{trust.name}: {wrong}")
    allowed = vouched(facts, (trust,), now=now) if beside is None else beside
    counted: dict[str, _Signer] = {}
    refusals: list[Problem] = [(item.reason, item.message) for item in problems]
    # Bare keys first: a key that also has a certificate must not use up the certificate's vote.
    for fact in sorted(facts[:MAX_FACTS], key=lambda fact: fact.method != Method.KEY):
        if problem := _refusal(fact, trust, now, expected) or _unsigned_beside(fact, allowed):
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
        return "it has no key and no certificate to verify signatures with"
    return "a threshold below 1 would accept unsigned models" if trust.threshold < 1 else ""


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
            image=_agreed((signer.claims.image for signer in signers if signer.claims), trust.threshold) or "",
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


def _agreed(claims: Iterable[_Claim | None], threshold: int) -> _Claim | None:
    """Return what as many signers claim as the policy asks for, if they all claim the same."""
    found = [claim for claim in claims if claim]
    return found[0] if len(found) >= threshold and len(set(found)) == 1 else None


def vouched(facts: Sequence[SignatureFact], policies: Iterable[Trust], *, now: datetime) -> frozenset[int]:
    """Return the bundles, by their index, whose signer counts for one of the policies and is revoked by none.

    Such a bundle may be a file of the checkpoint that the others do not sign: for it, any of the policies is asked, for
    each of them may have signers of its own who sign beside each other.
    """
    policies = tuple(policies)
    counting, stolen = set(), set()
    for fact, trust in product(facts[:MAX_FACTS], policies):
        if _stolen(fact, trust, now):
            stolen.add(fact.index)
        elif not trust.problem and not (_stranger(fact, trust) or _untimely(fact, trust, now)):
            counting.add(fact.index)
    return frozenset(counting - stolen)


def _unsigned_beside(fact: SignatureFact, allowed: frozenset[int]) -> Problem | None:
    """A file that this bundle is not over, and that is a bundle by nobody who counts, is a file that nobody signed."""
    refused = next((index for index in fact.outside if index not in allowed), None)
    if refused is None:
        return None
    alien = f"signature {refused + 1} is a file that signature {fact.index + 1} does not cover"
    return Reason.FILES_LEFT_OUT, f"{alien}, and its signer is not trusted"


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
        return Reason.KEY_NOT_VALID, f"{holder} has no validity period"
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
            return Reason.CLAIMS_MISMATCH, f"it was signed as {name} {signed[:128]!r}, but spec.{name} is {said!r}"
    for name, field_name in (("trained_at", "trainedAt"), ("data_cutoff", "dataCutoff")):
        signed, said = getattr(claims, name), getattr(expected, name)
        if signed and said and signed != said:
            told = f"it was signed with {field_name} {signed.isoformat()}, but spec.{field_name} is {said.isoformat()}"
            return Reason.CLAIMS_MISMATCH, told
    if claims.image and expected.image and claims.image != expected.image:
        told = f"it was signed with image {claims.image[:128]!r}, but spec.runtime.image is {expected.image[:128]!r}"
        return Reason.CLAIMS_MISMATCH, told
    return None


def _left_out(fact: SignatureFact, trust: Trust) -> Problem | None:
    """Files that a bundle leaves out are where a payload hides."""
    if not fact.left_out or trust.allow_left_out:
        return None
    told = ", ".join(listed(fact.left_out, 3))
    return Reason.FILES_LEFT_OUT, f"files not covered by the signature: {told}"[:512]


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
    # The first line changes with what a fact says, so that older ones are looked at once more.
    keys = {f"key {key.key_id}" for policy in policies for key in policy.keys}
    roots = {f"root {root.root_id}" for policy in policies for root in policy.roots}
    text = "\n".join(["facts 2", *sorted(keys | roots)]) if keys or roots else ""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" if text else ""
