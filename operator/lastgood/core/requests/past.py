"""Requests about another time: an earlier ModelDeployment, a time before the first look, what serves no more."""

from dataclasses import replace

from lastgood.api.names import Outcome, Reason
from lastgood.api.specs.rollback import ModelRollback
from lastgood.core.actions import UpdateDeployment, UpdateRecord
from lastgood.core.requests.gone import inherited, unfinished
from lastgood.core.requests.remember import recalling
from lastgood.core.requests.requests import (
    is_of_another,
    mark_handled,
    pending,
    served_digest,
    waiting_records,
    without_outcome,
)
from lastgood.core.rollback.outcomes import ended
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.workload import stamped_as


def of_another(observed: Observed) -> Step | None:
    """A record of another ModelDeployment of this name, which is gone, ends; what it had left stays left."""
    for record in without_outcome(observed):
        if is_of_another(observed, record):
            message = "it is for an earlier ModelDeployment of this name, which was deleted"
            over = _dropped(observed, record, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
            return (_inherited(observed, record) if _was_there_before(observed, record) else None) or over
    return None


def _was_there_before(observed: Observed, record: ModelRollback) -> bool:
    """Nothing of an earlier ModelDeployment is younger than this one; its uid is what anybody may write.

    Else whoever may create records could have every good snapshot left, in one second and without serving it. One of
    the very same second has to show that it was begun: in its status, which only the operator writes, or on the pods.
    """
    made, ours = record.meta.created, observed.deployment.meta.created
    return made is None or ours is None or made < ours or (made == ours and _was_begun(observed, record))


def _was_begun(observed: Observed, record: ModelRollback) -> bool:
    """Tell whether a record was carried out: an early switch is on the pods before it is in the status."""
    intent, workload = record.intent, observed.workload
    early = intent is not None and workload is not None and stamped_as(workload, intent.target, intent.digest)
    return bool(record.status.deployment_uid) or early


def _inherited(observed: Observed, record: ModelRollback) -> Step | None:
    """Take over what an earlier ModelDeployment of this name had left, and could not say any more."""
    named = observed.snapshot(record.status.source or record.spec.source)
    found, status = unfinished(record, observed.workload, observed.now, named), observed.deployment.status
    if found is None:
        return None
    wanted = status.held is None and found.held.snapshot == observed.deployment.snapshot != status.snapshot
    left = inherited(status.left, found.left, began=bool(record.status.deployment_uid))
    if left == status.left and not wanted:
        return None
    facts = replace(status, held=found.held if wanted else status.held, left=left)
    message = f"{found.held.snapshot} was rejected by ModelRollback {record.name} of an earlier ModelDeployment"
    return recalling(facts, message)


def of_the_past(observed: Observed) -> Step | None:
    """A record that names what is to be left is void when that does not serve, or never did.

    What a trigger or a failed target asked for is overtaken when something else serves. A person may name what served
    before; but nobody's word for a digest is taken: it would be left, or quarantined, without ever having been here.
    """
    for record in waiting_records(observed)[:1]:  # the one whose turn it is: the others may be many
        spec, status = record.spec, observed.deployment.status
        if (spec.automatic or spec.continues) and spec.source != status.snapshot:
            message = f"requested for {spec.source or 'none'}, but the current snapshot is {status.snapshot or 'none'}"
            return _dropped(observed, record, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
        known = served_digest(observed, spec.source)
        # What the status says serves is here, also where somebody took its digest away: each refusal would be followed
        # by another record. Nobody's word for the digest is taken then either: see `without_lock`.
        here = known or spec.source == status.snapshot
        if spec.source and (not here or (known and spec.source_digest not in ("", known))):
            which = f"{spec.source} has not served here{' with that digest' if known else ''}"
            message = f"spec.from: {which}; omit spec.from, or name the snapshot that is to be replaced"
            return _dropped(observed, record, Outcome.REJECTED, Reason.REQUEST_REJECTED, message)
    return None


def _dropped(observed: Observed, record: ModelRollback, outcome: Outcome, reason: Reason, message: str) -> Step:
    status = ended(record, observed.now, outcome, reason, message)
    return Step(reason=reason, message=message, action=UpdateRecord(record=record, status=status), tell=Tell.WARNING)


def _first_look(observed: Observed) -> bool:
    status = observed.deployment.status
    return not status.observed_generation and not status.snapshot


def records_older_than_we(observed: Observed) -> Step | None:
    """So was a record without an outcome that says of no ModelDeployment that it is for that very one."""
    for record in waiting_records(observed) if _first_look(observed) else ():
        if not record.spec.deployment_uid:
            message = "it is older than the first reconcile of this ModelDeployment; to request it, create another"
            return _dropped(observed, record, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
    return None


def older_than_we(observed: Observed) -> Step | None:
    """What stood in an annotation before this ModelDeployment was first looked at was meant for a time before it.

    A restore from a backup, or a manifest applied again in another cluster, is no emergency. It is told.
    """
    status = observed.deployment.status
    waiting = list(pending(observed))
    if not _first_look(observed) or not waiting:
        return None
    facts = status
    for request in waiting:
        seen = replace(observed, deployment=replace(observed.deployment, status=facts))
        facts = replace(facts, handled=mark_handled(seen, request.key, "found"))
    told = ", ".join(sorted({request.annotation for request in waiting}))
    message = f"{told}: set before the first reconcile of this ModelDeployment; to request it, annotate with a new text"
    return Step(
        reason=Reason.REQUEST_REJECTED,
        message=message,
        action=UpdateDeployment(status=facts),
        facts=facts,
        tell=Tell.ALERT,
    )
