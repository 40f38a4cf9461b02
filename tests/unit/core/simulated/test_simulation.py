"""Any order of events, any step lost or done twice: the invariants hold, and the world comes to rest."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.simulated import events, invariants
from tests.unit.core.simulated.events import Event
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import simulation

anything = st.one_of(events.people, events.trouble, events.fate, events.pause, events.trouble, events.pause)
plans = st.lists(anything, max_size=12)
attacked = st.lists(st.one_of(anything, events.attacks), max_size=12)
betweens = st.lists(st.one_of(events.people, events.fate, events.trouble), max_size=3)


def run(plan: list[Event], between: list[Event], faults: list[Fault], *, second_first: bool) -> None:
    world = simulation(faults=list(faults), between=list(between), second_first=second_first)
    for event in plan:
        event(world)
    world.between.clear()
    world.complete = True
    world.settle()
    invariants.at_rest(world)


@given(plan=plans, between=betweens, faults=events.faults, second_first=st.booleans())
def test_whatever_happens_the_invariants_hold(
    plan: list[Event],
    between: list[Event],
    faults: list[Fault],
    second_first: bool,  # noqa: FBT001  # drawn by name
) -> None:
    run(plan, between, faults, second_first=second_first)


@given(plan=attacked, second_first=st.booleans())
def test_whoever_writes_status_gets_nothing_bad_deployed(plan: list[Event], second_first: bool) -> None:  # noqa: FBT001  # drawn by name
    run(plan, [], [], second_first=second_first)
