"""What keeps an emergency's lock from being written after its switch, and that what was left does not come back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.names import EMERGENCY
from lastgood.core.state import Observed
from tests.unit.core.builders import DEPLOYMENT, V2, digest
from tests.unit.core.simulated import events, invariants
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import Simulation, simulation

BAD = digest(3)


class RefusedError(Exception):
    """The API server does not allow it."""


class Refusing(Simulation):
    """A cluster in which a policy may keep everybody from writing the status of the ModelDeployment."""

    refuses = False

    def _update_deployment(self, observed: Observed, status: DeploymentStatus) -> bool:
        if self.refuses:
            raise RefusedError
        return super()._update_deployment(observed, status)

    def live(self, *, rounds: int, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """Let time pass while the operator tries again and again."""
        for _ in range(rounds):
            try:
                self.reconcile()
            except RefusedError:
                then()
            self.tick(seconds)


def started(text: str = "INC-1: backdoor") -> Refusing:
    world = simulation()
    world.__class__ = Refusing
    assert isinstance(world, Refusing)
    world.settle()
    events.annotate(EMERGENCY, text)(world)
    return world


def killed(world: Simulation, change: Callable[[], None]) -> None:
    """Kill the operator between switch and lock, and change something before the next one starts."""
    world.faults = [Fault.NONE, Fault.FORGOTTEN]
    crash = world.crash

    def crash_and_change() -> None:
        crash()
        change()

    world.crash = crash_and_change  # type: ignore[method-assign]  # of this one world
    world.settle()
    assert "SwitchFirst" in world.actions


def labelled(world: Simulation, label: str) -> None:
    assert world.workload is not None
    labels = {"lastgood.dev/model-deployment": label}
    world.workload = replace(world.workload, meta=world.stamped(replace(world.workload.meta, labels=labels)))


@pytest.mark.parametrize(("text", "gone"), [("INC-1: backdoor", (0, 1, 2)), ("to=digits-v2: INC-1: backdoor", (2,))])
def test_choice_that_was_quarantined_meanwhile_does_not_bring_back_what_was_left(text: str, gone: list[int]) -> None:
    world = started(text)
    killed(world, lambda: world.quarantine.update({digest(number): "INC-2" for number in gone}))
    assert world.carried() != BAD
    assert BAD in world.quarantine


def test_label_that_was_gone_meanwhile_does_not_bring_back_what_was_left() -> None:
    world = started()
    killed(world, lambda: labelled(world, "other"))
    labelled(world, DEPLOYMENT)
    world.settle()
    assert world.carried() == digest(2)
    assert [item.snapshot.name for item in world.switches] == [V2.name]


def test_status_that_cannot_be_written_for_a_day_has_one_switch_and_one_record() -> None:
    world = started()
    world.refuses = True
    world.live(rounds=300, seconds=300)
    assert (len(world.switches), len(world.records), world.carried()) == (1, 1, digest(2))
    world.refuses = False
    world.settle()
    invariants.at_rest(world)
    assert (len(world.switches), world.deployment.status.snapshot) == (1, V2.name)


def test_intent_that_is_taken_from_the_record_is_known_to_whoever_switched() -> None:
    world = started("to=digits-v2: INC-1: backdoor")
    world.refuses = True
    world.live(rounds=3, seconds=10)
    world.records = {key: replace(record, intent=None) for key, record in world.records.items()}
    world.quarantine[digest(2)] = "INC-2"
    world.refuses = False
    world.settle()
    assert world.carried() != BAD
    assert BAD in world.quarantine


def test_target_that_cannot_be_read_once_the_lock_is_there_keeps_serving() -> None:
    world = started("to=digits-v2: INC-1: backdoor")
    world.refuses = True
    world.live(rounds=3, seconds=10)
    world.disk[V2.source.path] = None
    world.now += timedelta(days=3)
    world.refuses = False
    world.settle()
    assert world.carried() == digest(2)


def test_other_writer_is_not_answered_for_ever_while_the_lock_cannot_be_written() -> None:
    world = started()
    world.refuses = True
    world.live(rounds=30, seconds=1, then=lambda: events.reapply(3, stamps=False)(world))
    assert len(world.switches) == 1
    world.refuses = False
    world.settle()
    assert world.carried() == digest(2)
