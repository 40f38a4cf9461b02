"""Certificates: whom a root vouches for, for what, and when."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.verify import FileEntry
from lastgood.verify.signing import (
    Method,
    Problem,
    SignatureError,
    SignatureFact,
    examine,
    load_certificates,
    require_usable,
    sign,
)
from lastgood.verify.signing.certificates import require_signers
from tests.unit.verify.signing.makers import DAY, IDENTITY, NOW, AnyKey, Holder, Wish, authority, key_usage, make

ROOT = authority()
MIDDLE = authority("middle", ROOT, path_length=0)
LEAF = make(Wish(issuer=MIDDLE))
FILES = (FileEntry(path="model.bin", size=1, sha256="a" * 64),)


def bundle_of(signer: Holder, *between: Holder) -> bytes:
    certificates = [signer.trusted, *(holder.trusted for holder in between)]
    return sign(FILES, signer.signer, certificates=certificates)


def examined(
    signer: Holder, *between: Holder, roots: tuple[Holder, ...] = (ROOT,), at: datetime = NOW
) -> SignatureFact:
    trusted = [root.trusted for root in roots]
    return examine(bundle_of(signer, *between), FILES, keys=[], roots=trusted, at=at)


def refused(
    signer: Holder, *between: Holder, roots: tuple[Holder, ...] = (ROOT,), at: datetime = NOW
) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        examined(signer, *between, roots=roots, at=at)
    return caught.value


def assert_refused(error: SignatureError, reason: Problem, words: str) -> None:
    assert error.reason == reason
    assert words in str(error)


def signer(issuer: Holder = ROOT, **changes: Any) -> Holder:
    return make(Wish(issuer=issuer, **changes))


def test_signer_below_the_root_is_a_fact() -> None:
    good = signer()
    fact = examined(good)
    assert fact == SignatureFact(
        method=Method.CERTIFICATE,
        key_id=good.trusted.key_id,
        root_id=ROOT.trusted.certificate_id,
        identity=IDENTITY,
        not_before=NOW - DAY,
        not_after=NOW + DAY,
    )


def test_signer_below_an_intermediate_is_a_fact() -> None:
    assert examined(signer(MIDDLE), MIDDLE).root_id == ROOT.trusted.certificate_id
    assert examined(signer(MIDDLE), ROOT, MIDDLE).root_id == ROOT.trusted.certificate_id


def test_intermediate_that_the_caller_names_is_a_root() -> None:
    assert examined(signer(MIDDLE), roots=(MIDDLE,)).root_id == MIDDLE.trusted.certificate_id


def test_right_root_is_found_among_several_of_the_same_name() -> None:
    assert examined(signer(), roots=(authority(), ROOT, authority("other"))).root_id == ROOT.trusted.certificate_id


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: str(curve.name))
def test_each_curve_is_for_signers(curve: ec.EllipticCurve) -> None:
    assert examined(signer(key=ec.generate_private_key(curve))).identity == IDENTITY


def test_root_may_have_an_rsa_key() -> None:
    root = authority(key=rsa.generate_private_key(65537, 2048))
    assert examined(signer(root), roots=(root,)).root_id == root.trusted.certificate_id


@pytest.mark.parametrize(
    "identity",
    [
        x509.UniformResourceIdentifier(IDENTITY),
        x509.RFC822Name("release@example.org"),
        x509.DNSName("ci.example.org"),
    ],
    ids=lambda identity: type(identity).__name__,
)
def test_identity_is_told(identity: x509.UniformResourceIdentifier | x509.RFC822Name | x509.DNSName) -> None:
    assert examined(signer(identities=(identity,))).identity == identity.value


def test_certificate_for_nobody_has_no_identity() -> None:
    assert examined(signer(identities=())).identity == ""


def test_two_identities_are_refused_because_a_policy_pins_one() -> None:
    names = (x509.UniformResourceIdentifier(IDENTITY), x509.DNSName("evil.example.org"))
    assert_refused(refused(signer(identities=names)), Problem.CERTIFICATE_IDENTITY, "has 2 identities")


def test_expired_certificate_is_refused() -> None:
    expired = signer(start=NOW - 10 * DAY, end=NOW - DAY)
    assert_refused(refused(expired), Problem.CERTIFICATE_EXPIRED, "CN=signer expired at")
    assert examined(expired, at=NOW - 2 * DAY).identity == IDENTITY


def test_certificate_of_tomorrow_is_refused() -> None:
    early = signer(start=NOW + DAY, end=NOW + 2 * DAY)
    assert_refused(refused(early), Problem.CERTIFICATE_NOT_YET_VALID, "CN=signer is valid only from")


def test_expired_root_is_refused() -> None:
    root = authority(end=NOW - DAY, start=NOW - 9 * DAY)
    assert_refused(refused(signer(root), roots=(root,)), Problem.CERTIFICATE_EXPIRED, "CN=root expired at")


def test_expired_intermediate_is_refused() -> None:
    middle = authority("middle", ROOT, end=NOW - DAY, start=NOW - 9 * DAY)
    assert_refused(refused(signer(middle), middle), Problem.CERTIFICATE_EXPIRED, "CN=middle expired at")


def test_chain_to_another_root_is_refused() -> None:
    error = refused(signer(), roots=(authority("other"),))
    assert_refused(error, Problem.CERTIFICATE_CHAIN, "CN=signer does not chain to any of the 1 trusted certificates")


def test_root_of_the_same_name_and_another_key_is_refused() -> None:
    assert_refused(refused(signer(authority())), Problem.CERTIFICATE_CHAIN, "does not chain to any")


def test_root_that_the_bundle_brings_along_is_not_trusted() -> None:
    own = authority()
    assert_refused(refused(signer(own), own), Problem.CERTIFICATE_CHAIN, "does not chain to any")


def test_no_root_at_all_is_not_a_pass() -> None:
    assert_refused(refused(signer(), roots=()), Problem.CERTIFICATE_CHAIN, "does not chain to any")


def test_missing_intermediate_is_refused() -> None:
    assert_refused(refused(signer(MIDDLE)), Problem.CERTIFICATE_CHAIN, "does not chain to any")


def test_signer_that_signs_itself_is_trusted_only_by_its_own_certificate() -> None:
    selfish = make(Wish())
    assert_refused(refused(selfish), Problem.CERTIFICATE_CHAIN, "does not chain to any")
    assert_refused(refused(selfish, selfish, ROOT), Problem.CERTIFICATE_USAGE, "issued a certificate, but is not a CA")
    assert examined(selfish, roots=(selfish,)).root_id == selfish.trusted.certificate_id
    again = make(Wish(key=selfish.key))  # the same name and key, and not the certificate that is trusted
    assert_refused(refused(again, roots=(selfish,)), Problem.CERTIFICATE_USAGE, "issued a certificate, but is not a CA")


def test_authority_as_signer_is_refused() -> None:
    ca = authority("ca", ROOT, usage=key_usage(key_cert_sign=True, digital_signature=True))
    assert_refused(refused(ca), Problem.CERTIFICATE_USAGE, "CN=ca is a CA certificate")


def test_signer_that_plays_authority_is_refused() -> None:
    good = signer()
    assert_refused(
        refused(make(Wish(name="fake", issuer=good)), good),
        Problem.CERTIFICATE_USAGE,
        "issued a certificate, but is not a CA",
    )


def test_authority_without_constraints_is_none() -> None:
    root = authority(ca=None)
    assert_refused(
        refused(signer(root), roots=(root,)), Problem.CERTIFICATE_USAGE, "issued a certificate, but is not a CA"
    )


def test_authority_that_may_not_sign_certificates_is_refused() -> None:
    root = authority(usage=key_usage(crl_sign=True))
    assert_refused(refused(signer(root), roots=(root,)), Problem.CERTIFICATE_USAGE, "keyCertSign")


def test_more_authorities_than_allowed_are_refused() -> None:
    lower = authority("lower", MIDDLE)
    error = refused(signer(lower), lower, MIDDLE)
    assert_refused(error, Problem.CERTIFICATE_USAGE, "CN=middle has path length 0, but 1 CAs are below it")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"usage": key_usage(key_encipherment=True)}, "no key usage digitalSignature", id="key usage"),
        pytest.param({"usage": None, "extended": ()}, "does not say what it is for", id="no usage at all"),
        pytest.param({"extended": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "codeSigning is not in it", id="a web server"),
        pytest.param(
            {"more": ((x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0"), True),)},
            "has the extension 1.2.3.4, not supported",
            id="an unknown critical extension",
        ),
    ],
)
def test_certificate_that_is_not_for_signing_is_refused(changes: dict[str, Any], words: str) -> None:
    assert_refused(refused(signer(**changes)), Problem.CERTIFICATE_USAGE, words)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"extended": ()}, id="only the key usage"),
        pytest.param({"usage": None}, id="only the extended one"),
        pytest.param({"ca": None}, id="without constraints"),
        pytest.param(
            {"more": ((x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\5\0"), False),)},
            id="an unknown extension that is not critical",
        ),
    ],
)
def test_certificate_that_says_less_is_accepted(changes: dict[str, Any]) -> None:
    assert examined(signer(**changes)).identity == IDENTITY


@pytest.mark.parametrize("critical", [True, False])
def test_constrained_authority_is_refused_because_names_are_not_checked(*, critical: bool) -> None:
    names = x509.NameConstraints([x509.DNSName("example.org")], None)
    root = authority(more=((names, critical),))
    assert_refused(refused(signer(root), roots=(root,)), Problem.CERTIFICATE_USAGE, "2.5.29.30")


def test_authority_for_web_servers_only_is_refused() -> None:
    middle = authority("middle", ROOT, extended=(ExtendedKeyUsageOID.SERVER_AUTH,))
    assert_refused(refused(signer(middle), middle), Problem.CERTIFICATE_USAGE, "codeSigning is not in it")


def test_certificate_with_a_weak_hash_is_refused() -> None:
    weak = signer(hashed=hashes.SHA224())
    assert_refused(refused(weak), Problem.CERTIFICATE_USAGE, "is signed with sha224, and must be with sha256")


def test_weak_root_is_refused() -> None:
    root = authority(key=rsa.generate_private_key(65537, 1024))  # noqa: S505  the weakness is what is tested
    assert_refused(refused(signer(root), roots=(root,)), Problem.CERTIFICATE_USAGE, "RSA key of 1024 bits")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        pytest.param(ec.generate_private_key(ec.SECP256K1()), "on the curve secp256k1", id="wrong curve"),
        pytest.param(rsa.generate_private_key(65537, 2048), "is RSA", id="RSA"),
    ],
)
def test_signer_with_a_wrong_key_is_refused(key: AnyKey, words: str) -> None:
    with pytest.raises(SignatureError, match=words) as caught:
        require_usable(signer(key=key).trusted, NOW)
    assert caught.value.reason == Problem.UNSUPPORTED_KEY


def test_signature_by_another_key_than_the_certificate_s_is_refused() -> None:
    good, thief = signer(), signer()
    with pytest.raises(SignatureError, match="does not match the private key"):
        sign(FILES, thief.signer, certificates=[good.trusted])
    stolen = replace(good, key=thief.key)
    bundle = sign(FILES, stolen.signer, certificates=[replace(good.trusted, key_id=thief.trusted.key_id)])
    with pytest.raises(SignatureError) as caught:
        examine(bundle, FILES, keys=[], roots=[ROOT.trusted], at=NOW)
    assert caught.value.reason == Problem.BAD_SIGNATURE


def test_trusted_key_does_not_help_a_certificate_without_a_root() -> None:
    good = signer()
    with pytest.raises(SignatureError, match="does not chain to any"):
        examine(bundle_of(good), FILES, keys=[good.signer.public], roots=[], at=NOW)


def test_trusted_root_does_not_help_a_bare_key() -> None:
    good = signer()
    with pytest.raises(SignatureError, match="none of the trusted public keys"):
        examine(sign(FILES, good.signer), FILES, keys=[], roots=[ROOT.trusted, good.trusted], at=NOW)


@pytest.mark.timeout(20)
def test_chain_of_look_alikes_does_not_cost_more_than_its_length() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    look_alike = authority("ca", key=key)
    alike = [authority("ca", look_alike, key=key) for _ in range(9)]
    assert_refused(refused(signer(look_alike), *alike), Problem.CERTIFICATE_CHAIN, "does not chain to any")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # some changes make it negative, which is only warned of
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_one_changed_byte_of_a_certificate_is_an_error_and_never_a_crash(data: st.DataObject) -> None:
    chain = [bytearray(holder.certificate.public_bytes(serialization.Encoding.DER)) for holder in (LEAF, MIDDLE)]
    changed = data.draw(st.sampled_from(chain))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureError):
        require_signers([bytes(der) for der in chain], [ROOT.trusted], NOW)


def test_text_that_holds_no_certificate_is_refused() -> None:
    with pytest.raises(SignatureError, match="BEGIN CERTIFICATE"):
        load_certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(SignatureError, match="BEGIN CERTIFICATE"):
        load_certificates(b"")


def test_more_certificates_than_a_bundle_may_hold_are_refused_when_signing() -> None:
    good = signer()
    with pytest.raises(SignatureError, match="more than 10"):
        bundle_of(good, *[ROOT] * 10)
