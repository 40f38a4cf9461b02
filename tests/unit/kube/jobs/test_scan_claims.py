"""An external scanner's Job: what it may do, and which of its words count."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lastgood.api.facts.external import ExternalScan
from lastgood.core.trust.policy import Scanner
from lastgood.errors import TransientError
from lastgood.kube.api.resources import JOBS, PODS
from lastgood.kube.jobs import jobs
from lastgood.kube.jobs.job_body import Subject
from lastgood.kube.jobs.scan_claims import scan_job, scan_on_claim
from lastgood.settings import Settings
from tests.unit.kube.world import Server

DIGEST = f"sha256:{'a' * 64}"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = Settings(namespaces=None, operator_namespace="ops", identity="x", pull_policy="Always")
ACME = Scanner(name="acme", image="registry.example/acme:2")
SUBJECT = Subject(namespace="ml", snapshot="v1", uid="s1", claim="models", path="digits/1", digest=DIGEST, nonce="n1")
FINDING = {"severity": "high", "rule": "trigger", "file": "m.safetensors", "evidence": "x\x1b[2J"}
ANSWER: dict[str, Any] = {
    "apiVersion": "lastgood.dev/scan/v1",
    "scanner": {"name": "acme", "version": "2.1"},
    "nonce": "n1",
    "findings": [],
    "complete": True,
}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLLS", (0.001,))
    monkeypatch.setattr(jobs, "UNSTARTED_SECONDS", 0.5)


async def asked(server: Server) -> ExternalScan:
    return await scan_on_claim(server, SETTINGS, SUBJECT, ACME, lambda: NOW)  # type: ignore[arg-type]  # simulated


async def started(server: Server) -> dict[str, Any]:
    """Wait until the Job is there, and return it."""
    while not (found := [body for key, body in server.objects.items() if key[0] == "jobs"]):  # noqa: ASYNC110 - the simulated server has no events
        await asyncio.sleep(0)
    return found[0]


def put_pod(server: Server, job: dict[str, Any], state: dict[str, Any], *, owner: str = "", name: str = "p") -> None:
    uid = job["metadata"]["uid"]
    metadata = {
        "name": name,
        "namespace": "ml",
        "labels": {"batch.kubernetes.io/controller-uid": uid},
        "ownerReferences": [{"uid": owner or uid, "controller": True}],
    }
    server.put(PODS, {"metadata": metadata, "status": {"containerStatuses": [{"name": "scan", "state": state}]}})


async def answered(text: str, *, code: int | None = 0, reason: str = "Completed", **pod: Any) -> ExternalScan:
    """Return what is made of a scanner's last words; whatever they are, the Job is gone afterwards."""
    server = Server()
    task = asyncio.create_task(asked(server))
    terminated = {"exitCode": code, "reason": reason, "message": text}
    put_pod(server, await started(server), {"terminated": terminated}, **pod)
    scan = await task
    assert not [key for key in server.objects if key[0] == "jobs"]
    return scan


def said(**changes: Any) -> str:
    return json.dumps({**ANSWER, **changes})


async def test_result_is_taken_with_who_said_it_and_when() -> None:
    scan = await answered(said())
    assert (scan.scanner, scan.image, scan.version, scan.time) == ("acme", ACME.image, "2.1", NOW)
    assert (scan.verdict, scan.complete, scan.digest, scan.counts) == ("NoFinding", True, DIGEST, True)


async def test_findings_are_taken_and_what_an_attacker_named_is_printable() -> None:
    scan = await answered(said(findings=[FINDING], skipped=[{"file": "big.bin", "reason": "too large"}]))
    assert (scan.verdict, scan.findings[0].rule, scan.findings[0].evidence) == ("Finding", "acme/trigger", "x\\x1b[2J")
    assert scan.message == "it skipped 1 files: big.bin: too large"


async def test_scanner_that_could_not_look_at_all_says_so() -> None:
    scan = await answered(said(complete=False))
    assert (scan.counts, scan.verdict, scan.message) == (False, "Anomaly", "it does not list the skipped files")


@pytest.mark.parametrize(
    ("text", "ended", "told"),
    [
        pytest.param("", {}, "wrote 0", id="nothing"),
        pytest.param("all is well", {}, "cannot be used", id="garbage"),
        pytest.param("[" * 4000, {}, "cannot be used", id="deeply nested"),
        pytest.param(said(nonce="n2"), {}, "nonce", id="somebody else's nonce"),
        pytest.param(json.dumps({k: v for k, v in ANSWER.items() if k != "nonce"}), {}, "nonce", id="no nonce"),
        pytest.param(said(message="x" * 5000), {}, "wrote 5", id="more than a kubelet keeps"),
        pytest.param(
            said(message="é" * 2100).replace("\\u00e9", "é"), {}, "1 to 4096 bytes", id="bytes, not characters"
        ),
        pytest.param(said()[:-1].ljust(4096), {}, "may be truncated", id="cut by the kubelet"),
        pytest.param(said(extra=1), {}, "extra is unknown", id="an unknown field"),
        pytest.param("\ud800", {}, "cannot be used", id="no text at all"),
        pytest.param("", {"code": 137, "reason": "OOMKilled"}, "OOMKilled, exit code 137", id="out of memory"),
        pytest.param(
            said(), {"code": 137, "reason": "OOMKilled"}, "OOMKilled", id="killed after it wrote a good result"
        ),
        pytest.param(said(), {"code": 1}, "exit code 1", id="an exit code of its own"),
        pytest.param(said(), {"code": None}, "exit code None", id="no exit code"),
        pytest.param("token=hunter2", {"code": 1}, "[redacted]", id="a secret in its last words"),
        pytest.param(said(), {"owner": "somebody-else"}, "did not start", id="a pod of somebody else's"),
    ],
)
async def test_what_does_not_count_is_not_scanned_with_the_reason(text: str, ended: dict[str, Any], told: str) -> None:
    scan = await answered(text, **ended)
    assert (scan.counts, scan.found, scan.verdict, scan.complete) == (False, False, "Unreadable", False)
    assert told in scan.message


async def test_two_pods_that_claim_the_job_are_not_heard() -> None:
    server = Server()
    task = asyncio.create_task(asked(server))
    job = await started(server)
    for number in range(2):
        put_pod(server, job, {"terminated": {"exitCode": 0, "message": said()}}, name=f"p{number}")
    assert not (await task).counts


async def test_job_that_took_too_long_says_so() -> None:
    server = Server()
    task = asyncio.create_task(asked(server))
    job = await started(server)
    late = {"type": "Failed", "status": "True", "message": "Job was active longer than specified deadline"}
    server.put(JOBS, {**job, "status": {"conditions": [late]}})
    assert "longer than specified deadline" in (await task).message


async def test_image_that_cannot_be_pulled_says_so() -> None:
    server = Server()
    task = asyncio.create_task(asked(server))
    put_pod(server, await started(server), {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    assert "ImagePullBackOff" in (await task).message


async def test_api_server_that_is_away_says_nothing_about_the_scanner() -> None:
    server = Server()
    server.down = True
    with pytest.raises(TransientError):
        await asked(server)


def test_scanner_can_do_nothing_but_read_and_answer() -> None:
    job = scan_job(SETTINGS, SUBJECT, ACME)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], container["imagePullPolicy"]) == (ACME.image, "Always")
    assert not {"command", "args", "envFrom", "ports"} & set(container)
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "LASTGOOD_SCAN_PATH": "/data/digits/1",
        "LASTGOOD_SCAN_DIGEST": DIGEST,
        "LASTGOOD_SCAN_NONCE": "n1",
        "LASTGOOD_SCAN_RESULT": "/dev/termination-log",
    }
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert (pod["automountServiceAccountToken"], pod["restartPolicy"]) == (False, "Never")
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    mounts = {item["mountPath"]: item.get("readOnly", False) for item in container["volumeMounts"]}
    assert mounts == {"/data": True, "/tmp": False}  # noqa: S108 - a path in the pod


def test_job_is_the_snapshots_and_a_network_policy_can_find_its_pods() -> None:
    job = scan_job(SETTINGS, SUBJECT, ACME)
    assert job["metadata"]["ownerReferences"][0]["uid"] == "s1"
    assert job["spec"]["template"]["metadata"]["labels"]["lastgood.dev/scanner"] == "acme"
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (0, 3600)
