"""A ModelSnapshot that matters is deleted: what serves, or what was the only way back."""

from lastgood.api.names import Reason, Type
from lastgood.core.actions import UpdateDeployment
from lastgood.core.candidates.selection import select
from lastgood.core.serving.triggers import normal_question
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.workload import Problem

_AGAIN = "apply it again with the same digest"


def serving_problem(observed: Observed) -> Problem | None:
    """Say that the ModelSnapshot of what serves is being deleted, or is gone; the pods are left as they are."""
    name = observed.deployment.status.snapshot
    if not name or not observed.complete:
        return None
    snapshot = observed.snapshot(name)
    if snapshot is None:
        return Reason.SNAPSHOT_DELETED, (
            f"{name} serves, and its ModelSnapshot was deleted: its bytes are no longer verified, and no rollback can "
            f"return to it; {_AGAIN}, or name another snapshot in spec.snapshot"
        )
    if snapshot.meta.deleting:
        return Reason.SNAPSHOT_DELETING, (
            f"{name} serves, and its ModelSnapshot is being deleted: then its bytes are no longer verified, and no "
            f"rollback can return to it; {_AGAIN} once it is gone, or name another snapshot in spec.snapshot"
        )
    return None


def serving_deleted(observed: Observed) -> Step | None:
    """What serves goes on serving, and people hear of it: once while it is being deleted, and once when it is gone."""
    problem = serving_problem(observed)
    return Step(reason=problem[0], message=problem[1], tell=Tell.WARNING) if problem else None


def fallback_deleted(observed: Observed) -> Step | None:
    """The only snapshot that a rollback could go to is deleted: told once, and the condition goes on saying so."""
    status = observed.deployment.status
    name = status.last_known_good
    if not name or not observed.complete or name == status.snapshot:
        return None
    snapshot = observed.snapshot(name)
    if snapshot is not None and not snapshot.meta.deleting:
        return None
    if select(observed, normal_question(observed))[0]:
        return None
    was = "was deleted" if snapshot is None else "is being deleted"
    return Step(
        reason=Reason.FALLBACK_DELETED,
        message=f"{name} was the only rollback target, and {was}; {_AGAIN}, or let another snapshot complete its soak",
        action=UpdateDeployment(status=status),
        facts=status,
        tell=Tell.WARNING,
    )


def lasting_message(observed: Observed, step: Step) -> str:
    """Return what is said of a fallback that was deleted, for as long as there is none."""
    if step.reason == Reason.FALLBACK_DELETED:
        return step.message
    before = observed.deployment.status.conditions.get(Type.KNOWN_GOOD_AVAILABLE)
    return before.message if before and before.reason == Reason.FALLBACK_DELETED else ""
