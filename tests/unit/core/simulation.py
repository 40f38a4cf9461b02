"""A cluster of plain values with the operator in it: every action is carried out, and checked as it is.

What is written is read back through the parsers, as from the API server. A crash forgets the memory and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import Any, assert_never

from lastgood.api.deployment import WorkloadSource
from lastgood.api.deployment_status import DeploymentStatus
from lastgood.api.evidence import Forensics
from lastgood.api.fields import Fields, compact
from lastgood.api.meta import Meta
from lastgood.api.names import Reason
from lastgood.api.rollback import ModelRollback, RollbackSpec, RollbackStatus
from lastgood.api.snapshot import ModelSnapshot, SnapshotStatus
from lastgood.core.decide import Early, decide, early, foreseen, intending
from lastgood.core.faults import speaks_of_what_serves, workload_sample
from lastgood.core.observed_snapshot import ObservedSnapshot
from lastgood.core.snapshot import decide_snapshot
from lastgood.core.state import (
    Action,
    CaptureSnapshot,
    Checked,
    CreateRecord,
    Decision,
    DeleteRecord,
    Drift,
    KeepEvidence,
    Observed,
    QuarantineDigest,
    RunChecks,
    ScanSnapshot,
    Switch,
    UpdateDeployment,
    UpdateRecord,
    UpdateSnapshot,
    Verify,
)
from lastgood.core.trust import Trust
from lastgood.core.workload import render, template
from lastgood.kube.cache import Key, Kind
from lastgood.kube.memory import Memory, tallied
from tests.unit.core import builders, invariants
from tests.unit.core.cluster import HERE, Cluster, Written

INTERVAL = timedelta(hours=24)
MOST_STEPS = 60


class Fault(Enum):
    """What goes wrong with one action."""

    NONE = "none"
    LOST = "decided, and killed before it was done"
    FORGOTTEN = "done, and killed before anything was made of it"
    TWICE = "done twice"


@dataclass(kw_only=True)
class Simulation(Cluster):
    """A cluster with one operator in it, whose actions may go wrong.

    `faults` befall its next actions; `between` are events that come between a decision and its action; `told` are the
    digests that it quarantined itself, and so knows of though its lists are not complete; `lock_first` says which of
    two writes that are asked for at the same time comes first.
    """

    faults: list[Fault] = field(default_factory=list)
    between: list[Callable[["Simulation"], None]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    lock_first: bool = True

    # What the operator sees

    def observed(self) -> Observed:
        """Return what a decision is made from; an operator that has just started knows half of it."""
        known = list(self.snapshots.values())
        checked, verifying = self.memory.names(_key(item) for item in known)
        watch = self.memory.watch(HERE, self.deployment)
        return Observed(
            now=self.now,
            deployment=self.deployment,
            workload=self.workload,
            complete=self.complete,
            snapshots=tuple(known if self.complete else known[1::2]),
            quarantined=self._quarantined(),
            trust=self._trust(),
            records=tuple(self.records.values()),
            checked=checked,
            verifying=verifying,
            tallies=dict(watch.tallies),
            checks=dict(watch.checks),
            drift=watch.drift,
            taken=frozenset(watch.taken),
            early=frozenset(watch.early),
        )

    def observed_snapshot(self, name: str) -> ObservedSnapshot:
        """Return what a decision about a snapshot is made from."""
        snapshot = self.snapshots[name]
        return ObservedSnapshot(
            now=self.now,
            snapshot=snapshot,
            interval=INTERVAL,
            checked=self.memory.checked(_key(snapshot)),
            forensics=self.memory.forensics(_key(snapshot), snapshot.meta.uid),
            complete=self.complete,
            quarantined=self._quarantined(),
            trust=self._trust(),
        )

    def _trust(self) -> tuple[Trust, ...]:
        """The policies; an operator that has just started has read none of them."""
        return (Trust(name="ModelTrustPolicy release", revoked_digests=self.revoked),) if self.complete else ()

    def _quarantined(self) -> dict[str, str]:
        known = self.quarantine.items()
        return {digest: why for digest, why in known if self.complete or digest in self.told}

    # What the operator does

    def reconcile(self) -> float | None:
        """Make one pass over every object, as far as it goes; return when the next is due."""
        for name in list(self.snapshots):
            self._pass(lambda name=name: self._decide_snapshot(name))  # type: ignore[misc]  # bound in the loop
        return self._pass(self._decide)

    def _decide_snapshot(self, name: str) -> tuple[Decision, Observed | None]:
        if name not in self.snapshots:
            return Decision(reason=Reason.WAITING, message="it is gone"), None
        return decide_snapshot(self.observed_snapshot(name)), None

    def _decide(self) -> tuple[Decision, Observed | None]:
        observed = self.observed()
        return decide(observed), observed

    def _pass(self, deciding: Callable[[], tuple[Decision, Observed | None]]) -> float | None:
        for _ in range(MOST_STEPS):
            decision, observed = deciding()
            if decision.action is None:
                return decision.requeue_after
            if observed and (first := early(observed)):
                self._switch_first(first)
                continue
            self._carry_out_all(self._at_once(decision.action, observed), observed)
            if isinstance(decision.action, RunChecks):
                return decision.requeue_after
        raise AssertionError(f"no end: {self.actions[-12:]}")

    def _at_once(self, action: Action, observed: Observed | None) -> list[Action]:
        """Return what is written at the same time."""
        if not isinstance(action, CreateRecord) or observed is None:
            return [action]
        if action.spec.emergency:
            return [intending(observed, action)]  # its lock comes after its switch
        then = foreseen(observed, action)
        if then is None or then.action is None:
            return [action]
        return [then.action, action] if self.lock_first else [action, then.action]

    def _switch_first(self, first: Early) -> None:
        switch, lock = first.switch.action, first.lock.action
        assert switch is not None
        assert lock is not None
        if not self._carry_out(switch, first.holding):
            self.memory.watch(HERE, self.deployment).early.add(first.record)
            self._carry_out(lock, first.observed)

    def _carry_out_all(self, actions: list[Action], observed: Observed | None) -> None:
        for action in actions:
            if self._carry_out(action, observed):
                return

    def _carry_out(self, action: Action, observed: Observed | None) -> bool:
        fault, living = self.faults.pop(0) if self.faults else Fault.NONE, self.memory
        if self.between:
            self.between.pop(0)(self)
        if self.memory is not living:
            return True  # killed between the decision and the action
        if fault is not Fault.LOST:
            self.actions.append(type(action).__name__)
            self.act(action, observed)
        if fault is Fault.TWICE:
            self.act(action, observed)
        killed = fault in (Fault.LOST, Fault.FORGOTTEN)
        if killed:
            self.crash()
        return killed

    def crash(self) -> None:
        """Forget what no object says."""
        self.memory = Memory(lambda: self.now)
        self.reads.clear()
        self.told.clear()

    def act(self, action: Action, observed: Observed | None) -> None:  # noqa: C901, PLR0912 - one line for each action
        """Carry an action out, as the API server would have it."""
        match action:
            case CreateRecord():
                self._create(action)
            case UpdateRecord(record=record, status=status):
                self._update_record(record, status, observed)
            case DeleteRecord(record=record):
                self.records.pop(record.name, None)
            case UpdateDeployment(status=status):
                self._update_deployment(observed, status)
            case Switch():
                self._switch(action, observed)
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
            case UpdateSnapshot(snapshot=snapshot, status=status):
                self._update_snapshot(snapshot, status)
            case KeepEvidence(snapshot=snapshot):
                kept = Forensics(reason=Reason.EVIDENCE_KEPT, time=self.now, path="evidence/1")
                self.memory.note_forensics(_key(snapshot), snapshot.meta.uid, kept)
            case CaptureSnapshot() | ScanSnapshot():
                raise AssertionError("nobody asks for a capture, or for an external scanner, here")
            case _:
                assert_never(action)

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
        meta = Meta(namespace=HERE.namespace, name=name, uid=f"uid-{self.versions}", created=self.now)
        self.records[name] = ModelRollback(meta=self.stamped(meta), spec=stored, intent=action.intent)

    def _update_record(self, record: ModelRollback, status: RollbackStatus, observed: Observed | None) -> None:
        there = self.records.get(record.name)
        if there is None or there.meta.resource_version != record.meta.resource_version:
            return
        invariants.record_written(self, there, status, observed)
        self.writes += 1
        read = RollbackStatus.from_fields(Fields(compact(status.as_body()), strict=False))
        self.records[record.name] = replace(there, meta=self.stamped(there.meta), status=read)

    def _update_deployment(self, observed: Observed | None, status: DeploymentStatus) -> None:
        if observed is None or observed.deployment.meta.resource_version != self.deployment.meta.resource_version:
            return
        self.writes += 1
        self.deployment = replace(
            self.deployment, meta=self.stamped(self.deployment.meta), status=read_back(status.as_body())
        )

    def _update_snapshot(self, snapshot: ModelSnapshot, status: SnapshotStatus) -> None:
        there = self.snapshots.get(snapshot.name)
        if there is None or there.meta.resource_version != snapshot.meta.resource_version:
            return
        self.writes += status.conditions != there.status.conditions  # what cannot be read is tried for ever
        self.snapshots[snapshot.name] = replace(there, meta=self.stamped(there.meta), status=status)

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
        self.memory.begin(_key(snapshot), HERE)
        self.memory.end(_key(snapshot), done)

    def _switch(self, action: Switch, observed: Observed | None) -> None:
        if observed is None or observed.workload is None or self.workload is None:
            return
        if observed.workload.meta.resource_version != self.workload.meta.resource_version:
            return
        if self.complete and action.snapshot.digest in self.quarantine:  # the last look before the apply
            return
        invariants.switch(self, action, observed)
        active = observed.deployment.status.active
        self.switches.append(
            Written(
                at=self.now,
                snapshot=action.snapshot,
                record=active.name if active else "",
                drift=action.drift,
                edits=self.edits,
            )
        )
        self.writes += 1
        self.apply(template(render(self.deployment.bindings, action.snapshot) or (), action.snapshot))
        if action.drift:
            watch = self.memory.watch(HERE, self.deployment)
            watch.drift = Drift(count=watch.drift.count + 1, last=self.now)

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
            watch.tallies[trigger.name] = tallied(watch.tallies.get(trigger.name), found, lambda: self.now)

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


def _key(snapshot: ModelSnapshot) -> Key:
    return Key(Kind.SNAPSHOT, snapshot.meta.namespace, snapshot.name)


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
