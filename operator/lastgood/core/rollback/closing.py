"""What a ModelDeployment records when a rollback has switched it, and when a rollback has ended."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lastgood.api.facts.deployment_status import DeploymentStatus, Done, Held, Left, Served
from lastgood.api.names import Digest, Outcome, Reason, RecordName
from lastgood.api.specs.rollback import ModelRollback, RollbackSpec
from lastgood.core.state import Observed
from lastgood.core.words import INTEGRITY

_GOES_ON = (Reason.NOT_AVAILABLE, Reason.DIGEST_MISMATCH, Reason.TARGET_LOST)
"""Failures of a target after which no policy would stay with it."""


def begin(status: DeploymentStatus, period: Served) -> DeploymentStatus:
    """Return the facts since a snapshot began to serve; what served before ends."""
    ended = tuple(item if item.until else replace(item, until=period.since) for item in status.history)
    return replace(
        status,
        snapshot=period.snapshot,
        digest=period.digest,
        available_at=None,
        history=(*ended, period),
        triggers=(),
    )


def serve(observed: Observed, spec: RollbackSpec, record: ModelRollback) -> DeploymentStatus:
    """Return the facts since a switch: the target serves, what was desired is held, what was left is told."""
    status, since = observed.deployment.status, record.status.switched_at or observed.now
    target = observed.snapshot(record.status.target)
    uid = target.meta.uid if target and target.digest == record.status.target_digest else ""
    done = record.status
    period = Served(snapshot=done.target, digest=done.target_digest, since=since, by=record.name, uid=uid)
    facts = begin(status, period)
    return replace(facts, held=_held(observed, record, since), left=_left(status, spec, since), continues=None)


def _held(observed: Observed, record: ModelRollback, since: datetime) -> Held | None:
    """Whatever is desired now stays without effect: nothing new comes in the middle of an incident."""
    desired = observed.deployment.snapshot
    if desired == record.status.target:
        return None
    snapshot = observed.snapshot(desired)
    return Held(
        snapshot=desired,
        digest=snapshot.digest if snapshot else Digest(""),
        reason=record.spec.reason[:256],
        rollback=record.name,
        since=since,
    )


def _left(status: DeploymentStatus, spec: RollbackSpec, at: datetime) -> tuple[Left, ...]:
    """A digest is left for what it is; a wrong copy of it says nothing about the digest."""
    if not spec.source_digest or is_bad_copy(spec):
        return status.left
    return (
        *(item for item in status.left if item.digest != spec.source_digest),
        Left(digest=spec.source_digest, snapshot=spec.source, reason=spec.reason[:256], at=at),
    )


def is_bad_copy(spec: RollbackSpec) -> bool:
    """Tell whether a rollback leaves one wrong copy of a digest, and not the digest."""
    fired = spec.trigger
    return fired is not None and fired.name == INTEGRITY and fired.condition == Reason.DIGEST_MISMATCH


def close(observed: Observed, spec: RollbackSpec, record: ModelRollback) -> DeploymentStatus:
    """Return the facts after an outcome: the lock is free, the placement rises, a failed target is left in turn."""
    status, now = observed.deployment.status, observed.now
    if record.status.switched_at and status.snapshot != record.status.target:
        status = serve(observed, spec, record)
    done = Done(
        name=record.name,
        at=record.status.outcome_at or now,
        automatic=spec.automatic,
        outcome=str(record.status.outcome),
        reason=record.status.outcome_reason,
    )
    return replace(
        status,
        active=None,
        placement=status.placement + 1,
        rollbacks=(*status.rollbacks, done),
        continues=_continuation(observed, spec, record) or status.continues,
    )


def _continuation(observed: Observed, spec: RollbackSpec, record: ModelRollback) -> Mapping[str, Any] | None:
    """Return what the next record starts from, where this one's target failed."""
    status = record.status
    if status.outcome != Outcome.FAILED or status.switched_at is None:
        return None
    if status.outcome_reason not in _GOES_ON and not observed.deployment.next_on_failure:
        return None
    return {"record": record.name, "reason": status.outcome_reason, "message": status.message, "spec": spec.as_body()}


def continuation_of(name: RecordName, message: str) -> str:
    """Return the reason of the record that goes on where another failed."""
    return f"continues {name}: {message}"[:1024]
