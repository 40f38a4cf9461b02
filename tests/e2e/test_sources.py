"""One snapshot from each source, deployed and gone back to; the store itself is what `test_scenes.py` plays on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lastgood.verify import digest, manifest_digest
from tests.e2e.team import SLOW, Team, team, using
from tests.servers.attacker import Attacker, Request, attacker
from tests.servers.registry import PASSWORD, USER, RegistryServer, registry_server
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, s3_server
from tests.servers.samples import entries, raw, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cluster import Cluster
    from tests.integration.world import Body

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]  # the first test may build a cluster and images

SERVED = ("PersistentVolumeClaim", "Deployment", "Service", "ModelDeployment")


# On a claim, signed


@pytest.fixture(scope="module")
def signed(operated: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A claim whose snapshots must be signed, as docs/signing.md says; digits-v1 serves."""
    keys = tmp_path_factory.mktemp("keys")
    lastgood("keygen", "--key", str(keys / "key.pem"), "--public-key", str(keys / "key.pub"))
    with team(operated, "signed", tmp_path_factory.mktemp("signed")) as there:
        there.apply(policy((keys / "key.pub").read_text()))
        for version in ("1", "2"):
            sign(there, version, keys / "key.pem")
        sign(there, "4", keys / "key.pem", mirrors=[{"pvc": {"claimName": "models", "path": "copies/4.json"}}])
        there.apply(on_claim(there, "3"))
        there.bring("verify-init.yaml", kinds=SERVED)
        there.served("digits-v1", within=SLOW)
        yield there


def lastgood(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "lastgood", *arguments], check=True, capture_output=True)


def policy(key: str) -> Body:
    keys = [{"name": "release", "publicKey": key}]
    return {
        "apiVersion": "lastgood.dev/v1alpha1",
        "kind": "ModelTrustPolicy",
        "metadata": {"name": "release"},
        "spec": {"models": ["digits"], "signatures": {"keys": keys}},
    }


def on_claim(there: Team, version: str, **more: object) -> Body:
    """Write a checkpoint onto the claim and return its snapshot."""
    file = there.write(f"digits/{version}.json", f'{{"accuracy": 0.9{version}}}\n')
    source = {"pvc": {"claimName": "models", "path": f"digits/{version}.json"}}
    return there.snapshot(version, source=source, digest=digest(file).digest, **more)


def sign(there: Team, version: str, key: Path, **more: object) -> None:
    """Sign a checkpoint on the command line, and apply it with its bundle in a ConfigMap."""
    reference = {"configMapKeyRef": {"name": f"digits-v{version}-signature", "key": "model.sig"}}
    snapshot = on_claim(there, version, signatures=[reference], **more)
    bundle = key.parent / f"{version}.sig"
    file = str(there.store / f"digits/{version}.json")
    about = ("--model", "digits", "--version", version)
    lastgood("sign", file, "--key", str(key), "--signature", str(bundle), *about)
    name = reference["configMapKeyRef"]["name"]
    there.kubectl("create", "configmap", name, f"--from-file=model.sig={bundle}")
    there.apply(snapshot)


def test_a_signed_snapshot_on_a_claim_is_deployed_and_gone_back_to(signed: Team) -> None:
    assert signed.condition("Signed", kind="modelsnapshot", name="digits-v1")["status"] == "True"
    signed.deploy("digits-v2")
    assert signed.says('{"accuracy": 0.92}\n')
    record = signed.go_back("digits-v1")
    assert record["status"]["outcome"] == "Succeeded", record["status"]
    assert signed.says('{"accuracy": 0.91}\n')


def test_a_signed_snapshot_whose_first_copy_is_destroyed_is_deployed_and_gone_back_to(signed: Team) -> None:
    (signed.store / "copies").mkdir()
    (signed.store / "digits/4.json").rename(signed.store / "copies/4.json")
    signed.write("digits/4.json", '{"accuracy": 6.66}\n')
    signed.deploy("digits-v4")
    assert signed.environment("verify")["MODEL_PATH"] == "/models/copies/4.json"
    assert signed.says('{"accuracy": 0.94}\n')
    found = signed.get("modelsnapshot", "digits-v4")["status"]["verification"]
    assert [item["reason"] for item in found["passedOver"]] == ["DigestMismatch"]
    signed.deploy("digits-v1")
    record = signed.go_back("digits-v4")
    assert record["status"]["outcome"] == "Succeeded", record["status"]
    assert signed.environment("verify")["MODEL_PATH"] == "/models/copies/4.json"
    assert signed.says('{"accuracy": 0.94}\n')


def test_an_unsigned_snapshot_on_a_claim_is_not_deployed_where_signatures_are_asked_for(signed: Team) -> None:
    generation = signed.generation()
    signed.desire("digits-v3")
    condition = signed.ready("SignatureMissing", within=SLOW)
    assert "digits-v3" in condition["message"]
    assert signed.generation() == generation


# Behind the network


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A team whose checkpoints are all elsewhere."""

    team: Team
    s3: S3Server
    registry: RegistryServer
    web: Attacker


WEB = {f"/digits-{version}.json": f'{{"accuracy": 0.9{version}}}\n'.encode() for version in (3, 7)}


@pytest.fixture(scope="module")
def remote(operated: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """A store, a private registry and a web server, all where pods reach them; v1 to v7 have served in turn."""
    at = operated.gateway
    with (
        s3_server(tmp_path_factory.mktemp("s3"), host=at) as s3,
        registry_server(tmp_path_factory.mktemp("registry"), private=True, host=at) as registry,
        attacker(say, at) as web,
        team(operated, "remote", tmp_path_factory.mktemp("remote")) as there,
    ):
        far = Remote(team=there, s3=s3, registry=registry, web=web)
        there.apply(*secrets(far), *good(far), *destroyed(far))
        there.bring("fetch-s3.yaml", kinds=SERVED)
        for version in range(1, 8):
            there.deploy(f"digits-v{version}")
        yield far


def say(request: Request) -> None:
    if request.path in WEB:
        request.say(body=WEB[request.path])
    else:
        request.say(404)


def model(version: int) -> dict[str, bytes]:
    return {"model.json": f'{{"accuracy": 0.9{version}}}\n'.encode()}


def secrets(far: Remote) -> list[Body]:
    """Return what both the operator and the init containers read; over http only because it says so."""
    store = {"host": far.s3.endpoint, "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    registry = {"host": f"http://{far.registry.host}", "username": USER, "password": PASSWORD}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {**data, "allowHttp": "true"}}
        for name, data in (("models-s3", store), ("models-registry", registry))
    ]


def good(far: Remote) -> list[Body]:
    """Return a snapshot from each source, and the newer one that is left."""
    there = far.team
    return [
        there.snapshot(1, source=in_s3(far, 1), digest=folder_digest(1)),
        there.snapshot(2, source=in_registry(far, 2), digest=folder_digest(2)),
        there.snapshot(3, source=behind_url(far, 3), digest=sha256_of(WEB["/digits-3.json"])),
        there.snapshot(7, source=behind_url(far, 7), digest=sha256_of(WEB["/digits-7.json"])),
    ]


def destroyed(far: Remote) -> list[Body]:
    """Return a snapshot for each source whose first copy somebody destroyed, with a mirror that is good."""
    there = far.team
    snapshots = [
        there.snapshot(4, source=in_s3(far, 4), mirrors=[in_registry(far, 4)], digest=folder_digest(4)),
        there.snapshot(5, source=in_registry(far, 5), mirrors=[in_s3(far, 5)], digest=folder_digest(5)),
        there.snapshot(6, source=behind_url(far, 6), mirrors=[object_in_s3(far, 6)], digest=file_digest(6)),
    ]
    (far.s3.bucket / "digits/4/model.json").write_bytes(b'{"accuracy": 6.66}\n')
    far.registry.blob_file(model(5)["model.json"]).write_bytes(b'{"accuracy": 6.66}\n')
    return snapshots  # and nothing is behind the URL of v6


def folder_digest(version: int) -> str:
    return manifest_digest(entries(model(version)))


def file_digest(version: int) -> str:
    return sha256_of(model(version)["model.json"])


def in_s3(far: Remote, version: int) -> Body:
    far.s3.put(f"digits/{version}", model(version))
    place = {"bucket": "models", "prefix": f"digits/{version}", "endpoint": far.s3.endpoint}
    return {"s3": {**place, "secretRef": {"name": "models-s3"}}}


def object_in_s3(far: Remote, version: int) -> Body:
    place = in_s3(far, version)["s3"]
    return {"s3": {**place, "prefix": f"digits/{version}/model.json"}}


def in_registry(far: Remote, version: int) -> Body:
    reference = far.registry.push("models/digits", [(model(version)["model.json"], raw("model.json"))])
    return {"oci": {"reference": reference, "secretRef": {"name": "models-registry"}}}


def behind_url(far: Remote, version: int) -> Body:
    return {"http": {"url": f"{far.web.url}/digits-{version}.json"}}


@pytest.mark.parametrize(
    ("version", "scheme", "path", "passed_over"),
    [
        pytest.param(6, "s3://", "/current", "Unreadable", id="a mirror for what a URL no longer has"),
        pytest.param(5, "s3://", "/current/model.json", "DigestMismatch", id="a mirror for a bad blob of a registry"),
        pytest.param(4, "oci://", "/current/model.json", "DigestMismatch", id="a mirror for a bad object in S3"),
        pytest.param(3, "http://", "/current", "", id="http"),
        pytest.param(2, "oci://", "/current/model.json", "", id="oci"),
        pytest.param(1, "s3://", "/current/model.json", "", id="s3"),
    ],
)
def test_a_remote_snapshot_is_gone_back_to_and_each_pod_fetches_a_good_copy(
    remote: Remote, version: int, scheme: str, path: str, passed_over: str
) -> None:
    there, name = remote.team, f"digits-v{version}"
    record = there.go_back(name)
    assert record["status"]["outcome"] == "Succeeded", record["status"]
    assert there.environment("fetch")["MODEL_URI"].startswith(scheme)
    assert there.says(f'{{"accuracy": 0.9{version}}}\n', path)
    found = there.get("modelsnapshot", name)["status"]["verification"]
    assert (found["reason"], found["copy"]) == ("Verified", "mirrors[0]" if passed_over else "source")
    assert [item["reason"] for item in found.get("passedOver", [])] == ([passed_over] if passed_over else [])


def test_an_object_swapped_after_its_verification_is_not_fetched(remote: Remote) -> None:
    there, swapped = remote.team, remote.s3.bucket / "digits/8/model.json"
    there.apply(there.snapshot(8, source=in_s3(remote, 8), digest=folder_digest(8)))
    with using(f"{there.url()}/current/model.json") as user:
        refused = there.swap("digits-v8", lambda: swapped.write_bytes(b'{"accuracy": 6.66}\n'))
        status = there.status()
    assert {ended["exitCode"] for ended in refused} == {1}
    assert "DigestMismatch: " in refused[0]["message"]
    assert "availableAt" not in status
    assert user.failed == []
    assert set(user.answers) == {'{"accuracy": 0.91}\n'}, "the swapped model has answered"


def started(pod: Body) -> list[str]:
    """Return the containers of a pod that may have said something: one that still waits has no log."""
    status = pod["status"]
    known = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return [str(each["name"]) for each in known if "waiting" not in each["state"] or each.get("restartCount")]


def test_no_credential_is_in_any_object_or_log(remote: Remote) -> None:
    there = remote.team
    told = there.kubectl("get", "modelsnapshots,modeldeployments,modelrollbacks,deployments,pods,events", "-o", "yaml")
    for pod in there.pods():
        for container in started(pod):
            told += there.kubectl("logs", pod["metadata"]["name"], "-c", container)
    operator = ("logs", "deployment/lastgood-e2e", "-n", "lastgood-e2e", "--tail=-1")
    told += there.cluster.kubectl(*operator).stdout
    assert [secret for secret in (SECRET_KEY, PASSWORD) if secret in told] == []
