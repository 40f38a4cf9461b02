"""Whether a model that goes bad would be noticed, and left: protection that is off is told, and never silent."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lastgood.api.facts.signal import Verdict
from lastgood.api.names import Reason
from lastgood.api.specs.deployment import Trigger
from lastgood.core.serving.triggers import SILENT_LOOKS, known_report, undecided, verdict
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.workload import workload_problem

_LATE = timedelta(minutes=1)
"""A look that is only late, on a busy machine, is not missed before this."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Why a model is not protected (or, where `protected` is None, why that is not known yet).

    `names` are the triggers that it is about, where people hear of each.
    """

    reason: Reason
    message: str
    protected: bool | None = False
    tell: Tell = Tell.WARNING
    about: str = ""
    names: tuple[str, ...] = ()


def gap(observed: Observed) -> Gap | None:
    """Return the first thing that keeps a model from being protected; None where nothing does."""
    return next((found for rule in GAPS if (found := rule(observed))), None)


def unprotected(observed: Observed) -> list[Step]:
    """Tell of protection that is off, where no other rule does."""
    found = gap(observed)
    if found is None or found.tell == Tell.NOBODY:
        return []
    told = [(name, _unheard(name)) for name in found.names] or [(found.about, found.message)]
    return [
        Step(reason=found.reason, message=f"not protected: {message}", tell=found.tell, about=about)
        for about, message in told
    ]


def _nothing_serves(observed: Observed) -> Gap | None:
    if observed.deployment.status.snapshot:
        return None
    return Gap(reason=Reason.WAITING, message="nothing was deployed yet", protected=None, tell=Tell.NOBODY)


def _blocked(observed: Observed) -> Gap | None:
    """The workload cannot be switched: forward.blocked tells of it."""
    problem = workload_problem(observed.deployment, observed.workload)
    return Gap(reason=problem[0], message=problem[1], tell=Tell.NOBODY) if problem else None


def _suspended(observed: Observed) -> Gap | None:
    if not observed.deployment.suspend:
        return None
    message = "spec.suspend is true: triggers are evaluated, but start no rollback"
    return Gap(reason=Reason.SUSPENDED, message=message, about="protection")


def _no_triggers(observed: Observed) -> Gap | None:
    """What serves is still watched for other bytes than declared; nobody looks at how it does its work."""
    if observed.deployment.triggers:
        return None
    message = "spec.triggers is empty: the bytes of the current snapshot are verified, but its quality is not monitored"
    return Gap(reason=Reason.NO_TRIGGERS, message=message)


def _alerts_only(observed: Observed) -> Gap | None:
    """Somebody chose that; it is told once all the same, for it is easily forgotten."""
    allowed = observed.deployment.rollback.automatic
    if any(trigger.severity in allowed for trigger in observed.deployment.triggers):
        return None
    message = "no trigger starts a rollback: spec.rollback.automatic includes none of their severities"
    return Gap(reason=Reason.ALERTS_ONLY, message=message)


def _unusable(observed: Observed) -> Gap | None:
    """A trigger cannot be used as it is declared: triggers.unusable tells of it."""
    names = [item.name for item in observed.deployment.triggers if f"trigger/{item.name}" in observed.unusable]
    if not names:
        return None
    message = f"invalid triggers: {', '.join(names)}; see status.triggers"
    return Gap(reason=Reason.INVALID_SPEC, message=message, tell=Tell.NOBODY)


def _silent(observed: Observed) -> Gap | None:
    names = tuple(item.name for item in observed.deployment.triggers if silent(observed, item))
    return Gap(reason=Reason.NO_DATA, message=_unheard(*names), tell=Tell.ALERT, names=names) if names else None


def _unheard(*names: str) -> str:
    return f"no data for {SILENT_LOOKS} intervals from trigger: {', '.join(names)}; see lastError in status.triggers"


def _half_a_list(observed: Observed) -> Gap | None:
    """Nothing is chosen from half a list: while a right is missing, what fires rolls nothing back."""
    if observed.complete:
        return None
    message = "caches not synced: no trigger starts a rollback until they are"
    return Gap(reason=Reason.WAITING, message=message, protected=None, tell=Tell.NOBODY)


def _not_heard(observed: Observed) -> Gap | None:
    """Nothing is said, and not for long: that is no protection that one may count on, and no failure of it yet."""
    names = [item.name for item in observed.deployment.triggers if _inconclusive(observed, item)]
    if not names:
        return None
    message = (
        f"no data from trigger: {', '.join(names)}; Protected becomes False after {SILENT_LOOKS} intervals without data"
    )
    return Gap(reason=Reason.WAITING, message=message, protected=None, tell=Tell.NOBODY)


GAPS: tuple[Callable[[Observed], Gap | None], ...] = (
    _nothing_serves,
    _blocked,  # nothing could be switched
    _suspended,  # a person chose it
    _no_triggers,
    _alerts_only,
    _unusable,  # a person has to change something
    _silent,
    _half_a_list,  # seldom for long, and the pod says why: what a person has to mend is not hidden by it
    _not_heard,
)
"""The first that applies is the reason: what switches off the most comes first."""


def silent(observed: Observed, trigger: Trigger) -> bool:
    """Tell whether a trigger has had no verdict for ten of its intervals, since what serves could be asked."""
    begin = _begin(observed)
    since, patience = _quiet_since(observed, trigger)
    return begin is not None and (observed.now - max(begin, since) >= patience or undecided(observed, trigger))


def _begin(observed: Observed) -> datetime | None:
    """Return since when a trigger should have a verdict: pods that start are given the progress deadline."""
    status = observed.deployment.status
    if status.available_at:
        return status.available_at
    since = status.history[-1].since if status.history else None
    return since + observed.deployment.rollback.progress_deadline if since else None


def _quiet_since(observed: Observed, trigger: Trigger) -> tuple[datetime, timedelta]:
    """Return since when a trigger has said nothing, and how long it may."""
    patience = SILENT_LOOKS * trigger.interval
    tally, known = observed.tallies.get(trigger.name), known_report(observed, trigger)
    before = known.since if known and known.verdict == Verdict.INCONCLUSIVE and known.since else observed.now
    if tally is not None and tally.verdict == Verdict.INCONCLUSIVE:
        return min(tally.since or observed.now, before), patience
    if tally is not None:
        return tally.at, max(patience, _LATE)
    if known is None or known.verdict == Verdict.INCONCLUSIVE:
        return before, patience  # one that was added just now has not been asked yet
    return observed.watched or observed.now, max(patience, _LATE)


def _inconclusive(observed: Observed, trigger: Trigger) -> bool:
    return verdict(observed, trigger) == Verdict.INCONCLUSIVE
