"""A fault at a write: how a story ends does not depend on it. All points: `make faults`."""

from collections.abc import Callable

import pytest

from lastgood.api.names import EMERGENCY, ROLLBACK, Outcome
from tests.unit.core.builders import digest
from tests.unit.core.simulated import events, faults, invariants
from tests.unit.core.simulated.events import Event
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import Simulation, simulation

INCIDENT = events.annotate(EMERGENCY, "INC-1: backdoor")
PLACES = range(12)


def test_story_ends_the_same_with_a_fault_anywhere() -> None:
    sample = faults.sample(250)
    found = {point: why for point in sample if (why := faults.violation(point))}
    assert found == {}
    assert {point.fault for point in sample} == set(faults.FAULTS)


def in_the_middle(plan: Event, place: int, event: Callable[[Simulation], None], *, second_first: bool) -> Simulation:
    """Play a plan in which something happens between the decision for an action and the action."""
    world = simulation(second_first=second_first, between=[*[lambda _: None] * place, event])
    plan(world)
    world.settle()
    return world


@pytest.mark.parametrize("second_first", [True, False], ids=["second first", "in order"])
@pytest.mark.parametrize("place", PLACES)
def test_record_that_is_deleted_and_refused_is_not_acted_on_twice(place: int, *, second_first: bool) -> None:
    """The emergency was executed again, and the known good was quarantined in place of the bad."""

    def deleted(world: Simulation) -> None:
        events.delete_record()(world)
        world.refusing.append("CreateRecord")

    world = in_the_middle(INCIDENT, place, deleted, second_first=second_first)
    invariants.at_rest(world)
    assert world.deployment.status.digest == world.carried() == digest(2)
    assert set(world.quarantine) == {digest(3)}


@pytest.mark.parametrize("second_first", [True, False], ids=["second first", "in order"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("plan", [INCIDENT, events.annotate(ROLLBACK, "wrong answers")], ids=["emergency", "person"])
def test_target_that_vanishes_does_not_bring_back_what_was_left(plan: Event, place: int, *, second_first: bool) -> None:
    """Between the switch and its fact, what serves was taken for drift, and the bad version was written again."""
    world = in_the_middle(plan, place, events.vanish(2), second_first=second_first)
    assert digest(3) not in [item.snapshot.digest for item in world.switches]
    assert world.workload is not None
    assert world.workload.template_annotations["lastgood.dev/digest"] in (digest(2), digest(1))
    assert (digest(3) in world.quarantine) == (plan is INCIDENT)


@pytest.mark.parametrize("second_first", [True, False], ids=["second first", "in order"])
@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize(
    "second",
    [events.ask("second", emergency=True, reason="too", source="", source_digest=""), events.annotate_workload("too")],
    ids=["by record", "on the workload"],
)
def test_second_emergency_of_the_same_moment_quarantines_what_both_saw(
    second: Event, place: int, *, second_first: bool
) -> None:
    """Two people on call, one incident: the good one was quarantined, and the bad one was not."""
    world = in_the_middle(INCIDENT, place, second, second_first=second_first)
    invariants.at_rest(world)
    assert set(world.quarantine) == {digest(3)}
    assert world.deployment.status.digest == world.carried() == digest(2)


def test_emergency_ten_seconds_later_means_what_serves_then() -> None:
    world = simulation()
    INCIDENT(world)
    events.wait(1)(world)
    events.annotate_workload("INC-2: the older one as well")(world)
    world.settle()
    assert set(world.quarantine) == {digest(3), digest(2)}
    assert world.deployment.status.digest == digest(1)


@pytest.mark.parametrize("place", PLACES)
def test_one_refusal_neither_condemns_a_target_nor_ends_without_a_quarantine(place: int) -> None:
    world = simulation(faults=[*[Fault.NONE] * place, Fault.REFUSED])
    INCIDENT(world)
    world.settle()
    assert [item.outcome for item in world.deployment.status.rollbacks] == [Outcome.SUCCEEDED]
    assert world.deployment.status.digest == world.carried() == digest(2)
    assert set(world.quarantine) == {digest(3)}


@pytest.mark.parametrize(
    "way",
    [
        events.sicken(3),
        events.annotate(ROLLBACK, "wrong answers"),
        events.annotate(EMERGENCY, "INC-1: backdoor"),
        events.ask("mine", source="", source_digest=""),
    ],
    ids=str,
)
def test_digest_that_is_taken_from_the_status_costs_no_record_after_another(way: Event) -> None:
    """Each was refused because of it, and the next one made, until the pass gave up."""
    world = simulation()
    way(world)
    events.forge_deployment("digest", None)(world)
    world.settle()
    assert world.carried() == digest(2)
    assert len(world.records) == 1
