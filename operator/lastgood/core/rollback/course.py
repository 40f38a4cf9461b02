"""A rollback, from the record to the outcome. Read this first.

The record's status holds facts and times; each rule below looks at them and at the cluster, and the first that answers
is the next step. A crash between any two steps, or a step done twice, comes back to the same rule. What comes after the
switch is in switched.py. The lists at the end say what comes when:

    lock -> choose -> verify -> intent -> switch -> (quarantine what was left) -> available -> validate -> outcome

An emergency goes through the same, but where nothing but the lock is missing, it switches before it takes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from lastgood.api.facts.deployment_status import Active, Intent
from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.names import Outcome, Reason, known
from lastgood.api.specs.rollback import ModelRollback, RollbackSpec
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import CreateRecord, Switch, SwitchFirst, UpdateDeployment, UpdateRecord
from lastgood.core.candidates.eligible import was_eligible
from lastgood.core.candidates.verified import verification, verified_at
from lastgood.core.requests.record_names import free_name, is_given
from lastgood.core.requests.remember import remembered
from lastgood.core.requests.requests import (
    as_stored,
    made_for,
    mark_handled,
    served_digest,
    serving_at,
    waiting_records,
)
from lastgood.core.rollback import switched
from lastgood.core.rollback.closing import close
from lastgood.core.rollback.named import no_target
from lastgood.core.rollback.run import Run
from lastgood.core.rollback.validation import WAITED_FOR, available, conclude, verified_since
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.workload import carries, stamped, stamped_as, workload_problem

Rule = Callable[[Run], Step | None]


def advance(observed: Observed) -> Step | None:
    """Answer with the next step of the rollback that holds the lock."""
    active = observed.deployment.status.active
    if active is None:
        return None
    spec = RollbackSpec.from_fields(Fields(active.spec, strict=False))
    record = observed.active
    other = record is not None and not is_given(observed, record.name) and not _is_asked(record.spec, spec)
    if other or (record is None and active.name in observed.taken):
        ours = spec.deployment == observed.deployment.meta.name and spec.source
        return _renamed(observed, active) if ours else _let_go(observed, active)
    if record is None:
        message = f"ModelRollback {active.name} holds the lock, but does not exist: creating it again"
        return Step(
            reason=Reason.ACCEPTED,
            message=message,
            action=CreateRecord(name=active.name, spec=spec),
            tell=Tell.WARNING,
        )
    run = Run(observed=observed, spec=spec, record=record, lock=active)
    return _next(run.knowing(active.intent))


def _is_asked(record: RollbackSpec, spec: RollbackSpec) -> bool:
    """Tell whether a record asks for what the lock says.

    A person may have deleted theirs and made another of its name, which is a request of its own. Under a name that we
    gave, another one is forged: it changes nothing, and does not keep us busy.
    """
    return replace(record, source=spec.source, source_digest=spec.source_digest) == spec


def begin(observed: Observed) -> Step | None:
    """Answer with the next step of the record whose turn it is; while it waits, everything else goes on."""
    waiting = waiting_records(observed)
    if not waiting or observed.deployment.status.active is not None:
        return None
    return _next(without_lock(observed, waiting[0]))


def opening(observed: Observed, step: Step, create: CreateRecord) -> tuple[Step, ...]:
    """Answer with what is written when a record is: beside it its lock, or in it what an emergency will switch to.

    Record and lock may come in any order: a lock has the record's whole spec, and writes it again where it is not
    there; a record without a lock is an accepted request that waits for one.
    """
    waiting = waiting_records(observed)
    earlier = waiting and (waiting[0].spec.emergency or not create.spec.emergency)
    if earlier or observed.deployment.status.active is not None:
        return (step,)
    meta = Meta(namespace=observed.deployment.meta.namespace, name=create.name, created=observed.now)
    spec = as_stored(create.spec)
    run = without_lock(observed, ModelRollback(meta=meta, spec=spec))
    if create.spec.emergency:
        return (replace(step, action=replace(create, intent=_intent(run))),)
    return (step, _lock(run))


def without_lock(observed: Observed, record: ModelRollback) -> Run:
    """Return the run of a record that has no lock yet, or is about to be written."""
    source = record.spec.source or serving_at(observed, record.meta.created)[0]
    spec = replace(record.spec, source=source, source_digest=served_digest(observed, source))
    return Run(observed=replace(observed, began=observed.now), spec=spec, record=record)


def _next(run: Run) -> Step | None:
    return _first(EMERGENCY if run.spec.emergency else NORMAL, run)


def _first(rules: Sequence[Rule], run: Run) -> Step | None:
    return next((step for rule in rules if (step := rule(run))), None)


# Before the lock


def switch_first(run: Run) -> Step | None:
    """An emergency whose target was verified lately needs no time, and so no lock: its record says what it switches to.

    Once for each record: if its lock cannot be written, and somebody else writes the workload, that is not for ever.
    """
    record, status = run.record, run.observed.deployment.status
    if run.lock or record.intent is None or record.name in run.observed.switched_first:
        return None
    if not made_for(run.observed, record) and not (record.spec.continues and status.continues):
        return None  # a person's record: only its lock would keep it from being deleted
    step = _first(COURSE, run.knowing(record.intent))
    if step is None or not isinstance(step.action, Switch) or step.action.drift:
        return None  # something else comes first: the lock has to say so
    return replace(step, action=SwitchFirst(snapshot=step.action.snapshot, record=record))


def lock(run: Run) -> Step | None:
    """Take the lock: `activeRollback`, written under the resource version, is the same for all records."""
    return None if run.lock else _lock(run)


def _lock(run: Run) -> Step:
    observed, record, status = run.observed, run.record, run.observed.deployment.status
    key, says_whose = made_for(observed, record), record.spec.deployment_uid and record.spec.source_digest
    # A person's record need not say whose it is and what it replaces: that goes into its status, with the intent.
    intent = _carried_out(run) or (_intent(run) if says_whose else None)
    facts = replace(
        status,
        active=Active(name=record.name, since=observed.now, spec=run.spec.as_body(), intent=intent),
        handled=mark_handled(observed, key, record.name) if key else status.handled,
        continues=None if run.spec.continues and _goes_on(run) else status.continues,
    )
    message = f"ModelRollback {record.name}: {run.spec.reason[:256]}"
    return Step(reason=Reason.ACCEPTED, message=message, action=UpdateDeployment(status=facts), facts=facts)


def _goes_on(run: Run) -> bool:
    """Tell whether a record goes on where the one that it names failed; anybody may write that it does."""
    return (run.observed.deployment.status.continues or {}).get("record") == run.spec.continues


def _carried_out(run: Run) -> Intent | None:
    """Return what an emergency was switched to before its lock.

    Whatever has become of that snapshot meanwhile, it serves. Nobody's word is taken for what serves without us, for
    what the request would not have led to, nor for its verification.
    """
    observed, record = run.observed, run.record
    ours, workload = observed.switched_first.get(record.name), observed.workload
    if ours and workload and not observed.snapshot(ours.target) and stamped_as(workload, ours.target, ours.digest):
        return ours
    intent = ours or record.intent
    target = observed.snapshot(intent.target) if intent else None
    if intent is None or target is None or not record.spec.emergency or workload is None:
        return None
    serves, model = observed.deployment.status.digest, observed.deployment.model
    if target.digest != intent.digest or target.digest == serves or target.model != model:
        return None
    is_switched = stamped(workload, target) or carries(workload, observed.deployment.bindings, target)
    if not is_switched or not was_eligible(observed, run.question, target):
        return None
    return replace(intent, verification="Recent", verified_at=verified_at(target))


def _intent(run: Run) -> Intent | None:
    """Return what it goes to where that needs nothing but the lock, as in an emergency: one write less.

    The choice is made again before the switch, on what was read meanwhile; if it differs, so does the intent then.
    """
    step = _first(COURSE, run)
    if step is None or step.reason != Reason.INTENT or not isinstance(step.action, UpdateRecord):
        return None
    status = step.action.status
    return Intent(
        target=status.target,
        digest=status.target_digest,
        at=run.observed.now,
        verification=status.verification,
        verified_at=status.verified_at,
    )


# With the lock


def _let_go(observed: Observed, active: Active) -> Step:
    """A lock that is not about this ModelDeployment was forged."""
    status = observed.deployment.status
    handled = {key: name for key, name in status.handled.items() if name != active.name}
    facts = replace(status, active=None, placement=status.placement + 1, handled=handled)
    message = f"status.activeRollback names {active.name}, which is not a valid record: the lock is released"
    return Step(
        reason=Reason.WAITING, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.ALERT
    )


def _renamed(observed: Observed, active: Active) -> Step:
    """A name that cannot be had stops no rollback: it goes on under the next one.

    Somebody else took it, or the API server refuses it. What was asked for stays handled: its switch may be done.
    """
    status, name = observed.deployment.status, free_name(observed)
    handled = {key: name if value == active.name else value for key, value in status.handled.items()}
    facts = replace(status, active=replace(active, name=name), handled=handled)
    message = f"ModelRollback {active.name} cannot be written: the rollback continues as {name}"
    return Step(
        reason=Reason.WAITING, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.ALERT
    )


def has_ended(run: Run) -> Step | None:
    """An outcome is there: let go of the lock."""
    if run.status.outcome is None:
        return None
    facts = close(run.observed, run.spec, run.record)
    return Step(
        reason=known(Reason, run.status.outcome_reason, Reason.WAITING),
        message=run.status.message,
        action=UpdateDeployment(status=facts),
        facts=facts,
    )


def superseded(run: Run) -> Step | None:
    """An emergency does not wait for what is under way, unless that is an emergency that can switch right now."""
    waiting = (record for record in waiting_records(run.observed) if record.name != run.record.name)
    other = next(waiting, None)
    if other is None or not other.spec.emergency:
        return None
    chosen, _ = run.choice
    if (
        run.spec.emergency
        and not run.status.switched_at
        and chosen
        and verification(run.observed, chosen, emergency=run.spec.emergency)
    ):
        return None
    return run.end(Outcome.SUPERSEDED, Reason.SUPERSEDED, f"emergency {other.name} takes over", tell=Tell.WARNING)


def incomplete(run: Run) -> Step | None:
    """An incomplete list is never used to choose."""
    if run.observed.complete:
        return None
    return Step(reason=Reason.WAITING, message="caches not synced", after=1.0)


def blocked(run: Run) -> Step | None:
    """Nothing may be written to the workload; what may be switched already has to be known first."""
    if run.switched or (run.status.intent_at and not run.observed.complete):
        return None
    problem = workload_problem(run.observed.deployment, run.observed.workload)
    return run.end(Outcome.FAILED, *problem) if problem else None


def found_switched(run: Run) -> Step | None:
    """The workload carries the target already: we were stopped between the apply and this fact."""
    if run.switched or run.status.intent_at is None or not run.applied:
        return None
    # An intent in the lock had no room for the candidates: nothing that they rest on has changed since.
    known = run.having(switched_at=run.observed.now, candidates=run.status.candidates or run.choice[1])
    message = f"the workload was switched from {run.spec.source or 'nothing'} to {run.status.target}"
    serving = switched.now_serving(known)
    return replace(known.note(Reason.SWITCHED, message), then=(serving,) if serving else ())


def no_candidate(run: Run) -> Step | None:
    """There is nothing to go to."""
    chosen, candidates = run.choice
    return no_target(run, candidates) if chosen is None and not run.switched else None


def verify(run: Run) -> Step | None:
    """The choice is verified now; an emergency takes one that was verified lately."""
    chosen, _ = run.choice
    return (
        run.verify(chosen)
        if chosen and verification(run.observed, chosen, emergency=run.spec.emergency) is None
        else None
    )


def intend(run: Run) -> Step | None:
    """The choice is written down before it is switched to."""
    chosen, candidates = run.choice
    checked = verification(run.observed, chosen, emergency=run.spec.emergency) if chosen else None
    if chosen is None or checked is None or _is_intended(run, chosen):
        return None
    return run.note(
        Reason.INTENT,
        f"to switch from {run.spec.source or 'nothing'} to {chosen.name}",
        tell=Tell.NOBODY,  # the switch that follows is told
        target=chosen.name,
        target_digest=chosen.digest,
        candidates=candidates,
        verification=checked[0],
        verified_at=checked[1].at,
        intent_at=run.observed.now,
    )


def switch(run: Run) -> Step | None:
    """The choice is verified and written down: one apply."""
    chosen, _ = run.choice
    if (
        chosen is None
        or verification(run.observed, chosen, emergency=run.spec.emergency) is None
        or not _is_intended(run, chosen)
    ):
        return None
    if rest := run.observed.rest(chosen.name):
        message = f"the API server refused the switch to {chosen.name}; retrying"
        return Step(reason=Reason.SWITCH_REFUSED, message=message, after=rest, tell=Tell.ALERT)
    message = f"switching from {run.spec.source or 'nothing'} to {chosen.name}"
    return Step(reason=Reason.INTENT, message=message, action=Switch(snapshot=chosen), tell=Tell.WARNING)


def _is_intended(run: Run, chosen: ModelSnapshot) -> bool:
    return run.target is not None and run.status.target == chosen.name and run.status.intent_at is not None


COURSE: tuple[Rule, ...] = (
    has_ended,  # an outcome is final
    found_switched,  # first of all: a crash after the apply must neither switch again nor forget the switch
    switched.now_serving,  # what serves is a fact before anything else is waited for, or taken over
    remembered,  # and what was left is kept before there is an outcome, whatever becomes of the ModelDeployment
    switched.quarantine_source,  # early, so that nothing brings it back, nor comes in between
    superseded,  # a person's emergency outranks what runs
    blocked,  # said at once: on call nobody should wait for nothing
    incomplete,  # half a list knows neither what to choose nor what is quarantined
    no_candidate,
    verify,
    intend,
    switch,
    switched.target_lost,
    switched.contested,  # before drifted, which would go on for as long as the other side does
    switched.drifted,
    switched.verify_after,  # started early, and it runs while the pods start
    verified_since,
    switched.not_available,
    available,
    *WAITED_FOR,
    conclude,
)
"""What comes once the lock is there."""

NORMAL: tuple[Rule, ...] = (
    lock,  # who has to verify, and to wait for pods, takes the lock first; what has to come before it, goes before it
    *COURSE,
)
EMERGENCY: tuple[Rule, ...] = (
    switch_first,  # nobody who can keep a status from being written keeps an emergency from switching
    lock,
    *COURSE,
)
