"""A rollback, from the lock to the outcome. Read this first.

The record's status holds facts and times; each rule below looks at them and at the cluster, and the first that answers
is the next step. A crash between any two steps, or a step done twice, comes back to the same rule.

    lock -> choose -> verify -> intent -> switch -> (quarantine what was left) -> available -> validate -> outcome
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from lastgood.api.deployment_status import Active, DeploymentStatus, Intent
from lastgood.api.fields import Fields
from lastgood.api.names import Outcome, Reason, Type
from lastgood.api.rollback import ModelRollback, RollbackSpec
from lastgood.api.snapshot import ModelSnapshot
from lastgood.core.closing import close, serve
from lastgood.core.drift import reassert
from lastgood.core.requests import made_for, mark_handled, served_digest, waiting_records
from lastgood.core.run import Run
from lastgood.core.selection import (
    evidence_now,
    quarantine_reason,
    recently_verified,
    select,
    verified_at,
    was_eligible,
)
from lastgood.core.state import (
    Checked,
    CreateRecord,
    Observed,
    QuarantineDigest,
    Step,
    Switch,
    Tell,
    UpdateDeployment,
    UpdateRecord,
    Verify,
)
from lastgood.core.trusted import distrust, evidence_of
from lastgood.core.validation import conclude, validate
from lastgood.core.workload import Rollout, carries, stamped, workload_problem

Rule = Callable[[Run], Step | None]


def lock(observed: Observed) -> Step | None:
    """Take the next record: `activeRollback`, written under the resource version, is the lock for all of them."""
    waiting = waiting_records(observed)
    if not waiting:
        return None
    record, deployment = waiting[0], observed.deployment
    status, spec = deployment.status, record.spec
    source = spec.source or status.snapshot
    spec = replace(spec, source=source, source_digest=served_digest(observed, source))
    key = made_for(observed, record)
    facts = replace(
        status,
        active=Active(name=record.name, since=observed.now, spec=spec.as_body()),
        handled=mark_handled(observed, key, record.name) if key else status.handled,
        continues=None if spec.continues else status.continues,
    )
    facts = replace(facts, active=_intended(observed, facts, record) or _intending(observed, facts))
    message = f"ModelRollback {record.name}: {spec.reason[:256]}"
    return Step(reason=Reason.ACCEPTED, message=message, action=UpdateDeployment(status=facts), facts=facts)


def _intended(observed: Observed, facts: DeploymentStatus, record: ModelRollback) -> Active | None:
    """Put into the lock what an emergency was switched to before it: we were stopped between the two.

    Whatever has become of that snapshot meanwhile, it serves. Nobody's word is taken for what serves without us, for
    what the request would not have led to, nor for its verification.
    """
    active, intent = facts.active, record.intent
    target = observed.snapshot(intent.target) if intent else None
    if active is None or intent is None or target is None or not record.spec.emergency or observed.workload is None:
        return None
    spec = RollbackSpec.from_fields(Fields(active.spec, strict=False))
    if target.digest != intent.digest or target.digest == facts.digest or target.model != observed.deployment.model:
        return None
    switched = stamped(observed.workload, target) or carries(observed.workload, observed.deployment.bindings, target)
    if not switched or not was_eligible(observed, Run(observed=observed, spec=spec, record=record).question, target):
        return None
    return replace(active, intent=replace(intent, verification="Recent", verified_at=verified_at(target)))


def _intending(observed: Observed, facts: DeploymentStatus) -> Active | None:
    """Put the intent into the lock where it is known already, as in an emergency: one write less before the switch.

    The choice is made again before the switch, on what was read meanwhile; if it differs, so does the intent then.
    """
    step = advance(replace(observed, deployment=replace(observed.deployment, status=facts)))
    active, action = facts.active, step.action if step else None
    if active is None or step is None or step.reason != Reason.INTENT or not isinstance(action, UpdateRecord):
        return active
    status = action.status
    intent = Intent(
        target=status.target,
        digest=status.target_digest,
        at=observed.now,
        verification=status.verification,
        verified_at=status.verified_at,
    )
    return replace(active, intent=intent)


def _knowing(record: ModelRollback, active: Active) -> ModelRollback:
    """Return a record that knows of the intent in its lock, until it has one of its own."""
    intent = active.intent
    if intent is None or record.status.intent_at is not None:
        return record
    status = replace(
        record.status,
        target=intent.target,
        target_digest=intent.digest,
        intent_at=intent.at,
        verification=intent.verification,
        verified_at=intent.verified_at,
    )
    return replace(record, status=status)


def advance(observed: Observed) -> Step | None:
    """Answer with the next step of the rollback that holds the lock."""
    active = observed.deployment.status.active
    if active is None:
        return None
    spec = RollbackSpec.from_fields(Fields(active.spec, strict=False))
    record = observed.active
    if record is None and active.name in observed.taken:
        return _let_go(observed, active)
    if record is None:
        message = f"ModelRollback {active.name} is not there, though it holds the lock: it is written again"
        return Step(
            reason=Reason.ACCEPTED,
            message=message,
            action=CreateRecord(name=active.name, spec=spec),
            tell=Tell.WARNING,
        )
    run = Run(observed=observed, spec=spec, record=_knowing(record, active))
    rules = AFTER if run.status.switched_at and run.status.target else BEFORE
    return next((step for rule in rules if (step := rule(run))), None)


def _let_go(observed: Observed, active: Active) -> Step:
    """A lock whose record cannot be written must not keep a rollback from happening, and what asked for it asks again.

    Somebody else took the name while record and lock were written at the same time, or forged the lock.
    """
    status = observed.deployment.status
    handled = {key: name for key, name in status.handled.items() if name != active.name}
    facts = replace(status, active=None, placement=status.placement + 1, handled=handled)
    message = f"status.activeRollback names {active.name}, which cannot be a record: the lock is let go"
    return Step(
        reason=Reason.WAITING, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.ALERT
    )


def has_ended(run: Run) -> Step | None:
    """An outcome is there: let go of the lock."""
    if run.status.outcome is None:
        return None
    facts = close(run.observed, run.spec, run.record)
    return Step(
        reason=Reason(run.status.outcome_reason) if run.status.outcome_reason in set(Reason) else Reason.WAITING,
        message=run.status.message,
        action=UpdateDeployment(status=facts),
        facts=facts,
    )


def superseded(run: Run) -> Step | None:
    """An emergency does not wait for what is under way, unless that is an emergency that can switch right now."""
    waiting = waiting_records(run.observed)
    if not waiting or not waiting[0].spec.emergency:
        return None
    if run.spec.emergency and not run.status.switched_at and _can_switch(run):
        return None
    return run.end(Outcome.SUPERSEDED, Reason.SUPERSEDED, f"emergency {waiting[0].name} takes over", tell=Tell.WARNING)


def _can_switch(run: Run) -> bool:
    chosen, _ = select(run.observed, run.question)
    return chosen is not None and _proof(run, chosen) is not None


def incomplete(run: Run) -> Step | None:
    """An incomplete list is never used to choose."""
    if run.observed.complete:
        return None
    return Step(reason=Reason.WAITING, message="the lists to choose from are not complete yet", after=1.0)


def blocked(run: Run) -> Step | None:
    """Nothing may be written to the workload; what may be switched already has to be known first."""
    if run.status.intent_at and not run.observed.complete:
        return None
    problem = workload_problem(run.observed.deployment, run.observed.workload)
    return run.end(Outcome.FAILED, *problem) if problem else None


def found_switched(run: Run) -> Step | None:
    """The workload carries the target already: we were stopped between the apply and this fact."""
    if run.status.intent_at is None or not run.applied:
        return None
    # An intent in the lock had no room for the candidates: nothing that they rest on has changed since.
    candidates = run.status.candidates or select(run.observed, run.question)[1]
    return run.note(
        Reason.SWITCHED,
        f"the workload was switched from {run.spec.source or 'nothing'} to {run.status.target}",
        switched_at=run.observed.now,
        candidates=candidates,
    )


def choose(run: Run) -> Step | None:
    """Choose, verify the choice now, record the intent, switch."""
    chosen, candidates = select(run.observed, run.question)
    if chosen is None:
        message = "there is no known-good snapshot to go back to; what serves is kept"
        return run.end(Outcome.FAILED, Reason.NO_KNOWN_GOOD, message, candidates=candidates)
    checked = _proof(run, chosen)
    if checked is None:
        return _verify(run, chosen)
    if run.target is None or run.status.target != chosen.name or run.status.intent_at is None:
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
    message = f"switching from {run.spec.source or 'nothing'} to {chosen.name}"
    return Step(reason=Reason.INTENT, message=message, action=Switch(snapshot=chosen), tell=Tell.WARNING)


def _proof(run: Run, chosen: ModelSnapshot) -> tuple[str, Checked] | None:
    """Return the verification that lets a target be written: fresh, or an emergency's recent one."""
    fresh = run.observed.fresh(chosen)
    if fresh and fresh.reason == Reason.VERIFIED:
        return "Fresh", fresh
    at = verified_at(chosen)
    if not run.spec.emergency or at is None or not recently_verified(run.observed, chosen):
        return None
    return "Recent", Checked(uid=chosen.meta.uid, digest=chosen.digest, reason=Reason.VERIFIED, at=at)


def _verify(run: Run, snapshot: ModelSnapshot) -> Step:
    message = f"verifying {snapshot.name} before it is used"
    busy = snapshot.name in run.observed.verifying
    return Step(reason=Reason.WAITING, message=message, action=None if busy else Verify(snapshot=snapshot))


def now_serving(run: Run) -> Step | None:
    """The ModelDeployment must say what serves since the switch."""
    status = run.observed.deployment.status
    if status.snapshot == run.status.target and status.history and status.history[-1].by == run.record.name:
        return None
    facts = serve(run.observed, run.spec, run.record)
    message = f"{run.status.target} serves"
    return Step(reason=Reason.SWITCHED, message=message, action=UpdateDeployment(status=facts), facts=facts)


def quarantine_source(run: Run) -> Step | None:
    """An emergency quarantines what was serving when it was called; a target that failed later is only left."""
    digest = run.spec.source_digest
    if (
        not run.spec.emergency
        or run.spec.continues
        or not digest
        or digest == run.status.target_digest
        or run.status.quarantined
    ):
        return None
    if run.observed.was_refused(digest):
        return None  # told when it was refused; what was left is left and held all the same
    if digest in run.observed.quarantined:
        return run.note(
            Reason.QUARANTINED, f"{run.spec.source} ({digest}) is quarantined", quarantined=(digest,), tell=Tell.ALERT
        )
    return Step(
        reason=Reason.QUARANTINED,
        message=f"quarantining {run.spec.source} ({digest})",
        action=QuarantineDigest(
            digest=digest, reason=run.spec.reason, incident=run.spec.incident, by=run.spec.requested_by
        ),
        tell=Tell.ALERT,
    )


def verify_after(run: Run) -> Step | None:
    """What an emergency left out is made up for right after the switch."""
    target = run.target
    if run.status.verification != "Recent" or target is None:
        return None
    checked, since = run.observed.found(target), run.status.switched_at
    if checked is None or since is None or checked.at < since or run.observed.untold(target):
        return None if target.name in run.observed.verifying else _verify(run, target)
    if checked.reason == Reason.DIGEST_MISMATCH:
        return run.end(Outcome.FAILED, Reason.DIGEST_MISMATCH, f"{target.name}: {checked.message}")
    good = checked.reason == Reason.VERIFIED
    if not good and verified_at(target) is None:
        return run.end(Outcome.FAILED, Reason.TARGET_LOST, f"{target.name} was never verified: {checked.message}")
    evidence = evidence_now(run.observed, target, checked) if good else evidence_of(target)
    if problem := distrust(run.observed.trust, target, evidence, run.observed.now):
        return run.end(Outcome.FAILED, Reason.TARGET_LOST, f"{target.name} is not trusted: {problem[1]}")
    word = "Fresh" if good else "Unreadable"
    return run.note(
        checked.reason, f"{target.name} after the switch: {checked.reason}", verification=word, verified_at=checked.at
    )


def target_lost(run: Run) -> Step | None:
    """The target turned bad while we waited for it."""
    target = run.target
    if target is None:
        message = f"{run.status.target} serves, but its ModelSnapshot was removed: it cannot be validated"
        return run.end(Outcome.UNVALIDATED, Reason.TARGET_LOST, message)
    if why := quarantine_reason(run.observed, target):
        return run.end(Outcome.FAILED, Reason.TARGET_LOST, f"{target.name} was quarantined: {why}")
    condition = target.status.conditions.get(Type.VERIFIED)
    if condition and condition.status == "False":
        bad_copy = condition.reason == Reason.DIGEST_MISMATCH
        reason = Reason.DIGEST_MISMATCH if bad_copy else Reason.TARGET_LOST
        return run.end(Outcome.FAILED, reason, f"{target.name}: {condition.message}")
    return None


def contested(run: Run) -> Step | None:
    """Past the deadline somebody else still writes the workload: that says nothing about the target."""
    workload = run.observed.workload
    if run.observed.now < _deadline(run) or (workload and workload.rollout.complete and run.carried):
        return None
    if run.carried and not run.observed.drift.count:
        return None
    message = f"something else writes the workload: {run.status.target} could not be validated in time"
    return run.end(Outcome.UNVALIDATED, Reason.DRIFTED, message)


def _deadline(run: Run) -> datetime:
    started = run.status.switched_at or run.observed.now
    return started + run.observed.deployment.rollback.progress_deadline


def not_available(run: Run) -> Step | None:
    """Wait for the pods, also for those that are not there any more; past the deadline the target has failed."""
    workload, now, deadline = run.observed.workload, run.observed.now, _deadline(run)
    rollout = workload.rollout if workload and run.carried else Rollout()
    if rollout.complete and run.status.available_at:
        return None
    if rollout.complete:
        return run.note(Reason.AVAILABLE, f"every pod serves {run.status.target}", available_at=now)
    if now >= deadline or rollout.exceeded(run.status.switched_at):
        return run.end(Outcome.FAILED, Reason.NOT_AVAILABLE, f"{run.status.target} did not become available in time")
    rest = (deadline - now).total_seconds()
    return Step(reason=Reason.WAITING, message=f"waiting for the pods of {run.status.target}", after=rest)


def late_proof(run: Run) -> Step | None:
    """An emergency's outcome waits for the verification that follows its switch."""
    if run.status.verification != "Recent" or run.target is None:
        return None
    return Step(reason=Reason.WAITING, message=f"verifying {run.status.target} after the switch")


def drifted(run: Run) -> Step | None:
    """Something else wrote a bound field after the switch: it is written back, as it is without a rollback."""
    return reassert(run.observed, run.target) if run.target else None


BEFORE: tuple[Rule, ...] = (
    has_ended,  # an outcome is final
    found_switched,  # first of all: a crash after the apply must neither switch again nor forget the switch
    superseded,  # a person's emergency outranks what runs
    blocked,  # said at once: on call nobody should wait for nothing
    incomplete,  # before anything is chosen
    choose,
)
AFTER: tuple[Rule, ...] = (
    has_ended,
    now_serving,  # what serves is a fact before anything else is waited for, or taken over
    superseded,
    incomplete,  # half a list knows neither the target nor what is quarantined
    quarantine_source,  # early, so that nothing brings it back meanwhile
    target_lost,
    contested,  # before drifted, which would go on for as long as the other side does
    drifted,
    verify_after,  # started early, and it runs while the pods start
    not_available,
    late_proof,
    validate,
    conclude,
)
