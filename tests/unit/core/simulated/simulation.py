"""A cluster of plain values with the operator in it: every action is carried out, and checked as it is.

What is written is read back through the parsers, as from the API server. A crash forgets the memory and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar, assert_never

from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.facts.evidence import Forensics
from lastgood.api.fields import Fields, compact
from lastgood.api.meta import Meta
from lastgood.api.names import Reason
from lastgood.api.specs.rollback import ModelRollback, RollbackSpec, RollbackStatus
from lastgood.api.specs.snapshot import ModelSnapshot, SnapshotStatus
from lastgood.api.workload.companion import ObjectRef
from lastgood.core.actions import (
    Action,
    Adopt,
    CaptureSnapshot,
    CreateRecord,
    DeleteRecord,
    KeepEvidence,
    Prepare,
    QuarantineDigest,
    Remember,
    RunChecks,
    ScanSnapshot,
    Switch,
    SwitchFirst,
    UpdateDeployment,
    UpdateRecord,
    UpdateSnapshot,
    Verify,
)
from lastgood.core.decide import decide
from lastgood.core.execute import FOR_GONE, FOR_SNAPSHOTS, Answer, Pass, Rest, Turn, execute
from lastgood.core.gate import refused
from lastgood.core.requests.gone import decide_gone
from lastgood.core.snapshot.decide import decide_snapshot
from lastgood.core.state import REMEMBERED, Checked, Drift, Observed
from lastgood.core.workload import beside, render, template
from lastgood.errors import TransientError
from lastgood.kube.memory import Memory, tallied
from lastgood.signals.kinds.workload import WorkloadSource, workload_sample
from lastgood.signals.signal import speaks_of_what_serves
from tests.unit.core import builders
from tests.unit.core.seeing import Seeing, key_of
from tests.unit.core.simulated import invariants
from tests.unit.core.simulated.cluster import HERE, Written
from tests.unit.core.simulated.fault import ANSWERS, NO_WRITES, Fault

Seen = TypeVar("Seen")


@dataclass(kw_only=True)
class Simulation(Seeing):
    """A cluster with one operator in it, whose actions may go wrong.

    `faults` befall its next actions; `between` are events that come between a decision and its action; `second_first`
    says which of two writes that are asked for at the same time comes first; `refusing` are types of actions, of each
    of which the API server refuses the next.
    """

    faults: list[Fault] = field(default_factory=list)
    between: list[Callable[["Simulation"], None]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    second_first: bool = True
    refusing: list[str] = field(default_factory=list)

    # What the operator does

    def reconcile(self) -> float | None:
        """Make one pass over every object, as far as it goes; return when the next is due."""
        for name in list(self.snapshots):
            self._drive(lambda: execute(decide_snapshot, FOR_SNAPSHOTS), lambda name=name: self.observed_snapshot(name))  # type: ignore[misc]  # bound in the loop
        if self.is_gone:
            return self._drive(lambda: execute(decide_gone, FOR_GONE), self.observed_gone)
        return self._drive(lambda: execute(decide, refused=refused), self.observed)

    def _drive(self, begin: Callable[[], Pass[Seen]], look: Callable[[], Seen | None]) -> float | None:
        """Carry out what a pass asks for, until it rests; where it is killed, the next operator begins anew."""
        steps, answer = begin(), None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                rest: Rest[Seen] = end.value
                return rest.after
            living = self.memory
            try:
                answer = self._take(step) if isinstance(step, Turn) else look()
            except TransientError:
                return 1.0  # the queue tries the pass again
            if self.memory is not living:
                steps, answer = begin(), None

    def _take(self, turn: Turn[Any]) -> Answer:
        """Carry out the actions of a turn one after the other; what is read afresh here is what is seen anyway."""
        living, done = self.memory, True
        for batch in (turn.actions, turn.then):
            for action in reversed(batch) if self.second_first else batch:
                if self.memory is living:
                    done = self._carry_out(action, turn.observed) and done
            if not done:
                return Answer.CONFLICT
        return Answer.DONE

    def _carry_out(self, action: Action, observed: Any) -> bool:
        """Carry out an action as far as it gets; tell whether it was done."""
        fault, living, done = self.faults.pop(0) if self.faults else Fault.NONE, self.memory, False
        if self.between:
            self.between.pop(0)(self)
        if self.memory is not living:
            return False  # killed between the decision and the action
        if type(action).__name__ in self.refusing:
            self.refusing.remove(type(action).__name__)
            fault = Fault.REFUSED
        if fault in ANSWERS and type(action) not in NO_WRITES:
            return self._answered(action, observed, fault)
        if fault is not Fault.LOST:
            self.actions.append(type(action).__name__)
            done = self.act(action, observed)
        if fault is Fault.TWICE:
            self.act(action, observed)
        if fault in (Fault.LOST, Fault.FORGOTTEN):
            self.crash()
        return done

    def _answered(self, action: Action, observed: Any, fault: Fault) -> bool:
        """Let the API server answer otherwise than hoped."""
        match fault:
            case Fault.CONFLICT:
                return False
            case Fault.REFUSED:
                self._refuse(action)
                return True
            case Fault.UNANSWERED:
                self.actions.append(type(action).__name__)
                self.act(action, observed)
        raise TransientError(fault.value)

    def _refuse(self, action: Action) -> None:
        """Note what the API server does not allow, as kube/writes/act.py does."""
        watch = self.memory.watch(HERE, self.deployment)
        match action:
            case Switch(snapshot=snapshot) | Prepare(switch=Switch(snapshot=snapshot)):
                watch.refuse(snapshot.name, self.now)
            case QuarantineDigest(digest=digest):
                watch.refuse(digest, self.now)
            case Remember():
                watch.refuse(REMEMBERED, self.now)
            case CreateRecord(name=name):
                watch.refuse(name, self.now)
                watch.taken.add(name)
                raise TransientError("403 Forbidden")
            case _:
                raise TransientError("403 Forbidden")

    def crash(self) -> None:
        """Forget what no object says."""
        self.memory = Memory(lambda: self.now)
        self.reads.clear()
        self.told.clear()

    def act(self, action: Action, observed: Any) -> bool:  # noqa: C901, PLR0912 - one line for each action
        """Carry an action out, as the API server would have it; tell whether it was done, or somebody was faster."""
        match action:
            case CreateRecord():
                self._create(action)
            case UpdateRecord(record=record, status=status):
                return self._update_record(record, status, observed)
            case DeleteRecord(record=record):
                self.records.pop(record.name, None)
            case UpdateDeployment(status=status):
                return self._update_deployment(observed, status)
            case Switch():
                return self._switch(action, observed)
            case Prepare(switch=switch, ref=ref):
                return self._prepare(switch, ref, observed)
            case Verify(snapshot=snapshot):
                self._verify(snapshot)
            case RunChecks(checks=checks):
                watch = self.memory.watch(HERE, self.deployment)
                for check in checks:
                    found = self.check()
                    watch.checks[check.name] = tallied(watch.checks.get(check.name), found, lambda: self.now)
            case QuarantineDigest(digest=digest, reason=reason):
                self.quarantine.setdefault(digest, reason)
                self.told.add(digest)
                self.writes += 1
            case Remember(facts=facts):
                self.kept = facts.as_text()
                self.writes += 1
            case UpdateSnapshot(snapshot=snapshot, status=status):
                return self._update_snapshot(snapshot, status)
            case KeepEvidence(snapshot=snapshot):
                kept = Forensics(reason=Reason.EVIDENCE_KEPT, time=self.now, path="evidence/1")
                self.memory.note_forensics(key_of(snapshot), snapshot.meta.uid, kept)
            case CaptureSnapshot() | ScanSnapshot() | Adopt():
                raise AssertionError("here is no capture, no external scanner, and no other manager of a bound field")
            case _:
                assert_never(action)
        return True

    def _create(self, action: CreateRecord) -> None:
        name, spec = action.name, action.spec
        stored = RollbackSpec.from_fields(Fields(spec.as_body(), strict=False))
        there = self.records.get(name)
        if not name or (there is not None and there.spec != stored):
            self.memory.watch(HERE, self.deployment).taken.add(name)
        if not name or there is not None:
            return
        self.writes += 1
        self.made[name, (spec.reason, spec.to, spec.emergency)] += 1
        meta = Meta(namespace=HERE.namespace, name=name, uid=f"uid-{self.versions}")
        self.records[name] = ModelRollback(meta=self.made_now(meta), spec=stored, intent=action.intent)

    def _update_record(self, record: ModelRollback, status: RollbackStatus, observed: Any) -> bool:
        there = self.records.get(record.name)
        if there is None or there.meta.resource_version != record.meta.resource_version:
            return False
        invariants.record_written(self, there, status, observed if isinstance(observed, Observed) else None)
        self.writes += 1
        read = RollbackStatus.from_fields(Fields(compact(status.as_body()), strict=False))
        self.records[record.name] = replace(there, meta=self.stamped(there.meta), status=read)
        return True

    def _update_deployment(self, observed: Observed, status: DeploymentStatus) -> bool:
        seen, there = observed.deployment.meta, self.deployment.meta
        if self.is_gone or (seen.uid, seen.resource_version) != (there.uid, there.resource_version):
            return False
        self.writes += 1
        self.deployment = replace(self.deployment, meta=self.stamped(there), status=read_back(status.as_body()))
        return True

    def _update_snapshot(self, snapshot: ModelSnapshot, status: SnapshotStatus) -> bool:
        there = self.snapshots.get(snapshot.name)
        if there is None or there.meta.resource_version != snapshot.meta.resource_version:
            return False
        self.writes += status.conditions != there.status.conditions  # what cannot be read is tried for ever
        self.snapshots[snapshot.name] = replace(there, meta=self.stamped(there.meta), status=status)
        return True

    def _verify(self, snapshot: ModelSnapshot) -> None:
        self.now += timedelta(milliseconds=1)  # a reading takes time: it ends later than whatever was asked for it
        found = self.disk.get(snapshot.source.path)
        reason = Reason.UNREADABLE if found is None else Reason.VERIFIED
        if found not in (None, snapshot.digest):
            reason = Reason.DIGEST_MISMATCH
        self.reads[snapshot.name] = self.now, reason
        done = Checked(
            uid=snapshot.meta.uid,
            digest=snapshot.digest,
            reason=reason,
            at=self.now,
            actual=found or "",
            message=reason,
            size_bytes=1000,
        )
        self.memory.begin(key_of(snapshot), HERE)
        self.memory.end(key_of(snapshot), done)

    def _prepare(self, switch: Switch, ref: ObjectRef, observed: Observed) -> bool:
        """Apply what an object beside the workload needs, on the version that was seen."""
        seen = observed.workload.companions[ref] if observed.workload else None
        there = self.workload.companions[ref] if self.workload else None
        if seen is None or there is None or seen.meta.resource_version != there.meta.resource_version:
            return False
        if self.complete and switch.snapshot.digest in self.quarantine:  # the last look before the apply
            return False
        invariants.switch(self, switch, observed)
        self.writes += 1
        bound = render(self.deployment.bindings, switch.snapshot) or ()
        self.change(ref, beside(bound)[ref]["data"])
        if switch.drift:
            watch = self.memory.watch(HERE, self.deployment)
            watch.drift = Drift(count=watch.drift.count + 1, last=self.now)
        return True

    def _switch(self, action: Switch, observed: Observed) -> bool:
        if observed.workload is None or self.workload is None:
            return False
        if observed.workload.meta.resource_version != self.workload.meta.resource_version:
            return False
        if self.complete and action.snapshot.digest in self.quarantine:  # the last look before the apply
            return False
        invariants.switch(self, action, observed)
        invariants.template_last(action, observed)
        active, watch = observed.deployment.status.active, self.memory.watch(HERE, self.deployment)
        made = Written(
            at=self.now,
            snapshot=action.snapshot,
            record=action.record.name if isinstance(action, SwitchFirst) else active.name if active else "",
            drift=action.drift,
            edits=self.edits,
        )
        self.switches.append(made)
        self.writes += 1
        watch.allow(action.snapshot.name)
        self.apply(template(render(self.deployment.bindings, action.snapshot) or (), action.snapshot))
        if action.drift:
            watch.drift = Drift(count=watch.drift.count + 1, last=self.now)
        if isinstance(action, SwitchFirst) and action.record.intent:
            watch.switched_first[action.record.name] = action.record.intent
        return True

    def tick(self, seconds: float) -> None:
        """Let time pass, and take samples."""
        super().tick(seconds)
        if self.deployment.status.snapshot:
            self._sample()

    def _sample(self) -> None:
        watch = self.memory.watch(HERE, self.deployment)
        for trigger in self.deployment.triggers:
            if not speaks_of_what_serves(self.observed(), trigger):
                continue
            if isinstance(trigger.source, WorkloadSource):
                found = workload_sample(trigger.source, self.workload, None, self.deployment.status.available_at)
            else:
                found = self.metric()
            watch.tallies[trigger.name] = tallied(watch.tallies.get(trigger.name), found, lambda: self.now, trigger)

    def settle(self, most: int = 400) -> None:
        """Let the operator work until it has nothing to do and nothing to wait for."""
        quiet = 0
        for _ in range(most):
            before = (self.writes, len(self.faults))
            rest = self.reconcile()
            quiet = 0 if (self.writes, len(self.faults)) != before else quiet + 1  # nobody is quiet who was killed
            busy = self.deployment.status.active is not None or self.starting
            if quiet > 4 and not busy and (rest is None or quiet > 30):
                return
            self.tick(10.0 if quiet <= 4 or rest is None else min(max(rest, 1.0), 4000.0))
        ready = self.deployment.status.conditions.get("Ready")
        raise AssertionError(f"never quiet: {self.actions[-12:]}, {ready}")

    def essence(self) -> dict[str, object]:
        """Return what must be the same whatever went wrong on the way: everything but the times."""
        status = self.deployment.status
        return {
            "serving": (status.snapshot, status.digest, self.carried()),
            "held": status.held and (status.held.snapshot, status.held.rollback),
            "left": {(item.digest, item.reason) for item in status.left},
            "handled": dict(status.handled),
            "placement": status.placement,
            "served": [(item.snapshot, item.by) for item in status.history],
            "ended": [(item.name, item.outcome, item.reason) for item in status.rollbacks],
            "records": {
                item.name: (item.spec, item.status.target, item.status.outcome, item.status.outcome_reason)
                for item in self.records.values()
            },
            "quarantine": set(self.quarantine),
            "marks": {item.name: item.status.quarantine is not None for item in self.snapshots.values()},
        }


def read_back(body: Mapping[str, Any]) -> DeploymentStatus:
    """Return a status as it is read after it was stored."""
    return DeploymentStatus.from_body({"status": compact(body)})


def simulation(**changes: Any) -> Simulation:
    """Return a cluster in which v3 serves and all is well, with short times."""
    quick = replace(
        builders.deployment().rollback,
        soak=timedelta(minutes=1),
        cooldown=timedelta(minutes=1),
        progress_deadline=timedelta(minutes=5),
    )
    good = builders.deployment(triggers=(builders.ACCURACY, builders.PODS), checks=(builders.SMOKE,), rollback=quick)
    made = Simulation(
        deployment=good,
        workload=builders.workload(),
        snapshots={item.name: item for item in builders.SNAPSHOTS},
        disk={item.source.path: item.digest for item in builders.SNAPSHOTS},
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made
