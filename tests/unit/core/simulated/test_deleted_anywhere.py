"""A ModelDeployment is deleted at any moment of a rollback and made again: the rejected snapshot stays away."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.names import EMERGENCY, RESUME, ROLLBACK
from tests.unit.core.builders import (
    digest,
    name,
)
from tests.unit.core.simulated import events
from tests.unit.core.simulated.events import Event
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import Simulation, simulation


def delete(simulation_: Simulation) -> None:
    """Delete the ModelDeployment, whatever the operator is doing."""
    simulation_.is_gone = True


def make_again(simulation_: Simulation) -> None:
    """Apply the manifest again: v3 is desired, as before."""
    old = simulation_.deployment
    meta = replace(old.meta, uid=f"made-{simulation_.versions}", annotations={}, generation=1)
    meta = simulation_.made_now(meta)
    simulation_.deployment = replace(old, meta=meta, status=DeploymentStatus(), snapshot=name(3))
    simulation_.is_gone = False


def restore_snapshots(simulation_: Simulation) -> None:
    """All snapshots are other objects with the same bytes."""
    for item in list(simulation_.snapshots.values()):
        meta = replace(simulation_.stamped(item.meta), uid=f"again-{item.name}")
        simulation_.snapshots[item.name] = replace(item, meta=meta)


ANEW = (Event("delete", delete), Event("make again", make_again))
WAYS: dict[str, tuple[Event, ...]] = {
    "a trigger fires": (events.sicken(3),),
    "a person asks": (events.annotate(ROLLBACK, "wrong answers"),),
    "an emergency": (events.annotate(EMERGENCY, "INC-1: backdoor"),),
    "a record": (events.ask("mine", deployment_uid="", source_digest=""),),
    "a record that names nothing": (events.ask("mine", deployment_uid="", source="", source_digest=""),),
    "an emergency's record": (events.ask("mine", deployment_uid="", source="", source_digest="", emergency=True),),
}


def played(
    way: Sequence[Event], faults: Sequence[Fault], then: Sequence[Event], *, second_first: bool = True
) -> Simulation:
    """Play a rollback; at the moment when the operator is killed, the events happen, and another one starts."""
    world_ = simulation(faults=list(faults), second_first=second_first)
    switched = [world_.carried() == digest(2)]

    def crash() -> None:
        Simulation.crash(world_)
        switched.append(world_.carried() == digest(2))
        for event in then:
            event(world_)
        world_.sick.clear()  # so that nothing but what is kept keeps v3 away
        world_.quarantine.clear()

    world_.crash = crash  # type: ignore[method-assign]  # the moment matters: the pass goes on as the next operator's
    for event in way:
        event(world_)
    world_.settle()
    assert not switched[-1] or world_.carried() == digest(2), "the bad snapshot is deployed again"
    for made in world_.records.values():
        assert made.status.outcome is not None, "a record without an outcome"
    return world_


def work_on(world_: Simulation) -> None:
    """Let the operator work for a while."""
    for _ in range(5):
        world_.reconcile()
        world_.tick(10)
    assert all(made.status.outcome for made in world_.records.values()), "a record without an outcome"


@pytest.mark.parametrize("second_first", [True, False], ids=["second first", "in order"])
@pytest.mark.parametrize("snapshots", [False, True], ids=["alone", "with its snapshots"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_deleted_after_any_action_and_made_again_the_bad_one_stays_away(
    way: Sequence[Event], *, snapshots: bool, second_first: bool
) -> None:
    whole = played(way, (), (), second_first=second_first)
    then = (*ANEW, Event("snapshots again", restore_snapshots)) if snapshots else ANEW
    for fault in (Fault.LOST, Fault.FORGOTTEN):
        for place in range(len(whole.actions)):
            played(way, [*[Fault.NONE] * place, fault], then, second_first=second_first)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_deleted_while_the_operator_lives_and_made_again_later(way: Sequence[Event]) -> None:
    whole = played(way, (), ())
    meanwhile = Event("it works on", work_on)
    for place in range(len(whole.actions)):
        played(way, [*[Fault.NONE] * place, Fault.FORGOTTEN], (ANEW[0], meanwhile, ANEW[1]))


def test_resume_releases_for_good() -> None:
    world_ = played(WAYS["a person asks"], (), ())
    for event in ANEW:
        event(world_)
    world_.settle()
    assert world_.carried() == digest(2)
    events.annotate(RESUME, "it was not v3")(world_)
    world_.settle()
    assert world_.carried() == digest(3)
    for event in ANEW:
        event(world_)
    world_.settle()
    assert world_.carried() == digest(3)
    assert world_.deployment.status.held is None


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.FORGOTTEN, Fault.TWICE])
def test_resume_that_is_interrupted_is_done_again(fault: Fault) -> None:
    for place in range(4):
        world_ = played(WAYS["a person asks"], (), ())
        world_.faults = [*[Fault.NONE] * place, fault]
        events.annotate(RESUME, "it was not v3")(world_)
        world_.settle()
        assert world_.carried() == digest(3)
