"""Verification near the bytes: a Job that mounts a claim read-only, and whose word counts only if it is ours.

A Job of the same name, or a pod with the same labels, may be anybody's: the uid and the nonce tell.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from lastgood.api.text import listed
from lastgood.errors import LastgoodError, TransientError
from lastgood.kube.api import redact
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import NotFoundError, UnavailableError
from lastgood.kube.api.resources import JOBS, PODS
from lastgood.kube.jobs.job_body import (
    CONTAINER,
    DEADLINE_SECONDS,
    NO_MORE,
    Body,
    Errand,
    NotAnsweredError,
    Subject,
    job_body,
)
from lastgood.settings import Settings
from lastgood.verify import Result, Verdict
from lastgood.verify.values import require_digest

logger = logging.getLogger(__name__)

MESSAGE_LIMIT: Final = 4096  # what the kubelet keeps
POLLS: Final = (0.2, 0.3, 0.5, 1.0, 2.0, 5.0)  # then every 5 s
UNSTARTED_SECONDS: Final = 120.0  # a pod that still waits then (image, claim) will not start by itself
_FINDINGS: Final = 20
LARGEST: Final = 2**63 - 1


async def ask_on_claim(
    client: Client, settings: Settings, subject: Subject, errand: Errand = NO_MORE
) -> tuple[Result, Body]:
    """Return what a Job in the claim's namespace found, and its whole answer, empty where it gave none that counts.

    Whatever goes wrong is Unreadable, with a sentence.

    Raises:
        TransientError: the API server did not answer, or the Lease is not ours: try again.
    """
    started = time.monotonic()
    try:
        text = await run(client, subject.namespace, job_body(settings, subject, errand))
        return parsed(text, digest=subject.digest, nonce=subject.nonce), _object(text)
    except TransientError:
        raise
    except LastgoodError as error:
        return unreadable(subject.digest, redact.line(str(error)), time.monotonic() - started), {}


async def run(client: Client, namespace: str, job: Body) -> str:
    """Create a Job, return the last words of its pod, and delete it.

    Raises:
        NotAnsweredError: it said nothing that could count.
        TransientError: the API server did not answer, or the Lease is not ours: try again.
    """
    return _last_words(await ended(client, namespace, job))


async def ended(client: Client, namespace: str, job: Body, container: str = CONTAINER) -> Body:
    """Create a Job, return how a container of its pod ended, and delete it.

    Raises:
        NotAnsweredError: it did not end.
        TransientError: the API server did not answer, or the Lease is not ours.
    """
    created = await client.create(JOBS, namespace, job)
    try:
        return await _end(client, created, container)
    finally:
        await _delete(client, created)


def parsed(text: str, *, digest: str, nonce: str) -> Result:
    """Return the verdict in a termination message, if it is ours and consistent.

    Raises:
        NotAnsweredError: it is not.
    """
    answer = answer_to(text, nonce)
    try:
        result = _result(answer, digest)
    except (ValueError, TypeError, KeyError) as error:
        raise NotAnsweredError("the Job's result is incomplete") from error
    if (result.verdict is Verdict.VERIFIED) != (result.actual == digest):
        raise NotAnsweredError("the Job's result is contradictory: its verdict and its digest disagree")
    return result


def answer_to(text: str, nonce: str) -> Body:
    """Return what a Job said, if it was asked by us.

    Raises:
        NotAnsweredError: it is no answer, or one to another question.
    """
    answer = _object(text)
    if answer.get("nonce") != nonce:
        raise NotAnsweredError("the Job's result is for another request: the nonce differs")
    return answer


def unreadable(digest: str, message: str, seconds: float) -> Result:
    """Return the result that says that nothing is known."""
    return Result(
        verdict=Verdict.UNREADABLE,
        expected=digest,
        actual=None,
        size_bytes=0,
        file_count=0,
        seconds=seconds,
        findings=(),
        message=message,
    )


async def _end(client: Client, job: Body, container: str) -> Body:
    """Wait for the pod of this very Job, and return how its container ended."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    patience = time.monotonic() + UNSTARTED_SECONDS
    for count in range(DEADLINE_SECONDS * 10):
        await asyncio.sleep(POLLS[min(count, len(POLLS) - 1)])
        try:
            pod = await _pod_of(client, job)
        except UnavailableError:  # an outage must not throw away an hour of hashing
            continue
        state = _state(pod, container)
        if "terminated" in state:
            return dict(state["terminated"])
        if "running" not in state and time.monotonic() > patience:
            raise NotAnsweredError(f"the Job's pod did not start: {_why_waiting(pod, state)}")
        if time.monotonic() > deadline:
            break
        if pod is None:
            await _require_unfinished(client, job)
    raise NotAnsweredError(f"the Job took longer than {DEADLINE_SECONDS} s")


async def _pod_of(client: Client, job: Body) -> Body | None:
    metadata = job["metadata"]
    selector = f"batch.kubernetes.io/controller-uid={metadata['uid']}"
    pods, _ = await client.list(PODS, metadata["namespace"], label_selector=selector)
    owned = [pod for pod in pods if metadata["uid"] in _owners(pod)]
    if len(owned) > 1:
        raise NotAnsweredError("more than one pod claims to belong to the Job")
    return owned[0] if owned else None


def _owners(pod: Body) -> list[str]:
    references = pod["metadata"].get("ownerReferences") or []
    return [str(reference["uid"]) for reference in references if reference.get("controller")]


def _state(pod: Body | None, container: str) -> Body:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    found: Body = next((status.get("state") or {} for status in statuses if status["name"] == container), {})
    return found


def _last_words(terminated: Mapping[str, Any]) -> str:
    message = str(terminated.get("message") or "")
    if message:
        return message
    reason, code = terminated.get("reason", "Error"), terminated.get("exitCode")
    raise NotAnsweredError(f"the Job ended without a result: {reason}, exit code {code}")


def _why_waiting(pod: Body | None, state: Body) -> str:
    if pod is None:
        return "no pod was created (see the Job's Events: a quota or an admission policy may block it)"
    waiting = state.get("waiting") or {}
    scheduled = [c for c in pod["status"].get("conditions") or [] if c["type"] == "PodScheduled"]
    told = [waiting.get("reason"), waiting.get("message"), *(c.get("message") for c in scheduled)]
    return redact.line(", ".join(str(word) for word in told if word) or "no reason given", 400)


async def _require_unfinished(client: Client, job: Body) -> None:
    """Find out that the Job was deleted, or failed without a pod that we can see."""
    metadata = job["metadata"]
    try:
        found = await client.get(JOBS, metadata["namespace"], metadata["name"])
    except NotFoundError as error:
        raise NotAnsweredError("the Job was deleted before it had a result") from error
    if found["metadata"]["uid"] != metadata["uid"]:
        raise NotAnsweredError("the Job was replaced by another one")
    for condition in (found.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Failed" and condition["status"] == "True":
            told = redact.line(str(condition.get("message") or condition.get("reason")), 400)
            raise NotAnsweredError(f"the Job failed: {told}")


async def _delete(client: Client, job: Body) -> None:
    metadata = job["metadata"]
    try:
        await client.delete(JOBS, metadata["namespace"], metadata["name"], uid=metadata["uid"])
    except NotFoundError:
        return
    except LastgoodError as error:
        logger.info("cannot delete Job %s, its TTL will: %s", metadata["name"], error)


def _object(text: str) -> Body:
    if len(text) > MESSAGE_LIMIT:
        raise NotAnsweredError("the Job's result is too long")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        told = redact.line(text, 200)
        raise NotAnsweredError(f"the Job's result is not a verdict: {told}") from error
    if not isinstance(answer, dict):
        raise NotAnsweredError("the Job's result is not a verdict")
    return answer


def _result(answer: Body, digest: str) -> Result:
    actual = answer.get("actual")
    return Result(
        verdict=Verdict(answer["verdict"]),
        expected=digest,
        actual=None if actual is None else require_digest(str(actual)),
        size_bytes=_count(answer["sizeBytes"]),
        file_count=_count(answer["fileCount"]),
        seconds=min(max(0.0, float(answer["seconds"])), float(DEADLINE_SECONDS)),
        findings=tuple(redact.line(str(finding), 300) for finding in listed(answer["findings"], _FINDINGS)),
        message=redact.line(str(answer["message"])),
    )


def _count(number: object) -> int:
    if not isinstance(number, int) or not 0 <= number <= LARGEST:
        raise ValueError("a count must be a number")
    return number
