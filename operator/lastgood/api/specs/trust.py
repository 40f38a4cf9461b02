"""`ModelTrustPolicy` and `ClusterModelTrustPolicy`: whose signatures count, and what may never be deployed.

The PEM texts stay texts here: what they mean takes a cryptography library, so `verify.trust_ids` reads them, once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.names import Digest, Severity
from lastgood.api.specs.images import repository_mistake
from lastgood.errors import InvalidSpecError

_MAX_MODELS = 64
_MAX_ANCHORS = 16
_MAX_REVOKED = 256
MAX_FORMATS = 32
MAX_SCANNERS = 8
MAX_CODE = 64
_MAX_REPOSITORIES = 64
_MAX_PEM = 8192
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SCANNER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FORMAT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Term:
    """From when to when something counts, and since when it does not any more."""

    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PolicyKey:
    """A trusted public key, as PEM."""

    name: str
    pem: str
    term: Term


@dataclass(frozen=True, kw_only=True)
class PolicyCertificate:
    """A trusted root certificate, as PEM, and the one identity that it may vouch for."""

    name: str
    pem: str
    identity: str
    term: Term


@dataclass(frozen=True, kw_only=True)
class ModelTrustPolicy:
    """A trust policy as declared; `meta.namespace` is empty for a ClusterModelTrustPolicy."""

    meta: Meta
    models: tuple[str, ...] = ("*",)
    required: bool = False
    threshold: int = 1
    keys: tuple[PolicyKey, ...] = ()
    certificates: tuple[PolicyCertificate, ...] = ()
    allow_left_out: bool = False
    revoked_digests: Mapping[Digest, str] = field(default_factory=dict)
    floor_data_cutoff: datetime | None = None
    floor_trained_at: datetime | None = None
    formats: tuple[str, ...] | None = None
    scanned: bool = False
    fail_on: Severity = Severity.HIGH
    allow_unjudged: bool = False
    allowed_code: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    images: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{'ModelTrustPolicy' if self.meta.namespace else 'ClusterModelTrustPolicy'} {self.meta.name}"

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "ModelTrustPolicy":
        """Parse an object of the API server, of either kind.

        Raises:
            InvalidSpecError: if a field of the spec is missing or out of its bounds.
        """
        spec = Fields(body).child("spec")
        signatures, floor, scan = spec.child("signatures"), spec.child("floor"), spec.child("scan")
        policy = cls(
            meta=Meta.from_body(body),
            models=_models(spec),
            required=signatures.flag("required", default=spec.has("signatures")),
            threshold=signatures.integer("threshold", 1, low=1, high=_MAX_ANCHORS),
            keys=_keys(signatures),
            certificates=_certificates(signatures),
            allow_left_out=signatures.flag("allowLeftOut"),
            revoked_digests=_revoked(spec),
            floor_data_cutoff=floor.time("dataCutoff"),
            floor_trained_at=floor.time("trainedAt"),
            formats=_formats(spec),
            scanned=scan.flag("required", default=spec.has("scan")),
            fail_on=_severity(scan),
            allow_unjudged=scan.flag("allowUnjudged"),
            allowed_code=_code(scan),
            external=_external(scan),
            images=_repositories(spec),
        )
        return _fitting(policy, spec)


def lenient_models(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the models that an unusable policy is for: all of them, unless it says otherwise without a doubt."""
    spec = Fields(body, strict=False).child("spec")
    return spec.texts("models", limit=_MAX_MODELS) or ("*",)


def lenient_revoked(body: Mapping[str, Any]) -> dict[Digest, str]:
    """Return the digests that an unusable policy revokes: a mistake elsewhere in it must not set them free."""
    spec = Fields(body, strict=False).child("spec")
    rows = ((item.text("digest"), item.text("reason")) for item in spec.items("revokedDigests", limit=_MAX_REVOKED))
    return {Digest(digest): reason for digest, reason in rows if _DIGEST.fullmatch(digest)}


def _fitting(policy: ModelTrustPolicy, spec: Fields) -> ModelTrustPolicy:
    """Return a policy whose parts fit together; others could never let anything pass, or do not say whom to trust."""
    anchors = [*(item.name for item in policy.keys), *(item.name for item in policy.certificates)]
    if twice := next((name for name in anchors if anchors.count(name) > 1), None):
        raise InvalidSpecError(f"spec.signatures: the name {twice!r} is given twice; each signer needs its own")
    if spec.has("signatures") and not anchors:
        raise InvalidSpecError("spec.signatures: must name at least one of keys and certificates to verify against")
    if anchors and policy.threshold > len(anchors):
        raise InvalidSpecError(
            f"spec.signatures.threshold: must be at most {len(anchors)}, as many as there are keys and certificates"
        )
    return policy


def _models(spec: Fields) -> tuple[str, ...]:
    models = spec.texts("models", ("*",), limit=_MAX_MODELS)
    if not models or any(not 1 <= len(model) <= 63 for model in models):  # noqa: PLR2004 - a DNS label
        raise InvalidSpecError("spec.models: must name at least one model of 1 to 63 characters, or '*' for all")
    return models


def _term(item: Fields) -> Term:
    term = Term(not_before=item.time("notBefore"), not_after=item.time("notAfter"), revoked=item.time("revokedAt"))
    if term.not_before and term.not_after and term.not_after < term.not_before:
        raise InvalidSpecError(f"{item.at('notAfter')}: must not be before notBefore")
    return term


def _keys(signatures: Fields) -> tuple[PolicyKey, ...]:
    return tuple(
        PolicyKey(
            name=item.text("name", limit=63, required=True),
            pem=item.text("publicKey", limit=_MAX_PEM, required=True),
            term=_term(item),
        )
        for item in signatures.items("keys", limit=_MAX_ANCHORS)
    )


def _certificates(signatures: Fields) -> tuple[PolicyCertificate, ...]:
    return tuple(
        PolicyCertificate(
            name=item.text("name", limit=63, required=True),
            pem=item.text("root", limit=_MAX_PEM, required=True),
            identity=item.text("identity", limit=1024, required=True),
            term=_term(item),
        )
        for item in signatures.items("certificates", limit=_MAX_ANCHORS)
    )


def _revoked(spec: Fields) -> dict[Digest, str]:
    revoked = {}
    for item in spec.items("revokedDigests", limit=_MAX_REVOKED):
        digest = item.text("digest", limit=71, required=True)
        if not _DIGEST.fullmatch(digest):
            raise InvalidSpecError(f"{item.at('digest')}: must be sha256: and 64 lower-case hex digits")
        revoked[Digest(digest)] = item.text("reason", limit=1024)
    return revoked


def _formats(spec: Fields) -> tuple[str, ...] | None:
    formats = spec.child("formats")
    if not spec.has("formats"):
        return None
    allowed = formats.texts("allowed", limit=MAX_FORMATS)
    if not allowed or not all(_FORMAT.fullmatch(name) for name in allowed):
        raise InvalidSpecError("spec.formats.allowed: must name at least one format, such as safetensors")
    return allowed


def _repositories(spec: Fields) -> tuple[str, ...] | None:
    """Return the repositories of images that may be switched to; a mistake in one must not allow another."""
    images = spec.child("images")
    if not spec.has("images"):
        return None
    repositories = images.texts("repositories", limit=_MAX_REPOSITORIES)
    if not repositories:
        raise InvalidSpecError(
            "spec.images.repositories: must name at least one repository, such as registry.example/serving"
        )
    for index, repository in enumerate(repositories):
        if mistake := repository_mistake(repository):
            raise InvalidSpecError(f"spec.images.repositories[{index}]: {mistake}")
    return repositories


def _external(scan: Fields) -> tuple[str, ...]:
    """Return the external scanners by their names; which image is behind one, only an administrator says."""
    names = scan.texts("external", limit=MAX_SCANNERS)
    if not all(_SCANNER.fullmatch(name) for name in names) or len(set(names)) != len(names):
        expected = "must be different names of scanners, of a-z, 0-9 and '-', with at most 63 characters"
        raise InvalidSpecError(f"{scan.at('external')}: {expected}")
    return names


def _code(scan: Fields) -> tuple[str, ...]:
    """Return the digests of code that is allowed; a name or a pattern would allow what an attacker writes."""
    digests = scan.texts("allowedCode", limit=MAX_CODE)
    for index, digest in enumerate(digests):
        if not _DIGEST.fullmatch(digest):
            where = scan.at(f"allowedCode[{index}]")
            raise InvalidSpecError(
                f"{where}: must be sha256: and 64 lower-case hex digits, as status.scan.code has them"
            )
    return digests


def _severity(scan: Fields) -> Severity:
    try:
        return Severity(scan.text("failOn", "high"))
    except ValueError as error:
        raise InvalidSpecError(f"{scan.at('failOn')}: must be critical, high, medium or low") from error
