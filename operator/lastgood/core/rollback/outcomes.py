"""How a record ends."""

from dataclasses import replace
from datetime import datetime

from lastgood.api.meta import Condition, merge_conditions
from lastgood.api.names import Outcome, Reason, Type
from lastgood.api.specs.rollback import ModelRollback, RollbackStatus


def ended(record: ModelRollback, now: datetime, outcome: Outcome, reason: Reason | str, message: str) -> RollbackStatus:
    """Return a record's status with its outcome.

    The condition carries the record's generation: `kubectl wait --for=condition=Completed` believes no other.
    """
    done = Condition(
        type=Type.COMPLETED,
        status="True",
        reason=str(reason),
        message=f"{outcome}: {message}",
        generation=record.meta.generation,
    )
    return replace(
        record.status,
        outcome=outcome,
        outcome_reason=str(reason),
        outcome_at=now,
        message=message,
        conditions=merge_conditions(record.status.conditions, [done], now),
    )
