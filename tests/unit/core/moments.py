"""Moments of a rollback: before its switch, and after it."""

from typing import Any

from lastgood.api.names import Outcome
from lastgood.api.specs.rollback import ModelRollback, RollbackStatus
from lastgood.core.actions import UpdateRecord
from lastgood.core.rollback.closing import serve
from lastgood.core.state import Decision, Observed
from tests.unit.core.builders import (
    NOW,
    V2,
    ago,
    checked,
    declaring,
    digest,
    locked,
    name,
    record,
    spec,
    workload,
    world,
)

INTENT: dict[str, Any] = {
    "target": name(2),
    "target_digest": digest(2),
    "verification": "Fresh",
    "verified_at": ago(seconds=2),
    "intent_at": ago(seconds=2),
}
SWITCHED = INTENT | {"switched_at": ago(seconds=1)}
AVAILABLE = SWITCHED | {"available_at": ago(seconds=1)}
EMERGENCY = spec(emergency=True, incident="INC-1", reason="INC-1: backdoor", requested_by="ann")


def before(record_: ModelRollback | None = None, **changes: Any) -> Observed:
    return locked(world(checked=checked(V2), **changes), record_ or record())


def after(facts: dict[str, Any], asked: Any = None, **changes: Any) -> Observed:
    """Return a world after the switch to v2 was recorded."""
    made = record("by-hand", asked, **facts)
    observed = locked(world(**({"workload": workload(V2)} | changes)), made)
    return declaring(observed, status=serve(observed, made.spec, made))


def status_of(decision: Decision) -> RollbackStatus:
    assert isinstance(decision.action, UpdateRecord)
    return decision.action.status


def ended(decision: Decision) -> tuple[Outcome | None, str]:
    status = status_of(decision)
    assert status.conditions["Completed"].status == "True"
    assert status.outcome_at == NOW
    return status.outcome, status.outcome_reason
