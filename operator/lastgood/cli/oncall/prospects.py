"""Where a rollback would go, and why to none of the others: the operator's own rules, over what a person may read.

What cannot be read from here is said, and not guessed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import Candidate
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.kinds.deployment import Deployment
from lastgood.core.candidates.eligible import Question
from lastgood.core.candidates.fallback import emergency_question
from lastgood.core.candidates.selection import select
from lastgood.core.serving.triggers import normal_question
from lastgood.core.state import Observed
from lastgood.errors import InvalidSpecError
from lastgood.verify.trust_ids import read_policy

Body = Mapping[str, Any]
HEADER = ("SNAPSHOT", "ROLLBACK", "EMERGENCY", "REASON")
_WORDS = {"Chosen": "chosen", "NotNeeded": "eligible", "PassedOver": "skipped"}


@dataclass(frozen=True, kw_only=True)
class Read:
    """The objects that a person could read; `unread` says of what, and why, there is nothing."""

    deployment: Body
    workload: Body | None = None
    snapshots: Sequence[Body] = ()
    policies: Sequence[Body] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Prospects:
    """A row for each snapshot of the model, and sentences on what they rest on."""

    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def prospects(read: Read, now: datetime) -> _Prospects:
    """Return what a rollback and an emergency would choose now.

    Raises:
        InvalidSpecError: the ModelDeployment cannot be understood.
    """
    observed, invalid = _observed(read, now)
    normal = _candidates(observed, normal_question(observed))
    emergency = _candidates(observed, emergency_question(observed))
    rows = tuple(_row(item, emergency[name]) for name, item in normal.items())
    notes = (*_notes(observed, normal, emergency), *invalid, *read.unread, _QUARANTINE)
    return _Prospects(rows=rows, notes=notes)


_QUARANTINE = (
    "quarantines are shown as of the last reconcile of each snapshot; before a switch, the operator reads the "
    "quarantine list and verifies the bytes again"
)


def _candidates(observed: Observed, question: Question) -> dict[str, Candidate]:
    return {item.snapshot: item for item in select(observed, question)[1]}


def _row(normal: Candidate, emergency: Candidate) -> tuple[str, ...]:
    why = f"{normal.reason}: {normal.message}"
    if normal.verdict == "PassedOver" != emergency.verdict:
        why = f"{why}; in an emergency: {emergency.message}"
    return normal.snapshot, _WORDS[normal.verdict], _WORDS[emergency.verdict], why


def _notes(observed: Observed, normal: Mapping[str, Candidate], emergency: Mapping[str, Candidate]) -> Iterator[str]:
    told = observed.deployment.status.last_known_good
    chosen = [
        next((name for name, item in kind.items() if item.verdict == "Chosen"), "") for kind in (normal, emergency)
    ]
    yield f"a rollback would go to {chosen[0] or 'none of them'}, an emergency to {chosen[1] or 'none of them'}"
    if told != chosen[0]:
        why = "the operator sees objects that you cannot read, or has not reconciled yet"
        yield f"status.lastKnownGood is {told or 'none'}: {why}"
    if observed.deployment.status.active:
        yield f"ModelRollback {observed.deployment.status.active.name} is in progress"


def _observed(read: Read, now: datetime) -> tuple[Observed, list[str]]:
    """Return what the operator would decide from, as far as it can be read."""
    snapshots, invalid = [], []
    for body in read.snapshots:
        try:
            snapshots.append(ModelSnapshot.from_body(body))
        except InvalidSpecError as error:
            invalid.append(f"ModelSnapshot {body['metadata']['name']} is invalid: {error}")
    observed = Observed(
        now=now,
        deployment=ModelDeployment.from_body(read.deployment),
        workload=Deployment.read(read.workload) if read.workload else None,
        snapshots=tuple(snapshots),
        quarantined=_quarantined(snapshots),
        trust=tuple(read_policy(body).trust for body in read.policies),
    )
    return observed, invalid


def _quarantined(snapshots: Sequence[ModelSnapshot]) -> dict[str, str]:
    marks = ((item.digest, item.status.quarantine) for item in snapshots)
    return {digest: mark.told or "quarantined" for digest, mark in marks if mark and mark.scope != "Snapshot"}
