"""Keys: which are allowed, and what a wrong one is called."""

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lastgood.verify import FileEntry
from lastgood.verify.signing import (
    CURVES,
    Method,
    Problem,
    SignatureError,
    examine,
    generate_key,
    load_private_key,
    load_public_key,
    sign,
)
from tests.unit.verify.signing.makers import NOW, Wish, make

FILES = (FileEntry(path="model.bin", size=1, sha256="a" * 64),)
AnyKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def pems(key: AnyKey) -> tuple[bytes, bytes]:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private, key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("curve", CURVES)
def test_key_that_was_written_and_read_again_signs(curve: str) -> None:
    key = load_private_key(generate_key(curve).pem())
    public = load_public_key(key.public.pem())
    fact = examine(sign(FILES, key), FILES, keys=[generate_key().public, public], roots=[], at=NOW)
    assert (fact.method, fact.key_id) == (Method.KEY, public.key_id)


def test_id_is_the_sha256_of_the_spki() -> None:
    key = generate_key().public
    der = key.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert key.key_id == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        pytest.param(ec.generate_private_key(ec.SECP256K1()), "is on the curve secp256k1", id="secp256k1"),
        pytest.param(ec.generate_private_key(ec.BrainpoolP256R1()), "brainpoolP256r1", id="of P-256's size"),
        pytest.param(rsa.generate_private_key(65537, 2048), "is RSA", id="RSA"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), "is Ed25519", id="Ed25519"),
    ],
)
def test_wrong_curve_is_named(key: AnyKey, words: str) -> None:
    private, public = pems(key)
    for load, pem in ((load_private_key, private), (load_public_key, public)):
        with pytest.raises(SignatureError, match=f"{words}.*, and must be an elliptic-curve key on P-256") as caught:
            load(pem)
        assert caught.value.reason == Problem.UNSUPPORTED_KEY


def test_password_opens_a_key_and_nothing_else_does() -> None:
    key = generate_key()
    pem = key.pem(b"secret")
    assert b"ENCRYPTED" in pem
    assert load_private_key(pem, b"secret").public.key_id == key.public.key_id
    with pytest.raises(SignatureError, match="is encrypted, and no password was given"):
        load_private_key(pem)
    with pytest.raises(SignatureError, match="password is wrong"):
        load_private_key(pem, b"wrong")
    with pytest.raises(SignatureError, match="has no password, and one was given"):
        load_private_key(key.pem(), b"secret")


@pytest.mark.parametrize("text", [b"", b"\x00", b"-----BEGIN PUBLIC KEY-----\n"], ids=["nothing", "NUL", "cut"])
def test_text_that_is_no_key_is_refused(text: bytes) -> None:
    for load in (load_private_key, load_public_key):
        with pytest.raises(SignatureError, match="PEM") as caught:
            load(text)
        assert caught.value.reason == Problem.MALFORMED


def test_private_key_is_no_public_one() -> None:
    with pytest.raises(SignatureError, match="BEGIN PUBLIC KEY"):
        load_public_key(generate_key().pem())
    with pytest.raises(KeyError):
        generate_key("secp256k1")


def test_certificate_is_no_public_key() -> None:
    with pytest.raises(SignatureError, match="BEGIN PUBLIC KEY"):
        load_public_key(make(Wish()).pem)
