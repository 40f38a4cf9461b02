"""What a signature bundle proved about a checkpoint's files: a fact, which a policy may later trust or not."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lastgood.api.names import Digest, Reason


class Method(StrEnum):
    """How a bundle is signed: OpenSSF Model Signing v1.0, section "signing methods"."""

    KEY = "key"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What the signer says the files are; only bundles that lastgood makes carry it."""

    model: str
    version: str
    trained_at: datetime | None = None
    data_cutoff: datetime | None = None
    signed_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class SignatureFact:
    """One bundle whose signature is right, over exactly the files that were read.

    Attributes:
        key_id: sha256 of the public key's SubjectPublicKeyInfo (DER), in hex; of a certificate: of its own key.
        root_id: the same for the trusted root that a certificate leads to; empty for a bare key.
        identity: the subject alternative name of a certificate (URI, email or DNS name); empty for a bare key.
        not_before, not_after: a certificate's own validity; None for a bare key.
        claims: what the bundle says, where it says anything.
        left_out: paths that the bundle leaves out of the signature (its ignore list) and that are there; at most 20.
    """

    method: Method
    key_id: str
    root_id: str = ""
    identity: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    claims: Claims | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SignatureProblem:
    """One bundle that proved nothing; `source` says which, such as `spec.signatures[0]`.

    `reason` is SignatureInvalid, SignatureUntrusted, SignatureMissing or Unreadable (the bundle could not be read).
    """

    source: str
    reason: Reason
    message: str


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What one look at all bundles of a snapshot found, and which keys and roots it was made with.

    Attributes:
        digest: the digest of the files that the bundles were held against; facts about other bytes are none.
        anchors: `core.trust.anchors_digest` of the policies whose keys and roots were at hand.
    """

    time: datetime
    digest: Digest
    anchors: str = ""
    facts: tuple[SignatureFact, ...] = ()
    problems: tuple[SignatureProblem, ...] = ()
