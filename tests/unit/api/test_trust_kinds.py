"""Trust policies, remote sources, and evidence in a status: what is read, what is refused, what is cut off."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from lastgood.api.facts.evidence import MAX_FACTS, MAX_FINDINGS, TOO_MANY_FORMATS, Finding, Scan
from lastgood.api.facts.signature import Examined, Method, SignatureFact
from lastgood.api.fields import compact
from lastgood.api.names import Digest, Severity
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.snapshot import ConfigMapBundle, Metric, ModelSnapshot, PathBundle, SnapshotStatus
from lastgood.api.specs.sources import OciSource, S3Source, UrlSource
from lastgood.api.specs.trust import ModelTrustPolicy, lenient_models, lenient_revoked
from lastgood.errors import InvalidSpecError
from tests.unit.api.test_fields import json
from tests.unit.api.test_kinds import DEPLOYMENT, DIGEST, SNAPSHOT, changed

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = {"name": "alice", "publicKey": "PEM"}
ROOT = {"name": "ci", "root": "PEM", "identity": "https://ci.example/release"}
REFERENCE = f"registry.example:5000/models/digits:2@{DIGEST}"


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ml", "name": "release"}, "spec": spec}


def test_empty_policy_asks_for_nothing() -> None:
    read = ModelTrustPolicy.from_body(policy())
    assert (read.models, read.required, read.scanned, read.formats) == (("*",), False, False, None)


def test_policy_that_names_signers_requires_them() -> None:
    read = ModelTrustPolicy.from_body(policy(signatures={"keys": [KEY], "certificates": [ROOT], "threshold": 2}))
    assert (read.required, read.threshold, read.allow_left_out) == (True, 2, False)
    assert (read.keys[0].name, read.certificates[0].identity) == ("alice", "https://ci.example/release")
    assert read.title == "ModelTrustPolicy release"


def test_policy_that_asks_for_a_scan_requires_one() -> None:
    read = ModelTrustPolicy.from_body(policy(scan={}, formats={"allowed": ["json"]}))
    assert (read.scanned, read.fail_on, read.formats) == (True, Severity.HIGH, ("json",))
    images = ModelTrustPolicy.from_body(policy(images={"repositories": ["r.example/x", "r.example:5000"]}))
    assert (images.images, ModelTrustPolicy.from_body(policy()).images) == (("r.example/x", "r.example:5000"), None)
    assert (read.allow_unjudged, read.allowed_code) == (False, ())
    lenient = ModelTrustPolicy.from_body(policy(scan={"allowUnjudged": True, "allowedCode": [DIGEST]}))
    assert (lenient.scanned, lenient.allow_unjudged, lenient.allowed_code) == (True, True, (DIGEST,))
    external = ModelTrustPolicy.from_body(policy(scan={"required": False, "external": ["acme", "beta"]}))
    assert (external.scanned, external.external) == (False, ("acme", "beta"))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"models": []}, "spec.models: must name at least one model"),
        ({"models": "digits"}, "spec.models: must be a list"),
        ({"signatures": {}}, "spec.signatures: must name at least one of keys and certificates"),
        ({"signatures": {"keys": [KEY], "threshold": 0}}, "spec.signatures.threshold: must be a whole number from 1"),
        ({"signatures": {"keys": [KEY], "threshold": True}}, "spec.signatures.threshold: must be a whole number"),
        ({"signatures": {"keys": [KEY], "threshold": 2}}, "spec.signatures.threshold: must be at most 1"),
        ({"signatures": {"keys": [KEY, KEY]}}, "the name 'alice' is given twice"),
        ({"signatures": {"keys": [KEY], "certificates": [{**ROOT, "name": "alice"}]}}, "given twice"),
        ({"signatures": {"keys": [KEY] * 17}}, "spec.signatures.keys: must be a list of at most 16"),
        ({"signatures": {"keys": [{"name": "a"}]}}, "spec.signatures.keys[0].publicKey: must be a string"),
        ({"signatures": {"certificates": [{**ROOT, "identity": ""}]}}, "certificates[0].identity: must be a string"),
        ({"signatures": {"keys": [{**KEY, "revokedAt": "soon"}]}}, "keys[0].revokedAt: must be an RFC 3339 time"),
        (
            {
                "signatures": {
                    "keys": [{**KEY, "notBefore": "2026-02-01T00:00:00Z", "notAfter": "2026-01-01T00:00:00Z"}]
                }
            },
            "keys[0].notAfter: must not be before notBefore",
        ),
        ({"signatures": {"keys": [KEY], "required": "no"}}, "spec.signatures.required: must be true or false"),
        ({"revokedDigests": [{"digest": "sha256:x"}]}, "spec.revokedDigests[0].digest: must be sha256:"),
        ({"floor": {"dataCutoff": 7}}, "spec.floor.dataCutoff: must be an RFC 3339 time"),
        ({"formats": {"allowed": []}}, "spec.formats.allowed: must name at least one"),
        ({"images": {}}, "spec.images.repositories: must name at least one repository"),
        ({"images": {"repositories": []}}, "spec.images.repositories: must name at least one repository"),
        ({"images": {"repositories": "registry.example"}}, "spec.images.repositories: must be a list"),
        ({"images": {"repositories": ["r.example/x", "*"]}}, "spec.images.repositories[1]: must be a registry"),
        (
            {"images": {"repositories": ["serving"]}},
            "spec.images.repositories[0]: must begin with the name",
        ),
        ({"images": {"repositories": ["r.example/x"] * 65}}, "spec.images.repositories: must be a list of at most 64"),
        ({"scan": {"external": "acme"}}, "spec.scan.external: must be a list"),
        ({"scan": {"external": ["registry/acme:1"]}}, "spec.scan.external: must be different names"),
        ({"scan": {"external": ["acme", "acme"]}}, "spec.scan.external: must be different names"),
        (
            {"scan": {"external": [f"s{number}" for number in range(9)]}},
            "spec.scan.external: must be a list of at most 8",
        ),
        ({"scan": {"failOn": "urgent"}}, "spec.scan.failOn: must be critical"),
        ({"scan": {"allowUnjudged": "yes"}}, "spec.scan.allowUnjudged: must be true or false"),
        ({"scan": {"allowedCode": DIGEST}}, "spec.scan.allowedCode: must be a list"),
        ({"scan": {"allowedCode": [DIGEST, "*.py"]}}, "spec.scan.allowedCode[1]: must be sha256:"),
        ({"scan": {"allowedCode": ["unknown"]}}, "spec.scan.allowedCode[0]: must be sha256:"),
        ({"scan": {"allowedCode": [""]}}, "spec.scan.allowedCode[0]: must be sha256:"),
        ({"scan": {"allowedCode": [DIGEST] * 65}}, "spec.scan.allowedCode: must be a list of at most 64"),
    ],
)
def test_policy_is_refused_with_a_sentence(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        ModelTrustPolicy.from_body(policy(**spec))
    assert sentence in str(refused.value)


def test_mistake_elsewhere_does_not_set_a_revoked_digest_free() -> None:
    body = policy(models=["digits"], signatures={}, revokedDigests=[{"digest": DIGEST, "reason": "x"}, {"digest": "y"}])
    assert lenient_revoked(body) == {DIGEST: "x"}
    assert lenient_models(body) == ("digits",)
    assert lenient_models(policy(models=7)) == ("*",)


@given(json)
def test_policy_of_any_shape_is_read_or_refused(spec: Any) -> None:
    body = {"metadata": {"name": "release"}, "spec": spec}
    try:
        ModelTrustPolicy.from_body(body)
    except InvalidSpecError as error:
        assert str(error).startswith("spec")  # noqa: PT017 - both are fine, and the sentence names the field
    lenient_models(body)
    lenient_revoked(body)


# Sources


def test_remote_sources_are_read() -> None:
    s3 = {"bucket": "models", "prefix": "digits/2", "endpoint": "https://minio:9000", "secretRef": {"name": "s3"}}
    body = changed(SNAPSHOT, "spec.source", {"s3": s3})
    body = changed(body, "spec.mirrors", [{"oci": {"reference": REFERENCE}}, {"http": {"url": "https://x/2.bin"}}])
    read = ModelSnapshot.from_body(changed(body, "spec.repair", "FromMirror"))
    assert read.source == S3Source(bucket="models", prefix="digits/2", endpoint="https://minio:9000", secret="s3")
    assert read.mirrors == (OciSource(reference=REFERENCE), UrlSource(url="https://x/2.bin"))
    assert (read.repair, read.source.path) == (True, "")
    assert read.source.uri == "s3://models/digits/2?endpoint=https%3A%2F%2Fminio%3A9000"
    assert read.mirrors[0].uri == f"oci://{REFERENCE}"


def test_signatures_and_metrics_are_read() -> None:
    bundles = [{"path": "model.sig"}, {"configMapKeyRef": {"name": "sigs", "key": "b"}}]
    body = changed(SNAPSHOT, "spec.signatures", bundles)
    read = ModelSnapshot.from_body(changed(body, "spec.metrics", [{"name": "accuracy", "value": "0.97"}]))
    assert read.signatures == (PathBundle(path="model.sig"), ConfigMapBundle(name="sigs", key="b"))
    assert read.metrics == (Metric(name="accuracy", value="0.97"),)


def test_capture_of_what_soaked_is_asked_for() -> None:
    assert ModelDeployment.from_body(
        changed(DEPLOYMENT, "spec.rollback.captureSoaked", value=True)
    ).rollback.capture_soaked


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("spec.source", {"s3": {"bucket": "b"}}, "spec.source.s3.bucket: must be the name of a bucket"),
        ("spec.source", {"s3": {"bucket": "models", "prefix": "../x"}}, "spec.source.s3.prefix: must be relative"),
        ("spec.source", {"oci": {"reference": "r.example/digits:latest"}}, "must be registry/repository@sha256:"),
        ("spec.source", {"oci": {"reference": REFERENCE + "\n"}}, "must be registry/repository@sha256:"),
        ("spec.source", {"http": {"url": "https://me:secret@x/"}}, "must hold no user or password"),
        ("spec.source", {"http": {"url": "file:///etc/passwd"}}, "must start with http:// or https://"),
        ("spec.source", {"http": {"url": "https://x/\u202ea"}}, "invisible character"),
        ("spec.source", {"http": {"url": "https://[x/"}}, "must be a URL"),
        ("spec.source", {"http": {"url": "https://x:99999/"}}, "must be a URL"),
        ("spec.source", {"http": {"url": "https://x/", "secretRef": {}}}, "secretRef.name: must be a string"),
        ("spec.mirrors", [{}], "spec.mirrors[0]: must have exactly one of"),
        ("spec.mirrors", [{"store": {"path": "a"}}] * 9, "spec.mirrors: must be a list of at most 8"),
        ("spec.repair", "Always", "spec.repair: must be Never or FromMirror"),
        ("spec.repair", "FromMirror", "spec.repair: FromMirror needs a copy"),
        ("spec.signatures", [{}], "spec.signatures[0]: must have exactly one of"),
        ("spec.signatures", [{"path": "/etc/x"}], "spec.signatures[0].path: must be relative"),
        ("spec.capture", "yes", "spec.capture: must be true or false"),
        ("spec.metrics", [{"name": "a", "value": "NaN"}], "spec.metrics[0].value: must be a decimal number"),
        ("spec.metrics", [{"name": "a", "value": "1"}] * 2, "spec.metrics[1].name: 'a' is given twice"),
    ],
)
def test_snapshot_is_refused_with_a_sentence(path: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        ModelSnapshot.from_body(changed(SNAPSHOT, path, value))
    assert sentence in str(refused.value)
    assert "secret@" not in str(refused.value)


# Evidence in a status


def status_of(**status: Any) -> SnapshotStatus:
    return ModelSnapshot.from_body({**SNAPSHOT, "status": status}).status


def test_gravest_finding_is_not_the_one_that_is_cut_off() -> None:
    small = tuple(Finding(severity=Severity.LOW, rule=f"r{number}") for number in range(MAX_FINDINGS))
    worst = Finding(severity=Severity.CRITICAL, rule="pickle-import")
    scan = Scan(time=NOW, digest=Digest(DIGEST), verdict="Finding", findings=(*small, worst))
    read = status_of(scan=scan.as_body()).scan
    assert read is not None
    assert (read.findings[0], len(read.findings)) == (worst, MAX_FINDINGS)


def test_too_many_formats_do_not_hide_one() -> None:
    scan = Scan(
        time=NOW, digest=Digest(DIGEST), verdict="NoFinding", formats=tuple(f"f{number}" for number in range(99))
    )
    read = status_of(scan=scan.as_body()).scan
    assert read is not None
    assert read.formats[-1] == TOO_MANY_FORMATS


def test_flood_of_facts_is_cut_off() -> None:
    flood = tuple(SignatureFact(method=Method.KEY, key_id=str(number)) for number in range(99))
    status = SnapshotStatus(signatures=Examined(time=NOW, digest=Digest(DIGEST), facts=flood))
    read = status_of(**compact(status.as_body())).signatures
    assert read is not None
    assert len(read.facts) == MAX_FACTS


@pytest.mark.parametrize(
    ("fact", "kept"),
    [
        ({"method": "magic", "keyID": "a"}, False),
        ({"method": "key"}, False),
        ({"method": "key", "keyID": 7}, False),
        ({"method": "key", "keyID": "a"}, True),
    ],
)
def test_fact_that_nobody_could_have_written_is_none(fact: dict[str, Any], kept: bool) -> None:  # noqa: FBT001 - a column
    read = status_of(signatures={"time": "2026-03-01T00:00:00Z", "digest": DIGEST, "facts": [fact]}).signatures
    assert read is not None
    assert bool(read.facts) is kept


def test_left_out_files_that_cannot_be_read_are_still_left_out() -> None:
    fact = {"method": "key", "keyID": "a", "leftOut": [7]}
    read = status_of(signatures={"time": "2026-03-01T00:00:00Z", "facts": [fact]}).signatures
    assert read is not None
    assert read.facts[0].left_out


@given(json, json, json)
def test_nonsense_in_evidence_is_read(signatures: Any, scan: Any, capture: Any) -> None:
    status = status_of(signatures=signatures, scan=scan, capture=capture)
    replace(status, digest=Digest("")).as_body()
