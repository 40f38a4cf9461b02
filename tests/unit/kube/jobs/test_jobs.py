"""A Job's word: it counts only if we made that Job, and asked that question."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lastgood.cli.jobs.verify_job import message
from lastgood.errors import TransientError
from lastgood.kube.api.resources import JOBS, PODS
from lastgood.kube.jobs import jobs
from lastgood.kube.jobs.job_body import Errand, Subject, job_body
from lastgood.kube.jobs.jobs import ask_on_claim, parsed
from lastgood.settings import Settings
from lastgood.verify import Result, Verdict
from lastgood.verify.inspection import Inspection
from tests.unit.kube.world import Server

DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
SETTINGS = Settings(namespaces=None, operator_namespace="ops", identity="x", image="lastgood:1", store=Path("/store"))
ANSWER = {
    "nonce": "n1",
    "verdict": "Verified",
    "expected": DIGEST,
    "actual": DIGEST,
    "sizeBytes": 7,
    "fileCount": 1,
    "seconds": 0.5,
    "findings": [],
    "message": "as it should be",
}
SUBJECT = Subject(namespace="ml", snapshot="v1", uid="s1", claim="models", path="digits/1", digest=DIGEST, nonce="n1")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLLS", (0.001,))
    monkeypatch.setattr(jobs, "UNSTARTED_SECONDS", 0.5)


async def ask(server: Server, settings: Settings = SETTINGS) -> Result:
    return (await ask_on_claim(server, settings, SUBJECT))[0]  # type: ignore[arg-type]  # simulated


async def started(server: Server) -> None:
    """Wait until the Job is there; no time that passes on a busy machine matters."""
    while not any(key[0] == "jobs" for key in server.objects):  # noqa: ASYNC110 - the simulated server has no events
        await asyncio.sleep(0)


def pod(server: Server, state: dict[str, Any], *, owner: str | None = None, name: str = "p") -> None:
    """Let a pod appear that belongs to the Job, or says so."""
    job = next(body for key, body in server.objects.items() if key[0] == "jobs")
    uid = job["metadata"]["uid"]
    metadata = {
        "name": name,
        "namespace": "ml",
        "labels": {"batch.kubernetes.io/controller-uid": uid},
        "ownerReferences": [{"uid": owner or uid, "controller": True}],
    }
    statuses = [{"name": "verify", "state": state}]
    server.put(PODS, {"metadata": metadata, "status": {"containerStatuses": statuses}})


async def answered(text: str, *, owner: str | None = None, pods: int = 1) -> tuple[Server, Result]:
    server = Server()
    task = asyncio.create_task(ask(server))
    await started(server)
    for number in range(pods):
        pod(server, {"terminated": {"exitCode": 0, "message": text}}, owner=owner, name=f"p{number}")
    return server, await task


async def test_a_verdict_is_returned_and_the_job_deleted() -> None:
    server, result = await answered(json.dumps(ANSWER))
    assert (result.verdict, result.actual, result.size_bytes) == (Verdict.VERIFIED, DIGEST, 7)
    assert not [key for key in server.objects if key[0] == "jobs"]


async def test_a_mismatch_carries_its_findings() -> None:
    text = json.dumps({**ANSWER, "verdict": "DigestMismatch", "actual": OTHER, "findings": ["x: changed"]})
    _, result = await answered(text)
    assert (result.verdict, result.actual, result.findings) == (Verdict.MISMATCH, OTHER, ("x: changed",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Killed",
        "[" * 3000,
        json.dumps({**ANSWER, "nonce": "another"}),
        json.dumps({**ANSWER, "actual": OTHER}),
        json.dumps({**ANSWER, "verdict": "DigestMismatch"}),
        json.dumps({**ANSWER, "verdict": "Fine"}),
        json.dumps({**ANSWER, "sizeBytes": -1}),
        json.dumps({**ANSWER, "sizeBytes": "7"}),
        json.dumps({**ANSWER, "findings": None}),
        json.dumps({**ANSWER, "message": "x" * 5000}),
        json.dumps([ANSWER]),
    ],
)
async def test_an_answer_that_does_not_count_is_not_knowing(text: str) -> None:
    server, result = await answered(text)
    assert result.verdict is Verdict.UNREADABLE
    assert result.message
    assert not [key for key in server.objects if key[0] == "jobs"]


async def test_a_pod_that_is_not_the_jobs_own_is_not_heard() -> None:
    _, result = await answered(json.dumps(ANSWER), owner="somebody-else")
    assert result.verdict is Verdict.UNREADABLE


async def test_two_pods_that_claim_the_job_are_not_heard() -> None:
    _, result = await answered(json.dumps(ANSWER), pods=2)
    assert result.verdict is Verdict.UNREADABLE


async def test_a_pod_that_does_not_start_says_why() -> None:
    server = Server()
    task = asyncio.create_task(ask(server))
    await started(server)
    pod(server, {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    result = await task
    assert result.verdict is Verdict.UNREADABLE
    assert "ImagePullBackOff" in result.message


async def test_a_job_that_fails_without_a_pod_says_why() -> None:
    server = Server()
    task = asyncio.create_task(ask(server))
    await started(server)
    job = next(body for key, body in server.objects.items() if key[0] == "jobs")
    failed = {"type": "Failed", "status": "True", "message": "exceeded quota"}
    server.put(JOBS, {**job, "status": {"conditions": [failed]}})
    assert "exceeded quota" in (await task).message


async def test_a_job_that_somebody_deletes_is_not_waited_for() -> None:
    server = Server()
    task = asyncio.create_task(ask(server))
    await started(server)
    server.objects.clear()
    assert "deleted" in (await task).message


async def test_an_outage_is_waited_out() -> None:
    server = Server()
    task = asyncio.create_task(ask(server))
    await started(server)
    server.down = True
    await asyncio.sleep(0.01)
    server.down = False
    pod(server, {"terminated": {"exitCode": 0, "message": json.dumps(ANSWER)}})
    assert (await task).verdict is Verdict.VERIFIED


async def test_a_job_that_cannot_be_created_now_is_ours_to_repeat() -> None:
    server = Server()
    server.down = True
    with pytest.raises(TransientError):
        await ask(server)


async def test_without_an_image_nothing_is_started() -> None:
    server = Server()
    settings = Settings(namespaces=None, operator_namespace="ops", identity="x")
    result = await ask(server, settings)
    assert "LASTGOOD_IMAGE" in result.message
    assert server.writes == []


def test_the_job_can_do_nothing_but_read() -> None:
    spec = job_body(SETTINGS, SUBJECT)["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert spec["automountServiceAccountToken"] is False
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    assert container["volumeMounts"][0]["readOnly"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["args"][:5] == ["verify-job", "--root", "/data", "--path", "digits/1"]


def test_the_job_writes_what_the_operator_reads() -> None:
    found = Result(
        verdict=Verdict.VERIFIED,
        expected=DIGEST,
        actual=DIGEST,
        size_bytes=7,
        file_count=1,
        seconds=0.5,
        findings=(),
        message="as it should be",
    )
    result = parsed(message("n1", Inspection(result=found)), digest=DIGEST, nonce="n1")
    assert result == found


def test_nobody_owns_a_copy_of_evidence() -> None:
    evidence = job_body(SETTINGS, SUBJECT, Errand(command="evidence-job", store="store"))
    assert evidence["metadata"]["ownerReferences"] == []
    assert evidence["spec"]["ttlSecondsAfterFinished"] > 0
    assert [owner["uid"] for owner in job_body(SETTINGS, SUBJECT)["metadata"]["ownerReferences"]] == ["s1"]
