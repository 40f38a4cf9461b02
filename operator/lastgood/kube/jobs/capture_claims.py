"""A capture on a claim: a Job copies a snapshot from its claim to the store claim of its namespace."""

from collections.abc import Mapping
from typing import Any, Final

from lastgood.api.fields import Fields
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource
from lastgood.errors import LastgoodError
from lastgood.kube.api import redact
from lastgood.kube.api.client import Client
from lastgood.kube.jobs.job_body import Errand, NotAnsweredError, Subject, job_body
from lastgood.kube.jobs.jobs import answer_to, run
from lastgood.settings import Settings

CAPTURED: Final = "Captured"
FAILED: Final = "CaptureFailed"
NO_CLAIM: Final = (
    "no store claim is configured for captures of snapshots on claims: create a PersistentVolumeClaim of the same name "
    "in each namespace, and name it in --capture-claim (chart: store.captureClaim)"
)


class NotCapturedError(LastgoodError):
    """There is no copy; the sentence says why."""


class NotPossibleError(NotCapturedError):
    """There is no copy, and none can be made before the operator is set up otherwise and started again."""


async def capture_on_claim(
    client: Client, settings: Settings, *, snapshot: ModelSnapshot, source: PvcSource, nonce: str
) -> None:
    """Copy a snapshot to the store claim by a Job in its namespace; when this returns, the copy is there.

    Raises:
        NotCapturedError: it is not.
        TransientError: the API server did not answer, or the Lease is not ours: try again.
    """
    if not settings.capture_claim:
        raise NotCapturedError(NO_CLAIM)
    errand = Errand(command="capture-job", store=settings.capture_claim, arguments=("--store", "/store"))
    try:
        job = job_body(settings, Subject.of(snapshot, source, nonce), errand)
        _require_captured(answer_to(await run(client, snapshot.meta.namespace, job), nonce), snapshot)
    except NotAnsweredError as error:
        raise NotCapturedError(redact.line(str(error))) from error


def _require_captured(answer: Mapping[str, Any], snapshot: ModelSnapshot) -> None:
    """Accept the answer of a Job that made the copy, of this digest, in the place that this digest has.

    Raises:
        NotCapturedError: with what the Job says, or with what is wrong with its answer.
    """
    fields = Fields(answer, strict=False)
    if fields.text("reason") == FAILED:
        raise NotCapturedError(redact.line(fields.text("message")) or "the Job failed without a reason")
    if fields.text("reason") != CAPTURED:
        raise NotCapturedError("the Job's result is incomplete")
    if (fields.text("digest"), fields.text("path")) != (snapshot.digest, snapshot.captured_path):
        raise NotCapturedError("the Job's result is for other bytes, or another path")
