"""What the API server accepts of trust policies and remote sources, and with which sentence it refuses the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.integration.manifests import DIGEST, Body, body, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Cluster

NAMESPACE = "trust-crds"
COLUMNS = 120
KEY = {"name": "release", "publicKey": "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"}
ROOT = {
    "name": "ci",
    "root": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
    "identity": "https://ci.example/release",
}
REFERENCE = f"registry.example:5000/models/digits:2@{DIGEST}"
S3 = {"bucket": "models", "prefix": "digits/2"}


@pytest.fixture(scope="module")
def cluster(api: Cluster) -> Iterator[Cluster]:
    """A cluster with the definitions; a namespace, and policies of the cluster, that are gone afterwards.

    A policy of the cluster binds the snapshots of every test that comes after, in whichever order they come.
    """
    api.kubectl("create", "namespace", NAMESPACE)
    yield api
    api.kubectl("delete", "clustermodeltrustpolicies", "--all")
    api.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def policy(name: str = "release", kind: str = "ModelTrustPolicy", **changes: object) -> Body:
    return body(kind, name, changes)


def signers(**changes: object) -> Body:
    return policy(signatures={"keys": [KEY], **changes})


def refusal(cluster: Cluster, manifest: Body) -> str:
    """Return the words with which `kubectl apply` refuses a manifest, empty if it does not."""
    text = yaml.safe_dump(manifest)
    done = cluster.kubectl("-n", NAMESPACE, "apply", "--dry-run=server", "-f", "-", stdin=text, check=False)
    return done.stderr if done.returncode else ""


def from_source(**source: object) -> Body:
    return snapshot(source=source)


REFUSED = [
    (policy(models=[]), "spec.models", "at least 1 items"),
    (policy(scan={"external": ["Acme"]}), "spec.scan.external[0]", "names of installed scanners"),
    (policy(scan={"external": ["registry/acme:1"]}), "spec.scan.external[0]", "names of installed scanners"),
    (policy(scan={"external": ["acme", "acme"]}), "spec.scan.external[1]", "Duplicate value"),
    (policy(scan={"external": [f"s{number}" for number in range(9)]}), "spec.scan.external", "at most 8"),
    (policy(models=["Digits 1"]), "spec.models[0]", "model families"),
    (policy(signatures={}), "spec.signatures", "names nobody"),
    (signers(keys=[]), "spec.signatures", "names nobody"),
    (signers(threshold=0), "spec.signatures.threshold", "greater than or equal to 1"),
    (signers(threshold=2), "spec.signatures", "threshold must be at most the number of keys"),
    (signers(keys=[KEY, KEY]), "spec.signatures.keys[1]", "Duplicate value"),
    (signers(certificates=[{**ROOT, "name": "release"}]), "spec.signatures", "have the same name"),
    (
        signers(keys=[{**KEY, "publicKey": "-----BEGIN EC PRIVATE KEY-----\nx"}]),
        "spec.signatures.keys[0].publicKey",
        "BEGIN PUBLIC KEY",
    ),
    (
        signers(keys=[{**KEY, "notBefore": "2026-02-01T00:00:00Z", "notAfter": "2026-01-01T00:00:00Z"}]),
        "spec.signatures.keys[0]",
        "notAfter must not be before notBefore",
    ),
    (
        signers(certificates=[{"name": "ci", "root": ROOT["root"]}]),
        "spec.signatures.certificates[0].identity",
        "Required",
    ),
    (signers(certificates=[{**ROOT, "root": "x"}]), "certificates[0].root", "BEGIN CERTIFICATE"),
    (policy(revokedDigests=[{"digest": "sha256:abc"}]), "spec.revokedDigests[0].digest", "71"),
    (policy(revokedDigests=[{"digest": DIGEST.upper()}]), "spec.revokedDigests[0].digest", "64 lowercase"),
    (policy(formats={"allowed": []}), "spec.formats.allowed", "at least 1 items"),
    (policy(images={}), "spec.images.repositories", "Required"),
    (policy(images={"repositories": []}), "spec.images.repositories", "at least 1 items"),
    (policy(images={"repositories": ["serving"]}), "spec.images.repositories[0]", "registries and paths in them"),
    (policy(images={"repositories": ["registry.example/*"]}), "spec.images.repositories[0]", "without tag, digest"),
    (policy(images={"repositories": ["registry.example/x/"]}), "spec.images.repositories[0]", "'/' at the end"),
    (policy(images={"repositories": ["Registry.example/x"]}), "spec.images.repositories[0]", "lowercase"),
    (policy(images={"repositories": [f"registry.example/x@{DIGEST}"]}), "spec.images.repositories[0]", "without tag"),
    (policy(scan={"failOn": "urgent"}), "spec.scan.failOn", '"critical"'),
    (policy(scan={"allowedCode": ["*.py"]}), "spec.scan.allowedCode[0]", "paste status.scan.code"),
    (
        policy(scan={"allowedCode": [f"sha256:{number:064}" for number in range(65)]}),
        "spec.scan.allowedCode",
        "at most 64",
    ),
    (policy(floor={"firstSeen": "2026-01-01T00:00:00Z"}), "spec.floor.firstSeen", "unknown field"),
    (from_source(s3={"bucket": "models"}), "spec.source.s3.prefix", "Required"),
    (from_source(s3={**S3, "prefix": "/digits"}), "spec.source.s3.prefix", "empty segments"),
    (from_source(s3={**S3, "prefix": "digits/\n2"}), "spec.source.s3.prefix", "invisible characters"),
    (from_source(s3={**S3, "bucket": "Models"}), "spec.source.s3.bucket", "the name of a bucket"),
    (from_source(s3={**S3, "endpoint": "https://me:secret@minio"}), "spec.source.s3.endpoint", "without user name"),
    (from_source(s3={**S3, "endpoint": "file:///etc"}), "spec.source.s3.endpoint", "begins with https://"),
    (from_source(s3={**S3, "region": "here there"}), "spec.source.s3.region", "the name of a region"),
    (
        from_source(oci={"reference": "registry.example/models/digits:latest"}),
        "spec.source.oci.reference",
        "a tag alone",
    ),
    (from_source(http={"url": "https://x/a b"}), "spec.source.http.url", "white space"),
    (from_source(http={"url": "https://x/a#b"}), "spec.source.http.url", "fragment"),
    (from_source(http={"url": "https://x/a\\b"}), "spec.source.http.url", "must be a URL"),
    (from_source(http={"url": "https://x/", "secretRef": {"name": "A B"}}), "secretRef.name", "the name of a Secret"),
    (snapshot(mirrors=[{}]), "spec.mirrors[0]", "must name exactly one place"),
    (snapshot(mirrors=[{"s3": S3, "http": {"url": "https://x/"}}]), "spec.mirrors[0]", "must name exactly one place"),
    (snapshot(mirrors=[{"s3": S3}] * 9), "spec.mirrors", "at most 8"),
    (snapshot(repair="FromMirror"), "spec", "name one in mirrors"),
    (snapshot(signatures=[{}]), "spec.signatures[0]", "give one of `configMapKeyRef` and `path`"),
    (snapshot(signatures=[{"path": "../x"}]), "spec.signatures[0].path", "'.', '..'"),
    (snapshot(metrics=[{"name": "a", "value": "high"}]), "spec.metrics[0].value", "a decimal number"),
    (snapshot(metrics=[{"name": "a", "value": "1"}] * 2), "spec.metrics[1]", "Duplicate value"),
]


@pytest.mark.parametrize(("manifest", "field", "words"), REFUSED)
def test_mistake_is_refused_with_a_sentence(cluster: Cluster, manifest: Body, field: str, words: str) -> None:
    said = refusal(cluster, manifest)
    assert field in said
    assert words in said


@pytest.mark.parametrize(
    "manifest",
    [
        policy(),
        signers(certificates=[ROOT], threshold=2),
        policy(kind="ClusterModelTrustPolicy", revokedDigests=[{"digest": DIGEST, "reason": "INC-1"}]),
        policy(images={"repositories": ["registry.example:5000/serving/digits", "registry.example", "localhost/x"]}),
        policy(kind="ClusterModelTrustPolicy", images={"repositories": ["registry.example/a_b/c--d.e"]}),
        policy(scan={}, formats={"allowed": ["safetensors", "json"]}, models=["digits"]),
        from_source(s3={**S3, "endpoint": "https://minio.example:9000", "secretRef": {"name": "models"}}),
        from_source(oci={"reference": REFERENCE}),
        from_source(http={"url": "https://models.example/digits/2.safetensors?x=y"}),
        snapshot(mirrors=[{"s3": S3}, {"oci": {"reference": REFERENCE}}], repair="FromMirror", capture=True),
        snapshot(signatures=[{"path": "model.sig"}, {"configMapKeyRef": {"name": "sigs", "key": "b.sig"}}]),
        snapshot(metrics=[{"name": "accuracy", "value": "0.97"}, {"name": "loss", "value": "-0.001"}]),
    ],
)
def test_good_manifest_is_accepted(cluster: Cluster, manifest: Body) -> None:
    assert refusal(cluster, manifest) == ""


@pytest.mark.parametrize("kind", ["ModelTrustPolicy", "ClusterModelTrustPolicy"])
@pytest.mark.parametrize(
    ("lower", "words"),
    [
        ({"dataCutoff": "2026-01-31T23:59:59Z"}, "dataCutoff only rises"),
        ({"trainedAt": "2026-02-01T00:00:00Z"}, "dataCutoff only rises"),
        (None, "floor only rises"),
    ],
)
def test_floor_that_is_lowered_is_refused(cluster: Cluster, kind: str, lower: Body | None, words: str) -> None:
    floor = {"dataCutoff": "2026-02-01T00:00:00Z"}
    cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=yaml.safe_dump(policy("floor", kind, floor=floor)))
    lowered = policy("floor", kind, **({"floor": lower} if lower else {}))
    assert words in refusal(cluster, lowered)
    raised = policy("floor", kind, floor={"dataCutoff": "2026-02-01T03:00:00+01:00"})
    assert refusal(cluster, raised) == ""


@pytest.mark.parametrize("short", ["mtp", "cmtp"])
def test_table_of_policies_fits_into_a_terminal(cluster: Cluster, short: str) -> None:
    kind = {"mtp": "ModelTrustPolicy", "cmtp": "ClusterModelTrustPolicy"}[short]
    manifest = policy("release-of-the-fraud-team", kind, models=["fraud-detector"], signatures={"keys": [KEY]})
    cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    lines = cluster.kubectl("-n", NAMESPACE, "get", short).stdout.splitlines()
    assert lines[0].split() == ["NAME", "MODELS", "SIGNED", "THRESHOLD", "SCAN", "AGE"]
    assert max(map(len, lines)) <= COLUMNS, "\n".join(lines)
