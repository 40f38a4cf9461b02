"""Forward: `spec.snapshot` is brought to the workload once it is verified, unless it is held."""

from collections.abc import Callable
from dataclasses import replace

from lastgood.api.deployment import EnvBinding, ImageBinding
from lastgood.api.deployment_status import Served
from lastgood.api.fields import Fields
from lastgood.api.names import DIGEST_STAMP, FIELD_MANAGER, RESUME, Reason, Severity, Type
from lastgood.api.rollback import FiredTrigger, RollbackSpec
from lastgood.api.snapshot import ModelSnapshot
from lastgood.api.sources import PvcSource
from lastgood.core.closing import begin, continuation_of, is_bad_copy
from lastgood.core.drift import reassert
from lastgood.core.requests import base_spec, mark_handled, open_record, pending
from lastgood.core.selection import evidence_now, quarantine_reason
from lastgood.core.state import Observed, Step, Switch, Tell, UpdateDeployment, Verify
from lastgood.core.trusted import distrust, evidence_of, revoked
from lastgood.core.words import INTEGRITY
from lastgood.core.workload import Problem, carries, conflicts, container_list, render, stamped, workload_problem

Refusal = Callable[[Observed, ModelSnapshot], Problem | None]


def resumed(observed: Observed) -> Step | None:
    """A person lets go of a hold: the desired snapshot, and its digest, may come again."""
    request = next((item for item in pending(observed) if item.annotation == RESUME), None)
    if request is None:
        return None
    status, desired = observed.deployment.status, observed.snapshot(observed.deployment.snapshot)
    digest = desired.digest if desired else ""
    facts = replace(
        status,
        held=None,
        left=tuple(item for item in status.left if item.digest != digest),
        handled=mark_handled(observed, request.key, "resumed"),
    )
    message = f"the hold is lifted: {request.text[:256]}"
    return Step(
        reason=Reason.RESUMED, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.WARNING
    )


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
    message = f"spec.snapshot no longer names {status.held.snapshot}: the hold ends"
    return Step(
        reason=Reason.RESUMED, message=message, action=UpdateDeployment(status=facts), facts=facts, tell=Tell.INFO
    )


def blocked(observed: Observed) -> Step | None:
    """Nothing may be written to the workload; what it serves goes on serving."""
    problem = workload_problem(observed.deployment, observed.workload)
    return Step(reason=problem[0], message=problem[1], tell=Tell.WARNING) if problem else None


def forward(observed: Observed) -> Step | None:
    """Bring the desired snapshot to the workload."""
    deployment, status = observed.deployment, observed.deployment.status
    if workload_problem(deployment, observed.workload) or not observed.complete:
        return None
    if status.snapshot == deployment.snapshot:
        return None
    snapshot = observed.snapshot(deployment.snapshot)
    if snapshot is None:
        message = f"spec.snapshot: there is no ModelSnapshot {deployment.snapshot!r} in this namespace"
        return Step(reason=Reason.SNAPSHOT_NOT_FOUND, message=message, tell=Tell.WARNING)
    refusal = next((found for rule in REFUSALS if (found := rule(observed, snapshot))), None)
    if refusal:
        after = 30.0 if refusal[0] == Reason.SWITCH_REFUSED else None
        return Step(reason=refusal[0], message=refusal[1], after=after, tell=_grave(snapshot, refusal[0]))
    return (
        _found(observed, snapshot)
        or _suspended(observed)
        or _conflict(observed)
        or _verified(observed, snapshot)
        or _switch(observed, snapshot)
    )


def _grave(snapshot: ModelSnapshot, reason: Reason) -> Tell:
    """What was expected, or is not known yet, is no warning."""
    if reason == Reason.HELD:
        return Tell.INFO
    waits = reason == Reason.NOT_VERIFIED and snapshot.status.verification is None
    return Tell.NOBODY if waits else Tell.WARNING


def held(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """A rollback left it; it stays without effect until someone names another."""
    holding = observed.deployment.status.held
    if holding is None or holding.snapshot != snapshot.name:
        return None
    return Reason.HELD, (
        f"{snapshot.name} is held since ModelRollback {holding.rollback}: {holding.reason}; "
        f"name another in spec.snapshot, or annotate {RESUME}"
    )


def left(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """The same bytes under any name are what a rollback left."""
    found = next((item for item in observed.deployment.status.left if item.digest == snapshot.digest), None)
    if found is None:
        return None
    return Reason.HELD, f"a rollback left this digest: {found.reason}; to use it all the same, annotate {RESUME}"


def other_model(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """A deployment stays inside one family."""
    if snapshot.model == observed.deployment.model:
        return None
    return Reason.WRONG_MODEL, f"spec.snapshot: {snapshot.name} is of model {snapshot.model!r}"


def quarantined(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """A quarantined digest is never written."""
    why = quarantine_reason(observed, snapshot)
    return (Reason.QUARANTINED, f"{snapshot.name}: {why}") if why else None


def digest_revoked(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """A trust policy revokes the digest."""
    why = revoked(observed.trust, snapshot.digest)
    return (Reason.DIGEST_REVOKED, f"{snapshot.name}: {why}") if why else None


def not_verified(_: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """Only what is verified is deployed."""
    if snapshot.verified:
        return None
    condition = snapshot.status.conditions.get(Type.VERIFIED)
    why = f"{condition.reason}: {condition.message}" if condition else "not verified yet"
    return Reason.NOT_VERIFIED, f"{snapshot.name}: {why}"


def untrusted(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """Signatures, scan and floor: a revert in Git is a way back as well."""
    found = distrust(observed.trust, snapshot, evidence_of(snapshot), observed.now)
    return (found[0], f"{snapshot.name}: {found[1]}") if found else None


def not_mounted(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """The pods could not find it."""
    source, workload = observed.found_now(snapshot).place, observed.workload
    if not isinstance(source, PvcSource) or workload is None or source.claim in workload.claims:
        return None
    return Reason.NOT_MOUNTED, f"{snapshot.name}: the workload does not mount claim {source.claim!r}"


def no_value(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """Every bound field must get a value."""
    if render(observed.deployment.bindings, observed.found_now(snapshot)) is not None:
        return None
    return Reason.NO_VALUE, f"spec.bindings: {snapshot.name} has no value for one, such as spec.runtime.image"


def refused(observed: Observed, snapshot: ModelSnapshot) -> Problem | None:
    """The API server did not allow the switch; it is tried again after a pause."""
    if not observed.was_refused(snapshot.name):
        return None
    return Reason.SWITCH_REFUSED, f"{snapshot.name}: the API server refused the switch; see the security log"


REFUSALS: tuple[Refusal, ...] = (
    held,  # what a person has to decide comes first
    left,
    other_model,
    digest_revoked,
    quarantined,
    not_verified,
    untrusted,
    not_mounted,
    no_value,
    refused,
)


def _found(observed: Observed, snapshot: ModelSnapshot) -> Step | None:
    """The workload carries it already: it was set up so, or we were stopped after the apply."""
    workload = observed.workload
    if workload is None:
        return None
    if not stamped(workload, snapshot) and not carries(workload, observed.deployment.bindings, snapshot):
        return None
    status = observed.deployment.status
    period = Served(
        snapshot=snapshot.name, digest=snapshot.digest, since=observed.now, by="forward", uid=snapshot.meta.uid
    )
    facts = begin(status, period)
    facts = replace(facts, placement=status.placement + 1)
    ours = DIGEST_STAMP in workload.template_annotations
    return Step(
        reason=Reason.DEPLOYED if ours else Reason.ADOPTED,
        message=f"the workload serves {snapshot.name}" + ("" if ours else ", and did before: it is not restarted"),
        action=UpdateDeployment(status=facts),
        facts=facts,
        tell=Tell.INFO,
    )


def _suspended(observed: Observed) -> Step | None:
    """What the workload carries already is a fact all the same, and not to be undone as drift."""
    if not observed.deployment.suspend:
        return None
    return Step(reason=Reason.SUSPENDED, message="spec.suspend is true: nothing new is deployed")


def _conflict(observed: Observed) -> Step | None:
    """Before the first switch, another manager of a bound field must let go of it; see report.py for the snippet.

    An image cannot be left out of a Deployment, so there the conflict is told and does not stop us.
    """
    if observed.workload is None or observed.deployment.status.snapshot:
        return None
    found = conflicts(observed.workload, observed.deployment.bindings)
    hard = [item for item in found if not isinstance(item[0], ImageBinding)]
    if not hard:
        return None
    return Step(reason=Reason.FIELD_OWNED, message=conflict_message(observed), tell=Tell.WARNING)


def conflict_message(observed: Observed) -> str:
    """Return who owns which bound field, and what to do."""
    if observed.workload is None:
        return ""
    found, containers = conflicts(observed.workload, observed.deployment.bindings), observed.workload.containers
    told = []
    for binding, manager in found:
        if isinstance(binding, EnvBinding):
            told.append(
                f"{manager!r} owns variable {binding.name} of container {binding.container}: "
                "leave the variable out of the manifest and apply it again"
            )
        elif isinstance(binding, ImageBinding):
            told.append(
                f"{manager!r} owns the image of container {binding.container}: add to ignoreDifferences "
                f"jqPathExpressions: ['.spec.template.spec.{container_list(containers, binding.container)}[] "
                f'| select(.name == "{binding.container}") '
                "| .image'] (Argo CD, with RespectIgnoreDifferences=true) or spec.ignore (Flux)"
            )
        else:
            told.append(f"{manager!r} owns pod template annotation {binding.name}: leave it out of the manifest")
    return f"; {FIELD_MANAGER} writes it. ".join(told)


def _verified(observed: Observed, snapshot: ModelSnapshot) -> Step | None:
    """It must be verified at this moment, not only some time ago."""
    fresh = observed.fresh(snapshot)
    if fresh is None:
        busy = snapshot.name in observed.verifying
        message = f"verifying {snapshot.name} before it is deployed"
        return Step(reason=Reason.WAITING, message=message, action=None if busy else Verify(snapshot=snapshot))
    if fresh.reason == Reason.VERIFIED:
        problem = distrust(observed.trust, snapshot, evidence_now(observed, snapshot, fresh), observed.now)
        return Step(reason=problem[0], message=f"{snapshot.name}: {problem[1]}", after=30.0) if problem else None
    return Step(reason=Reason.NOT_VERIFIED, message=f"{snapshot.name}: {fresh.message}", after=30.0)


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
