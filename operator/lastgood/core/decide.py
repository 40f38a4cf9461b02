"""The decision about a ModelDeployment: the list of rules is the policy."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.names import Reason, RecordName
from lastgood.api.rollback import ModelRollback, RollbackSpec
from lastgood.core import forward, requests, rollback, triggers
from lastgood.core.report import report, soak_rest
from lastgood.core.state import (
    CreateRecord,
    Decision,
    DeleteRecord,
    Observed,
    Step,
    Switch,
    Tell,
    UpdateDeployment,
)

Rule = Callable[[Observed], Step | None]


def soaked(observed: Observed) -> Step | None:
    """What served and stayed healthy for the soak is known good from now on."""
    rest = soak_rest(observed)
    if rest is None:
        return None
    status = observed.deployment.status
    if rest.total_seconds() > 0:
        return Step(reason=Reason.SERVING, message=f"{status.snapshot} serves", after=rest.total_seconds())
    last = replace(status.history[-1], soaked_at=observed.now)
    facts = replace(status, history=(*status.history[:-1], last))
    return Step(
        reason=Reason.SOAKED,
        message=f"{status.snapshot} stayed healthy for {observed.deployment.rollback.soak}: it is known good",
        action=UpdateDeployment(status=facts),
        facts=facts,
        tell=Tell.INFO,
    )


def surplus(observed: Observed) -> Step | None:
    """Finished records past the history limit go, the oldest first."""
    finished = [record for record in observed.records if record.status.outcome and not record.meta.deleting]
    if len(finished) <= observed.deployment.rollback.history_limit:
        return None
    oldest = min(finished, key=lambda record: (str(record.meta.created), record.name))
    return Step(reason=Reason.SERVING, message="past spec.rollback.historyLimit", action=DeleteRecord(record=oldest))


def serving(observed: Observed) -> Step:
    """Nothing is to be done."""
    status = observed.deployment.status
    if not observed.complete:
        return Step(reason=Reason.WAITING, message="the lists to choose from are not complete yet", after=1.0)
    return Step(reason=Reason.SERVING, message=f"{status.snapshot} serves" if status.snapshot else "nothing serves")


RULES: tuple[Rule, ...] = (
    requests.of_another,  # these two clear the way for the lock
    requests.of_the_past,
    rollback.lock,  # a record that waits is an accepted request: before any new one is opened
    requests.older_than_we,
    requests.requested,  # a person outranks every signal
    forward.resumed,
    forward.continued,  # a failed target: before triggers, which would ask the same again
    triggers.automatic,
    forward.released,
    forward.blocked,
    forward.forward,
    forward.drifted,
    triggers.told,
    soaked,
    surplus,  # housekeeping comes last
)
"""The first rule that asks for an action wins; where none does, the first that waits says why."""


def decide(observed: Observed) -> Decision:
    """Return the one next thing to do about a ModelDeployment."""
    step = rollback.advance(observed)
    steps = _preempting(observed, step) if step else _steps(observed)
    chosen = next((item for item in steps if item.action), steps[0])
    waits = [item.after for item in steps if item.after is not None]
    return _decision(observed, chosen, min(waits, default=None))


def foreseen(observed: Observed, create: CreateRecord) -> Decision | None:
    """Return the lock that follows once a record is there, where that is what follows.

    Both may be written at the same time, in any order: a lock has the record's whole spec, and writes it again where it
    is not there; a record without a lock is an accepted request that waits for one.
    """
    then = decide(_with(observed, create))
    if observed.deployment.status.active is not None or not isinstance(then.action, UpdateDeployment):
        return None
    active = then.action.status.active
    return then if active is not None and active.name == create.name else None


def intending(observed: Observed, create: CreateRecord) -> CreateRecord:
    """Return an emergency's record with what it will switch to, where it can do so before it has the lock."""
    step = rollback.lock(_with(observed, create))
    active = step.facts.active if step and step.facts else None
    if observed.deployment.status.active is not None or active is None or active.name != create.name:
        return create
    return replace(create, intent=active.intent)


def _with(observed: Observed, create: CreateRecord) -> Observed:
    """Return the world as it is once the record is there."""
    meta = observed.deployment.meta
    there = ModelRollback(
        meta=Meta(namespace=meta.namespace, name=create.name, created=observed.now),
        spec=RollbackSpec.from_fields(Fields(create.spec.as_body(), strict=False)),
    )
    return replace(observed, records=(*observed.records, there))


@dataclass(frozen=True, kw_only=True)
class Early:
    """An emergency's switch that goes before its lock: its record is there, with the intent.

    The switch is decided from `holding`, where the lock is held already. Killed between the two, the operator finds a
    record that waits, takes the lock for it with the same intent, and sees that the workload carries it.
    """

    record: RecordName
    observed: Observed
    taking: Step
    holding: Observed
    switching: Step

    @property
    def switch(self) -> Decision:
        """What comes first."""
        return _decision(self.holding, self.switching, None)

    @property
    def lock(self) -> Decision:
        """What comes then, with the intent that the switch was made with."""
        return _decision(self.observed, self.taking, None)


def early(observed: Observed) -> Early | None:
    """Return the switch of the emergency whose turn it is to take the lock, where nothing but the lock is missing.

    Once for each record: if its lock cannot be written, and somebody else writes the workload, that is not for ever.
    """
    waiting, status = requests.waiting_records(observed), observed.deployment.status
    if status.active is not None or not waiting or not waiting[0].spec.emergency or waiting[0].name in observed.early:
        return None
    taking = next((step for step in _steps(observed) if step.action), None)
    if taking is None or taking.facts is None or taking.facts.active is None:
        return None
    if (taking.facts.handled, taking.facts.continues) == (status.handled, status.continues):
        return None  # a person's record: only its lock would keep it from being deleted
    holding = replace(observed, deployment=replace(observed.deployment, status=taking.facts))
    switching, intent = rollback.advance(holding), waiting[0].intent
    if switching is None or not isinstance(switching.action, Switch) or intent is None:
        return None
    chosen = switching.action.snapshot
    if (chosen.name, chosen.digest) != (intent.target, intent.digest):
        return None  # the choice is another one by now: the lock has to say so first
    return Early(record=waiting[0].name, observed=observed, taking=taking, holding=holding, switching=switching)


def _preempting(observed: Observed, step: Step) -> list[Step]:
    """While a rollback runs, an annotated emergency still becomes a record: which then supersedes."""
    emergency = [
        found
        for rule in (requests.of_another, requests.requested)
        if (found := rule(observed)) and found.reason in (Reason.EMERGENCY, Reason.REQUEST_REJECTED)
    ]
    running = observed.deployment.status.active
    open_already = any(record.spec.emergency for record in requests.waiting_records(observed))
    # Where the API server refuses the emergency's record, what runs goes on.
    stuck = bool(observed.taken) and any(name in observed.taken for name in requests.record_names(observed))
    return [step] if open_already or stuck or running is None else [*emergency, step]


def _steps(observed: Observed) -> list[Step]:
    steps = []
    for rule in RULES:
        if step := rule(observed):
            steps.append(step)
            if step.action:
                break
    return [*steps, serving(observed)]


def _decision(observed: Observed, step: Step, after: float | None) -> Decision:
    if step.action is None:
        status = report(observed, step)
        changed = status != observed.deployment.status
        write = UpdateDeployment(status=status) if changed else None
        tell = step.tell if changed and _reason_changed(observed, step) else Tell.NOBODY
        return Decision(reason=step.reason, message=step.message, action=write, requeue_after=after, tell=tell)
    # What a rule records and what follows from it go into one write; other actions are not kept waiting for it.
    own = isinstance(step.action, UpdateDeployment)
    action = UpdateDeployment(status=report(observed, step)) if own else step.action
    return Decision(reason=step.reason, message=step.message, action=action, requeue_after=after, tell=step.tell)


def _reason_changed(observed: Observed, step: Step) -> bool:
    ready = observed.deployment.status.conditions.get("Ready")
    return ready is None or ready.reason != step.reason
