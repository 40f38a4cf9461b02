"""What may happen to a cluster, in any order."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from lastgood.api.names import (
    EMERGENCY,
    OPT_IN_LABEL,
    QUARANTINE,
    RESUME,
    ROLLBACK,
    Outcome,
)
from lastgood.api.specs.rollback import RollbackStatus
from lastgood.api.specs.snapshot import SnapshotStatus
from lastgood.core.workload import render, template
from tests.unit.core import builders
from tests.unit.core.simulated.fault import Fault
from tests.unit.core.simulated.simulation import Simulation, read_back


@dataclass(frozen=True)
class Event:
    """Something that somebody else does."""

    name: str
    happen: Callable[[Simulation], None]

    def __call__(self, simulation: Simulation) -> None:
        """Let it happen."""
        self.happen(simulation)

    def __repr__(self) -> str:
        return self.name


def declare(name: str, **fields: Any) -> Event:
    """Somebody applies another spec."""

    def happen(simulation: Simulation) -> None:
        meta = simulation.stamped(simulation.deployment.meta)
        meta = replace(meta, generation=meta.generation + 1)
        simulation.deployment = replace(simulation.deployment, meta=meta, **fields)

    return Event(name, happen)


def desire(number: int) -> Event:
    """Git names another snapshot."""
    return declare(f"desire v{number}", snapshot=builders.name(number))


def annotate(word: str, text: str) -> Event:
    """Somebody annotates the ModelDeployment."""

    def happen(simulation: Simulation) -> None:
        meta = simulation.annotated(simulation.deployment.meta, word, text)
        simulation.deployment = replace(simulation.deployment, meta=meta)

    return Event(f"annotate {word}={text!r}", happen)


def annotate_workload(text: str) -> Event:
    """Somebody annotates the workload."""

    def happen(simulation: Simulation) -> None:
        if simulation.workload:
            meta = simulation.annotated(simulation.workload.meta, EMERGENCY, text)
            simulation.workload = replace(simulation.workload, meta=meta)

    return Event(f"annotate workload {text!r}", happen)


def annotate_snapshot(number: int, text: str) -> Event:
    """A responder annotates a snapshot."""

    def happen(simulation: Simulation) -> None:
        there = simulation.snapshots.get(builders.name(number))
        if there:
            meta = replace(simulation.stamped(there.meta), annotations={QUARANTINE: text})
            simulation.snapshots[there.name] = replace(there, meta=meta)

    return Event(f"quarantine annotation on v{number} {text!r}", happen)


def quarantine(number: int) -> Event:
    """A responder quarantines a digest."""
    return Event(
        f"quarantine v{number}", lambda simulation: simulation.quarantine.update({builders.digest(number): "INC-9"})
    )


def lift(number: int) -> Event:
    """A responder lifts a quarantine."""

    def happen(simulation: Simulation) -> None:
        simulation.quarantine.pop(builders.digest(number), None)

    return Event(f"lift v{number}", happen)


def revoke(number: int) -> Event:
    """An administrator revokes a digest in a trust policy."""
    return Event(f"revoke v{number}", lambda simulation: simulation.revoked.update({builders.digest(number): "INC-8"}))


def sicken(number: int) -> Event:
    """A version turns out to be bad."""
    return Event(f"sicken v{number}", lambda simulation: simulation.sick.add(builders.digest(number)))


def fail(number: int) -> Event:
    """A version fails validation."""
    return Event(f"fail v{number}", lambda simulation: simulation.failing.add(builders.digest(number)))


def stick(number: int) -> Event:
    """The pods of a version do not start."""
    return Event(f"stick v{number}", lambda simulation: simulation.stuck.add(builders.digest(number)))


def next_is(what: str) -> Event:
    """What a rollback would go to is bad in some way."""

    def happen(simulation: Simulation) -> None:
        there = simulation.snapshots.get(simulation.deployment.status.last_known_good)
        if there and what in ("failing", "stuck", "sick"):
            getattr(simulation, what).add(there.digest)
        elif there:
            simulation.disk[there.source.path] = builders.digest("evil") if what == "tampered" else None

    return Event(f"the next is {what}", happen)


def serving_is(what: str) -> Event:
    """What serves turns out to be bad in some way."""

    def happen(simulation: Simulation) -> None:
        there = simulation.snapshots.get(simulation.deployment.status.snapshot)
        if there and what == "sick":
            simulation.sick.add(there.digest)
        elif there and what == "quarantined":
            simulation.quarantine[there.digest] = "INC-7"
        elif there:
            simulation.disk[there.source.path] = builders.digest("evil")
            status = replace(there.status.verification, next_time=simulation.now) if there.status.verification else None
            due = replace(there.status, verification=status)
            simulation.snapshots[there.name] = replace(there, meta=simulation.stamped(there.meta), status=due)

    return Event(f"what serves is {what}", happen)


def heal() -> Event:
    """Everything is well again."""

    def happen(simulation: Simulation) -> None:
        simulation.sick.clear()
        simulation.failing.clear()
        simulation.stuck.clear()
        simulation.silent = False

    return Event("heal", happen)


def silence() -> Event:
    """The metrics cannot be reached."""
    return Event("silence", lambda simulation: setattr(simulation, "silent", True))


def write_disk(number: int, content: str | None) -> Event:
    """Somebody changes bytes, or the disk cannot be read."""
    found = None if content is None else builders.digest(content)
    return Event(
        f"disk of v{number} is {content!r}", lambda simulation: simulation.disk.update({f"digits/{number}": found})
    )


def reapply(number: int, *, stamps: bool = False) -> Event:
    """Somebody else writes the bound fields."""

    def happen(simulation: Simulation) -> None:
        snapshot = builders.snapshot(number)
        body = template(render(builders.BINDINGS, snapshot) or (), snapshot if stamps else None)
        simulation.edits += 1
        simulation.apply(body)

    return Event(f"reapply v{number}", happen)


def label(value: str) -> Event:
    """The owner of the workload opts in or out."""

    def happen(simulation: Simulation) -> None:
        if simulation.workload:
            meta = replace(simulation.stamped(simulation.workload.meta), labels={OPT_IN_LABEL: value})
            simulation.workload = replace(simulation.workload, meta=meta)

    return Event(f"label {value!r}", happen)


def remove_workload() -> Event:
    """Somebody deletes the workload."""
    return Event("remove workload", lambda simulation: setattr(simulation, "workload", None))


def make_workload(number: int) -> Event:
    """Somebody creates the workload anew."""

    def happen(simulation: Simulation) -> None:
        if simulation.workload is None:
            made = builders.workload(builders.snapshot(number), stamped=False)
            simulation.workload = replace(made, meta=simulation.stamped(made.meta))
            simulation.edits += 1

    return Event(f"make workload of v{number}", happen)


def ask(called: str, **fields: Any) -> Event:
    """A person creates a record."""

    def happen(simulation: Simulation) -> None:
        if called not in simulation.records:
            made = builders.record(called, builders.spec(**fields))
            simulation.records[called] = replace(made, meta=simulation.made_now(made.meta))

    return Event(f"ask {called} {fields}", happen)


def appear(number: int) -> Event:
    """A snapshot is created."""

    def happen(simulation: Simulation) -> None:
        if builders.name(number) in simulation.snapshots:
            return
        made = builders.snapshot(number, status=SnapshotStatus())
        simulation.snapshots[made.name] = replace(made, meta=replace(simulation.stamped(made.meta)))
        simulation.disk[made.source.path] = made.digest

    return Event(f"appear v{number}", happen)


def vanish(number: int) -> Event:
    """A snapshot is deleted."""

    def happen(simulation: Simulation) -> None:
        simulation.snapshots.pop(builders.name(number), None)

    return Event(f"vanish v{number}", happen)


def know(*, all_of_it: bool) -> Event:
    """The operator's lists become complete, or are not."""
    return Event(f"complete={all_of_it}", lambda simulation: setattr(simulation, "complete", all_of_it))


def wait(ticks: int) -> Event:
    """Time passes, and the operator works."""

    def happen(simulation: Simulation) -> None:
        for _ in range(ticks):
            simulation.reconcile()
            simulation.tick(10)

    return Event(f"wait {ticks}", happen)


def crash() -> Event:
    """The operator is killed."""
    return Event("crash", lambda simulation: simulation.crash())


# What an attacker does who may write more than he should


def delete_record() -> Event:
    """Somebody deletes the record of the rollback that runs, or the newest."""

    def happen(simulation: Simulation) -> None:
        active = simulation.deployment.status.active
        name = active.name if active else next(reversed(simulation.records), "")
        simulation.records.pop(name, None)
        simulation.trusted = False

    return Event("delete record", happen)


def forge_deployment(field: str, value: Any) -> Event:
    """Somebody writes nonsense into the ModelDeployment's status."""

    def happen(simulation: Simulation) -> None:
        body = simulation.deployment.status.as_body() | {field: value}
        meta = simulation.stamped(simulation.deployment.meta)
        simulation.deployment = replace(simulation.deployment, meta=meta, status=read_back(body))
        simulation.trusted = False

    return Event(f"forge deployment {field}={value!r}", happen)


def forge_record(**facts: Any) -> Event:
    """Somebody writes facts on the newest record."""

    def happen(simulation: Simulation) -> None:
        name = next(reversed(simulation.records), "")
        if name in simulation.records:
            there = simulation.records[name]
            status = replace(there.status, **facts)
            simulation.records[name] = replace(there, meta=simulation.stamped(there.meta), status=status)
        simulation.trusted = False

    return Event(f"forge record {facts}", happen)


numbers = st.integers(0, 4)
texts = st.integers(0, 3).map(lambda number: f"ask {number}")
addressed = st.builds(lambda number, text: f"to=digits-v{number}: {text}", numbers, texts)
dated = texts.map(lambda text: f"before=2026-01-15T00:00:00Z: {text} dated")
any_text = st.one_of(texts, texts, addressed, dated)

people = st.one_of(
    st.builds(annotate, st.just(EMERGENCY), any_text),
    st.builds(annotate, st.just(ROLLBACK), any_text),
    st.builds(annotate, st.just(ROLLBACK), st.just("to=Not_A_Name: please")),
    st.builds(annotate, st.just(RESUME), texts),
    st.builds(annotate_workload, texts.map(lambda text: f"{text} there")),
    st.builds(annotate_snapshot, numbers, texts),
    st.builds(quarantine, numbers),
    st.builds(lift, numbers),
    st.builds(revoke, numbers),
    st.builds(desire, numbers),
    st.builds(lambda value: declare(f"suspend={value}", suspend=value), st.booleans()),
    st.builds(
        lambda called, emergency, to: ask(f"by-{called}", emergency=emergency, to=to, reason=f"by {called}"),
        st.sampled_from(("ann", "bob")),
        st.booleans(),
        st.sampled_from(("", builders.name(0), builders.name(1))),
    ),
    st.builds(lambda: ask("of-another", deployment_uid="gone", emergency=True)),
)
trouble = st.one_of(
    st.builds(serving_is, st.sampled_from(("sick", "quarantined", "tampered"))),
    st.builds(next_is, st.sampled_from(("failing", "stuck", "sick", "tampered", "unreadable"))),
)
fate = st.one_of(
    st.builds(sicken, numbers),
    st.builds(fail, numbers),
    st.builds(stick, numbers),
    st.builds(heal),
    st.builds(silence),
    st.builds(write_disk, numbers, st.sampled_from(("evil", None))),
    st.builds(lambda number: write_disk(number, str(number)), numbers),
    st.builds(reapply, numbers, stamps=st.booleans()),
    st.builds(label, st.sampled_from(("digits", "other"))),
    st.builds(remove_workload),
    st.builds(make_workload, numbers),
    st.builds(appear, st.just(4)),
    st.builds(vanish, numbers),
    st.builds(know, all_of_it=st.booleans()),
    st.builds(crash),
)
pause = st.builds(wait, st.integers(1, 14))
nonsense = st.one_of(
    st.none(), st.integers(-5, 5), st.text(max_size=5), st.just([]), st.just([{}]), st.just([1]), st.just({"name": 7})
)
attacks = st.one_of(
    st.builds(delete_record),
    st.builds(forge_deployment, st.sampled_from(sorted(builders.deployment().status.as_body())), nonsense),
    st.builds(
        forge_deployment,
        st.just("activeRollback"),
        st.sampled_from(({"name": "forged", "since": "x", "spec": {"to": 5}}, {"name": ""}, {"name": "by-ann"})),
    ),
    st.builds(
        lambda outcome, switched: forge_record(outcome=outcome, switched_at=switched),
        st.sampled_from((None, *Outcome)),
        st.sampled_from((None, builders.NOW)),
    ),
    st.builds(
        lambda number: forge_record(target=builders.name(number), intent_at=builders.NOW, switched_at=None), numbers
    ),
    st.just(Event("wipe record", forge_record(**vars(RollbackStatus())))),
)
faults = st.lists(st.sampled_from((Fault.NONE, Fault.NONE, *Fault)), max_size=40)
