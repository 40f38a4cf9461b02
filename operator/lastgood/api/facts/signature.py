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
    """What the signer says the files are, and which image may run them; only bundles that lastgood makes carry it."""

    model: str
    version: str
    trained_at: datetime | None = None
    data_cutoff: datetime | None = None
    signed_at: datetime | None = None
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class SignatureFact:
    """One bundle whose signature is right, over exactly the files that were read.

    Attributes:
        key_id: sha256 of the public key's SubjectPublicKeyInfo (DER), in hex; of a certificate: of its own key.
        index: which bundle it is of, counted from 0 in the order in which they were named.
        root_id: sha256 of the trusted root (its certificate, DER) that a certificate leads to; empty for a bare key. A
            certificate that leads to several has a fact for each.
        identity: the subject alternative name of a certificate (URI, email or DNS name); empty for a bare key.
        not_before, not_after: when all certificates up to the root are valid; None for a bare key.
        claims: what the bundle says, where it says anything.
        left_out: paths that the bundle leaves out of the signature (its ignore list) and that are there; at most 20.
        outside: other bundles, by their index, that are files of the checkpoint and that this one is not over. It
            counts only while their signers do, for else they are files that nobody has signed.
    """

    method: Method
    key_id: str
    index: int = 0
    root_id: str = ""
    identity: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    claims: Claims | None = None
    left_out: tuple[str, ...] = ()
    outside: tuple[int, ...] = ()


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
