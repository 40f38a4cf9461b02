"""What the API server, or a policy in it, refuses is tried again, and no outcome says more than was done."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lastgood.api.facts.signal import Verdict
from lastgood.api.names import Outcome, Reason, SnapshotName
from lastgood.core.actions import QuarantineDigest, Switch, UpdateDeployment, UpdateRecord
from lastgood.core.decide import decide
from lastgood.core.state import Decision, Refusal
from tests.unit.core.builders import NOW, SMOKE, V1, V2, ago, checked, digest, name, policy, record, spec, tally
from tests.unit.core.moments import AVAILABLE, EMERGENCY, INTENT, SWITCHED, after, before, ended, status_of

READ = checked(V2) | checked(V1)
EVERY = {name(number): Refusal(at=NOW, count=number + 3) for number in range(4)}
SECOND = timedelta(seconds=1)


def message_of(decision: Decision) -> str:
    assert isinstance(decision.action, UpdateDeployment)
    return decision.action.status.conditions["Ready"].message


def test_pauses_grow_to_a_minute() -> None:
    rests = [(Refusal(at=NOW, count=count).again - NOW).total_seconds() for count in (1, 2, 3, 6, 7, 100)]
    assert rests == [1, 2, 4, 32, 60, 60]


def test_switch_that_is_refused_is_tried_again_after_a_pause() -> None:
    waits = decide(replace(before(record(**INTENT), refused={name(2): Refusal(at=ago(seconds=0.4))}), checked=READ))
    assert waits.requeue_after == pytest.approx(0.6)
    assert "refused the switch to digits-v2; retrying" in message_of(waits)
    again = replace(before(record(**INTENT)), refused={name(2): Refusal(at=ago(seconds=1))}, checked=READ)
    assert isinstance(decide(again).action, Switch)


def test_switch_that_is_refused_three_times_in_a_row_goes_to_the_next_candidate() -> None:
    refused = replace(before(record(**INTENT)), refused={name(2): Refusal(at=NOW, count=3)}, checked=READ)
    assert status_of(decide(refused)).target == name(1)


@pytest.mark.parametrize("to", ["", "digits-v2"], ids=["any", "the one it names"])
def test_rollback_whose_every_switch_is_refused_waits(to: str) -> None:
    """What is wrong is the cluster's, and may be over in a minute; a person has asked, and waits for it as well."""
    waits = decide(before(record(asked=spec(to=SnapshotName(to)), **INTENT), refused=EVERY))
    assert "refuses the switch to digits-v2" in message_of(waits)
    assert waits.requeue_after == (16.0 if to else 4.0)


def test_rollback_of_a_trigger_gives_up_at_the_deadline() -> None:
    """Else it would leave, hours later, what has been healthy for long."""
    waits = before(record(asked=spec(automatic=True), **INTENT), refused=EVERY)
    assert isinstance(decide(waits).action, UpdateDeployment)
    late = policy(waits, progress_deadline=timedelta(minutes=1))
    assert ended(decide(late)) == (Outcome.FAILED, Reason.SWITCH_REFUSED)
    assert "refuses the switch to digits-v2, digits-v1" in status_of(decide(late)).message


def test_refused_quarantine_stops_nothing_but_the_outcome() -> None:
    refused: dict[str, Refusal] = {digest(3): Refusal(at=NOW)}
    asked = after(SWITCHED, EMERGENCY)
    assert isinstance(decide(asked).action, QuarantineDigest)
    going_on = decide(replace(asked, refused=refused))
    assert isinstance(going_on.action, UpdateRecord)
    assert going_on.reason == Reason.AVAILABLE
    waits = decide(after(AVAILABLE, EMERGENCY, refused=refused, checks={SMOKE.name: tally(Verdict.HEALTHY)}))
    assert "refused the quarantine of digits-v3" in message_of(waits)
    assert waits.requeue_after == 1.0
    again = after(AVAILABLE, EMERGENCY, refused={digest(3): Refusal(at=ago(seconds=1))})
    assert isinstance(decide(again).action, QuarantineDigest)


def test_quarantine_that_is_refused_for_good_is_no_success() -> None:
    late = policy(after(AVAILABLE, EMERGENCY, refused={digest(3): Refusal(at=NOW)}), progress_deadline=SECOND)
    assert ended(decide(late)) == (Outcome.UNVALIDATED, Reason.QUARANTINE_REFUSED)
