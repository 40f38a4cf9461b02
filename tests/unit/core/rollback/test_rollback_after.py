"""A rollback after its switch: each test is one moment of it and the one next thing to do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import Held
from lastgood.api.facts.remembered import NOTHING
from lastgood.api.facts.signal import Verdict
from lastgood.api.meta import Meta
from lastgood.api.names import Outcome, Reason, RecordName
from lastgood.api.specs.rollback import FiredTrigger
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import Action, QuarantineDigest, Remember, RunChecks, Switch, UpdateDeployment, UpdateRecord
from lastgood.core.decide import decide
from lastgood.core.requests.record_names import record_names
from lastgood.core.rollback.closing import serve
from lastgood.core.state import REMEMBERED, Drift, Observed, Refusal
from lastgood.core.words import INTEGRITY
from tests.unit.core.builders import (
    NOW,
    SMOKE,
    STARTING,
    V1,
    V2,
    ago,
    checked,
    declaring,
    digest,
    having,
    locked,
    name,
    policy,
    record,
    snapshot,
    spec,
    swapped,
    tally,
    unverified,
    workload,
    world,
)
from tests.unit.core.moments import AVAILABLE, EMERGENCY, INTENT, SWITCHED, after, before, ended, status_of

# After the switch


def test_what_serves_held_and_left_is_recorded_in_one_write() -> None:
    decision = decide(locked(world(workload=workload(V2)), record(**SWITCHED)))
    assert isinstance(decision.action, UpdateDeployment)
    status = decision.action.status
    assert (status.snapshot, status.digest) == (name(2), digest(2))
    assert status.held == Held(
        snapshot=name(3),
        digest=digest(3),
        reason="it answers nonsense",
        rollback=RecordName("by-hand"),
        since=ago(seconds=1),
    )
    assert [(item.digest, item.reason) for item in status.left] == [(digest(3), "it answers nonsense")]
    assert [(item.snapshot, item.until) for item in status.history[-2:]] == [(name(3), ago(seconds=1)), (name(2), None)]
    assert status.history[-1].by == "by-hand"


def test_desired_target_is_not_held() -> None:
    observed = declaring(locked(world(workload=workload(V2)), record(**SWITCHED)), snapshot=name(2))
    action = decide(observed).action
    assert isinstance(action, UpdateDeployment)
    assert action.status.held is None


def test_wrong_copy_is_not_left_for_its_digest() -> None:
    fired = FiredTrigger(name=INTEGRITY, severity="critical", condition=Reason.DIGEST_MISMATCH)
    assert after(SWITCHED, spec(trigger=fired)).deployment.status.left == ()
    quarantined = replace(fired, condition=Reason.QUARANTINED)
    assert len(after(SWITCHED, spec(trigger=quarantined)).deployment.status.left) == 1


def test_digest_is_left_once() -> None:
    observed = after(SWITCHED)
    made = observed.records[0]
    assert len(serve(observed, made.spec, made).left) == 1


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        pytest.param({"quarantined": {digest(2): "INC-2"}}, Outcome.FAILED, Reason.TARGET_LOST, id="quarantined"),
        pytest.param(
            {"snapshots": (V1, unverified(2, Reason.DIGEST_MISMATCH, "changed"))},
            Outcome.FAILED,
            Reason.DIGEST_MISMATCH,
            id="tampered with",
        ),
        pytest.param({"snapshots": (V1,)}, Outcome.UNVALIDATED, Reason.TARGET_LOST, id="removed"),
        pytest.param(
            {"snapshots": (V1, snapshot(2, digest=digest("evil")))},
            Outcome.UNVALIDATED,
            Reason.TARGET_LOST,
            id="made anew with other bytes",
        ),
    ],
)
def test_target_lost_while_we_waited(changes: dict[str, Any], outcome: Outcome, reason: Reason) -> None:
    assert ended(decide(replace(after(AVAILABLE), **changes))) == (outcome, reason)


def test_half_a_list_has_lost_nothing() -> None:
    decision = decide(replace(after(AVAILABLE), snapshots=(V1,), complete=False))
    assert (decision.reason, decision.requeue_after) == (Reason.WAITING, 1.0)


def test_unreadable_target_is_not_lost() -> None:
    observed = swapped(after(AVAILABLE), unverified(2, Reason.UNREADABLE, "EIO"))
    assert ended(decide(observed)) == (Outcome.SUCCEEDED, Reason.SUCCEEDED)


def test_pods_are_waited_for_until_the_deadline() -> None:
    starting = after(SWITCHED, workload=workload(V2, rollout=STARTING))
    assert (decide(starting).reason, decide(starting).requeue_after) == (Reason.WAITING, 599.0)
    late = policy(starting, progress_deadline=timedelta(seconds=1))
    assert ended(decide(late)) == (Outcome.FAILED, Reason.NOT_AVAILABLE)
    told = replace(STARTING, deadline_exceeded=True)
    assert ended(decide(replace(starting, workload=workload(V2, rollout=told)))) == (
        Outcome.FAILED,
        Reason.NOT_AVAILABLE,
    )
    stale = replace(told, seen=False)
    assert decide(replace(starting, workload=workload(V2, rollout=stale))).reason == Reason.WAITING


def test_what_serves_since_a_switch_follows_its_record_in_the_same_turn() -> None:
    decision = decide(locked(world(workload=workload(V2)), record(**INTENT)))
    (noted,), (serving, kept) = decision.actions, decision.then
    assert isinstance(noted, UpdateRecord)
    assert noted.status.switched_at == NOW
    assert isinstance(serving, UpdateDeployment)
    assert (serving.status.snapshot, serving.status.history[-1].since) == (name(2), NOW)
    assert isinstance(kept, Remember)


def test_where_only_what_serves_was_written_the_switch_is_recorded_as_well() -> None:
    observed = after(SWITCHED)
    running = replace(observed, records=(record("by-hand", **INTENT),))
    assert ([type(action) for action in decide(running).actions], decide(running).then) == ([UpdateRecord], ())
    assert status_of(decide(running)).switched_at == NOW


def test_availability_is_recorded_with_the_outcome_where_nothing_else_is_waited_for() -> None:
    status = status_of(decide(after(SWITCHED)))
    assert (status.available_at, status.outcome) == (NOW, Outcome.SUCCEEDED)
    status = status_of(decide(after(AVAILABLE)))
    assert status.available_at == AVAILABLE["available_at"]


def test_what_was_left_is_kept_before_the_outcome_where_that_write_was_lost() -> None:
    lost = replace(after(AVAILABLE), remembered=NOTHING)
    (kept,) = decide(lost).actions
    assert isinstance(kept, Remember)
    assert [item.digest for item in kept.facts.left] == [digest(3)]
    then = decide(replace(lost, remembered=kept.facts))
    assert ended(then) == (Outcome.SUCCEEDED, Reason.SUCCEEDED)


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        pytest.param({"remembered_problem": ""}, Reason.WAITING, id="not read yet"),
        pytest.param({"remembered_problem": "forbidden"}, Reason.SUCCEEDED, id="cannot be read"),
        pytest.param({"remembered": NOTHING, "refused": {REMEMBERED: Refusal(at=NOW)}}, Reason.SUCCEEDED, id="refused"),
    ],
)
def test_outcome_waits_for_what_is_kept_and_for_no_obstacle_to_it(unknown: Any, reason: Reason) -> None:
    assert decide(replace(after(AVAILABLE), **({"remembered": None} | unknown))).reason == reason


@pytest.mark.parametrize(
    "waiting",
    [
        pytest.param(declaring(after(SWITCHED), checks=(SMOKE,)), id="for a check"),
        pytest.param(
            replace(after(SWITCHED | {"verification": "Recent"}), verifying=frozenset({name(2)})),
            id="for the verification after an emergency's switch",
        ),
        pytest.param(
            replace(after(SWITCHED, EMERGENCY), refused={digest(3): Refusal(at=NOW)}), id="for the quarantine"
        ),
    ],
)
def test_availability_is_recorded_at_once_where_the_outcome_waits(waiting: Observed) -> None:
    status = status_of(decide(waiting))
    assert (status.available_at, status.outcome) == (NOW, None)


def test_pods_that_went_away_again_are_waited_for() -> None:
    observed = after(AVAILABLE, workload=workload(V2, rollout=STARTING))
    assert decide(observed).reason == Reason.WAITING


def test_drift_after_the_switch_is_written_back() -> None:
    observed = after(AVAILABLE, workload=workload(V1), checked=checked(V2))
    assert decide(observed).action == Switch(snapshot=V2, drift=True)


@pytest.mark.parametrize(
    ("there", "drift"),
    [
        pytest.param(workload(V1), Drift(count=9, last=NOW), id="it is another's again"),
        pytest.param(workload(V2, rollout=STARTING), Drift(count=9, last=NOW), id="its pods start again and again"),
        pytest.param(None, Drift(), id="it is gone"),
        pytest.param(workload(V1, meta=Meta(namespace="ml", name="digits-server")), Drift(), id="its owner opted out"),
    ],
)
def test_whoever_else_writes_the_workload_does_not_make_the_target_bad(there: Any, drift: Drift) -> None:
    observed = policy(after(AVAILABLE, workload=there, drift=drift), progress_deadline=timedelta(seconds=1))
    assert ended(decide(observed)) == (Outcome.UNVALIDATED, Reason.DRIFTED)


def test_nothing_succeeds_that_does_not_serve() -> None:
    opted_out = workload(V1, meta=Meta(namespace="ml", name="digits-server"))
    assert decide(after(AVAILABLE, workload=opted_out)).reason == Reason.WAITING


def test_nonsense_in_a_record_is_not_a_switch() -> None:
    """Somebody who writes `switchedAt` and no target does not make the deployment forget what serves."""
    observed = before(record(switched_at=NOW))
    assert status_of(decide(observed)).target == name(2)


# Validation


def validating(**checks: Any) -> Observed:
    return declaring(replace(after(AVAILABLE), checks=checks), checks=(SMOKE,))


HEALTHY, BREACHED, INCONCLUSIVE = Verdict.HEALTHY, Verdict.BREACHED, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdict", "streak", "outcome", "reason"),
    [
        (HEALTHY, 1, Outcome.SUCCEEDED, Reason.SUCCEEDED),
        (BREACHED, 3, Outcome.FAILED, Reason.VALIDATION_FAILED),
        (INCONCLUSIVE, 5, Outcome.UNVALIDATED, Reason.UNVALIDATED),
    ],
)
def test_checks_decide(verdict: Verdict, streak: int, outcome: Outcome, reason: Reason) -> None:
    decision = decide(validating(smoke=tally(verdict, streak)))
    assert ended(decision) == (outcome, reason)
    assert [(item.name, item.verdict) for item in status_of(decision).checks] == [("smoke", verdict)]


@pytest.mark.parametrize(("verdict", "streak"), [(BREACHED, 2), (INCONCLUSIVE, 4)])
def test_check_that_is_not_settled_is_run_again_after_a_pause(verdict: Verdict, streak: int) -> None:
    now = decide(validating(smoke=tally(verdict, streak)))
    assert (now.reason, now.requeue_after) == (Reason.VALIDATING, 2.0)
    later = decide(validating(smoke=replace(tally(verdict, streak), at=ago(seconds=2))))
    assert later.action == RunChecks(checks=(SMOKE,))


def test_check_is_run_at_all() -> None:
    assert decide(validating()).action == RunChecks(checks=(SMOKE,))


def test_success_without_checks_says_so() -> None:
    assert "no checks are declared" in status_of(decide(after(AVAILABLE))).message


# The end


def closed(outcome: Outcome, reason: Reason, **changes: Any) -> Observed:
    facts = AVAILABLE | {"outcome": outcome, "outcome_reason": str(reason), "outcome_at": NOW, "message": "so it was"}
    return declaring(after(facts), **changes)


def close(observed: Observed) -> Any:
    action: Action | None = decide(observed).action
    assert isinstance(action, UpdateDeployment)
    return action.status


def test_end_frees_the_lock_and_raises_the_placement() -> None:
    status = close(closed(Outcome.SUCCEEDED, Reason.SUCCEEDED))
    assert (status.active, status.placement, status.continues) == (None, 8, None)
    assert [(item.name, item.outcome, item.automatic) for item in status.rollbacks] == [("by-hand", "Succeeded", False)]
    assert not {*record_names(world())} & {*record_names(having(world(), placement=status.placement))}


@pytest.mark.parametrize(
    ("outcome", "reason", "next_on_failure", "goes_on"),
    [
        (Outcome.FAILED, Reason.VALIDATION_FAILED, True, True),
        (Outcome.FAILED, Reason.VALIDATION_FAILED, False, False),
        (Outcome.FAILED, Reason.NOT_AVAILABLE, False, True),
        (Outcome.FAILED, Reason.DIGEST_MISMATCH, False, True),
        (Outcome.FAILED, Reason.TARGET_LOST, False, True),
        (Outcome.UNVALIDATED, Reason.UNVALIDATED, True, False),
        (Outcome.UNVALIDATED, Reason.TARGET_LOST, True, False),
        (Outcome.SUPERSEDED, Reason.SUPERSEDED, True, False),
        (Outcome.SUCCEEDED, Reason.SUCCEEDED, True, False),
    ],
)
def test_failed_target_goes_on_to_the_next(
    outcome: Outcome,
    reason: Reason,
    next_on_failure: bool,  # noqa: FBT001 - a column of the table
    goes_on: bool,  # noqa: FBT001 - the same
) -> None:
    status = close(closed(outcome, reason, next_on_failure=next_on_failure))
    assert (status.continues is not None) is goes_on


def test_failure_before_the_switch_does_not_go_on() -> None:
    observed = before(record(outcome=Outcome.FAILED, outcome_reason=str(Reason.NO_KNOWN_GOOD), outcome_at=NOW))
    status = close(observed)
    assert (status.continues, status.snapshot, status.held) == (None, name(3), None)


def test_switch_that_was_taken_over_at_once_is_recorded_at_the_end() -> None:
    facts = SWITCHED | {"outcome": Outcome.SUPERSEDED, "outcome_reason": str(Reason.SUPERSEDED), "outcome_at": NOW}
    status = close(locked(world(workload=workload(V2)), record(**facts)))
    assert (status.snapshot, status.held.snapshot) == (name(2), name(3))


def target_of(observed: Observed) -> ModelSnapshot:
    action = decide(observed).action
    assert isinstance(action, Switch)
    return action.snapshot


def test_named_target_or_none() -> None:
    asked = spec(to=name(1))
    facts = INTENT | {"target": name(1), "target_digest": digest(1)}
    assert target_of(replace(before(record(asked=asked, **facts)), checked=checked(V1))) == V1
    refused = replace(before(record(asked=asked)), checked=checked(V1, Reason.UNREADABLE))
    assert ended(decide(refused)) == (Outcome.REJECTED, Reason.UNREADABLE)


def test_emergency_quarantines_what_it_left_before_another_one_takes_over() -> None:
    """The other one may be refused, for a target that is not there: then nobody would do it."""
    running = after(SWITCHED, EMERGENCY)
    other = record("second", spec(emergency=True, to=name(33)))
    first = decide(replace(running, records=(*running.records, other)))
    assert isinstance(first.action, QuarantineDigest)
    assert first.action.digest == digest(3)
