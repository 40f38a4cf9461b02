"""What goes out together in a pass, what is read afresh before it, and when the pass ends."""

from dataclasses import replace
from typing import get_args

import pytest

from lastgood.api.names import EMERGENCY, ROLLBACK, Reason
from lastgood.core.actions import (
    Action,
    CaptureSnapshot,
    CreateRecord,
    RunChecks,
    ScanSnapshot,
    Switch,
    SwitchFirst,
    UpdateDeployment,
    UpdateSnapshot,
    Verify,
)
from lastgood.core.decide import decide
from lastgood.core.execute import ALL, MOST_CONFLICTS, MOST_STEPS, NEEDS, Answer, Look, Pass, Rest, Turn, What, execute
from lastgood.core.state import Decision, Observed
from lastgood.errors import TransientError
from tests.unit.core.builders import SMOKE, V2, annotated, record, world
from tests.unit.core.moments import INTENT, before
from tests.unit.core.simulated import events
from tests.unit.core.simulated.simulation import Simulation, simulation

QUIET = Decision(reason=Reason.SERVING, message="v3 serves", requeue_after=7.0)
ASKING = annotated(world(), emergency_rollback="INC-1: backdoor")


class Watched(Simulation):
    """A cluster that notes the turns of each pass over the ModelDeployment."""

    def _take(self, turn: Turn[object]) -> Answer:
        if isinstance(turn.observed, Observed):
            self.__dict__.setdefault("turns", []).append(turn)
        return super()._take(turn)


def turns_of(annotation: str) -> list[tuple[list[str], frozenset[What]]]:
    """Return what goes out together, turn by turn, once somebody has asked for a rollback."""
    made = simulation()
    made.__class__ = Watched
    made.settle()
    made.__dict__["turns"] = []
    events.annotate(annotation, "INC-1: backdoor")(made)
    made.settle()
    return [([type(action).__name__ for action in turn.actions], turn.reads) for turn in made.__dict__["turns"]]


def test_one_write_goes_before_the_switch_of_an_emergency_and_the_reads_go_with_it() -> None:
    assert turns_of(EMERGENCY)[:3] == [
        (["CreateRecord"], frozenset({What.OBJECT, What.QUARANTINE})),
        (["SwitchFirst"], frozenset()),
        (["UpdateDeployment"], frozenset()),
    ]


def test_record_and_lock_of_everything_else_go_out_together() -> None:
    assert turns_of(ROLLBACK)[:4] == [
        (["CreateRecord", "UpdateDeployment"], frozenset({What.WORKLOAD, What.QUARANTINE})),
        (["Verify"], frozenset()),
        (["UpdateRecord"], frozenset()),
        (["Switch"], frozenset()),
    ]


def test_every_action_on_a_model_deployment_says_what_it_needs() -> None:
    of_snapshots = {CaptureSnapshot, ScanSnapshot, UpdateSnapshot}
    assert set(NEEDS) == {*get_args(Action), SwitchFirst} - of_snapshots


def first_turn(steps: Pass[Observed], observed: Observed) -> Turn[Observed]:
    assert isinstance(steps.send(None), Look)
    turn = steps.send(observed)
    assert isinstance(turn, Turn)
    return turn


def deciding(decision: Decision) -> Pass[Observed]:
    return execute(lambda _: decision)


def urgent() -> Observed:
    """Return a world in which an operator starts that finds the record of an emergency."""
    create = decide(ASKING).action
    assert isinstance(create, CreateRecord)
    made = replace(record(create.name, create.spec), intent=create.intent)
    return replace(ASKING, records=(made,))


@pytest.mark.parametrize(
    ("observed", "first", "reads"),
    [
        (urgent(), SwitchFirst, ALL - {What.WORKLOAD}),
        (before(record(**INTENT)), Switch, ALL),
        (world(records=(record(),)), UpdateDeployment, ALL),
    ],
    ids=["an emergency's switch", "a switch", "a lock"],
)
def test_nothing_is_written_on_the_word_of_a_watch(observed: Observed, first: type, reads: frozenset[What]) -> None:
    assert type(decide(observed).action) is first
    steps = execute(decide)
    turn = first_turn(steps, observed)
    assert (turn.reads, turn.actions) == (reads, ())
    assert isinstance(steps.send(Answer.DONE), Look)
    then = steps.send(observed)
    assert isinstance(then, Turn)
    assert (then.reads, then.actions) == (frozenset(), decide(observed).actions)


def test_who_was_too_slow_reads_everything_and_decides_again() -> None:
    steps = execute(decide)
    assert first_turn(steps, ASKING).actions
    again = steps.send(Answer.CONFLICT)
    assert isinstance(again, Turn)
    assert (again.reads, again.actions) == (ALL, ())
    assert isinstance(steps.send(Answer.DONE), Look)
    with pytest.raises(StopIteration) as end:
        steps.send(None)
    assert end.value.value == Rest()  # it was deleted meanwhile


def test_who_is_always_too_slow_tries_later() -> None:
    steps = execute(decide)
    for _ in range(MOST_CONFLICTS - 1):
        assert first_turn(steps, ASKING).actions
        steps.send(Answer.CONFLICT)
    assert first_turn(steps, ASKING).actions
    with pytest.raises(TransientError, match="write conflicts"):
        steps.send(Answer.CONFLICT)


def test_pass_that_comes_to_no_end_is_given_up() -> None:
    always = Decision(reason=Reason.VERIFIED, message="again", actions=(Verify(snapshot=V2),))
    steps = deciding(always)
    for _ in range(MOST_STEPS):
        assert first_turn(steps, ASKING).actions == always.actions
    with pytest.raises(TransientError, match="did not converge"):
        steps.send(Answer.DONE)


def test_pass_rests_for_as_long_as_the_decision_says() -> None:
    steps = deciding(QUIET)
    steps.send(None)
    with pytest.raises(StopIteration) as end:
        steps.send(ASKING)
    assert end.value.value.after == 7.0


def test_checks_are_sampled_beside_the_pass_which_rests_meanwhile() -> None:
    sampling = replace(QUIET, actions=(RunChecks(checks=(SMOKE,)),))
    steps = deciding(sampling)
    assert first_turn(steps, ASKING).actions == sampling.actions
    with pytest.raises(StopIteration) as end:
        steps.send(Answer.DONE)
    assert end.value.value.decision == sampling
