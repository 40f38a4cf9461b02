"""What must hold whatever happens: checked at every write, and at the end (design, section 8)."""

from collections import Counter
from typing import TYPE_CHECKING

from lastgood.api.facts.deployment_status import Active
from lastgood.api.facts.signal import Verdict
from lastgood.api.names import RESUME, Outcome, Reason, Type
from lastgood.api.specs.rollback import ModelRollback, RollbackStatus
from lastgood.core.actions import Switch, SwitchFirst
from lastgood.core.candidates.eligible import quarantine_reason
from lastgood.core.candidates.verified import verified_at
from lastgood.core.decide import decide
from lastgood.core.requests.requests import pending
from lastgood.core.state import FRESH, Observed
from lastgood.core.workload import carries, unprepared, workload_problem

if TYPE_CHECKING:
    from tests.unit.core.simulated.simulation import Simulation


def switch(simulation: "Simulation", action: Switch, observed: Observed) -> None:
    """Check a write to the workload, as it was decided."""
    snapshot, status = action.snapshot, observed.deployment.status
    assert observed.complete, "written while the lists were not complete"
    assert not quarantine_reason(observed, snapshot), "a quarantined digest was written"
    assert workload_problem(observed.deployment, observed.workload) is None, "written to what had not opted in"
    assert _proven(simulation, action, observed), "written without a verification at that moment"
    if action.drift:
        return
    first = action.record if isinstance(action, SwitchFirst) else None
    if status.active is None and first is None:
        assert snapshot.name == observed.deployment.snapshot, "deployed what nobody asked for"
        assert status.held is None or status.held.snapshot != snapshot.name, "deployed what is held"
        assert snapshot.digest not in {item.digest for item in status.left}, "deployed what a rollback left"
        return
    assert first is None or status.active is None, "another rollback holds the lock"
    record = observed.record(first.name) if first else observed.active
    assert record is not None, "written without a record"
    assert record.status.outcome is None, "written after the outcome"
    assert _intended(record, status.active) == (snapshot.name, snapshot.digest), "written without an intent"
    earlier = [item for item in simulation.switches if item.record == record.name and not item.drift]
    if simulation.trusted:
        assert all(item.edits < simulation.edits for item in earlier), "two template changes for one record"


def template_last(action: Switch, observed: Observed) -> None:
    """Check that the pods that a switch starts find beside the workload what they are to read."""
    assert observed.workload is not None
    wrong = unprepared(observed.workload, observed.deployment.bindings, action.snapshot)
    assert wrong is None, f"the pod template was written before {wrong}"


def _intended(record: ModelRollback, active: Active | None) -> tuple[str, str] | None:
    """Return what was written down before the switch: on the record, in its lock, or with it before there is a lock."""
    if record.status.intent_at is not None:
        return record.status.target, record.status.target_digest
    intent = active.intent if active else record.intent
    return (intent.target, intent.digest) if intent else None


def _proven(simulation: "Simulation", action: Switch, observed: Observed) -> bool:
    at, reason = simulation.reads.get(action.snapshot.name, (None, None))
    if at is not None and reason == Reason.VERIFIED and simulation.now - at <= FRESH:
        return True
    active = observed.deployment.status.active
    emergency = action.record.spec.emergency if isinstance(action, SwitchFirst) else active and active.spec["emergency"]
    if not emergency or action.drift or reason == Reason.DIGEST_MISMATCH:
        return False
    if reason == Reason.UNREADABLE and active and at is not None and active.since is not None and at >= active.since:
        return False
    last = verified_at(action.snapshot)
    age = simulation.now - last if last else None
    return age is not None and age < observed.deployment.rollback.max_verification_age


def record_written(
    simulation: "Simulation", there: ModelRollback, status: RollbackStatus, observed: Observed | None
) -> None:
    """Check what is written on a record."""
    assert there.status.outcome is None or not simulation.trusted, "an outcome is final"
    if status.outcome != Outcome.SUCCEEDED or observed is None or observed.workload is None:
        assert status.outcome != Outcome.SUCCEEDED, "succeeded, and there is no workload"
        return
    target = observed.snapshot(status.target)
    assert target is not None, "succeeded with a target that is gone"
    assert carries(observed.workload, observed.deployment.bindings, target), "succeeded, and something else serves"
    assert observed.workload.rollout.complete, "succeeded before the pods were there"
    assert status.verification in ("Fresh", ""), "succeeded without a fresh verification"
    for check in observed.deployment.checks:
        assert observed.checks[check.name].verdict == Verdict.HEALTHY, "succeeded though a check did not"


def at_rest(simulation: "Simulation") -> None:
    """Check the end: nothing is open, nothing is left to do, and saying so once more changes nothing."""
    observed = simulation.observed()
    assert decide(observed).action is None, "a quiet cluster sees no writes"
    assert decide(observed) == decide(observed)
    status = simulation.deployment.status
    assert status.active is None, "the lock is let go"
    for record in simulation.records.values():
        assert record.status.outcome is not None, f"{record.name} has no outcome"
        assert record.status.outcome_reason or not simulation.trusted
        switched = bool(record.status.switched_at) or not simulation.trusted
        assert switched or all(item.by != record.name for item in status.history), "serves by what has not switched"
    asked = [request for request in pending(observed) if request.annotation != RESUME]
    assert not asked, f"nobody acted on {asked}"
    for (name, wish), count in simulation.made.items():
        assert count == 1 or not simulation.trusted, f"{name} was made {count} times: {wish}"
    if simulation.trusted:
        _once(simulation)
        _not_quarantined(simulation, observed)


def _once(simulation: "Simulation") -> None:
    """Check that every text that a person wrote became one record."""
    made = Counter(wish for _, wish in simulation.made if wish[0].startswith("ask "))
    assert all(count == 1 for count in made.values()), f"acted on twice: {made}"


def _not_quarantined(simulation: "Simulation", observed: Observed) -> None:
    """Check that a quarantined digest does not go on serving where something could be done about it."""
    status = simulation.deployment.status
    if status.digest not in {*simulation.quarantine, *simulation.revoked} or observed.deployment.suspend:
        return
    if workload_problem(observed.deployment, observed.workload) or not status.last_known_good:
        return
    stalled = status.conditions.get(Type.STALLED)
    assert stalled is not None, "conditions are there"
    assert stalled.status == "True", "a quarantined digest serves, and nobody does anything"
