"""A look at a snapshot on a claim: what its Job is asked, and what of its answer counts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from lastgood.api.facts.evidence import read_examined, read_scan
from lastgood.api.fields import Fields
from lastgood.api.specs.snapshot import ConfigMapBundle, ModelSnapshot, PathBundle
from lastgood.api.specs.sources import PvcSource
from lastgood.errors import InvalidSpecError, LastgoodError
from lastgood.kube.api.client import Client
from lastgood.kube.jobs.job_body import Errand, Subject
from lastgood.kube.jobs.jobs import ask_on_claim
from lastgood.settings import Settings
from lastgood.verify import Verdict
from lastgood.verify.hashing import require_blake3
from lastgood.verify.inspection import Inspection, Question, quick, scanned_before, unreadable

LONGEST_ANCHORS: Final = 100 * 1024  # bytes; the kernel takes 128 KiB in one variable


async def inspect_on_claim(
    client: Client, settings: Settings, *, snapshot: ModelSnapshot, source: PvcSource, question: Question, nonce: str
) -> Inspection:
    """Look at a snapshot on a claim by a Job in its namespace; whatever goes wrong is Unreadable, with a sentence.

    Raises:
        TransientError: the API server did not answer, or the Lease is not ours: try again.
    """
    asked = errand(snapshot, question)
    if len(asked.anchors) > LONGEST_ANCHORS:
        return Inspection(result=unreadable(question.digest, "the trust policies have more keys than fit into a Job"))
    result, answer = await ask_on_claim(client, settings, Subject.of(snapshot, source, nonce), asked)
    if result.verdict is not Verdict.VERIFIED:
        return Inspection(result=result)
    return _with_evidence(Inspection(result=result), question, answer)


def errand(snapshot: ModelSnapshot, question: Question) -> Errand:
    """Return what the Job is asked beside the digest: only what must be looked at where the bytes are."""
    arguments: list[str] = []
    if known := quick(question):
        arguments += ["--blake3", known]
    if question.scan is not None and not _scanned(question):
        arguments += ["--scan"]
    if known or not question.anchors or not snapshot.signatures:
        return Errand(arguments=tuple(arguments))
    mounted: list[tuple[str, str]] = []
    for index, bundle in enumerate(snapshot.signatures):
        match bundle:
            case ConfigMapBundle():
                arguments += ["--bundle", f"{index}=/bundles/{len(mounted)}/bundle"]
                mounted.append((bundle.name, bundle.key))
            case PathBundle():
                arguments += ["--bundle-inside", f"{index}={bundle.path}"]
    return Errand(arguments=tuple(arguments), anchors=_anchors_text(question), bundles=tuple(mounted))


def _anchors_text(question: Question) -> str:
    """Return the keys and roots of a question as a Job reads them."""
    keys = [key.pem().decode() for key in question.keys]
    roots = [root.pem().decode() for root in question.roots]
    return json.dumps({"anchors": question.anchors, "keys": keys, "roots": roots}, separators=(",", ":"))


def _scanned(question: Question) -> bool:
    return scanned_before(question) is not None


def _with_evidence(found: Inspection, question: Question, answer: Mapping[str, Any]) -> Inspection:
    """Take the Job's word for what it looked at, and our own for what it was not asked."""
    earlier = question.earlier
    try:
        fields = Fields(answer, strict=False)
        examined = read_examined(fields.child("examined"))
        scan = read_scan(fields.child("scan"))
        mark = str(answer.get("blake3") or "")
        blake3 = require_blake3(mark) if mark else ""
    except (InvalidSpecError, LastgoodError, ValueError):
        return Inspection(result=unreadable(question.digest, "the Job's result is incomplete"))
    if quick(question) and earlier:
        examined = earlier.examined
    if examined is not None and (examined.digest, examined.anchors) != (question.digest, question.anchors):
        return Inspection(result=unreadable(question.digest, "the Job's result is for other bytes, or other keys"))
    if scan is not None and scan.digest != question.digest:
        return Inspection(result=unreadable(question.digest, "the Job's result is for a scan of other bytes"))
    if scan is None and earlier and _scanned(question):
        scan = earlier.scan
    result = found.result
    return Inspection(
        result=replace(result, blake3=blake3),
        examined=examined,
        scan=scan,
        signed_with=question.signed_with,
    )
