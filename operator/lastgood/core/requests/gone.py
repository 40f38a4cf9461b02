"""The records of a ModelDeployment that is gone: what they left is kept, and then they end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from lastgood.api.facts.deployment_status import Held, Left
from lastgood.api.facts.remembered import Remembered
from lastgood.api.names import SNAPSHOT_STAMP, Digest, Outcome, Reason, SnapshotName
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.workload import Workload
from lastgood.core.actions import Remember, UpdateRecord
from lastgood.core.requests.remember import RETRY, joined
from lastgood.core.rollback.closing import is_bad_copy
from lastgood.core.rollback.outcomes import ended
from lastgood.core.state import REMEMBERED, Decision, Step, Tell


@dataclass(frozen=True, kw_only=True)
class ObservedGone:
    """What is known of a ModelDeployment that is not there; `workload` is the one that names it in its label."""

    now: datetime
    records: tuple[ModelRollback, ...]
    complete: bool = True
    workload: Workload | None = None
    remembered: Remembered | None = None
    remembered_problem: str = ""
    refused: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def open(self) -> list[ModelRollback]:
        """The records without an outcome, the oldest first."""
        found = [record for record in self.records if record.status.outcome is None and not record.meta.deleting]
        return sorted(found, key=lambda record: (str(record.meta.created), record.name))

    @property
    def waiting(self) -> ModelRollback | None:
        """The oldest of them."""
        return next(iter(self.open), None)


@dataclass(frozen=True, kw_only=True)
class _Unfinished:
    """What a record without an outcome has left, though its ModelDeployment can no longer say so."""

    held: Held
    left: tuple[Left, ...]


def unfinished(
    record: ModelRollback, workload: Workload | None, now: datetime, named: ModelSnapshot | None = None
) -> _Unfinished | None:
    """Return what a record has left, if it has switched.

    Its status says so, or else the workload: killed between the two, there is only the stamp of another snapshot. Who
    may create records may so have a snapshot left that serves nobody; with a ModelDeployment that is there, the same
    right does the same to one that serves. `named` is what is taken for left where the record does not say it.
    """
    spec, stamp = record.spec, workload.template_annotations.get(SNAPSHOT_STAMP, "") if workload else ""
    source = record.status.source or spec.source or (named.name if named else SnapshotName(""))
    digest = record.status.source_digest if record.status.source else spec.source_digest
    digest = digest or (named.digest if named and named.name == source else Digest(""))
    if not source or not digest or (record.status.switched_at is None and stamp == ""):
        return None
    if source in (stamp, record.status.target):
        return None  # it serves
    at, reason = record.status.switched_at or now, spec.reason[:256]
    held = Held(snapshot=source, digest=digest, reason=reason, rollback=record.name, since=at)
    left = Left(digest=digest, snapshot=source, reason=reason, at=at)
    return _Unfinished(held=held, left=() if is_bad_copy(spec) else (left,))


def inherited(known: tuple[Left, ...], found: tuple[Left, ...], *, began: bool) -> tuple[Left, ...]:
    """Return what was left, with what a record says was left as well.

    `began` says that the operator began it; of any other record, which anybody may create, it fills free room alone:
    else many of them push out what was really left.
    """
    digests = {item.digest for item in known}
    new = tuple(item for item in found if item.digest not in digests)
    return joined(known, new) if began else joined(new, known) if new else known


Rule = Callable[[ObservedGone, ModelRollback], Step | None]


def incomplete(observed: ObservedGone, _: ModelRollback) -> Step | None:
    """Who is not in an incomplete list is not gone."""
    if observed.complete:
        return None
    return Step(reason=Reason.WAITING, message="caches not synced", after=1.0)


def kept(observed: ObservedGone, record: ModelRollback) -> Step | None:
    """What it left is kept first: once it has ended, nobody looks at it again."""
    found = unfinished(record, observed.workload, observed.now)
    if found is None:
        return None
    if observed.remembered is None:
        return Step(reason=Reason.NOT_READ, message=observed.remembered_problem, after=5.0)
    left = inherited(observed.remembered.left, found.left, began=bool(record.status.deployment_uid))
    if observed.remembered.held and left == observed.remembered.left:
        return None
    refused = observed.refused.get(REMEMBERED)
    if refused is not None and observed.now - refused < RETRY:
        message = "the rejection could not be recorded; retrying"
        return Step(reason=Reason.WAITING, message=message, after=RETRY.total_seconds())
    facts = replace(
        observed.remembered,
        held=observed.remembered.held or found.held,
        left=left,
    )
    message = f"{found.held.snapshot} was rejected by ModelRollback {record.name} of a deleted ModelDeployment"
    return Step(reason=Reason.REMEMBERED, message=message, action=Remember(facts=facts.written), tell=Tell.INFO)


def over(observed: ObservedGone, record: ModelRollback) -> Step | None:
    """An accepted request ends, also if what it was about is gone."""
    message = f"ModelDeployment {record.spec.deployment} no longer exists: the rollback stops"
    status = ended(record, observed.now, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
    action = UpdateRecord(record=record, status=status)
    return Step(reason=Reason.SUPERSEDED, message=message, action=action, tell=Tell.WARNING)


RULES: tuple[Rule, ...] = (incomplete, kept, over)


def decide_gone(observed: ObservedGone) -> Decision:
    """Return the next thing to do about the records of a ModelDeployment that is gone."""
    record = observed.waiting
    step = next((found for rule in RULES if record and (found := rule(observed, record))), None)
    if step is None:
        return Decision(reason=Reason.WAITING, message="no open ModelRollback")
    return Decision(
        reason=step.reason,
        message=step.message,
        actions=(step.action,) if step.action else (),
        requeue_after=step.after,
        tell=step.tell,
    )
