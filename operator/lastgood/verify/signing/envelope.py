"""The outer layers of a signature: a Sigstore bundle (v0.3) around a DSSE envelope (v1.0.2).

Only what is needed to check the signature is read here. What was signed is parsed after the signature is
found right, so that nobody without a key reaches that parser.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lastgood.api.fields import Fields
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.strict import decoded, malformed, naming_fields, objects, parse_json, require_text

MAX_BUNDLE: Final = 64 * 2**20
"""Bytes; a bundle takes 230 to 500 for each file, so this is enough for the 100,000 files of the limits."""

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_CERTIFICATES: Final = 10
_MAX_VALUES: Final = 1000
_MAX_CERTIFICATE: Final = 2**16
_MAX_SIGNATURE: Final = 1024
_METHODS: Final = ("publicKey", "x509CertificateChain", "certificate")


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A signed text, its signature, and what the bundle says about the signer, none of it checked.

    Attributes:
        hint: the key's name, where the method is `key`.
        certificates: DER, the signer's first, where the method is `certificate`.
    """

    payload: bytes
    signature: bytes
    hint: str = ""
    certificates: tuple[bytes, ...] = ()

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over: the DSSE pre-authentication encoding, version 1."""
        return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(self.payload), self.payload)


def parse_bundle(bundle: bytes) -> Envelope:
    """Read a bundle.

    Raises:
        SignatureError: if it is too large, malformed, or of another format or version.
    """
    if len(bundle) > MAX_BUNDLE:
        raise SignatureError(Problem.TOO_LARGE, f"the bundle is larger than {MAX_BUNDLE} bytes")
    with naming_fields():
        root = parse_json(bundle, "bundle", max_values=_MAX_VALUES)
        require_text(root, "mediaType", MEDIA_TYPE)
        hint, certificates = _signer(root.child("verificationMaterial"))
        envelope = root.child("dsseEnvelope")
        require_text(envelope, "payloadType", PAYLOAD_TYPE)
        return Envelope(
            payload=decoded(envelope, "payload", limit=MAX_BUNDLE),
            signature=_signature(envelope),
            hint=hint,
            certificates=certificates,
        )


def _signature(envelope: Fields) -> bytes:
    # Sigstore's bundle allows one: with several, a reader would have to say which of them it checked.
    found = objects(envelope, "signatures", limit=_MAX_VALUES)
    if len(found) != 1:
        raise malformed(f"{envelope.at('signatures')}: must hold exactly one signature, and holds {len(found)}")
    return decoded(found[0], "sig", limit=_MAX_SIGNATURE)


def _signer(material: Fields) -> tuple[str, tuple[bytes, ...]]:
    found = [name for name in _METHODS if material.has(name)]
    if found == ["publicKey"]:
        return material.child("publicKey").text("hint"), ()
    if found == ["x509CertificateChain"]:
        return "", _certificates(material.child("x509CertificateChain"))
    if found == ["certificate"]:
        raise SignatureError(
            Problem.UNSUPPORTED,
            f"{material.at('certificate')}: keyless Sigstore is not supported: sign with a key or a certificate",
        )
    raise malformed(f"{material.path}: must hold either publicKey or x509CertificateChain")


def _certificates(chain: Fields) -> tuple[bytes, ...]:
    items = objects(chain, "certificates", limit=MAX_CERTIFICATES)
    if not items:
        raise malformed(f"{chain.at('certificates')}: must hold the signer's certificate")
    return tuple(decoded(item, "rawBytes", limit=_MAX_CERTIFICATE) for item in items)


def write_bundle(payload: bytes, signature: bytes, *, hint: str = "", certificates: Sequence[bytes] = ()) -> bytes:
    """Return the bundle of a signed text; with certificates (DER, the signer's first) the method is `certificate`."""
    chain = {"certificates": [{"rawBytes": _base64(der)} for der in certificates]}
    signer = {"x509CertificateChain": chain} if certificates else {"publicKey": {"hint": hint}}
    body = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {**signer, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": _base64(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": _base64(signature), "keyid": ""}],
        },
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
