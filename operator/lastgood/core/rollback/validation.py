"""Validation: what a rollback's target must show before the rollback is called done."""

from collections.abc import Callable
from datetime import timedelta

from lastgood.api.facts.signal import Verdict
from lastgood.api.names import Outcome, Reason
from lastgood.api.specs.deployment import Check
from lastgood.api.specs.rollback import CheckReport
from lastgood.core.actions import RunChecks
from lastgood.core.rollback.run import Run
from lastgood.core.rollback.switched import late_proof, not_available, not_quarantined, proof
from lastgood.core.state import Step, Tally, Tell

_CHECK_PAUSE = timedelta(seconds=2)
FAILURES, NO_ANSWERS, MOST_LOOKS = 3, 5, 20
"""A check fails by that many failures in a row, and is inconclusive after that many silences in a row, or that many
looks in all: answers that contradict each other must not keep the lock for ever."""


def validate(run: Run) -> Step | None:
    """Run each check until it passed, failed for good, or gave no answer for long."""
    checks = run.observed.deployment.checks
    open_checks = tuple(check for check in checks if not _settled(run.observed.checks.get(check.name)))
    if not open_checks:
        return None
    times = [tally.at for check in open_checks if (tally := run.observed.checks.get(check.name))]
    rest = (max(times) + _CHECK_PAUSE - run.observed.now).total_seconds() if times else 0.0
    message = f"validating {run.status.target}: {', '.join(check.name for check in open_checks)}"
    if rest > 0:
        return Step(reason=Reason.VALIDATING, message=message, after=rest)
    return Step(reason=Reason.VALIDATING, message=message, action=RunChecks(checks=open_checks))


def _settled(tally: Tally | None) -> bool:
    return tally is not None and (_clear(tally) or tally.looks >= MOST_LOOKS)


def _clear(tally: Tally) -> bool:
    needed = {Verdict.HEALTHY: 1, Verdict.BREACHED: FAILURES, Verdict.INCONCLUSIVE: NO_ANSWERS}
    return tally.streak >= needed[tally.verdict]


def _report(check: Check, tally: Tally | None) -> CheckReport:
    if tally is not None and _clear(tally):
        return CheckReport(name=check.name, verdict=tally.verdict, value=tally.value, error=tally.error)
    value = tally.value if tally else ""
    return CheckReport(
        name=check.name, verdict=Verdict.INCONCLUSIVE, value=value, error="its results are contradictory"
    )


WAITED_FOR: tuple[Callable[[Run], Step | None], ...] = (late_proof, not_quarantined, validate)
"""What an outcome waits for once every pod serves the target."""


def verified_since(run: Run) -> Step | None:
    """That the target was verified since is said at once where the outcome waits for more, as `available` does."""
    found = proof(run)
    if not found or not any(rule(run) for rule in (not_available, *WAITED_FOR)):
        return None
    reason = Reason.VERIFIED if found["verification"] == "Fresh" else Reason.UNREADABLE
    message = f"{run.status.target} after the switch: {reason}"
    return run.note(reason, message, tell=Tell.INFO, **found)


def available(run: Run) -> Step | None:
    """That every pod serves the target is said at once where the outcome waits for more, and else with the outcome."""
    if run.status.available_at or not any(rule(run) for rule in WAITED_FOR):
        return None
    message = f"every pod serves {run.status.target}"
    return run.note(Reason.AVAILABLE, message, available_at=run.observed.now)


def conclude(run: Run) -> Step:
    """Say how it ended. Nothing inconclusive counts as passed, nor as failed."""
    reports = tuple(_report(check, run.observed.checks.get(check.name)) for check in run.observed.deployment.checks)
    failed = [item for item in reports if item.verdict == Verdict.BREACHED]
    silent = [item for item in reports if item.verdict == Verdict.INCONCLUSIVE]
    target, available_at = run.status.target, run.status.available_at or run.observed.now
    run = run.having(checks=reports, available_at=available_at, **proof(run))
    if failed:
        message = f"{target} failed " + ", ".join(f"{item.name} ({item.value})" for item in failed)
        return run.end(Outcome.FAILED, Reason.VALIDATION_FAILED, message)
    if silent or run.status.verification == "Unreadable":
        told = ", ".join(f"{item.name} ({item.error})" for item in silent) or "its bytes could not be read"
        message = f"{target} serves, but could not be validated: {told}"
        return run.end(Outcome.UNVALIDATED, Reason.UNVALIDATED, message)
    passed = ", ".join(item.name for item in reports)
    message = f"{target} serves and is available; " + (f"passed: {passed}" if passed else "no checks are declared")
    return run.end(Outcome.SUCCEEDED, Reason.SUCCEEDED, message, tell=Tell.INFO)
