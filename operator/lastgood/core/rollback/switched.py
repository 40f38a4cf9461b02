"""What follows the switch of a rollback: what was left is kept and quarantined, and the target has to prove itself."""

from collections.abc import Mapping
from datetime import datetime

from lastgood.api.names import Outcome, Reason, Type
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.workload import Rollout
from lastgood.core.actions import QuarantineDigest, UpdateDeployment
from lastgood.core.candidates.eligible import quarantine_reason
from lastgood.core.candidates.images import doubt
from lastgood.core.candidates.verified import evidence_now, verified_at
from lastgood.core.rollback.closing import serve
from lastgood.core.rollback.run import Run
from lastgood.core.serving.drift import reassert
from lastgood.core.state import Checked, Step, Tell
from lastgood.core.trust.trusted import evidence_of


def now_serving(run: Run) -> Step | None:
    """The ModelDeployment must say what serves since the switch."""
    status = run.observed.deployment.status
    if not run.switched:
        return None
    if status.snapshot == run.status.target and status.history and status.history[-1].by == run.record.name:
        return None
    facts = serve(run.observed, run.spec, run.record)
    message = f"{run.status.target} serves"
    return Step(reason=Reason.SWITCHED, message=message, action=UpdateDeployment(status=facts), facts=facts)


def quarantine_source(run: Run) -> Step | None:
    """An emergency quarantines what was serving when it was called; a target that failed later is only left."""
    digest = run.spec.source_digest
    if not _to_quarantine(run) or run.observed.rest(digest):
        return None  # where it was refused, everything else goes on meanwhile: see not_quarantined
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
        tell=Tell.NOBODY,  # that it is done is told, or that it was refused
    )


def _to_quarantine(run: Run) -> bool:
    digest = run.spec.source_digest
    if not run.switched or not run.spec.emergency or run.spec.continues or run.status.quarantined:
        return False
    return bool(digest) and digest != run.status.target_digest


def not_quarantined(run: Run) -> Step | None:
    """An outcome does not say more than was done: it waits for the quarantine, for as long as for the pods."""
    if not _to_quarantine(run):
        return None
    left, rest = f"{run.spec.source} ({run.spec.source_digest})", run.observed.rest(run.spec.source_digest)
    if run.observed.now >= _deadline(run):
        message = f"{run.status.target} serves, but the API server refused to quarantine {left}; quarantine it manually"
        return run.end(Outcome.UNVALIDATED, Reason.QUARANTINE_REFUSED, message)
    message = f"the API server refused the quarantine of {left}; retrying"
    return Step(reason=Reason.QUARANTINE_REFUSED, message=message, after=rest, tell=Tell.ALERT)


def verify_after(run: Run) -> Step | None:
    """What an emergency left out is made up for right after the switch."""
    target = run.target
    if run.status.verification != "Recent" or target is None:
        return None
    checked = _read_since(run, target)
    if checked is None:
        return None if target.name in run.observed.verifying else run.verify(target)
    if checked.reason == Reason.DIGEST_MISMATCH:
        return run.end(Outcome.FAILED, Reason.DIGEST_MISMATCH, f"{target.name}: {checked.message}")
    good = checked.reason == Reason.VERIFIED
    if not good and verified_at(target) is None:
        return run.end(Outcome.FAILED, Reason.TARGET_LOST, f"{target.name} was never verified: {checked.message}")
    evidence = evidence_now(run.observed, target, checked) if good else evidence_of(target)
    if problem := doubt(run.observed, target, evidence):
        return run.end(Outcome.FAILED, Reason.TARGET_LOST, f"{target.name} is not trusted: {problem[1]}")
    return None


def _read_since(run: Run, target: ModelSnapshot) -> Checked | None:
    """Return what was found of the target since the switch, once its ModelSnapshot says so as well."""
    checked, since = run.observed.found(target), run.status.switched_at
    if checked is None or since is None or checked.at < since or run.observed.untold(target):
        return None
    return checked


def proof(run: Run) -> Mapping[str, object]:
    """Return what is known of the verification after the switch, and the record does not say yet."""
    target = run.target
    checked = _read_since(run, target) if target and run.status.verification == "Recent" else None
    if checked is None:
        return {}
    word = "Fresh" if checked.reason == Reason.VERIFIED else "Unreadable"
    return {"verification": word, "verified_at": checked.at}


def target_lost(run: Run) -> Step | None:
    """The target turned bad while we waited for it."""
    target = run.target
    if target is None:
        message = f"{run.status.target} serves, but cannot be validated: its ModelSnapshot was deleted"
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
    message = f"{run.status.target} could not be validated in time: another client keeps overwriting the workload"
    return run.end(Outcome.UNVALIDATED, Reason.DRIFTED, message)


def _deadline(run: Run) -> datetime:
    started = run.status.switched_at or run.observed.now
    return started + run.observed.deployment.rollback.progress_deadline


def not_available(run: Run) -> Step | None:
    """Wait for the pods, also for those that are not there any more; past the deadline the target has failed."""
    workload, now, deadline = run.observed.workload, run.observed.now, _deadline(run)
    rollout = workload.rollout if workload and run.carried else Rollout()
    if rollout.complete:
        return None
    if now >= deadline or rollout.exceeded(run.status.switched_at):
        message = f"{run.status.target} did not become available before the progress deadline"
        return run.end(Outcome.FAILED, Reason.NOT_AVAILABLE, message)
    rest = (deadline - now).total_seconds()
    return Step(reason=Reason.WAITING, message=f"waiting for the pods of {run.status.target}", after=rest)


def late_proof(run: Run) -> Step | None:
    """An emergency's outcome waits for the verification that follows its switch."""
    if run.status.verification != "Recent" or run.target is None or proof(run):
        return None
    return Step(reason=Reason.WAITING, message=f"verifying {run.status.target} after the switch")


def drifted(run: Run) -> Step | None:
    """Something else wrote a bound field after the switch: it is written back, as it is without a rollback."""
    return reassert(run.observed, run.target) if run.target else None
