"""Bundles that are garbage, huge, or lie: each is refused with a reason, and none hangs."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.verify import FileEntry, manifest
from lastgood.verify.signing import MAX_BUNDLE, Problem, SignatureError, examine, generate_key, sign
from lastgood.verify.signing.statement import CLAIMS
from tests.unit.verify.signing.makers import NOW, Forger, encoded

FORGER = Forger()
ONE = "a" * 64
FILES = (FileEntry(path="config.json", size=2, sha256=ONE), FileEntry(path="shards/1.bin", size=3, sha256="b" * 64))
GOOD = sign(FILES, FORGER.key)
Change = Callable[[Any], object]


def refused(bundle: bytes, files: tuple[FileEntry, ...] = FILES) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        examine(bundle, files, keys=[FORGER.key.public], roots=[], at=NOW)
    return caught.value


def outside(change: Change) -> bytes:
    """Change the unsigned layers."""
    bundle = json.loads(GOOD)
    change(bundle)
    return json.dumps(bundle).encode()


def put(path: str, value: object) -> Change:
    def change(body: Any) -> None:
        *parents, name = [int(part) if part.isdecimal() else part for part in path.split("/")]
        for parent in parents:
            body = body[parent]
        body[name] = value

    return change


def reroot(statement: Any) -> None:
    """Make the subject's digest right again, as a signer with bad intent would."""
    hashes = (bytes.fromhex(resource["digest"]) for resource in statement["predicate"]["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(b"".join(hashes)).hexdigest()


def resigned(*changes: Change) -> bytes:
    def change(statement: Any) -> None:
        for each in changes:
            each(statement)
        reroot(statement)

    return FORGER.change(GOOD, change)


def test_good_bundle_is_right() -> None:
    fact = examine(GOOD, FILES, keys=[FORGER.key.public], roots=[], at=NOW)
    assert (fact.key_id, fact.claims, fact.left_out) == (FORGER.key.public.key_id, None, ())


def test_helper_that_signs_again_makes_good_bundles() -> None:
    examine(resigned(), FILES, keys=[FORGER.key.public], roots=[], at=NOW)


@pytest.mark.parametrize(
    ("bundle", "reason", "words"),
    [
        pytest.param(b"", Problem.MALFORMED, "bundle is not JSON", id="nothing"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00", Problem.MALFORMED, "bundle is not UTF-8", id="an image"),
        pytest.param(b"null", Problem.MALFORMED, "bundle is not a JSON object", id="null"),
        pytest.param(b"[]", Problem.MALFORMED, "bundle is not a JSON object", id="a list"),
        pytest.param(b"{}", Problem.UNSUPPORTED, "bundle.mediaType: must be", id="an empty object"),
        pytest.param(GOOD[:-1], Problem.MALFORMED, "bundle is not JSON", id="cut short"),
        pytest.param(GOOD + GOOD, Problem.MALFORMED, "bundle is not JSON", id="two bundles in one file"),
        pytest.param(b"\xff\xfe" + GOOD.decode().encode("utf-16-le"), Problem.MALFORMED, "not UTF-8", id="UTF-16"),
        pytest.param(b" " * (MAX_BUNDLE + 1), Problem.TOO_LARGE, "is larger than", id="beyond 64 MiB"),
        pytest.param(b"[" * 900, Problem.TOO_LARGE, "nested deeper than 64", id="a little deep"),
        pytest.param(b"[" * 100_000, Problem.TOO_LARGE, "more than 1000 values", id="deeply nested"),
        pytest.param(b'{"a":' * 999, Problem.TOO_LARGE, "nested deeper than 64", id="deeply nested objects"),
        pytest.param(b"[" + b"[]," * 10_000_000 + b"0]", Problem.TOO_LARGE, "values", id="a memory bomb"),
        pytest.param(
            GOOD.replace(b'{"mediaType"', b'{"mediaType":"x","mediaType"'),
            Problem.MALFORMED,
            "the key 'mediaType' twice",
            id="duplicate keys",
        ),
        pytest.param(GOOD.replace(b'"keyid":""', b'"keyid":NaN'), Problem.MALFORMED, "has NaN", id="NaN"),
        pytest.param(
            GOOD.replace(b'"keyid":""', b'"keyid":' + b"9" * 10_000), Problem.MALFORMED, "not JSON", id="a huge number"
        ),
    ],
)
def test_text_that_is_no_bundle(bundle: bytes, reason: Problem, words: str) -> None:
    error = refused(bundle)
    assert error.reason == reason
    assert words in str(error)


SIGNATURES = "dsseEnvelope/signatures"


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        pytest.param(
            put("mediaType", "application/vnd.dev.sigstore.bundle.v0.2+json"),
            Problem.UNSUPPORTED,
            "bundle.mediaType: must be application/vnd.dev.sigstore.bundle.v0.3+json, and is",
            id="another version",
        ),
        pytest.param(put("verificationMaterial", {}), Problem.MALFORMED, "either publicKey or", id="no method"),
        pytest.param(put("verificationMaterial", 3), Problem.MALFORMED, "must be an object", id="a number for it"),
        pytest.param(
            put("verificationMaterial/x509CertificateChain", {"certificates": []}),
            Problem.MALFORMED,
            "either publicKey or",
            id="two methods",
        ),
        pytest.param(
            put("verificationMaterial", {"certificate": {"rawBytes": "AA=="}}),
            Problem.UNSUPPORTED,
            "keyless",
            id="keyless",
        ),
        pytest.param(
            put("verificationMaterial", {"x509CertificateChain": {"certificates": []}}),
            Problem.MALFORMED,
            "must hold the signer's certificate",
            id="an empty chain",
        ),
        pytest.param(
            put("verificationMaterial", {"x509CertificateChain": {"certificates": [{"rawBytes": "AA=="}] * 11}}),
            Problem.MALFORMED,
            "a list of at most 10",
            id="too long a chain",
        ),
        pytest.param(
            put("verificationMaterial", {"x509CertificateChain": {"certificates": [{"rawBytes": "AA=="}]}}),
            Problem.MALFORMED,
            "certificate 0 of the bundle cannot be read",
            id="garbage for a certificate",
        ),
        pytest.param(
            put("dsseEnvelope/payloadType", "text/plain"),
            Problem.UNSUPPORTED,
            "bundle.dsseEnvelope.payloadType: must be application/vnd.in-toto+json, and is text/plain",
            id="another payload type",
        ),
        pytest.param(put("dsseEnvelope", None), Problem.UNSUPPORTED, "payloadType", id="no envelope"),
        pytest.param(put("dsseEnvelope/payload", "A"), Problem.MALFORMED, "payload: must be base64", id="bad base64"),
        pytest.param(
            put("dsseEnvelope/payload", "e30=\n"), Problem.MALFORMED, "payload: must be base64", id="a line break in it"
        ),
        pytest.param(put("dsseEnvelope/payload", "é"), Problem.MALFORMED, "must be base64", id="not even ASCII"),
        pytest.param(put("dsseEnvelope/payload", ""), Problem.MALFORMED, "payload: must be", id="no payload"),
        pytest.param(put(SIGNATURES, []), Problem.MALFORMED, "exactly one signature, and holds 0", id="no signature"),
        pytest.param(
            lambda bundle: bundle["dsseEnvelope"]["signatures"].append(bundle["dsseEnvelope"]["signatures"][0]),
            Problem.MALFORMED,
            "exactly one signature, and holds 2",
            id="two signatures",
        ),
        pytest.param(put(SIGNATURES, "x"), Problem.MALFORMED, "signatures: must be a list", id="text for signatures"),
        pytest.param(put(f"{SIGNATURES}/0/sig", "%%%%"), Problem.MALFORMED, "sig: must be base64", id="a bad one"),
        pytest.param(
            put(f"{SIGNATURES}/0/sig", encoded(b"no ASN.1")),
            Problem.BAD_SIGNATURE,
            "the signature is invalid",
            id="no signature",
        ),
        pytest.param(
            put("dsseEnvelope/payload", encoded("{}")),
            Problem.BAD_SIGNATURE,
            "the signature is invalid",
            id="payload changed",
        ),
        pytest.param(
            put("dsseEnvelope/payload", encoded("[" * 10**6)),
            Problem.BAD_SIGNATURE,
            "the signature is invalid",
            id="a payload that nobody signed is never parsed",
        ),
    ],
)
def test_bundle_that_was_changed(change: Change, reason: Problem, words: str) -> None:
    error = refused(outside(change))
    assert (error.reason, error.findings) == (reason, ())
    assert words in str(error)


RESOURCE = "predicate/resources/0"


def resource(name: str) -> dict[str, str]:
    return {"name": name, "algorithm": "sha256", "digest": ONE}


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        pytest.param(put("_type", "https://in-toto.io/Statement/v0.1"), Problem.UNSUPPORTED, "._type", id="type"),
        pytest.param(
            put("predicateType", "https://model_signing/Digests/v0.1"),
            Problem.UNSUPPORTED,
            "statement.predicateType: must be https://model_signing/signature/v1.0",
            id="the old predicate",
        ),
        pytest.param(put("predicate/serialization/method", "shards"), Problem.UNSUPPORTED, "method", id="shards"),
        pytest.param(put("predicate/serialization/hash_type", "blake3"), Problem.UNSUPPORTED, "hash_type", id="BLAKE3"),
        pytest.param(put("predicate/serialization", None), Problem.UNSUPPORTED, "method", id="no serialization"),
        pytest.param(put(f"{RESOURCE}/algorithm", "md5"), Problem.UNSUPPORTED, "[0].algorithm", id="an MD5"),
        pytest.param(put(f"{RESOURCE}/digest", "A" * 64), Problem.MALFORMED, "[0].digest", id="upper case"),
        pytest.param(put("predicate/resources", []), Problem.NOTHING_SIGNED, "no file was signed", id="no file"),
        pytest.param(
            put("predicate/resources", [resource("a"), resource("a")]),
            Problem.MALFORMED,
            "a is there twice",
            id="a file twice",
        ),
        *(
            pytest.param(put(f"{RESOURCE}/name", name), Problem.MALFORMED, "[0].name", id=f"named {name!r}")
            for name in ("../outside", "/etc/passwd", "a/../../b", "a//b", "./a", ".", "", "a\0b", "\ud800", "x" * 5000)
        ),
        pytest.param(put(f"{RESOURCE}/name", 7), Problem.MALFORMED, "[0].name", id="a number for a name"),
        pytest.param(put("predicate/resources/0", "a"), Problem.MALFORMED, "resources[0]", id="text for a resource"),
        pytest.param(
            lambda statement: statement["subject"].append(statement["subject"][0]),
            Problem.MALFORMED,
            "exactly one subject, and holds 2",
            id="two subjects",
        ),
        pytest.param(
            put("predicate/serialization/ignore_paths", ["a"] * 1001), Problem.MALFORMED, "ignore_paths", id="too much"
        ),
        pytest.param(put("predicate/serialization/ignore_paths", "a"), Problem.MALFORMED, "ignore_paths", id="a text"),
        pytest.param(put(f"predicate/{CLAIMS.replace('/', '|')}", {}), Problem.MALFORMED, "model", id="empty claims"),
    ],
)
def test_statement_by_a_trusted_key_that_is_not_right(change: Change, reason: Problem, words: str) -> None:
    def claims(statement: Any) -> None:
        predicate = statement["predicate"]
        for name in [name for name in predicate if "|" in name]:
            predicate[name.replace("|", "/")] = predicate.pop(name)

    try:
        bundle = resigned(change, claims)
    except (KeyError, TypeError, ValueError):  # there is no right subject digest for it
        bundle = FORGER.change(GOOD, change)
    error = refused(bundle)
    assert error.reason == reason
    assert words in str(error)


def test_subject_that_is_not_the_digest_of_the_resources_is_refused() -> None:
    error = refused(FORGER.change(GOOD, put("subject/0/digest/sha256", ONE)))
    assert error.reason == Problem.MALFORMED
    assert "is not the digest of the statement's own resources" in str(error)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        pytest.param(b'{"_type":1,"_type":2}', "the key '_type' twice", id="duplicate keys"),
        pytest.param(b'{"_type":-Infinity}', "has -Infinity", id="infinity"),
        pytest.param(b'{"a":' + b"[" * 100_000, "nested deeper than 64", id="deeply nested"),
        pytest.param(b"[" + b"[]," * 2_000_000 + b"0]", "more than 1000000 values", id="a memory bomb"),
        pytest.param(b'{"_type":"\xff"}', "statement is not UTF-8", id="not UTF-8"),
    ],
)
def test_signed_text_that_is_no_statement(payload: bytes, words: str) -> None:
    assert words in str(refused(FORGER.seal(payload)))


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        pytest.param([], "claims/v1: must be an object", id="a list"),
        pytest.param({"model": "digits"}, "claims/v1.version", id="no version"),
        pytest.param({"model": "digits", "version": "2" * 129}, "claims/v1.version", id="a long version"),
        pytest.param({"model": "digits", "version": "2", "trainedAt": "soon"}, "trainedAt", id="no time"),
        pytest.param({"model": "digits", "version": "2", "dataCutoff": "2026-01-01T00:00:00"}, "dataCutoff", id="zone"),
        pytest.param({"model": "digits", "version": "2", "image": "x" * 513}, "image", id="image without end"),
        pytest.param({"model": "digits", "version": "2", "image": ["x"]}, "image", id="more than one image"),
    ],
)
def test_claims_that_cannot_be_read_are_not_passed_over(claims: object, words: str) -> None:
    error = refused(resigned(lambda statement: statement["predicate"].update({CLAIMS: claims})))
    assert error.reason == Problem.MALFORMED
    assert words in str(error)


def test_unknown_parts_of_the_predicate_are_ignored() -> None:
    bundle = resigned(lambda statement: statement["predicate"].update({"https://example.org/card": {"a": [1]}}))
    examine(bundle, FILES, keys=[FORGER.key.public], roots=[], at=NOW)


def test_signature_by_somebody_else_is_told_from_a_changed_one() -> None:
    assert refused(sign(FILES, generate_key())).reason == Problem.UNKNOWN_KEY


def test_hint_that_names_a_trusted_key_makes_nobody_trusted() -> None:
    def lie(bundle: Any) -> None:
        bundle["verificationMaterial"]["publicKey"]["hint"] = FORGER.key.public.hint

    bundle = json.loads(sign(FILES, generate_key()))
    lie(bundle)
    assert refused(json.dumps(bundle).encode()).reason == Problem.BAD_SIGNATURE


def test_no_key_at_all_is_not_a_pass() -> None:
    with pytest.raises(SignatureError, match="none of the trusted public keys"):
        examine(GOOD, FILES, keys=[], roots=[], at=NOW)


def test_no_file_is_not_a_pass() -> None:
    assert refused(GOOD, ()).findings == ("config.json is missing", "shards/1.bin is missing")
    with pytest.raises(SignatureError, match="no file to sign"):
        sign((), FORGER.key)


def test_time_without_a_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at: must have a time zone"):
        examine(GOOD, FILES, keys=[], roots=[], at=datetime(2026, 1, 1))  # noqa: DTZ001  this is what is tested
    assert NOW.tzinfo is UTC


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_one_changed_byte_of_a_bundle_never_proves_anything_else(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GOOD) - 1))
    changed = bytearray(GOOD)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        fact = examine(bytes(changed), FILES, keys=[FORGER.key.public], roots=[], at=NOW)
    except SignatureError:
        return
    assert fact == examine(GOOD, FILES, keys=[FORGER.key.public], roots=[], at=NOW)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_and_never_a_crash(garbage: bytes) -> None:
    refused(garbage)
    refused(FORGER.seal(garbage))


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(
        ["subject", "predicate", "predicate/resources", RESOURCE, "predicate/serialization", "subject/0/digest"]
    ),
)
def test_any_value_in_a_signed_statement_is_an_error_and_never_a_crash(value: object, path: str) -> None:
    refused(FORGER.change(GOOD, put(path, value)))


def test_a_hundred_thousand_files_fit(tmp_path: Path) -> None:
    files = tuple(FileEntry(path=f"shards/{n:06}-of-100000.safetensors", size=1, sha256=ONE) for n in range(100_000))
    bundle = sign(files, FORGER.key)
    assert len(bundle) < MAX_BUNDLE
    examine(bundle, files, keys=[FORGER.key.public], roots=[], at=NOW)
    (tmp_path / "a").touch()
    assert len(refused(bundle, manifest(tmp_path)).findings) == 20
