"""X.509 certificates: does a signer's certificate lead to a root that was given, at one moment?

The rules are those of RFC 5280 section 6 for a chain without policies and name constraints; a certificate that
has such, or any critical extension that is not known here, is refused. There is no revocation list: whom to
trust no longer, a trust policy says.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from lastgood.verify.reading.printable import printable
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.keys import PublicKey, key_id
from lastgood.verify.signing.strict import malformed

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_UNDERSTOOD: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}
_STRONG: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_MIN_RSA: Final = 2048
_MAX_IDENTITY: Final = 1024  # of a policy and of a status too: what had to be cut would be somebody else's
_E = TypeVar("_E", bound=x509.ExtensionType)


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate that somebody trusts, or not; `key_id` is that of its key.

    Several certificates may be of one key, each with its own term and limits, and whoever knows a key that is public
    can make one: whom a certificate vouches for hangs on the certificate, and never on its key alone.
    """

    x509: x509.Certificate
    key_id: str

    @property
    def certificate_id(self) -> str:
        """Return sha256 of the whole certificate (DER), in hex."""
        return self.x509.fingerprint(hashes.SHA256()).hex()

    def pem(self) -> bytes:
        """Return the certificate as PEM text."""
        return self.x509.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signer:
    """Who a certificate says the signer is, and one root that vouches for it.

    `root_id` is the root's `certificate_id`. The term is the part that all certificates from the signer's to the root
    have in common.
    """

    key: PublicKey
    root_id: str
    identity: str
    not_before: datetime
    not_after: datetime


def load_certificates(pem: bytes) -> tuple[Certificate, ...]:
    """Read certificates from PEM text, in its order.

    Raises:
        SignatureError: if there is none, or one cannot be read.
    """
    try:
        return tuple(_certificate(item) for item in x509.load_pem_x509_certificates(pem))
    except _UNREADABLE:
        raise malformed("the certificate must be PEM text that begins with -----BEGIN CERTIFICATE-----") from None


def require_signers(chain: Sequence[bytes], roots: Iterable[Certificate], at: datetime) -> tuple[Signer, ...]:
    """Return the signer that a bundle's certificates (DER, the signer's first) prove, once for each root.

    The certificate must be valid at that time, for signing, and lead to a root over certificates that are
    authorities and valid too. A root may be an intermediate, or the signer's own certificate: whom the caller names,
    the caller trusts. Each root is tried by itself, so that none stands in for another of the same key.

    Raises:
        SignatureError: if anything of that is not so.
    """
    leaf, *between = [_parse(der, index) for index, der in enumerate(chain)]
    require_usable(leaf, at)
    with _readable("the signer's certificate"):
        key, identity = PublicKey.of(leaf.x509.public_key(), "the certificate's key"), _identity(leaf.x509)
        return tuple(
            Signer(key=key, root_id=root_id, identity=identity, not_before=term.start, not_after=term.end)
            for root_id, term in _find_roots(leaf, between, list(roots), at).items()
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Term:
    """When all certificates of a path are valid together."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, certificate: Certificate) -> "_Term":
        return cls(start=certificate.x509.not_valid_before_utc, end=certificate.x509.not_valid_after_utc)

    def within(self, certificate: Certificate) -> "_Term":
        other = _Term.of(certificate)
        return _Term(start=max(self.start, other.start), end=min(self.end, other.end))


def require_usable(leaf: Certificate, at: datetime) -> None:
    """Make sure that a certificate may sign at a time, whoever issued it.

    Raises:
        SignatureError: if it is expired, not yet valid, an authority's, or not for signing.
    """
    shown = _shown(leaf)
    with _readable(shown):
        _require_valid(leaf, at)
        _require_understood(leaf)
        PublicKey.of(leaf.x509.public_key(), f"the key of {shown}")
        constraints = _extension(leaf, x509.BasicConstraints)
        if constraints and constraints.ca:
            raise _usage(f"{shown} is a CA certificate: use an end-entity certificate to sign")
        _require_signing(leaf)


def _require_signing(leaf: Certificate) -> None:
    usage = _extension(leaf, x509.KeyUsage)
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    if not usage and not extended:
        raise _usage(f"{_shown(leaf)} does not say what it is for; it needs the key usage digitalSignature")
    if usage and not usage.digital_signature:
        raise _usage(f"{_shown(leaf)} has no key usage digitalSignature")
    _require_code_signing(leaf, extended)


def _require_code_signing(certificate: Certificate, extended: x509.ExtendedKeyUsage | None) -> None:
    # A web server's certificate has digitalSignature too; what it is for stands here.
    allowed = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extended and not allowed & set(extended):
        raise _usage(f"{_shown(certificate)} has an extended key usage, and codeSigning is not in it")


def _find_roots(
    leaf: Certificate, between: list[Certificate], roots: list[Certificate], at: datetime
) -> dict[str, _Term]:
    """Return the roots that the leaf leads to, each over as few certificates as possible, by their ids."""
    # A self-signed certificate (OMS v1.0 has that method) is its own root: the caller trusts exactly this one.
    found = {leaf.certificate_id: _Term.of(leaf)} if leaf in roots else {}
    problems: list[SignatureError] = []
    reached, unused, length = [(leaf, _Term.of(leaf))], list(between), 0
    while reached:
        for root, term in _above(reached, roots, length, at, problems):
            found.setdefault(root.certificate_id, term)
        # Each certificate is taken up once, so that a bundle of look-alikes costs no more than their number squared.
        above = _above(reached, unused, length, at, problems)
        taken = [item for item, _ in above]
        reached, unused, length = above, [item for item in unused if item not in taken], length + 1
    if not found:
        raise problems[0] if problems else _leads_nowhere(leaf, roots)
    return found


def _above(
    reached: Sequence[tuple[Certificate, _Term]],
    issuers: Sequence[Certificate],
    length: int,
    at: datetime,
    problems: list[SignatureError],
) -> list[tuple[Certificate, _Term]]:
    """Return the issuers that vouch for one of the certificates, with the term that is left."""
    found = []
    for issuer in issuers:
        terms = (term for child, term in reached if _accepted(child, issuer, length, at, problems))
        if term := next(terms, None):
            found.append((issuer, term.within(issuer)))
    return found


def _leads_nowhere(leaf: Certificate, roots: Sequence[Certificate]) -> SignatureError:
    told = f"{_shown(leaf)} does not chain to any of the {len(roots)} trusted certificates"
    return SignatureError(Problem.CERTIFICATE_CHAIN, told)


def _accepted(
    child: Certificate, issuer: Certificate, length: int, at: datetime, problems: list[SignatureError]
) -> bool:
    if not _issued(child, issuer):
        return False
    try:
        _require_authority(issuer, length, at)
        _require_strong(child, issuer)
    except SignatureError as error:
        problems.append(error)
        return False
    return True


def _issued(child: Certificate, issuer: Certificate) -> bool:
    try:
        child.x509.verify_directly_issued_by(issuer.x509)
    except (*_UNREADABLE, InvalidSignature):
        return False
    return True


def _require_authority(issuer: Certificate, length: int, at: datetime) -> None:
    """Refuse an issuer that is none; `length` counts the certificates between it and the signer's (section 6.1.4)."""
    shown = _shown(issuer)
    with _readable(shown):
        _require_valid(issuer, at)
        _require_understood(issuer)
        constraints = _extension(issuer, x509.BasicConstraints)
        if not constraints or not constraints.ca:
            raise _usage(f"{shown} issued a certificate, but is not a CA")
        if constraints.path_length is not None and length > constraints.path_length:
            raise _usage(f"{shown} has path length {constraints.path_length}, but {length} CAs are below it")
        usage = _extension(issuer, x509.KeyUsage)
        if usage and not usage.key_cert_sign:
            raise _usage(f"{shown} has no key usage keyCertSign")
        _require_code_signing(issuer, _extension(issuer, x509.ExtendedKeyUsage))


def _require_strong(child: Certificate, issuer: Certificate) -> None:
    key = issuer.x509.public_key()
    algorithm = child.x509.signature_hash_algorithm  # None where the hash is part of the scheme, as in Ed25519
    if algorithm is not None and not isinstance(algorithm, _STRONG):
        raise _usage(f"{_shown(child)} is signed with {algorithm.name}, and must be with sha256, sha384 or sha512")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA:
        raise _usage(f"{_shown(issuer)} has an RSA key of {key.key_size} bits, below {_MIN_RSA}")


def _require_valid(certificate: Certificate, at: datetime) -> None:
    if at > certificate.x509.not_valid_after_utc:
        until = certificate.x509.not_valid_after_utc.isoformat()
        raise SignatureError(Problem.CERTIFICATE_EXPIRED, f"{_shown(certificate)} expired at {until}")
    if at < certificate.x509.not_valid_before_utc:
        since = certificate.x509.not_valid_before_utc.isoformat()
        raise SignatureError(Problem.CERTIFICATE_NOT_YET_VALID, f"{_shown(certificate)} is valid only from {since}")


def _require_understood(certificate: Certificate) -> None:
    for extension in certificate.x509.extensions:
        constrained = extension.oid == ExtensionOID.NAME_CONSTRAINTS
        if constrained or (extension.critical and extension.oid not in _UNDERSTOOD):
            raise _usage(f"{_shown(certificate)} has the extension {extension.oid.dotted_string}, not supported here")


def _identity(leaf: x509.Certificate) -> str:
    """Return the one URI, email address or DNS name that a certificate is for; empty without any."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    kinds = (x509.UniformResourceIdentifier, x509.RFC822Name, x509.DNSName)
    found = [name.value for name in names if isinstance(name, kinds)]
    if len(found) > 1:
        # A policy pins one identity; which of several signed, nobody could say.
        listed = ", ".join(printable(name, 80) for name in found[:3])
        raise SignatureError(
            Problem.CERTIFICATE_IDENTITY, f"the certificate has {len(found)} identities, and must have one: {listed}"
        )
    if found and len(found[0]) > _MAX_IDENTITY:
        raise SignatureError(
            Problem.CERTIFICATE_IDENTITY, f"the certificate's identity is longer than {_MAX_IDENTITY} characters"
        )
    return found[0] if found else ""


def _extension(certificate: Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.x509.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _parse(der: bytes, index: int) -> Certificate:
    with _readable(f"certificate {index} of the bundle"):
        return _certificate(x509.load_der_x509_certificate(der))


def _certificate(found: x509.Certificate) -> Certificate:
    return Certificate(x509=found, key_id=key_id(found.public_key()))


@contextmanager
def _readable(shown: str) -> Iterator[None]:
    """Parts of a certificate are parsed when they are asked for; a broken one is malformed then."""
    try:
        yield
    except _UNREADABLE as error:
        raise malformed(f"{shown} cannot be read: {printable(str(error))}") from None


def _usage(sentence: str) -> SignatureError:
    return SignatureError(Problem.CERTIFICATE_USAGE, sentence)


def _shown(certificate: Certificate) -> str:
    try:
        subject = certificate.x509.subject.rfc4514_string()
    except _UNREADABLE:
        subject = ""
    return f"the certificate {printable(subject, 120) or certificate.key_id[:12]}"
