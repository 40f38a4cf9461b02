"""Authorities, signers and bundles for the tests: good ones, with one thing changed where a test says so."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lastgood.verify.signing import Certificate, PrivateKey, generate_key, load_certificates
from lastgood.verify.signing.envelope import MEDIA_TYPE, PAYLOAD_TYPE

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
IDENTITY = "https://ci.example.org/release"
AnyKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: AnyKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def trusted(self) -> Certificate:
        return load_certificates(self.pem)[0]

    @property
    def signer(self) -> PrivateKey:
        assert isinstance(self.key, ec.EllipticCurvePrivateKey)
        return PrivateKey(key=self.key)

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write the certificate and the key, and return where they are."""
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, key


def key_usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
        "crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names.split()})


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a certificate shall be; the default is a good signer's."""

    name: str = "signer"
    issuer: Holder | None = None
    key: AnyKey | None = None
    start: datetime = NOW - DAY
    end: datetime = NOW + DAY
    ca: bool | None = False
    path_length: int | None = None
    usage: x509.KeyUsage | None = field(default_factory=lambda: key_usage(digital_signature=True))
    extended: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,)
    identities: tuple[x509.GeneralName, ...] = (x509.UniformResourceIdentifier(IDENTITY),)
    hashed: hashes.SHA224 | hashes.SHA256 = field(default_factory=hashes.SHA256)
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()


def make(wish: Wish) -> Holder:
    key = wish.key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wish.name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(wish.issuer.certificate.subject if wish.issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(wish.start)
        .not_valid_after(wish.end)
    )
    for extension, critical in _extensions(wish):
        builder = builder.add_extension(extension, critical)
    return Holder(certificate=builder.sign(wish.issuer.key if wish.issuer else key, wish.hashed), key=key)


def _extensions(wish: Wish) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = list(wish.more)
    if wish.ca is not None:
        found.append((x509.BasicConstraints(ca=wish.ca, path_length=wish.path_length), True))
    if wish.usage:
        found.append((wish.usage, True))
    if wish.extended:
        found.append((x509.ExtendedKeyUsage(wish.extended), False))
    if wish.identities:
        found.append((x509.SubjectAlternativeName(wish.identities), False))
    return found


def authority(name: str = "root", issuer: Holder | None = None, **changes: Any) -> Holder:
    good: dict[str, Any] = {
        "ca": True,
        "usage": key_usage(key_cert_sign=True, crl_sign=True),
        "extended": (),
        "identities": (),
        "start": NOW - 30 * DAY,
        "end": NOW + 30 * DAY,
    }
    return make(Wish(name=name, issuer=issuer, **{**good, **changes}))


def encoded(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


@dataclass(frozen=True, kw_only=True)
class Forger:
    """Whoever has the key may sign any text: bundles that are right on the outside, and anything inside."""

    key: PrivateKey = field(default_factory=generate_key)

    def seal(self, payload: bytes) -> bytes:
        pae = b"DSSEv1 28 " + PAYLOAD_TYPE.encode() + b" %d " % len(payload) + payload
        return json.dumps(
            {
                "mediaType": MEDIA_TYPE,
                "verificationMaterial": {"publicKey": {"hint": self.key.public.hint}, "tlogEntries": []},
                "dsseEnvelope": {
                    "payload": encoded(payload),
                    "payloadType": PAYLOAD_TYPE,
                    "signatures": [{"sig": encoded(self.key.sign(pae)), "keyid": ""}],
                },
            }
        ).encode()

    def change(self, bundle: bytes, change: Callable[[Any], object]) -> bytes:
        """Change the signed statement, and sign it again."""
        statement = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
        change(statement)
        return self.seal(json.dumps(statement).encode())
