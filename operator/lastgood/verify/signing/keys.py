"""Elliptic-curve keys: the three curves of the format, their names, and their ids."""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.strict import malformed

CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_PEM: Final = serialization.Encoding.PEM
_DER: Final = serialization.Encoding.DER
_SPKI: Final = serialization.PublicFormat.SubjectPublicKeyInfo
_WHAT_TO_DO: Final = "must be an elliptic-curve key on P-256, P-384 or P-521"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicKey:
    """A public key on one of the three curves, and its id: sha256 of its SubjectPublicKeyInfo (DER), in hex."""

    key: ec.EllipticCurvePublicKey
    key_id: str

    @classmethod
    def of(cls, key: object, what: str = "the public key") -> "PublicKey":
        """Return a key that the format allows.

        Raises:
            SignatureError: if it is of another kind, or on another curve; the sentence names it.
        """
        if not isinstance(key, ec.EllipticCurvePublicKey):
            kind = type(key).__name__.removesuffix("PublicKey")
            raise SignatureError(Problem.UNSUPPORTED_KEY, f"{what} is {kind}, and {_WHAT_TO_DO}")
        if key.curve.name not in _HASHES:
            raise SignatureError(Problem.UNSUPPORTED_KEY, f"{what} is on the curve {key.curve.name}, and {_WHAT_TO_DO}")
        return cls(key=key, key_id=key_id(key))

    def made(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this key made a signature: ECDSA with the hash that is as long as the curve."""
        try:
            self.key.verify(signature, message, _ecdsa(self.key.curve))
        except InvalidSignature:
            return False
        return True

    @property
    def hint(self) -> str:
        """The name of this key in a bundle: sha256 of its PEM text, in hex, as model-signing 1.1 writes it."""
        return hashlib.sha256(self.pem()).hexdigest()

    def pem(self) -> bytes:
        """Return the key as PEM text."""
        return self.key.public_bytes(_PEM, _SPKI)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateKey:
    """A private key on one of the three curves."""

    key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey.of(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return a signature: ECDSA with the hash that is as long as the curve."""
        return self.key.sign(message, _ecdsa(self.key.curve))

    def pem(self, password: bytes | None = None) -> bytes:
        """Return the key as PEM text (PKCS #8), encrypted where there is a password."""
        algorithm = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, algorithm)


def key_id(key: PublicKeyTypes) -> str:
    """Return sha256 of a key's SubjectPublicKeyInfo (DER), in hex."""
    return hashlib.sha256(key.public_bytes(_DER, _SPKI)).hexdigest()


def generate_key(curve: str = "P-256") -> PrivateKey:
    """Make a new private key.

    Raises:
        KeyError: if the curve is none of `CURVES`.
    """
    return PrivateKey(key=ec.generate_private_key(CURVES[curve]()))


def load_public_key(pem: bytes) -> PublicKey:
    """Read a public key from PEM text (SubjectPublicKeyInfo).

    Raises:
        SignatureError: if it is none, or on another curve.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise malformed("the public key must be PEM text that begins with -----BEGIN PUBLIC KEY-----") from None
    return PublicKey.of(key)


def load_private_key(pem: bytes, password: bytes | None = None) -> PrivateKey:
    """Read a private key from PEM text.

    Raises:
        SignatureError: if it is none, on another curve, or the password does not open it.
    """
    try:
        key = serialization.load_pem_private_key(pem, password or None)
    except TypeError:
        wrong = "has no password, and one was given" if password else "is encrypted, and no password was given"
        raise malformed(f"the private key {wrong}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise malformed("the private key cannot be read: it is not PEM text, or the password is wrong") from None
    PublicKey.of(key.public_key(), "the private key")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SignatureError(Problem.UNSUPPORTED_KEY, f"the private key {_WHAT_TO_DO}")
    return PrivateKey(key=key)


def _ecdsa(curve: ec.EllipticCurve) -> ec.ECDSA:
    return ec.ECDSA(_HASHES[curve.name]())
