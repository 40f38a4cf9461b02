"""The decision about a ModelDeployment: the list of rules is the policy."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.names import Reason
from lastgood.core.actions import Action, CreateRecord, DeleteRecord, Prepare, Switch, UpdateDeployment
from lastgood.core.requests import past, remember, requests
from lastgood.core.requests.record_names import record_names
from lastgood.core.rollback import course as rollback
from lastgood.core.serving import deleted, forward, triggers
from lastgood.core.serving.soak import soak_rest
from lastgood.core.state import Decision, Observed, Step, Tell
from lastgood.core.status import alerts, pace
from lastgood.core.status.report import report
from lastgood.core.workload import unprepared

Rule = Callable[[Observed], Step | None]
_WHILE_ONE_RUNS = (Reason.EMERGENCY, Reason.REQUEST_REJECTED)
"""What is said and done about an annotation though a rollback runs; records of others are for when it waits."""


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
        return Step(reason=Reason.WAITING, message="caches not synced", after=1.0)
    return Step(reason=Reason.SERVING, message=f"{status.snapshot} serves" if status.snapshot else "nothing serves")


RULES: tuple[Rule, ...] = (
    past.records_older_than_we,  # these two first of all: after any other, it would not be the first look any more
    past.older_than_we,
    requests.called,  # whoever may create records does not keep an emergency waiting with many of them
    past.of_the_past,
    rollback.begin,  # a record that waits is an accepted request: before any other new one is opened
    past.of_another,  # before what was kept is used: what it left is kept with it
    requests.requested,  # a person outranks every signal
    remember.regained,  # after people, who need not wait for it, and before whatever goes by it
    remember.outdated,  # after it, for it goes by what is kept, and before whatever takes the status at its word
    forward.resumed,
    forward.continued,  # a failed target: before triggers, which would ask the same again
    triggers.automatic,
    deleted.serving_deleted,  # before what is held or blocked, which may stay so for weeks
    forward.released,
    forward.blocked,
    forward.forward,
    forward.drifted,
    triggers.told,
    deleted.fallback_deleted,
    remember.remember,
    soaked,
    surplus,  # housekeeping comes last
)
"""The first rule that asks for an action wins; where none does, the first that waits says why."""


def decide(observed: Observed) -> Decision:
    """Return what is to be done next about a ModelDeployment: one thing, or what may be written together."""
    step = rollback.advance(observed)
    steps = _preempting(observed, step) if step else _steps(observed)
    steps = [_prepared(observed, item) for item in steps]
    chosen = next((item for item in steps if item.action), None)
    waits = [item.after for item in steps if item.after is not None]
    after = min(waits, default=None)
    if chosen is None:
        return _waiting(observed, steps, after)
    return _decision(observed, chosen, after) if chosen is steps[0] else _moment(observed, steps, chosen, after)


def _prepared(observed: Observed, step: Step) -> Step:
    """Before a switch come the objects beside the workload, one after the other: the pods that it starts read them."""
    workload, bindings = observed.workload, observed.deployment.bindings
    if workload is None or not isinstance(step.action, Switch):
        return step
    ref = unprepared(workload, bindings, step.action.snapshot)
    if ref is None:
        return step
    message = f"{step.message}: writing {ref} first"
    return replace(step, message=message, action=Prepare(switch=step.action, ref=ref))


def _preempting(observed: Observed, step: Step) -> list[Step]:
    """While a rollback runs, an annotated emergency still becomes a record: which then supersedes."""
    emergency = [found for found in (requests.requested(observed),) if found and found.reason in _WHILE_ONE_RUNS]
    alien = [found for found in (past.of_another(observed),) if found]
    running = observed.deployment.status.active
    open_already = requests.called_already(observed)
    # Where the API server refuses the emergency's record, what runs goes on. A name that is taken is another matter:
    # the next one is free, or else anybody's record of a foreseen name would keep an emergency waiting.
    stuck = bool(observed.refused) and any(observed.was_refused(name) for name in record_names(observed))
    return [step, *alien] if open_already or stuck or running is None else [*emergency, step, *alien]


def _steps(observed: Observed) -> list[Step]:
    steps = []
    for rule in RULES:
        if step := rule(observed):
            steps.append(step)
            if step.action:
                break
    return [*steps, serving(observed)]


def _waiting(observed: Observed, steps: Sequence[Step], after: float | None) -> Decision:
    """Nothing is done now: the status says why, and people hear of all that they have not heard of."""
    step = steps[0]
    status, told = _standing(observed, steps)
    rest = pace.rest(observed, status) if status != observed.deployment.status else None
    write = UpdateDeployment(status=status) if rest == 0 else None
    return Decision(
        reason=step.reason,
        message=step.message,
        actions=(write,) if write else (),
        requeue_after=min((each for each in (after, rest or None) if each is not None), default=None),
        tell=step.tell if write and step in told else Tell.NOBODY,
        alerts=tuple(item for item in told if item is not step) if write else (),
    )


def _standing(
    observed: Observed, steps: Sequence[Step], moment: Step | None = None
) -> tuple[DeploymentStatus, list[Step]]:
    """Return the status that says what waits, and what of that people have not heard of; `Ready` says the first."""
    step, grave = steps[0], alerts.grave(observed, steps)
    new = alerts.untold(observed, grave)
    standing = replace(step, facts=moment.facts) if moment else step
    status = report(observed, standing, alerts.recorded(observed, grave), moment=moment)
    first = alerts.key(step) in map(alerts.key, new) if step.tell in alerts.GRAVE else _reason_changed(observed, step)
    others = [item for item in new if alerts.key(item) != alerts.key(step)]
    return status, [step, *others] if first else others


def _decision(observed: Observed, step: Step, after: float | None) -> Decision:
    first = step.action
    steps = rollback.opening(observed, step, first) if isinstance(first, CreateRecord) else (step,)
    return Decision(
        reason=step.reason,
        message=step.message,
        actions=_writes(observed, steps),
        then=_writes(observed, step.then),
        requeue_after=after,
        tell=step.tell,
        alerts=(*steps[1:], *step.then),
    )


def _moment(observed: Observed, steps: Sequence[Step], step: Step, after: float | None) -> Decision:
    """The write of what has just happened says what still waits as well, or `Ready` would be True in between.

    Not where it changes what serves: that may be what the rules that wait went by.
    """
    plain = _decision(observed, step, after)
    if step.reason not in (Reason.SOAKED, Reason.FALLBACK_DELETED):
        return plain
    status, told = _standing(observed, steps, step)
    return replace(plain, actions=(UpdateDeployment(status=status), *plain.actions[1:]), alerts=tuple(told))


def _writes(observed: Observed, steps: Sequence[Step]) -> tuple[Action, ...]:
    own = tuple(action for item in steps if (action := _reported(observed, item)))
    return own + tuple(kept for item in steps if (kept := remember.beside(observed, item)))


def _reported(observed: Observed, step: Step) -> Action | None:
    """What a rule records and what follows from it go into one write; other actions are not kept waiting for it."""
    own = isinstance(step.action, UpdateDeployment)
    return UpdateDeployment(status=report(observed, step)) if own else step.action


def _reason_changed(observed: Observed, step: Step) -> bool:
    ready = observed.deployment.status.conditions.get("Ready")
    return ready is None or ready.reason != step.reason
