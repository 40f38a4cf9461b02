"""What survives a ModelDeployment: kept by digest where only the operator writes (ADR 22).

A fact is in force while either place has it: the status, or what is kept. So what one of them loses, by a deletion, a
restore or an overwritten status, comes back from the other. A fact that a person takes back goes from what is kept
first: the request stands until it is gone from the status as well.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

from lastgood.api.facts.deployment_status import MAX_HANDLED, MAX_LEFT, DeploymentStatus, Held, Left
from lastgood.api.facts.remembered import MAX_PROVEN, NOTHING, Proven, Remembered
from lastgood.api.names import SNAPSHOT_STAMP, Reason
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.core.actions import Remember, UpdateDeployment
from lastgood.core.candidates.likeness import runtime
from lastgood.core.rollback.run import Run
from lastgood.core.state import REMEMBERED, Observed, Step, Tell

RETRY = timedelta(minutes=1)
"""When a write that the API server did not allow is tried again."""


def recalled(deployment: ModelDeployment, remembered: Remembered | None) -> ModelDeployment:
    """Return a ModelDeployment whose facts are those of its status and those that are kept."""
    if remembered is None or remembered == NOTHING:
        return deployment
    status, kept = deployment.status, remembered
    # The status of an object that nobody has looked at yet is a backup's, if it has any: what is kept is newer.
    new = not status.observed_generation
    handled = _filled(kept.handled, status.handled) if new else _filled(status.handled, kept.handled)
    left = joined(status.left, kept.left) if new else joined(kept.left, status.left)
    held = _held(deployment, kept)
    if (held, left, handled) == (status.held, status.left, status.handled):
        return deployment  # as it is nearly always: what is not made anew need not be compared
    return replace(deployment, status=replace(status, held=held, left=left, handled=handled))


def _held(deployment: ModelDeployment, kept: Remembered) -> Held | None:
    """Whoever names another snapshot has released the one that was held; so has whoever had it deployed."""
    status = deployment.status
    if status.held is not None or kept.held is None:
        return status.held
    wanted = kept.held.snapshot == deployment.snapshot != status.snapshot
    return kept.held if wanted else None


def joined(older: Iterable[Left], newer: Iterable[Left]) -> tuple[Left, ...]:
    """Return the digests of both, each once; where there are too many, the oldest go."""
    newer = tuple(newer)
    known = {item.digest for item in newer}
    return (*(item for item in older if item.digest not in known), *newer)[-MAX_LEFT:]


def _filled(first: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return all of the first, and of the others the newest that there is room for."""
    others = [(key, what) for key, what in more.items() if key not in first]
    room = max(0, MAX_HANDLED - len(first))
    return dict(others[len(others) - min(room, len(others)) :]) | dict(first)


def by_age(handled: Mapping[str, str], kept: Remembered | None) -> dict[str, str]:
    """Return what was handled, the oldest first: the API server sorts a map by its keys, a text keeps its order."""
    order = {key: place for place, key in enumerate(kept.handled)} if kept else {}
    return {key: handled[key] for key in sorted(handled, key=lambda key: order.get(key, len(order)))}


def to_remember(observed: Observed) -> Remembered:
    """Return what is to be kept now."""
    status, kept = observed.deployment.status, observed.remembered or NOTHING
    proven = {(item.digest, item.runtime): item for item in (*kept.proven, *_proven(observed))}
    newest = sorted(proven.values(), key=lambda item: item.at)[-MAX_PROVEN:]
    handled = by_age(status.handled, kept)
    found = Remembered(held=status.held, left=status.left, handled=handled, proven=tuple(newest))
    return found if found == kept else found.written


def _proven(observed: Observed) -> Iterator[Proven]:
    """Yield what soaked, and is still there to be looked at: what it was run with is not in the history."""
    for item in observed.deployment.status.history:
        snapshot = observed.snapshot(item.snapshot)
        if item.soaked_at is None or snapshot is None:
            continue
        if (item.digest, item.uid) == (snapshot.digest, snapshot.meta.uid):
            made = runtime(observed.deployment.bindings, snapshot)
            yield Proven(digest=item.digest, runtime=made, at=item.soaked_at)


def remember(observed: Observed) -> Step | None:
    """Keep what is known: before a rollback's outcome, and whenever it changes."""
    if observed.remembered is None or waits(observed):
        return None
    facts = to_remember(observed)
    if facts == observed.remembered:
        return None
    message = "rejections, holds and soaks are recorded outside this ModelDeployment"
    return Step(reason=Reason.REMEMBERED, message=message, action=Remember(facts=facts), tell=Tell.NOBODY)


def beside(observed: Observed, step: Step) -> Remember | None:
    """Return what is kept together with the facts that a step records: one pass less, and in force by either of both.

    What comes of it where only one of the two is written is what `recalled` and `remember` make of it. A request is
    another matter: it would count as handled where the write that does what it asks for is lost.
    """
    status = observed.deployment.status
    if step.facts is None or step.facts.handled != status.handled or not isinstance(step.action, UpdateDeployment):
        return None
    kept = remember(replace(observed, deployment=replace(observed.deployment, status=step.facts)))
    return kept.action if kept and isinstance(kept.action, Remember) else None


def remembered(run: Run) -> Step | None:
    """What a rollback left, and holds, is kept before it ends; where that cannot be, it holds nothing up."""
    observed = run.observed
    if not run.switched:
        return None
    if observed.remembered is None and not observed.remembered_problem:
        return Step(reason=Reason.WAITING, message="reading what earlier rollbacks rejected", after=1.0)
    return remember(observed)


def waits(observed: Observed) -> bool:
    """Tell whether the API server refused lately to keep anything: nothing else waits for it."""
    return observed.was_refused(REMEMBERED)


def regained(observed: Observed) -> Step | None:
    """What was kept is written to a status that has lost it."""
    if not observed.recalled:
        return None
    status = observed.deployment.status
    told = [f"{status.held.snapshot} is on hold"] if status.held else []
    if status.left:
        told.append(f"{', '.join(sorted({item.snapshot for item in status.left}))} was rejected by a rollback")
    message = f"restored from before this ModelDeployment was recreated: {'; '.join(told) or 'handled annotations'}"
    return recalling(status, message, Tell.WARNING if told else Tell.INFO)


def recalling(facts: DeploymentStatus, message: str, tell: Tell = Tell.WARNING) -> Step:
    """Answer with facts that the status has lost, or never had, and that hold all the same."""
    action = UpdateDeployment(status=facts)
    return Step(reason=Reason.RECALLED, message=message[:1024], action=action, facts=facts, tell=tell)


def outdated(observed: Observed) -> Step | None:
    """The status is that of a backup: what it says serves was left since, and the workload carries another one.

    What it says of the workload is no longer so, and would be written back to it as drift. What the workload carries is
    taken over next, as by a ModelDeployment that was made anew.
    """
    status, workload, kept = observed.deployment.status, observed.workload, observed.remembered or NOTHING
    stamp = workload.template_annotations.get(SNAPSHOT_STAMP) if workload else None
    since = status.history[-1].since if status.history else None
    serving = status.digest, status.snapshot
    at = next((item.at for item in status.left if (item.digest, item.snapshot) == serving), None)
    if not stamp or stamp == status.snapshot or at is None or since is None or at <= since:
        return None
    held = kept.held if kept.held and kept.held.snapshot == observed.deployment.snapshot else None
    facts = DeploymentStatus(
        observed_generation=status.observed_generation,
        placement=status.placement,
        held=held or status.held,
        left=status.left,
        handled=status.handled,
    )
    message = f"status.snapshot ({status.snapshot}) is out of date: a later rollback replaced it with {stamp}"
    return recalling(facts, message)


def unread(observed: Observed) -> Step | None:
    """Nothing new is deployed while it is not known what earlier rollbacks left."""
    if observed.remembered is not None:
        return None
    message = observed.remembered_problem or "what earlier rollbacks rejected has not been read yet"
    return Step(
        reason=Reason.NOT_READ, message=message, tell=Tell.WARNING if observed.remembered_problem else Tell.NOBODY
    )


def taken_back(observed: Observed, facts: DeploymentStatus) -> Step | None:
    """Take from what is kept what a person releases, before it goes from the status; None where it has gone already."""
    if step := unread(observed):
        return step
    kept, digests = observed.remembered or NOTHING, {item.digest for item in facts.left}
    wanted = replace(
        kept,
        held=kept.held if facts.held else None,
        left=tuple(item for item in kept.left if item.digest in digests),
    )
    if wanted == kept:
        return None
    if waits(observed):
        message = "the API server refused the write that lifts the hold; retrying"
        return Step(reason=Reason.NOT_READ, message=message, after=RETRY.total_seconds(), tell=Tell.WARNING)
    return Step(reason=Reason.REMEMBERED, message="a hold is lifted", action=Remember(facts=wanted), tell=Tell.NOBODY)
