"""The door of trust policies: PEM texts become ids for decisions, and keys and roots for looking at bundles.

Only here do both worlds meet: `core.trust` judges ids and knows no cryptography, and `verify.signing` knows no policy.
A policy that cannot be read does not vanish: it comes back as one that trusts nobody, and says why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.api.meta import Meta
from lastgood.api.specs.trust import (
    ModelTrustPolicy,
    PolicyCertificate,
    PolicyKey,
    lenient_models,
    lenient_revoked,
)
from lastgood.core.trust.policy import Floor, Scanner, Trust, TrustedKey, TrustedRoot, anchors_digest
from lastgood.errors import InvalidSpecError
from lastgood.verify.signing.certificates import Certificate, load_certificates
from lastgood.verify.signing.errors import SignatureError
from lastgood.verify.signing.keys import PublicKey, load_public_key

NO_SCANNERS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, kw_only=True)
class TrustPolicy:
    """A policy behind the door: what decisions take, and the keys and roots that bundles are held against."""

    trust: Trust
    keys: tuple[PublicKey, ...] = ()
    roots: tuple[Certificate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Anchors:
    """The keys and roots of several policies, each once, and the digest that names the set."""

    digest: str
    keys: tuple[PublicKey, ...] = ()
    roots: tuple[Certificate, ...] = ()


def read_policy(body: Mapping[str, Any], scanners: Mapping[str, str] = NO_SCANNERS) -> TrustPolicy:
    """Read a ModelTrustPolicy or ClusterModelTrustPolicy; what cannot be used trusts nobody, for all its models.

    `scanners` are the images of the external scanners that an administrator installed, by name.
    """
    meta = Meta.from_body(body)
    try:
        return load_policy(ModelTrustPolicy.from_body(body), scanners)
    except InvalidSpecError as error:
        unusable = Trust(
            name=ModelTrustPolicy(meta=meta).title,
            models=lenient_models(body),
            required=True,
            revoked_digests=lenient_revoked(body),
            cluster=not meta.namespace,
            problem=str(error),
        )
        return TrustPolicy(trust=unusable)


def load_policy(policy: ModelTrustPolicy, scanners: Mapping[str, str] = NO_SCANNERS) -> TrustPolicy:
    """Return a parsed policy with its PEM texts understood.

    Raises:
        InvalidSpecError: if a key or certificate cannot be used; the sentence names the field.
    """
    keys = [_key(index, item) for index, item in enumerate(policy.keys)]
    roots = [_root(index, item) for index, item in enumerate(policy.certificates)]
    trusted_keys = tuple(_trusted_key(item, key) for item, key in zip(policy.keys, keys, strict=True))
    trusted_roots = tuple(_trusted_root(item, root) for item, root in zip(policy.certificates, roots, strict=True))
    _require_different(trusted_keys, trusted_roots)
    trust = Trust(
        name=policy.title,
        models=policy.models,
        required=policy.required,
        threshold=policy.threshold,
        keys=trusted_keys,
        roots=trusted_roots,
        allow_left_out=policy.allow_left_out,
        revoked_digests=policy.revoked_digests,
        floor=Floor(data_cutoff=policy.floor_data_cutoff, trained_at=policy.floor_trained_at),
        formats=frozenset(policy.formats) if policy.formats is not None else None,
        scanned=policy.scanned,
        fail_on=policy.fail_on,
        allow_unjudged=policy.allow_unjudged,
        code=frozenset(policy.allowed_code),
        external=tuple(Scanner(name=name, image=scanners.get(name, "")) for name in policy.external),
        images=policy.images,
        cluster=not policy.meta.namespace,
    )
    return TrustPolicy(trust=trust, keys=tuple(keys), roots=tuple(roots))


def anchors(policies: Iterable[TrustPolicy], model: str) -> _Anchors:
    """Return the keys and roots of all policies for a model: a bundle is looked at once, for all of them.

    Roots are told apart by the whole certificate. By its key alone one policy's would stand in for another's, with a
    later end, or without its limits.
    """
    concerned = [policy for policy in policies if policy.trust.concerns(model)]
    return _Anchors(
        digest=anchors_digest(policy.trust for policy in concerned),
        keys=tuple({key.key_id: key for policy in concerned for key in policy.keys}.values()),
        roots=tuple({root.certificate_id: root for policy in concerned for root in policy.roots}.values()),
    )


def _key(index: int, item: PolicyKey) -> PublicKey:
    field = f"spec.signatures.keys[{index}].publicKey"
    if "PRIVATE KEY" in item.pem:
        raise InvalidSpecError(
            f"{field}: is a private key; keep it secret, and give what `openssl pkey -pubout` prints"
        )
    try:
        return load_public_key(item.pem.encode())
    except SignatureError as error:
        raise InvalidSpecError(f"{field}: {error}") from error


def _root(index: int, item: PolicyCertificate) -> Certificate:
    field = f"spec.signatures.certificates[{index}].root"
    try:
        found = load_certificates(item.pem.encode())
    except SignatureError as error:
        raise InvalidSpecError(f"{field}: {error}") from error
    if len(found) != 1:
        raise InvalidSpecError(
            f"{field}: must be one certificate, and holds {len(found)}; each root needs its own entry"
        )
    return found[0]


def _trusted_key(item: PolicyKey, key: PublicKey) -> TrustedKey:
    term = item.term
    return TrustedKey(
        name=item.name, key_id=key.key_id, not_before=term.not_before, not_after=term.not_after, revoked=term.revoked
    )


def _trusted_root(item: PolicyCertificate, root: Certificate) -> TrustedRoot:
    term = item.term
    return TrustedRoot(
        name=item.name,
        root_id=root.certificate_id,
        key_id=root.key_id,
        identity=item.identity,
        not_before=term.not_before,
        not_after=term.not_after,
        revoked=term.revoked,
    )


def _require_different(keys: tuple[TrustedKey, ...], roots: tuple[TrustedRoot, ...]) -> None:
    """One key under two names would look like two signers."""
    ids = [key.key_id for key in keys]
    if twice := next((key for index, key in enumerate(keys) if key.key_id in ids[:index]), None):
        raise InvalidSpecError(f"spec.signatures.keys: {twice.name!r} is the same key as another entry")
    pairs = [(root.key_id, root.identity) for root in roots]
    if same := next((root for index, root in enumerate(roots) if pairs[index] in pairs[:index]), None):
        raise InvalidSpecError(f"spec.signatures.certificates: {same.name!r} is the same signer as another entry")
