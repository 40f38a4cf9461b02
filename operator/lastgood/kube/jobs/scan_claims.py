"""External scanners: any image, in a Job of ours on the claim, whose word counts only if it answers our question."""

import posixpath
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lastgood.api.facts.evidence import Finding
from lastgood.api.facts.external import ExternalScan
from lastgood.api.names import SCANNER_LABEL, Digest
from lastgood.core.trust.policy import Scanner
from lastgood.errors import LastgoodError, TransientError
from lastgood.kube.api import redact
from lastgood.kube.api.client import Client
from lastgood.kube.clock import Clock
from lastgood.kube.jobs.job_body import TERMINATION_LOG, Body, NotAnsweredError, Subject, job_of, pod_of
from lastgood.kube.jobs.jobs import MESSAGE_LIMIT, ended
from lastgood.settings import Settings
from lastgood.verify.scan import ExternalResultError, ScanVerdict, external

CONTAINER: Final = "scan"
DATA: Final = "/data"
_FEWEST_LEFT_OUT: Final = 3  # that are named


async def scan_on_claim(
    client: Client, settings: Settings, subject: Subject, scanner: Scanner, clock: Clock
) -> ExternalScan:
    """Return what an external scanner says of a checkpoint on a claim, or why it says nothing that counts.

    Raises:
        TransientError: the API server did not answer, or the Lease is not ours: try again.
    """
    try:
        state = await ended(client, subject.namespace, scan_job(settings, subject, scanner), CONTAINER)
        return scan_of(_last_words(state), subject, scanner, clock())
    except TransientError:
        raise
    except LastgoodError as error:
        return not_scanned(subject.digest, scanner, clock(), redact.line(str(error)))


def scan_job(settings: Settings, subject: Subject, scanner: Scanner) -> Body:
    """Return the Job: the image says what runs, and gets no argument, no token, and nothing to write to but /tmp."""
    container: Body = {
        "name": CONTAINER,
        "image": scanner.image,
        "imagePullPolicy": settings.pull_policy,
        "env": [{"name": name, "value": value} for name, value in environment(subject).items()],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}},
        "volumeMounts": [
            {"name": "data", "mountPath": DATA, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # an empty volume of the pod
        ],
    }
    volumes: list[Body] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": subject.claim, "readOnly": True}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    return job_of(subject, "scan-job", pod_of(container, volumes), {SCANNER_LABEL: scanner.name})


def environment(subject: Subject) -> dict[str, str]:
    """Return what a scanner is told; no path of a spec has `$(` in it, which the kubelet would expand."""
    return {
        "LASTGOOD_SCAN_PATH": posixpath.normpath(posixpath.join(DATA, subject.path)),
        "LASTGOOD_SCAN_DIGEST": subject.digest,
        "LASTGOOD_SCAN_NONCE": subject.nonce,
        "LASTGOOD_SCAN_RESULT": TERMINATION_LOG,
    }


def _last_words(terminated: Mapping[str, Any]) -> bytes:
    """Return what a scanner wrote, if it ended well: one that was killed may not have been done.

    Raises:
        NotAnsweredError: it did not, or wrote nothing, or more than a kubelet keeps.
    """
    text = str(terminated.get("message") or "")
    reason, code = terminated.get("reason") or "Error", terminated.get("exitCode")
    if code != 0:
        told = f": {redact.line(text, 200)}" if text else ""
        raise NotAnsweredError(f"it ended with {reason}, exit code {code} (it must be 0, whatever is found){told}")
    body = text.encode(errors="surrogatepass")
    if not 0 < len(body) <= MESSAGE_LIMIT:
        raise NotAnsweredError(
            f"it must write 1 to {MESSAGE_LIMIT} bytes to $LASTGOOD_SCAN_RESULT, and wrote {len(body)}"
        )
    return body


def scan_of(body: bytes, subject: Subject, scanner: Scanner, at: datetime) -> ExternalScan:
    """Return what a scanner wrote, as a status has it.

    Raises:
        NotAnsweredError: it is no result, or not the answer to our question.
    """
    try:
        found = external.parse(body, nonce=subject.nonce)
    except ExternalResultError as error:
        cut = " (the kubelet keeps 4096 bytes: it may be truncated)" if len(body) == MESSAGE_LIMIT else ""
        raise NotAnsweredError(f"its result cannot be used: {error}{cut}") from error
    return ExternalScan(
        scanner=scanner.name,
        image=scanner.image,
        time=at,
        digest=Digest(subject.digest),
        verdict=str(found.verdict),
        version=redact.line(found.version, 64),
        complete=found.complete,
        message=_left_out(found),
        findings=tuple(
            Finding(severity=item.severity, rule=item.rule, file=item.file, evidence=item.evidence or item.message)
            for item in found.findings
        ),
        left_out=found.left_out,
    )


def _left_out(found: external.ExternalResult) -> str:
    if not found.skipped:
        return "" if found.complete else "it does not list the skipped files"
    named = "; ".join(f"{row.file}: {row.reason}" for row in found.skipped[:_FEWEST_LEFT_OUT])
    return redact.line(f"it skipped {len(found.skipped)} files: {named}", 512)


def not_scanned(digest: str, scanner: Scanner, at: datetime, why: str) -> ExternalScan:
    """Return what is known where a scanner gave no result that counts."""
    return ExternalScan(
        scanner=scanner.name,
        image=scanner.image,
        time=at,
        digest=Digest(digest),
        verdict=str(ScanVerdict.UNREADABLE),
        message=why,
    )
