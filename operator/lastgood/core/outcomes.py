"""How a record ends."""

from dataclasses import replace
from datetime import datetime

from lastgood.api.meta import Condition, merge_conditions
from lastgood.api.names import Outcome, Reason, Type
from lastgood.api.rollback import RollbackStatus


def ended(
    status: RollbackStatus, now: datetime, outcome: Outcome, reason: Reason | str, message: str
) -> RollbackStatus:
    """Return a record's status with its outcome; `kubectl wait --for=condition=Completed` sees it."""
    done = Condition(type=Type.COMPLETED, status="True", reason=str(reason), message=f"{outcome}: {message}")
    return replace(
        status,
        outcome=outcome,
        outcome_reason=str(reason),
        outcome_at=now,
        message=message,
        conditions=merge_conditions(status.conditions, [done], now),
    )
