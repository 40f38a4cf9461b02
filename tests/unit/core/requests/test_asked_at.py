"""What a request means is what served when it was made, however late it can be acted on."""

from collections.abc import Callable

import pytest

from lastgood.api.names import EMERGENCY, ROLLBACK
from tests.unit.core.builders import digest
from tests.unit.core.simulated import events
from tests.unit.core.simulated.events import Event
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import Simulation, simulation

FIRST = events.annotate(EMERGENCY, "INC-1: backdoor")
SECOND = events.annotate_workload("INC-1: the same, by another person")


def bad(world: Simulation) -> tuple[set[str], set[str]]:
    """Return the digests that are quarantined, and those that were left."""
    return set(world.quarantine), {item.digest for item in world.deployment.status.left}


def in_between(place: int, event: Callable[[Simulation], None]) -> list[Callable[[Simulation], None]]:
    return [*[lambda _: None] * place, event]


@pytest.mark.parametrize("place", range(8))
def test_rollback_that_a_person_asks_for_while_one_runs_is_about_what_they_saw(place: int) -> None:
    """It waits for the outcome: then what serves is the good one."""
    world, seen = simulation(), []

    def ask(there: Simulation) -> None:
        seen.append(there.carried())
        events.annotate(ROLLBACK, "wrong answers since noon")(there)

    world.between = in_between(place, ask)
    events.sicken(3)(world)
    world.settle()
    assert seen, "the event came"
    assert digest(2) not in bad(world)[1] or seen == [digest(2)]
    assert world.carried() == digest(2)
    assert bad(world)[1] == {digest(3)}


@pytest.mark.parametrize("place", range(1, 8))
def test_second_emergency_whose_record_is_refused_for_a_minute_does_not_quarantine_the_good_one(place: int) -> None:
    def ask(there: Simulation) -> None:
        SECOND(there)
        there.refusing.append("CreateRecord")

    world = simulation(between=in_between(place, ask))
    FIRST(world)
    world.settle()
    assert not world.refusing, "it was refused"
    assert bad(world) == ({digest(3)}, {digest(3)})


@pytest.mark.parametrize("place", range(1, 10))
def test_second_emergency_while_no_operator_is_there_is_about_what_served_then(place: int) -> None:
    """The next one sees it 16 seconds later; the API server says when it was made."""
    world = simulation(faults=[*[Fault.NONE] * place, Fault.FORGOTTEN])
    crash = world.crash

    def gone() -> None:
        crash()
        SECOND(world)
        world.tick(16)

    world.crash = gone  # type: ignore[method-assign]  # the moment matters
    FIRST(world)
    world.settle()
    assert digest(2) not in world.quarantine
    assert bad(world)[0] == {digest(3)}


@pytest.mark.parametrize("event", [FIRST, SECOND, events.annotate(ROLLBACK, "it is v2")])
def test_what_is_asked_for_later_is_about_what_serves_then(event: Event) -> None:
    """So that the tests above do not pass because nothing is acted upon."""
    world = simulation()
    events.annotate(ROLLBACK, "wrong answers")(world)
    world.settle()
    world.tick(3)
    event(world)
    world.settle()
    assert bad(world)[1] == {digest(3), digest(2)}
