"""The door of trust policies, with real keys and certificates."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from lastgood.api.specs.trust import ModelTrustPolicy
from lastgood.core.trust.policy import Scanner, anchors_digest
from lastgood.errors import InvalidSpecError
from lastgood.verify.signing.keys import key_id
from lastgood.verify.trust_ids import anchors, load_policy, read_policy

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
DIGEST = f"sha256:{'0' * 64}"


def pem(key: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(encoding, form).decode())


def root(key: ec.EllipticCurvePrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def named(index: int, **changes: Any) -> dict[str, Any]:
    return {"name": f"key-{index}", "publicKey": pem(KEYS[index]), **changes}


def certified(**changes: Any) -> dict[str, Any]:
    return {"name": "ci", "root": root(KEYS[0]), "identity": "https://ci.example", **changes}


def policy(signatures: dict[str, Any], *, namespace: str = "ml", **spec: Any) -> dict[str, Any]:
    meta = {"name": "release"} | ({"namespace": namespace} if namespace else {})
    return {"metadata": meta, "spec": {"signatures": signatures, **spec}}


def test_ids_are_those_of_the_signatures() -> None:
    read = read_policy(policy({"keys": [named(0), named(1)], "certificates": [certified()]}))
    assert [key.key_id for key in read.trust.keys] == [key_id(key.public_key()) for key in KEYS]
    assert read.trust.roots[0].root_id == read.roots[0].certificate_id
    assert read.trust.roots[0].key_id == key_id(KEYS[0].public_key())
    assert (read.trust.problem, read.trust.required, len(read.keys), len(read.roots)) == ("", True, 2, 1)


def test_terms_and_scope_go_through_the_door() -> None:
    body = policy({"keys": [named(0, revokedAt="2026-03-01T00:00:00Z")]}, namespace="")
    read = read_policy(body)
    assert (read.trust.keys[0].revoked, read.trust.cluster, read.trust.name) == (
        NOW,
        True,
        "ClusterModelTrustPolicy release",
    )


WRONG = {
    "keys[0].publicKey": [
        (named(0, publicKey="not PEM"), "must be PEM"),
        (named(0, publicKey=pem(ec.generate_private_key(ec.SECP256K1()))), "secp256k1"),
        (named(0, publicKey=pem(rsa.generate_private_key(65537, 2048))), "elliptic-curve"),
        (named(0, publicKey="-----BEGIN EC PRIVATE KEY-----"), "is a private key"),
    ],
    "certificates[0].root": [
        (certified(root="not PEM"), "must be PEM"),
        (certified(root=root(KEYS[0]) + root(KEYS[1])), "must be one certificate"),
    ],
}


@pytest.mark.parametrize(
    ("field", "item", "words"), [(field, item, words) for field, rows in WRONG.items() for item, words in rows]
)
def test_wrong_key_is_refused_by_its_field(field: str, item: dict[str, Any], words: str) -> None:
    body = policy({field.partition("[")[0]: [item]})
    with pytest.raises(InvalidSpecError) as refused:
        load_policy(ModelTrustPolicy.from_body(body))
    assert f"spec.signatures.{field}: " in str(refused.value)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "signatures",
    [
        pytest.param({"keys": [named(0), named(0, name="another")]}, id="one key under two names"),
        pytest.param({"certificates": [certified(), certified(name="another")]}, id="one signer under two names"),
    ],
)
def test_one_signer_does_not_count_twice(signatures: dict[str, Any]) -> None:
    assert "the same" in read_policy(policy(signatures)).trust.problem


def test_policy_that_cannot_be_used_trusts_nobody_and_frees_nothing() -> None:
    revoked = [{"digest": DIGEST, "reason": "INC-1"}]
    read = read_policy(policy({"keys": [named(0, publicKey="x")]}, models=["digits"], revokedDigests=revoked))
    assert (read.trust.required, read.trust.models, read.keys) == (True, ("digits",), ())
    assert "keys[0].publicKey" in read.trust.problem
    assert read.trust.revoked_digests == {DIGEST: "INC-1"}


def test_anchors_of_several_policies_are_each_there_once() -> None:
    first = read_policy(policy({"keys": [named(0), named(1)]}))
    second = read_policy(policy({"keys": [named(0)], "certificates": [certified()]}, models=["digits"]))
    found = anchors([first, second], "digits")
    assert (len(found.keys), len(found.roots)) == (2, 1)
    assert found.digest == anchors_digest([first.trust, second.trust])
    assert anchors([first, second], "fraud").digest == anchors_digest([first.trust])


def test_allowed_code_goes_through_the_door() -> None:
    read = read_policy(policy({"keys": [named(0)]}, scan={"allowedCode": [DIGEST], "allowUnjudged": True}))
    assert (read.trust.code, read.trust.allow_unjudged) == (frozenset({DIGEST}), True)
    broken = read_policy(policy({"keys": [named(0)]}, scan={"allowedCode": ["*"]}))
    assert "spec.scan.allowedCode[0]: must be sha256:" in broken.trust.problem


def test_scanner_has_the_image_that_an_administrator_installed_or_none() -> None:
    body = {"metadata": {"name": "p", "namespace": "ml"}, "spec": {"scan": {"external": ["acme", "beta"]}}}
    read = read_policy(body, {"acme": "acme:2", "other": "other:1"}).trust
    assert read.external == (Scanner(name="acme", image="acme:2"), Scanner(name="beta", image=""))
