"""A switch that is put back before its record can say so: the next emergency leaves what serves, and not the target."""

from dataclasses import dataclass, replace
from typing import Any

from lastgood.api.names import Outcome
from lastgood.core.actions import Action, UpdateRecord
from lastgood.core.execute import Answer, Turn
from tests.unit.core.builders import digest, name, workload
from tests.unit.core.simulated import events, invariants
from tests.unit.core.simulated.simulation import Simulation, simulation

EMERGENCY = "lastgood.dev/emergency-rollback"


@dataclass
class PutBack(Simulation):
    """Somebody writes the record just before we do, and then the workload's owner takes it back, label and all."""

    conflicts: int = 1
    owner_is_next: bool = False

    def _carry_out(self, action: Action, observed: Any) -> bool:
        if self.conflicts and isinstance(action, UpdateRecord) and action.status.switched_at:
            self.conflicts, self.owner_is_next = 0, True
            return False
        return super()._carry_out(action, observed)

    def _take(self, turn: Turn[Any]) -> Answer:
        if self.owner_is_next and self.workload is not None:
            self.owner_is_next = False
            self.workload = replace(workload(), meta=replace(self.stamped(self.workload.meta), labels={}))
        return super()._take(turn)


def test_target_of_a_switch_that_was_put_back_does_not_serve_and_is_not_quarantined() -> None:
    world = simulation()
    world.__class__ = PutBack
    events.annotate(EMERGENCY, "INC-1: backdoor")(world)
    world.settle()
    (failed,) = world.records.values()
    assert (failed.status.outcome, failed.status.switched_at) == (Outcome.FAILED, None)
    assert (world.deployment.status.snapshot, set(world.quarantine)) == (name(3), set())
    invariants.at_rest(world)
    assert world.workload is not None
    labels = workload().meta.labels
    world.workload = replace(workload(), meta=replace(world.stamped(world.workload.meta), labels=labels))
    events.annotate(EMERGENCY, "INC-2: still bad")(world)
    world.settle()
    assert (world.deployment.status.snapshot, set(world.quarantine)) == (name(2), {digest(3)})
    invariants.at_rest(world)
