"""Every plan that is interrupted, at any of its actions, ends in the same world as the plan that was not."""

from collections.abc import Sequence

import pytest

from lastgood.api.names import EMERGENCY, RESUME, ROLLBACK, Outcome
from tests.unit.core import builders
from tests.unit.core.simulated import events, invariants
from tests.unit.core.simulated.events import Event
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import Simulation, simulation

PLANS = {
    "nothing happens": (),
    "a person asks": (events.annotate(ROLLBACK, "wrong answers"),),
    "a person asks for an older one": (events.annotate(ROLLBACK, "to=digits-v1: wrong answers"),),
    "a person asks for what nobody has": (events.annotate(ROLLBACK, "to=digits-v7: wrong answers"),),
    "a person creates a record": (events.ask("by-ann"),),
    "an emergency": (events.annotate(EMERGENCY, "INC-1: backdoor"),),
    "an emergency on the workload": (events.annotate_workload("INC-1: backdoor"),),
    "an emergency to a copy that was tampered with": (
        events.write_disk(2, "evil"),
        events.annotate(EMERGENCY, "INC-1: backdoor"),
    ),
    "an emergency to a copy that cannot be read": (
        events.write_disk(2, None),
        events.annotate(EMERGENCY, "INC-1: backdoor"),
    ),
    "a trigger fires": (events.sicken(3),),
    "a trigger fires for one version after another": (events.sicken(3), events.sicken(2)),
    "the target's pods do not start": (events.stick(2), events.sicken(3)),
    "the target fails its checks": (events.fail(2), events.sicken(3)),
    "no target will do": (events.fail(2), events.fail(1), events.fail(0), events.sicken(3)),
    "the target was tampered with": (events.write_disk(2, "evil"), events.sicken(3)),
    "a digest is quarantined": (events.quarantine(3),),
    "a snapshot is quarantined": (events.annotate_snapshot(3, "INC-1: backdoor"),),
    "what serves was tampered with": (events.serving_is("tampered"),),
    "git names a new snapshot": (events.appear(4), events.wait(1), events.desire(4)),
    "git names a bad snapshot": (events.appear(4), events.sicken(4), events.wait(9), events.desire(4)),
    "a hold is lifted": (events.annotate(ROLLBACK, "oops"), events.wait(9), events.annotate(RESUME, "it was not v3")),
    "someone else writes the workload": (events.reapply(1),),
    "an emergency comes in the middle": (
        events.stick(2),
        events.annotate(ROLLBACK, "slow"),
        events.wait(2),
        events.annotate(EMERGENCY, "to=digits-v1: INC-1: backdoor"),
    ),
}


def play(plan: Sequence[Event], faults: Sequence[Fault] = (), *, second_first: bool = True) -> Simulation:
    world = simulation(faults=list(faults), second_first=second_first)
    for event in plan:
        event(world)
    world.settle()
    invariants.at_rest(world)
    return world


@pytest.mark.parametrize("second_first", [True, False], ids=["second first", "in order"])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_plan_killed_after_any_action_ends_as_if_it_had_not_been(plan: Sequence[Event], *, second_first: bool) -> None:
    whole = play(plan, second_first=second_first)
    for place in range(len(whole.actions)):
        again = play(plan, [*[Fault.NONE] * place, Fault.FORGOTTEN], second_first=second_first)
        assert again.essence() == whole.essence(), f"killed after action {place}, {whole.actions[place]}"


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.FORGOTTEN, Fault.TWICE], ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_plan_survives_a_fault_at_every_third_action(plan: Sequence[Event], fault: Fault, first: int) -> None:
    pattern = [*[Fault.NONE] * first, *[fault, Fault.NONE, Fault.NONE] * 6]
    assert play(plan, pattern).essence() == play(plan).essence()


@pytest.mark.parametrize(
    ("plan", "serving", "outcomes"),
    [
        ("nothing happens", 3, []),
        ("a person asks", 2, [Outcome.SUCCEEDED]),
        ("a person asks for an older one", 1, [Outcome.SUCCEEDED]),
        ("a person asks for what nobody has", 3, [Outcome.REJECTED]),
        ("an emergency", 2, [Outcome.SUCCEEDED]),
        ("an emergency to a copy that was tampered with", 1, [Outcome.FAILED, Outcome.SUCCEEDED]),
        ("an emergency to a copy that cannot be read", 2, [Outcome.UNVALIDATED]),
        ("a trigger fires", 2, [Outcome.SUCCEEDED]),
        ("a trigger fires for one version after another", 1, [Outcome.SUCCEEDED, Outcome.SUCCEEDED]),
        ("the target's pods do not start", 1, [Outcome.FAILED, Outcome.SUCCEEDED]),
        ("the target fails its checks", 1, [Outcome.FAILED, Outcome.SUCCEEDED]),
        ("the target was tampered with", 1, [Outcome.SUCCEEDED]),
        ("a digest is quarantined", 2, [Outcome.SUCCEEDED]),
        ("a snapshot is quarantined", 2, [Outcome.SUCCEEDED]),
        ("what serves was tampered with", 2, [Outcome.SUCCEEDED]),
        ("git names a new snapshot", 4, []),
        ("git names a bad snapshot", 3, [Outcome.SUCCEEDED]),
        ("a hold is lifted", 3, [Outcome.SUCCEEDED]),
        ("someone else writes the workload", 3, []),
        ("an emergency comes in the middle", 1, [Outcome.SUPERSEDED, Outcome.SUCCEEDED]),
    ],
)
def test_plan_ends_well(plan: str, serving: int, outcomes: list[Outcome]) -> None:
    world = play(PLANS[plan])
    assert world.carried() == world.deployment.status.digest == builders.digest(serving)
    assert [item.outcome for item in world.deployment.status.rollbacks] == outcomes
