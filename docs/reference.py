# ruff: noqa: INP001  - a script next to what it writes, not a package
"""Writes docs/reference.md: every name that users rely on, from `lastgood.api.names`, with what it means.

`python docs/reference.py` writes, `--check` only says whether the page is up to date. A test runs the same
functions: a name without a meaning, or a meaning without a name, fails it.
"""

from __future__ import annotations

import argparse
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a script, it finds its neighbour too

from docs.glossary import GLOSSARY
from lastgood.api import names
from lastgood.api.facts.signal import Verdict
from lastgood.api.names import LookError, MetricName, Outcome, Reason, Severity, Type
from lastgood.controller.serving.metrics import HELP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE = Path(__file__).resolve().parent / "reference.md"
Meanings = dict[str, str]

KEYS: Meanings = {
    names.OPT_IN_LABEL: "Label on the workload: the name of the ModelDeployment that may switch it.",
    names.BINDABLE: "Annotation on the workload: the bindings that its owner allows, one a line, with its value.",
    names.DEPLOYMENT_LABEL: "Label on a ModelRollback that the operator made: its ModelDeployment.",
    names.SCANNER_LABEL: "Label on the Job of an external scanner, and on its pod: the scanner's name.",
    names.ROLLBACK: "Annotation on a ModelDeployment: requests a rollback.",
    names.EMERGENCY: "Annotation on a ModelDeployment or on its workload: requests an emergency rollback.",
    names.QUARANTINE: "Annotation on a ModelSnapshot: quarantines its digest in the namespace.",
    names.RESUME: "Annotation on a ModelDeployment: lifts the hold on the desired snapshot.",
    names.PIN: "Annotation on a ModelSnapshot: retention never deletes its digest from the store. The text is yours.",
    names.INTENT: "Annotation on an emergency's ModelRollback: the intended target when it was created.",
    names.SNAPSHOT_STAMP: "Annotation that the operator writes on the pod template: the snapshot that it was given.",
    names.DIGEST_STAMP: "Annotation that the operator writes on the pod template: the digest that it was given.",
}

TYPES: Meanings = {
    Type.VERIFIED: "ModelSnapshot: the bytes had the declared digest when they were last read. Unknown: not read yet, "
    "or could not be read.",
    Type.SIGNED: "ModelSnapshot: the signatures that the trust policies require are valid. Unknown: no policy names "
    "signers for the model, or they have not been checked.",
    Type.SCANNED: "ModelSnapshot: the files were scanned, with no finding that a policy refuses. It does not say "
    "that a "
    "model is clean.",
    Type.QUARANTINED: "ModelSnapshot: nothing may serve it.",
    Type.RESTORABLE: "ModelSnapshot: one copy at least was complete, readable and verified when it was last read.",
    Type.READY: "ModelSnapshot: verified, not quarantined, and trusted where a policy requires it. ModelDeployment: "
    "every "
    "pod serves the expected snapshot, and nothing else is to be done. If False, the reason says what it waits for.",
    Type.HEALTHY: "ModelDeployment: every trigger has data, none fired, and every pod is available.",
    Type.PROTECTED: "ModelDeployment: a bad model would be detected, and rolled back automatically. False: a trigger "
    "has "
    "no data or is invalid, none may start a rollback, or `suspend` is on. Unknown: no data yet.",
    Type.PROGRESSING: "ModelDeployment: a rollback is in progress, or pods are starting.",
    Type.ROLLED_BACK: "ModelDeployment: the current snapshot is the target of the last rollback. The reason is its "
    "outcome.",
    Type.KNOWN_GOOD_AVAILABLE: "ModelDeployment: there is a rollback target; the message names it.",
    Type.GITOPS_CONFLICT: "ModelDeployment: another field manager owns a bound field; the message names it.",
    Type.OPTED_IN: "ModelDeployment: the workload exists, has the opt-in label, and allows the bindings.",
    Type.STALLED: "ModelDeployment: manual intervention required.",
    Type.COMPLETED: "ModelRollback: it has an outcome, good or bad.",
}

REASONS: dict[str, Meanings] = {
    "Snapshots": {
        Reason.VERIFIED: "The bytes have the declared digest.",
        Reason.PENDING: "Not verified yet.",
        Reason.DIGEST_MISMATCH: "The bytes are not what the digest says. The message has both digests.",
        Reason.UNREADABLE: "The bytes could not be read, which says nothing about them. Retried.",
        Reason.QUARANTINED: "The digest, or the snapshot, is quarantined.",
        Reason.NOT_QUARANTINED: "It is not quarantined.",
        Reason.READ_WHOLE: "Every byte of a copy was read and verified.",
        Reason.CAPTURING: "It is being copied into the snapshot store.",
        Reason.CAPTURED: "A copy is in the snapshot store.",
        Reason.CAPTURE_FAILED: "It could not be copied into the store. Retried; the message says why.",
        Reason.REPAIRING: "A bad copy in the store is about to be replaced by a good one.",
        Reason.REPAIRED: "A good copy took the place of a bad one, which is kept as evidence.",
        Reason.REPAIR_FAILED: "A bad copy in the store could not be replaced, and stays. The message says why.",
        Reason.KEEPING_EVIDENCE: "The files of a quarantined snapshot are being copied to the evidence.",
        Reason.EVIDENCE_KEPT: "A copy of it is in `evidence/` in the store; every byte of it was read again.",
        Reason.EVIDENCE_FAILED: "It could not be copied. The message says why, and what to do.",
        Reason.RETENTION_PLANNED: "The list of what retention will or would delete from the store has changed. The "
        "log has it.",
        Reason.RETENTION_APPLIED: "A snapshot was deleted from the store, as it was announced.",
        Reason.RETENTION_BLOCKED: "Retention is blocked, as a whole or for a snapshot. The message says why.",
    },
    "Whether a snapshot is trusted": {
        Reason.SIGNATURE_TRUSTED: "Enough trusted signers signed exactly these files, and no policy refuses it.",
        Reason.NO_TRUST_POLICY: "No trust policy names signers for the model.",
        Reason.NOT_EXAMINED: "Its signatures have not been checked yet.",
        Reason.SIGNATURE_MISSING: "A policy requires a signature, but it has none.",
        Reason.SIGNATURE_INVALID: "A signature bundle is invalid, or does not match these files. The message names "
        "the file.",
        Reason.SIGNATURE_UNTRUSTED: "It is signed by somebody whom the policy does not trust.",
        Reason.TOO_FEW_SIGNATURES: "Fewer different signers than the policy's threshold.",
        Reason.KEY_REVOKED: "The policy has revoked the key or certificate that signed it.",
        Reason.KEY_NOT_VALID: "The key or certificate that signed it is not valid now: expired, or not valid yet.",
        Reason.CLAIMS_MISMATCH: "It was signed as another model or version, or with other dates, than its spec says.",
        Reason.FILES_LEFT_OUT: "The signature does not cover all files, and the policy requires that.",
        Reason.POLICY_INVALID: "A trust policy is invalid, and trusts nobody for its models. The message says why.",
        Reason.DIGEST_REVOKED: "A trust policy revokes the digest: nothing may serve it.",
        Reason.BELOW_FLOOR: "Its date lies below the floor of a trust policy, or it has no date that counts.",
        Reason.DATE_NOT_SIGNED: "Signatures are required, and nobody signed its date: it counts for no `before=`.",
        Reason.SCANNED: "The files were scanned, with no finding that a policy refuses.",
        Reason.NOT_SCANNED: "A policy requires a scan, but these bytes were not scanned, or not all of them.",
        Reason.SCAN_FINDING: "A scanner has a finding at or above the limit of the policy. The message names it.",
        Reason.SCANNER_UNKNOWN: "A policy names an external scanner that is not installed.",
        Reason.NOT_ON_CLAIM: "A policy names an external scanner, which scans PersistentVolumeClaims only, and no "
        "copy is on one.",
        Reason.FORMAT_REFUSED: "There are files in a format that the policy does not allow.",
    },
    "What a ModelDeployment does": {
        Reason.SERVING: "Every pod serves the expected snapshot; nothing to do.",
        Reason.DEPLOYING: "A verified snapshot is being deployed.",
        Reason.DEPLOYED: "The workload was switched to the desired snapshot.",
        Reason.ADOPTED: "The workload had the snapshot already; no restart.",
        Reason.SOAKED: "The current snapshot has completed its soak: it is known good.",
        Reason.DRIFTED: "A bound field was overwritten, and is restored. The message names the field manager.",
        Reason.SUSPENDED: "`spec.suspend` is true: no deployment and no automatic rollback.",
        Reason.HELD: "The desired snapshot is on hold, or its digest was rejected by a rollback: it is not deployed.",
        Reason.RESUMED: "A hold was lifted.",
        Reason.WAITING: "Something must finish first; the message says what.",
        Reason.REMEMBERED: "Rejections, holds and soaks are recorded outside the ModelDeployment.",
        Reason.RECALLED: "The ModelDeployment was recreated, and earlier rejections and holds are in force again.",
    },
    "Why it does nothing": {
        Reason.INVALID_SPEC: "A field of the spec, or an expression in it, cannot be used.",
        Reason.TARGET_NOT_FOUND: "There is no Deployment, or object beside it, of that name.",
        Reason.NOT_OPTED_IN: "The workload lacks the opt-in label. The message has the command.",
        Reason.NOT_BINDABLE: "The workload's owner does not allow a binding, or not any more. The message "
        "has the command.",
        Reason.OWNED_BY_ANOTHER: "The workload has opted in to another ModelDeployment, which the message names.",
        Reason.TARGET_SHARED: "Several ModelDeployments target the workload, and it has opted in to none of them.",
        Reason.CONTAINER_NOT_FOUND: "A binding names a container that the workload does not have.",
        Reason.VALUE_FROM: "A bound variable has `valueFrom`, which cannot take a value.",
        Reason.NOT_READ: "What earlier rollbacks rejected has not been read yet, so nothing new is deployed. The "
        "message "
        "says why. Rollbacks continue.",
        Reason.SNAPSHOT_NOT_FOUND: "There is no ModelSnapshot of the name in `spec.snapshot`, or in a request's `to`.",
        Reason.SNAPSHOT_DELETING: "The ModelSnapshot of what serves is being deleted. The pods are left as they are.",
        Reason.SNAPSHOT_DELETED: "The ModelSnapshot of what serves was deleted. The pods are left as they are.",
        Reason.FALLBACK_DELETED: "The only rollback target was deleted, or is being deleted.",
        Reason.WRONG_MODEL: "The snapshot belongs to another model.",
        Reason.NOT_VERIFIED: "The snapshot is not verified.",
        Reason.NOT_MOUNTED: "The workload does not mount the claim that the snapshot is on.",
        Reason.NO_VALUE: "A binding needs a value that the snapshot does not have, such as `$(image)`, or that may "
        "not be written.",
        Reason.IMAGE_NOT_PINNED: "An image is bound, and the snapshot's is not named in full and by its digest.",
        Reason.IMAGE_NOT_ALLOWED: "An image is bound, and no trust policy and no signature allows the snapshot's.",
        Reason.SWITCH_REFUSED: "The API server, or an admission policy, refused the write. Retried.",
        Reason.QUARANTINE_REFUSED: "The switch of an emergency is done, but the API server refused the quarantine. "
        "Retried.",
        Reason.FIELD_OWNED: "Another field manager owns a bound field.",
        Reason.NO_CONFLICT: "No other field manager owns a bound field.",
        Reason.OPTED_IN: "The workload has opted in.",
        Reason.REQUEST_REJECTED: "A request is invalid, is for another object, names a snapshot that never served "
        "here, or is older than the first reconcile of the ModelDeployment.",
        Reason.COOLDOWN: "A trigger fired within `rollback.cooldown` of the last rollback.",
        Reason.RATE_LIMITED: "There were `rollback.maxPerHour` automatic rollbacks within an hour.",
    },
    "What the operator lacks (in the security log)": {
        Reason.RIGHT_MISSING: "RBAC does not allow what the operator needs. Its pod is not ready until then. Alerts.",
        Reason.DEFINITION_MISSING: "A CustomResourceDefinition is missing. The operator's pod is not ready until "
        "then. Alerts.",
        Reason.ACCESS_RESTORED: "What was missing is back.",
    },
    "Health": {
        Reason.HEALTHY: "No trigger fired, and all have data.",
        Reason.TRIGGER_FIRED: "A trigger was breached `failureThreshold` times in a row.",
        Reason.NO_DATA: "A trigger has no data, or nothing was deployed yet.",
        Reason.UNAVAILABLE: "Not every pod serves it yet.",
    },
    "Protection": {
        Reason.PROTECTED: "Every trigger has recent data, and one at least may start a rollback.",
        Reason.NO_TRIGGERS: "No trigger is declared: only the bytes of the current snapshot are verified.",
        Reason.ALERTS_ONLY: "No trigger may start a rollback.",
    },
    "Rollbacks": {
        Reason.REQUESTED: "A person requested a rollback.",
        Reason.EMERGENCY: "A person requested an emergency rollback.",
        Reason.CONTINUED: "The target of a rollback failed, and a new record continues.",
        Reason.ACCEPTED: "A record has started: it has the lock.",
        Reason.INTENT: "The target is chosen and verified, and recorded before the switch.",
        Reason.SWITCHED: "The workload was switched.",
        Reason.AVAILABLE: "Every pod serves the target.",
        Reason.VALIDATING: "The checks of `spec.validation` are being run.",
        Reason.VALIDATION_FAILED: "A check failed three times in a row.",
        Reason.NOT_AVAILABLE: "The pods of the target did not become available before the progress deadline.",
        Reason.TARGET_LOST: "The target was quarantined, or turned bad, while its pods were starting.",
        Reason.NO_KNOWN_GOOD: "There is no rollback target. The current snapshot stays.",
        Reason.SERVES_ALREADY: "The request names the current snapshot.",
        Reason.KNOWN_GOOD: "There is a rollback target.",
        Reason.NOTHING_SOAKED: "No rollback target has completed its soak. The message "
        "says when the current snapshot will have, and who can roll back until then.",
        Reason.UNVALIDATED: "The target serves, but its validation is inconclusive.",
        Reason.SUCCEEDED: "The target serves, is available, and passed its checks.",
        Reason.SUPERSEDED: "It no longer applies, its ModelDeployment was deleted, or an emergency took over.",
        Reason.NOT_ROLLED_BACK: "There was no rollback.",
    },
    "Why a candidate was chosen or skipped": {
        Reason.CHOSEN: "It is the target.",
        Reason.LEAVING: "It is the current snapshot, or has the same digest.",
        Reason.LEFT_BEFORE: "Rejected by an earlier rollback of this ModelDeployment.",
        Reason.DELETING: "It is being deleted.",
        Reason.NOT_SOAKED: "`knownGood.require` is Soaked, and it has not completed its soak.",
        Reason.NEVER_SERVED: "It never served here, and nobody named it.",
        Reason.APPEARED_LATER: "It never served, and was first seen after the current snapshot was deployed.",
        Reason.AFTER_DATE: "It is not older than the date in the request, or has no date.",
        Reason.NOT_ASKED_FOR: "The request names another snapshot.",
        Reason.NOT_NEEDED: "It is eligible, but a better one was chosen.",
    },
}

OUTCOMES: Meanings = {
    Outcome.SUCCEEDED: "The target serves, is available, and passed its checks.",
    Outcome.UNVALIDATED: "The target serves and is available; a check was inconclusive, or the bytes could not be read "
    "again after an emergency. Alerts.",
    Outcome.FAILED: "The target is bad or did not come up, or there was none. `outcomeReason` says which. Alerts.",
    Outcome.REJECTED: "The record's `from` never served here with the digest that it says, or the snapshot in its `to` "
    "was refused: `outcomeReason` and `message` say why. Alerts.",
    Outcome.SUPERSEDED: "An emergency took over, the snapshot to replace is no longer current, or the "
    "ModelDeployment is gone: "
    "deleted, or recreated under the same name.",
}

SEVERITIES: Meanings = {
    Severity.CRITICAL: "Starts a rollback, unless not in `rollback.automatic`.",
    Severity.HIGH: "Starts a rollback, unless not in `rollback.automatic`.",
    Severity.MEDIUM: "Alerts only.",
    Severity.LOW: "Alerts only.",
}

VERDICTS: Meanings = {
    Verdict.HEALTHY: "The condition does not hold (a check's does).",
    Verdict.BREACHED: "The condition holds (a check's does not).",
    Verdict.INCONCLUSIVE: "There is no data. It counts neither as a breach nor as healthy.",
}


METRICS: Meanings = {str(name): text for name, text in HELP.items()}


class Gap(Exception):  # noqa: N818  - what is missing is no error of the program
    """A name and its meaning do not go together."""


def keys() -> set[str]:
    """Return the labels and annotations that the names module has."""
    prefix = f"{names.GROUP}/"
    found = {value for value in vars(names).values() if type(value) is str and value.startswith(prefix)}
    return found - {names.API_VERSION}


def complete(title: str, wanted: set[str], meanings: Mapping[str, str]) -> None:
    """Make sure that every name has a meaning, and every meaning a name.

    Raises:
        Gap: with what is missing.
    """
    texts = {str(name) for name in meanings}
    if odd := sorted(wanted ^ texts):
        raise Gap(f"{title}: in names.py or in docs/reference.py, but not in both: {', '.join(odd)}")


LOOK_ERRORS: Meanings = {
    LookError.INVALID_EXPRESSION: "The condition is invalid.",
    LookError.INVALID_URL: "The URL is invalid.",
    LookError.HOST_NOT_ALLOWED: "The host is no Service of the namespace, and no administrator allowed it "
    "(`--trigger-host`).",
    LookError.ADDRESS_REFUSED: "The host resolves to an address that is blocked, such as cloud metadata.",
    LookError.NAME_NOT_FOUND: "The name does not resolve.",
    LookError.CONNECTION_REFUSED: "Nothing listens there.",
    LookError.UNREACHABLE: "There is no route to the address.",
    LookError.CONNECTION_CLOSED: "The connection was closed before a complete answer; a mesh may require mTLS.",
    LookError.TIMED_OUT: "There was no complete answer in time.",
    LookError.NOT_TRUSTED: "The certificate is not trusted, or is another host's.",
    LookError.TLS_FAILED: "No TLS connection could be made, such as to an http port.",
    LookError.NOT_HTTP: "The answer is not HTTP, or beyond its bounds.",
    LookError.REDIRECT: "The answer is a redirect; none is followed.",
    LookError.STATUS: "The status is not 200.",
    LookError.PACKED: "The body is compressed (`Content-Encoding`).",
    LookError.TOO_LARGE: "The body has more than 1 MiB.",
    LookError.UNUSABLE_JSON: "The body is not JSON, or beyond its bounds.",
    LookError.NO_ANSWER: "The condition cannot be evaluated for this body, such as for a missing field.",
    LookError.NOT_READY: "The workload does not exist, or its pods are starting.",
    LookError.FAILED: "Something else; the sentence, or the operator's log, says what.",
}


def words(kind: type[StrEnum]) -> set[str]:
    """Return the values of an enumeration."""
    return {str(member) for member in kind}


def table(head: str, meanings: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield from ("", f"| {head} | Meaning |", "| --- | --- |")
    yield from (f"| `{name}` | {meaning} |" for name, meaning in meanings.items())


def page() -> str:
    """Return the whole page.

    Raises:
        Gap: if a name has no meaning here, or a meaning no name.
    """
    reasons = {name: text for group in REASONS.values() for name, text in group.items()}
    for title, wanted, meanings in (
        ("keys", keys(), KEYS),
        ("condition types", words(Type), TYPES),
        ("reasons", words(Reason), reasons),
        ("outcomes", words(Outcome), OUTCOMES),
        ("severities", words(Severity), SEVERITIES),
        ("verdicts", words(Verdict), VERDICTS),
        ("errors of a look", words(LookError), LOOK_ERRORS),
        ("metrics", words(MetricName), METRICS),
    ):
        complete(title, wanted, meanings)
    return "\n".join(lines()) + "\n"


def lines() -> Iterator[str]:
    """Yield the lines of the page."""
    yield "<!-- Written by `python docs/reference.py` from api/names.py: change those, and run it again. -->"
    yield from ("# Names", "", "These words are API: scripts, dashboards and alerts may rely on them.", "")
    yield f"API group and version: `{names.API_VERSION}`. Field manager: `{names.FIELD_MANAGER}`. "
    yield f"Quarantine ConfigMap, in the operator's namespace: `{names.QUARANTINE_CONFIG_MAP}`."
    yield from ("", "## Glossary", "", "Messages, Events and pages use these words, each for one thing.")
    yield from ("", "| Term | Meaning |", "| --- | --- |")
    yield from (f"| {term} | {meaning} |" for term, meaning in GLOSSARY.items())
    yield from ("", "## Labels and annotations", "", "How to use them: [operations](operations.md).")
    yield from table("Key", KEYS)
    yield from ("", "## Condition types")
    yield from table("Type", TYPES)
    yield from ("", "## Reasons", "", "One word for one thing, in conditions, events, the security log and records.")
    for title, meanings in REASONS.items():
        yield from ("", f"### {title}")
        yield from table("Reason", meanings)
    for title, head, meanings in (
        ("Outcomes of a ModelRollback", "Outcome", OUTCOMES),
        ("Severities of a trigger", "Severity", SEVERITIES),
        ("Verdicts of a trigger or a check", "Verdict", VERDICTS),
        ("Why a trigger has no data", "lastErrorReason", LOOK_ERRORS),
    ):
        yield from ("", f"## {title}")
        yield from table(head, meanings)
    yield from ("", "## Metrics", "", "Their labels, and rules to alert on: [metrics](metrics.md).")
    yield from table("Metric", METRICS)


def main() -> int:
    """Write the page, or say that it is out of date."""
    parser = argparse.ArgumentParser(description="Write docs/reference.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is out of date")
    found = page()
    if not parser.parse_args().check:
        PAGE.write_text(found)
        return 0
    if PAGE.read_text() == found:
        return 0
    sys.stderr.write("docs/reference.md is out of date: run `python docs/reference.py`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
