"""A forensics copy on a claim: a Job copies what is there to `evidence/` on the store claim of its namespace."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.api.fields import Fields
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource
from lastgood.kube.api import redact
from lastgood.kube.api.client import Client
from lastgood.kube.jobs.capture_claims import NotCapturedError, NotPossibleError
from lastgood.kube.jobs.job_body import EVIDENCE_JOB, Errand, NotAnsweredError, Subject, job_body
from lastgood.kube.jobs.jobs import answer_to, run
from lastgood.settings import Settings
from lastgood.verify.store import Case

NO_CLAIM: Final = (
    "evidence on a claim is copied by a Job to a store claim in the same namespace, but none is configured: "
    "copy it manually before it changes; for the next time, create a claim of the same name in each namespace, and "
    "set it with --capture-claim (chart: store.captureClaim)"
)
_NO_IMAGE: Final = "LASTGOOD_IMAGE is not set, so no Job can copy what is on a claim"
_PATH: Final = re.compile(r"evidence/[A-Za-z0-9][A-Za-z0-9._-]{0,250}")
_FOUND: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class _KeptOnClaim:
    """What a Job kept: the path on the store claim, and the digest of it, if it could have one."""

    path: str
    found: str


async def keep_on_claim(
    client: Client, settings: Settings, *, snapshot: ModelSnapshot, source: PvcSource, case: Case, nonce: str
) -> _KeptOnClaim:
    """Copy what is on a claim to the evidence on the store claim, by a Job in the snapshot's namespace.

    Raises:
        NotPossibleError: the operator is not set up for it.
        NotCapturedError: it is not there.
        TransientError: the API server did not answer, or the Lease is not ours: try again.
    """
    if not settings.capture_claim:
        raise NotPossibleError(NO_CLAIM)
    if settings.image is None:
        raise NotPossibleError(_NO_IMAGE)
    errand = Errand(command=EVIDENCE_JOB, store=settings.capture_claim, arguments=arguments(case))
    try:
        job = job_body(settings, Subject.of(snapshot, source, nonce), errand)
        return _require_kept(answer_to(await run(client, snapshot.meta.namespace, job), nonce), case)
    except NotAnsweredError as error:
        raise NotCapturedError(redact.line(str(error))) from error


def arguments(case: Case) -> tuple[str, ...]:
    """Return what the command is told; a reason is a stranger's text, and must be read as nothing else."""
    texts = {"reason": redact.line(case.reason), "incident": case.incident or "", "subject": case.subject or ""}
    # The kubelet puts variables in the place of `$(NAME)`, and reads `$$` as one `$`.
    return ("--store", "/store", *(f"--{name}={text.replace('$', '$$')}" for name, text in texts.items()))


def _require_kept(answer: Mapping[str, Any], case: Case) -> _KeptOnClaim:
    """Accept the answer of a Job that kept it, in a place for this digest and this snapshot.

    Raises:
        NotCapturedError: with what the Job says, or with what is wrong with its answer.
    """
    fields = Fields(answer, strict=False)
    if fields.text("reason") == Reason.EVIDENCE_FAILED:
        raise NotCapturedError(redact.line(fields.text("message")) or "the Job failed without a reason")
    if fields.text("reason") != Reason.EVIDENCE_KEPT:
        raise NotCapturedError("the Job's result is incomplete")
    path, found = fields.text("path"), fields.text("found")
    if fields.text("digest") != case.digest or case.about not in path or not _PATH.fullmatch(path):
        raise NotCapturedError("the Job's result is for another digest, or another path")
    return _KeptOnClaim(path=path, found=found if _FOUND.fullmatch(found) else "")
