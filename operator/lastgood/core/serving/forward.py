"""Forward: `spec.snapshot` is brought to the workload once it is verified, unless it is held."""

from dataclasses import replace

from lastgood.api.facts.deployment_status import Served
from lastgood.api.fields import Fields
from lastgood.api.names import DIGEST_STAMP, RESUME, Digest, Reason, Severity
from lastgood.api.specs.rollback import FiredTrigger, RollbackSpec
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import Switch, UpdateDeployment, Verify
from lastgood.core.candidates.eligible import FORWARD, ineligible, left_before
from lastgood.core.candidates.selection import close_to
from lastgood.core.requests.remember import taken_back, unread
from lastgood.core.requests.requests import base_spec, mark_handled, open_record, pending
from lastgood.core.rollback.closing import begin, continuation_of, is_bad_copy
from lastgood.core.serving.drift import adopt, reassert
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.words import INTEGRITY
from lastgood.core.workload import OWNERSHIP, carries, conflicts, stamped, workload_problem

_LOOK_AGAIN = 30.0  # seconds
_ADOPT = "set spec.snapshot to the snapshot that the workload already has (it is adopted without a restart), then "


def resumed(observed: Observed) -> Step | None:
    """A person lets go of a hold: the desired snapshot, and its digest, may come again."""
    request = next((item for item in pending(observed) if item.annotation == RESUME), None)
    if request is None:
        return None
    status, desired = observed.deployment.status, observed.snapshot(observed.deployment.snapshot)
    digest = desired.digest if desired else _held_digest(observed)
    facts = replace(
        status,
        held=None,
        left=tuple(item for item in status.left if item.digest != digest),
        handled=mark_handled(observed, request.key, "resumed"),
    )
    if step := taken_back(observed, facts):
        return step
    lifted = status.held is not None or facts.left != status.left
    message = f"{'the hold is lifted' if lifted else 'there is no hold to lift'}: {request.text[:256]}"
    return Step(
        reason=Reason.RESUMED, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.WARNING
    )


def _held_digest(observed: Observed) -> Digest:
    """The ModelSnapshot that is held may have been deleted: what it was when it was held is meant."""
    holding = observed.deployment.status.held
    return holding.digest if holding and holding.snapshot == observed.deployment.snapshot else Digest("")


def continued(observed: Observed) -> Step | None:
    """The target of a rollback failed: a new record goes on with the next-older known good."""
    before = observed.deployment.status.continues
    if before is None:
        return None
    fields = Fields(before, strict=False)
    first = RollbackSpec.from_fields(fields.child("spec"))
    name, message = fields.text("record"), fields.text("message")
    spec = base_spec(
        observed,
        reason=continuation_of(name, message),  # type: ignore[arg-type]  # read back from our own status
        before=first.before,
        incident=first.incident,
        emergency=first.emergency,
        automatic=first.automatic,
        requested_by=first.requested_by,
        trigger=_cause(first, fields.text("reason"), message),
        continues=name,
    )
    return open_record(observed, spec, Reason.CONTINUED, spec.reason)


def _cause(first: RollbackSpec, reason: str, message: str) -> FiredTrigger | None:
    """A wrong copy says nothing about its digest, nor about the digest of a target that failed in its place."""
    if reason == Reason.DIGEST_MISMATCH:
        return FiredTrigger(name=INTEGRITY, severity=Severity.CRITICAL, value=message[:256], condition=reason)
    return None if is_bad_copy(first) else first.trigger


def released(observed: Observed) -> Step | None:
    """Someone names another snapshot than the held one: that ends the hold."""
    status = observed.deployment.status
    if status.held is None or observed.deployment.snapshot == status.held.snapshot:
        return None
    facts = replace(status, held=None)
    message = f"spec.snapshot no longer names {status.held.snapshot}: the hold is lifted"
    return Step(
        reason=Reason.RESUMED, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.INFO
    )


def blocked(observed: Observed) -> Step | None:
    """Nothing may be written to the workload; what it serves goes on serving."""
    problem = workload_problem(observed.deployment, observed.workload)
    if problem is None:
        return None
    after = _LOOK_AGAIN if problem[0] in OWNERSHIP else None
    return Step(reason=problem[0], message=problem[1], after=after, tell=Tell.WARNING)


def forward(observed: Observed) -> Step | None:
    """Bring the desired snapshot to the workload."""
    deployment, status = observed.deployment, observed.deployment.status
    if workload_problem(deployment, observed.workload) or not observed.complete:
        return None
    if status.snapshot == deployment.snapshot:
        return None
    if step := _taken_over(observed) or unread(observed):
        return step
    snapshot = observed.snapshot(deployment.snapshot)
    if snapshot is None:
        message = f"spec.snapshot: there is no ModelSnapshot {deployment.snapshot!r} in this namespace"
        message += close_to(observed, deployment.snapshot)
        return Step(reason=Reason.SNAPSHOT_NOT_FOUND, message=message, tell=Tell.WARNING)
    return (
        _refused(observed, snapshot)
        or _found(observed, snapshot)
        or _suspended(observed)
        or _conflict(observed)
        or _verified(observed, snapshot)
        or _switch(observed, snapshot)
    )


def _refused(observed: Observed, snapshot: ModelSnapshot) -> Step | None:
    """It may not be deployed; an answer that may be another one soon is asked for again."""
    problem = ineligible(observed, FORWARD, snapshot)
    if problem is None:
        return None
    reason, message = problem
    if reason in (Reason.DIGEST_MISMATCH, Reason.UNREADABLE):  # those of the ModelSnapshot: what serves is not meant
        reason, message = Reason.NOT_VERIFIED, f"{reason}: {message}"
    after = observed.rest(snapshot.name) or (_LOOK_AGAIN if observed.fresh(snapshot) else None)
    return Step(reason=reason, message=f"{snapshot.name}: {message}", after=after, tell=_grave(snapshot, reason))


def _grave(snapshot: ModelSnapshot, reason: Reason) -> Tell:
    """What was expected, or is not known yet, is no warning."""
    if reason == Reason.HELD:
        return Tell.INFO
    waits = reason == Reason.NOT_VERIFIED and snapshot.status.verification is None
    return Tell.NOBODY if waits else Tell.WARNING


def _found(observed: Observed, snapshot: ModelSnapshot) -> Step | None:
    """The workload carries it already: it was set up so, or we were stopped after the apply."""
    workload = observed.workload
    if workload is None:
        return None
    if not stamped(workload, snapshot) and not carries(workload, observed.deployment.bindings, snapshot):
        return None
    adopting = adopt(observed, snapshot)
    if adopting:
        return adopting
    ours = DIGEST_STAMP in workload.template_annotations
    message = f"the workload serves {snapshot.name}" + ("" if ours else ", as before: no restart")
    return _begun(observed, snapshot, Reason.DEPLOYED if ours else Reason.ADOPTED, message)


def _taken_over(observed: Observed) -> Step | None:
    """The workload carries what an earlier object of this name switched it to: that serves, whatever is desired.

    So it is watched, and what is left for another one has something to be left.
    """
    workload, deployment = observed.workload, observed.deployment
    if workload is None or deployment.status.snapshot:
        return None
    carried = (item for item in observed.snapshots if item.model == deployment.model and stamped(workload, item))
    serving = next(carried, None)
    if serving is None:
        return None
    step = _begun(observed, serving, Reason.ADOPTED, f"the workload serves {serving.name}, as before")
    if problem := left_before(observed, FORWARD, serving):
        return replace(step, message=f"{step.message}: {problem[1]}", tell=Tell.WARNING)
    return step


def _begun(observed: Observed, snapshot: ModelSnapshot, reason: Reason, message: str) -> Step:
    status = observed.deployment.status
    period = Served(
        snapshot=snapshot.name, digest=snapshot.digest, since=observed.now, by="forward", uid=snapshot.meta.uid
    )
    facts = begin(status, period)
    facts = replace(facts, placement=status.placement + 1)
    return Step(reason=reason, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.INFO)


def _suspended(observed: Observed) -> Step | None:
    """What the workload carries already is a fact all the same, and not to be undone as drift."""
    if not observed.deployment.suspend:
        return None
    return Step(reason=Reason.SUSPENDED, message="spec.suspend is true: nothing new is deployed")


def _conflict(observed: Observed) -> Step | None:
    """Before our first switch, another manager of a bound field must let go of it; see report.py for the snippet.

    What was adopted carries no stamp of ours: naming another snapshot would begin a fight with who owns the field. An
    image cannot be left out of a Deployment, so there the conflict is told and does not stop us.
    """
    if observed.workload is None:
        return None
    if observed.deployment.status.snapshot and DIGEST_STAMP in observed.workload.template_annotations:
        return None
    found = conflicts(observed.workload, observed.deployment.bindings)
    hard = [item for item in found if item[0].optional]
    if not hard:
        return None
    return Step(reason=Reason.FIELD_OWNED, message=conflict_message(observed), tell=Tell.WARNING)


def conflict_message(observed: Observed) -> str:
    """Return who owns which bound field, and what to do."""
    if observed.workload is None:
        return ""
    workload, first = observed.workload, "" if observed.deployment.status.snapshot else _ADOPT
    told = (
        f"{manager!r} owns {binding.told}: {first if binding.optional else ''}{binding.handover(workload)}"
        for binding, manager in conflicts(workload, observed.deployment.bindings)
    )
    return "; ".join(told)


def _verified(observed: Observed, snapshot: ModelSnapshot) -> Step | None:
    """It must be verified at this moment, not only some time ago."""
    if observed.fresh(snapshot):
        return None
    busy = snapshot.name in observed.verifying
    message = f"verifying {snapshot.name} before it is deployed"
    return Step(reason=Reason.WAITING, message=message, action=None if busy else Verify(snapshot=snapshot))


def _switch(observed: Observed, snapshot: ModelSnapshot) -> Step:
    """Switch; a conflict that does not stop us is told all the same, or Git will write the field again."""
    conflict = conflict_message(observed)
    return Step(
        reason=Reason.DEPLOYING,
        message=f"deploying {snapshot.name}" + (f"; {conflict}" if conflict else ""),
        action=Switch(snapshot=snapshot),
        tell=Tell.WARNING if conflict else Tell.INFO,
    )


def drifted(observed: Observed) -> Step | None:
    """What serves must stay what serves."""
    status = observed.deployment.status
    serving = observed.snapshot(status.snapshot) if status.snapshot else None
    if serving is None or serving.digest != status.digest or not observed.complete:
        return None
    return reassert(observed, serving)
