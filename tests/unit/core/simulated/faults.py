"""Every fault at every write of some stories: `make faults` plays all of it, `make test` a sample.

A story with one fault in it must end as it does without: the same serves, the same is quarantined, left and held, and
the same was said. Killed before and after a write, done twice, the answer lost, 403, 409, 429 or 500.
"""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import EMERGENCY, ROLLBACK
from tests.unit.core.simulated import beside, events, invariants
from tests.unit.core.simulated.events import Event
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import Simulation, simulation

SEED: Final = 20261130
STORIES: Final[dict[str, tuple[Event, ...]]] = {
    "a person asks": (events.annotate(ROLLBACK, "wrong answers"),),
    "an emergency": (events.annotate(EMERGENCY, "INC-1: backdoor"),),
    "an emergency on the workload": (events.annotate_workload("INC-1: backdoor"),),
    "a trigger fires": (events.sicken(3),),
    "a digest is quarantined": (events.quarantine(3),),
    "what serves was tampered with": (events.serving_is("tampered"),),
    "the target's pods do not start": (events.stick(2), events.sicken(3)),
    "an emergency comes in the middle": (
        events.stick(2),
        events.annotate(ROLLBACK, "slow"),
        events.wait(2),
        events.annotate(EMERGENCY, "to=digits-v1: INC-1: backdoor"),
    ),
    "objects beside the workload, a person asks": (beside.bind_beside(), events.annotate(ROLLBACK, "wrong answers")),
    "objects beside the workload, an emergency": (beside.bind_beside(), events.annotate(EMERGENCY, "INC-1: backdoor")),
    "objects beside the workload, forward": (beside.bind_beside(), events.desire(1)),
    "objects beside the workload, overwritten": (beside.bind_beside(), beside.overwrite_beside(1)),
}
FAULTS: Final = tuple(fault for fault in Fault if fault is not Fault.NONE)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A fault at one action of a story; `second_first` says which of two writes of one turn comes first."""

    story: str
    fault: Fault
    place: int
    second_first: bool


def played(story: str, faults: Sequence[Fault] = (), *, second_first: bool) -> Simulation:
    """Play a story to its end, and check what must hold at each write and at rest."""
    world = simulation(faults=list(faults), second_first=second_first)
    for event in STORIES[story]:
        event(world)
    world.settle()
    invariants.at_rest(world)
    return world


def end_of(world: Simulation) -> dict[str, object]:
    """Return what must be the same; the names of records are not, where one could not be had."""
    status = world.deployment.status
    return {
        "serves": (status.snapshot, status.digest, world.carried()),
        "quarantined": set(world.quarantine),
        "left": {item.digest for item in status.left},
        "held": status.held and status.held.snapshot,
        "ended": [(item.outcome, item.reason) for item in status.rollbacks],
    }


def points() -> Iterator[Point]:
    """Yield every point of every story."""
    for story in STORIES:
        for second_first in (True, False):
            for place in range(len(played(story, second_first=second_first).actions)):
                for fault in FAULTS:
                    yield Point(story=story, fault=fault, place=place, second_first=second_first)


def sample(count: int) -> list[Point]:
    """Return some of them, the same each time."""
    return random.Random(SEED).sample(list(points()), count)  # noqa: S311  # no secret


def violation(point: Point) -> str:
    """Return what is wrong at a point, or nothing."""
    faults = [*[Fault.NONE] * point.place, point.fault]
    try:
        found = end_of(played(point.story, faults, second_first=point.second_first))
    except AssertionError as error:
        return str(error) or "an invariant does not hold"
    wanted = end_of(played(point.story, second_first=point.second_first))
    return "; ".join(f"{key}: {found[key]}, not {wanted[key]}" for key in wanted if found[key] != wanted[key])


def say(line: str) -> None:
    """Show a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Play all of them; a table of stories, and exit code 1 where anything is wrong."""
    began, total, wrong = time.monotonic(), 0, 0
    every = list(points())
    say(f"{len(every)} points, some minutes")
    for story in STORIES:
        here = [point for point in every if point.story == story]
        found = {point: why for point in here if (why := violation(point))}
        total, wrong = total + len(here), wrong + len(found)
        say(f"{story:<40} {len(here):>5} points  {len(found):>3} violations")
        for point, why in found.items():
            say(f"  {point.fault.name} at {point.place}: {why}")
    say(f"{total} points, {wrong} violations, {time.monotonic() - began:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
