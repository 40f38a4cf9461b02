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

from lastgood.api import names
from lastgood.api.names import MetricName, Outcome, Reason, Severity, Type
from lastgood.api.signal import Verdict
from lastgood.controller.metrics import HELP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE = Path(__file__).resolve().parent / "reference.md"
Meanings = dict[str, str]

KEYS: Meanings = {
    names.OPT_IN_LABEL: "Label on the workload: the name of the ModelDeployment that may switch it.",
    names.DEPLOYMENT_LABEL: "Label on a ModelRollback that the operator made: its ModelDeployment.",
    names.SCANNER_LABEL: "Label on the Job of an external scanner, and on its pod: the scanner's name.",
    names.ROLLBACK: "Annotation on a ModelDeployment: asks for a rollback.",
    names.EMERGENCY: "Annotation on a ModelDeployment or on its workload: asks for an emergency rollback.",
    names.QUARANTINE: "Annotation on a ModelSnapshot: quarantines its digest in the namespace.",
    names.RESUME: "Annotation on a ModelDeployment: lets go of the hold on the desired snapshot.",
    names.PIN: "Annotation on a ModelSnapshot: retention never deletes its digest from the store. The text is yours.",
    names.INTENT: "Annotation on an emergency's ModelRollback: what was going to be switched to when it was made.",
    names.SNAPSHOT_STAMP: "Annotation that the operator writes on the pod template: the snapshot that it was given.",
    names.DIGEST_STAMP: "Annotation that the operator writes on the pod template: the digest that it was given.",
}

TYPES: Meanings = {
    Type.VERIFIED: "ModelSnapshot: the bytes had the declared digest when they were last read. Unknown: not read yet, "
    "or could not be read.",
    Type.SIGNED: "ModelSnapshot: the signatures that the trust policies ask for are there. Unknown: no policy names "
    "signers for the model, or they have not been looked at.",
    Type.SCANNED: "ModelSnapshot: scanners looked at the files and found nothing grave. Never that a model is clean.",
    Type.QUARANTINED: "ModelSnapshot: nothing may serve it.",
    Type.RESTORABLE: "ModelSnapshot: a copy could be read whole and was good when it was last read.",
    Type.READY: "ModelSnapshot: verified, not quarantined, and trusted as far as a policy asks. ModelDeployment: every "
    "pod serves what it should, and nothing else is to be done; else the reason says what is awaited.",
    Type.HEALTHY: "ModelDeployment: every trigger has a verdict, none fired, and every pod is available.",
    Type.PROGRESSING: "ModelDeployment: a rollback is under way, or pods are starting.",
    Type.ROLLED_BACK: "ModelDeployment: what serves came by the last rollback. The reason is how that one ended.",
    Type.KNOWN_GOOD_AVAILABLE: "ModelDeployment: there is a snapshot to go back to; the message names it.",
    Type.GITOPS_CONFLICT: "ModelDeployment: another field manager owns a bound field; the message names it.",
    Type.OPTED_IN: "ModelDeployment: the workload is there and carries the opt-in label.",
    Type.STALLED: "ModelDeployment: nothing goes on until a person changes something.",
    Type.COMPLETED: "ModelRollback: it has an outcome, whichever.",
}

REASONS: dict[str, Meanings] = {
    "Snapshots": {
        Reason.VERIFIED: "The bytes have the declared digest.",
        Reason.PENDING: "Not verified yet.",
        Reason.DIGEST_MISMATCH: "The bytes are not what the digest says. The message has both digests.",
        Reason.UNREADABLE: "The bytes could not be read. That says nothing about them; it is tried again.",
        Reason.QUARANTINED: "The digest, or the snapshot, is quarantined.",
        Reason.NOT_QUARANTINED: "It is not quarantined.",
        Reason.READ_WHOLE: "Every byte of a copy was read, and found good.",
        Reason.CAPTURING: "It is being copied into the snapshot store.",
        Reason.CAPTURED: "A copy is in the snapshot store.",
        Reason.CAPTURE_FAILED: "It could not be copied into the store, and is tried again. The message says why.",
        Reason.REPAIRING: "A bad copy in the store is about to be replaced by a good one.",
        Reason.REPAIRED: "A good copy took the place of a bad one, which is kept as evidence.",
        Reason.REPAIR_FAILED: "A bad copy in the store could not be replaced, and stays. The message says why.",
        Reason.KEEPING_EVIDENCE: "What is at the source of a quarantined snapshot is being copied to the evidence.",
        Reason.EVIDENCE_KEPT: "A copy of it is in `evidence/` in the store; every byte of it was read again.",
        Reason.EVIDENCE_FAILED: "It could not be copied. The message says why, and what to do.",
        Reason.RETENTION_PLANNED: "What retention would delete from the store, or will, has changed. The log lists it.",
        Reason.RETENTION_APPLIED: "A snapshot was deleted from the store, as it was announced.",
        Reason.RETENTION_BLOCKED: "Nothing may be deleted, or a snapshot stays that was to go. The message says why.",
    },
    "Whether a snapshot is trusted": {
        Reason.SIGNATURE_TRUSTED: "Enough trusted signers signed exactly these files, and no policy speaks against it.",
        Reason.NO_TRUST_POLICY: "No trust policy says whose signatures count for the model.",
        Reason.NOT_EXAMINED: "Its signatures have not been looked at yet.",
        Reason.SIGNATURE_MISSING: "A policy asks for a signature, and it has none.",
        Reason.SIGNATURE_INVALID: "A bundle is not right, or not over these files. The message names the file.",
        Reason.SIGNATURE_UNTRUSTED: "It is signed by somebody whom the policy does not trust.",
        Reason.TOO_FEW_SIGNATURES: "Fewer different signers than the policy's threshold.",
        Reason.KEY_REVOKED: "The policy has revoked the key or certificate that signed it.",
        Reason.KEY_NOT_VALID: "The key or certificate that signed it is not valid now: expired, or not valid yet.",
        Reason.CLAIMS_MISMATCH: "It was signed as another model or version, or with other dates, than its spec says.",
        Reason.FILES_LEFT_OUT: "The signature leaves out files that are there, and the policy does not allow that.",
        Reason.POLICY_INVALID: "A trust policy cannot be used, and trusts nobody for its models. The message says why.",
        Reason.DIGEST_REVOKED: "A trust policy revokes the digest: nothing may serve it.",
        Reason.BELOW_FLOOR: "Its date lies below the floor of a trust policy, or it has no date that counts.",
        Reason.DATE_NOT_SIGNED: "Signatures are required, and nobody signed its date: it counts for no `before=`.",
        Reason.SCANNED: "Scanners looked at the files and found nothing grave.",
        Reason.NOT_SCANNED: "A policy asks for a scan, and there is none of these bytes, or not of all of them.",
        Reason.SCAN_FINDING: "A scanner found something as grave as the policy does not allow. The message names it.",
        Reason.SCANNER_UNKNOWN: "A policy names an external scanner that this operator does not have.",
        Reason.NOT_ON_CLAIM: "A policy names an external scanner, which looks at claims only, and no copy is on one.",
        Reason.FORMAT_REFUSED: "There are files in a format that the policy does not allow.",
    },
    "What a ModelDeployment does": {
        Reason.SERVING: "Nothing is to be done.",
        Reason.DEPLOYING: "A verified snapshot is being deployed.",
        Reason.DEPLOYED: "The workload has been given the desired snapshot.",
        Reason.ADOPTED: "The workload carried the snapshot already; it is not restarted.",
        Reason.SOAKED: "What serves has stayed healthy for the soak: it is known good.",
        Reason.DRIFTED: "Something else wrote a bound field; it is written back.",
        Reason.SUSPENDED: "`spec.suspend` holds back what would be done.",
        Reason.HELD: "The desired snapshot, or its digest, was left by a rollback and is not deployed.",
        Reason.RESUMED: "A hold has ended.",
        Reason.WAITING: "Something must finish first; the message says what.",
    },
    "Why it does nothing": {
        Reason.INVALID_SPEC: "A field of the spec, or an expression in it, cannot be used.",
        Reason.TARGET_NOT_FOUND: "There is no Deployment of that name.",
        Reason.NOT_OPTED_IN: "The workload lacks the opt-in label. The message has the command.",
        Reason.CONTAINER_NOT_FOUND: "A binding names a container that the workload does not have.",
        Reason.VALUE_FROM: "A bound variable has `valueFrom`, which cannot take a value.",
        Reason.SNAPSHOT_NOT_FOUND: "There is no ModelSnapshot of the name in `spec.snapshot`.",
        Reason.WRONG_MODEL: "The snapshot is of another model.",
        Reason.NOT_VERIFIED: "The snapshot is not verified.",
        Reason.NOT_MOUNTED: "The workload does not mount the claim that the snapshot is on.",
        Reason.NO_VALUE: "A binding asks for a value that the snapshot does not have, such as `$(image)`.",
        Reason.SWITCH_REFUSED: "The API server, or a policy in it, did not allow the write. It is tried again later.",
        Reason.FIELD_OWNED: "Another field manager owns a bound field.",
        Reason.NO_CONFLICT: "No other field manager owns a bound field.",
        Reason.OPTED_IN: "The workload has opted in.",
        Reason.REQUEST_REJECTED: "A request could not be understood, is for another object, names what never served "
        "here, or was there before the ModelDeployment was first looked at.",
        Reason.COOLDOWN: "A trigger fired within `rollback.cooldown` of the last rollback.",
        Reason.RATE_LIMITED: "There were `rollback.maxPerHour` automatic rollbacks within an hour.",
    },
    "Health": {
        Reason.HEALTHY: "No trigger fired, and all have a verdict.",
        Reason.TRIGGER_FIRED: "A trigger has been breached often enough in a row.",
        Reason.NO_DATA: "A trigger has no verdict, or nothing was deployed yet.",
        Reason.UNAVAILABLE: "Not every pod serves it yet.",
    },
    "Rollbacks": {
        Reason.REQUESTED: "A person asked for a rollback.",
        Reason.EMERGENCY: "A person asked for an emergency rollback.",
        Reason.CONTINUED: "The target of a rollback failed, and a new record goes on.",
        Reason.ACCEPTED: "A record was taken up: it has the lock.",
        Reason.INTENT: "The target is chosen and verified, and the switch is written down before it is done.",
        Reason.SWITCHED: "The workload was switched.",
        Reason.AVAILABLE: "Every pod serves the target.",
        Reason.VALIDATING: "The checks of `spec.validation` are being run.",
        Reason.VALIDATION_FAILED: "A check said no, three times in a row.",
        Reason.NOT_AVAILABLE: "The pods of the target did not become available in time.",
        Reason.TARGET_LOST: "The target was quarantined, or turned bad, while its pods were starting.",
        Reason.NO_KNOWN_GOOD: "There is no snapshot to go back to. What serves is kept.",
        Reason.KNOWN_GOOD: "There is a snapshot to go back to.",
        Reason.UNVALIDATED: "The target serves, and could not be validated either way.",
        Reason.SUCCEEDED: "The target serves, is available, and passed its checks.",
        Reason.SUPERSEDED: "It no longer applies, or an emergency took over.",
        Reason.NOT_ROLLED_BACK: "There was no rollback.",
    },
    "Why a candidate was chosen or passed over": {
        Reason.CHOSEN: "It is the target.",
        Reason.LEAVING: "It is what is being left, or has the same digest.",
        Reason.LEFT_BEFORE: "An earlier rollback of this ModelDeployment left its digest.",
        Reason.DELETING: "It is being deleted.",
        Reason.NOT_SOAKED: "`knownGood.require` is Soaked, and it has not served for the soak.",
        Reason.APPEARED_LATER: "It never served, and was first seen after what is being left was deployed.",
        Reason.AFTER_DATE: "It is not older than the date in the request, or has no date.",
        Reason.NOT_ASKED_FOR: "The request names another snapshot.",
        Reason.NOT_NEEDED: "It is good, and a better one was chosen.",
    },
}

OUTCOMES: Meanings = {
    Outcome.SUCCEEDED: "The target serves, is available, and passed its checks.",
    Outcome.UNVALIDATED: "The target serves and is available; a check had no answer, or the bytes could not be read "
    "again after an emergency. Alerts.",
    Outcome.FAILED: "The target is bad or did not come up, or there was none. `outcomeReason` says which. Alerts.",
    Outcome.REJECTED: "The record is for another ModelDeployment of the same name, or its `from` never served here "
    "with the digest that it says.",
    Outcome.SUPERSEDED: "An emergency took over, or what was to be left no longer serves.",
}

SEVERITIES: Meanings = {
    Severity.CRITICAL: "Acts by itself, unless left out of `rollback.automatic`.",
    Severity.HIGH: "Acts by itself, unless left out of `rollback.automatic`.",
    Severity.MEDIUM: "Tells people.",
    Severity.LOW: "Tells people.",
}

VERDICTS: Meanings = {
    Verdict.HEALTHY: "The condition does not hold (a check's does).",
    Verdict.BREACHED: "The condition holds (a check's does not).",
    Verdict.INCONCLUSIVE: "There is no answer to judge by. It is never a vote, neither for nor against.",
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
