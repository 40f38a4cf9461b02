"""A rollback, step by step: each test is one moment of it and the one next thing to do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.deployment_status import Active, Held
from lastgood.api.meta import Meta
from lastgood.api.names import Digest, Outcome, Reason, RecordName
from lastgood.api.rollback import FiredTrigger, ModelRollback, RollbackStatus
from lastgood.api.signal import Verdict
from lastgood.api.snapshot import ModelSnapshot
from lastgood.core.closing import serve
from lastgood.core.decide import decide
from lastgood.core.requests import record_names
from lastgood.core.state import (
    FRESH,
    Action,
    Checked,
    CreateRecord,
    Decision,
    Drift,
    Observed,
    QuarantineDigest,
    RunChecks,
    Switch,
    UpdateDeployment,
    UpdateRecord,
    Verify,
)
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

INTENT: dict[str, Any] = {
    "target": name(2),
    "target_digest": digest(2),
    "verification": "Fresh",
    "verified_at": ago(seconds=2),
    "intent_at": ago(seconds=2),
}
SWITCHED = INTENT | {"switched_at": ago(seconds=1)}
AVAILABLE = SWITCHED | {"available_at": ago(seconds=1)}
EMERGENCY = spec(emergency=True, incident="INC-1", reason="INC-1: backdoor", requested_by="ann")


def before(record_: ModelRollback | None = None, **changes: Any) -> Observed:
    return locked(world(checked=checked(V2), **changes), record_ or record())


def after(facts: dict[str, Any], asked: Any = None, **changes: Any) -> Observed:
    """Return a world after the switch to v2 was recorded."""
    made = record("by-hand", asked, **facts)
    observed = locked(world(**({"workload": workload(V2)} | changes)), made)
    return declaring(observed, status=serve(observed, made.spec, made))


def status_of(decision: Decision) -> RollbackStatus:
    assert isinstance(decision.action, UpdateRecord)
    return decision.action.status


def ended(decision: Decision) -> tuple[Outcome | None, str]:
    status = status_of(decision)
    assert status.conditions["Completed"].status == "True"
    assert status.outcome_at == NOW
    return status.outcome, status.outcome_reason


# The lock


def test_waiting_record_takes_the_lock_and_what_it_takes_to_write_it_again() -> None:
    decision = decide(world(records=(record(asked=spec(source="", source_digest="")),)))
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.reason == Reason.ACCEPTED
    assert decision.action.status.active == Active(name=RecordName("by-hand"), since=NOW, spec=spec().as_body())


def test_source_that_does_not_serve_has_no_digest_of_ours() -> None:
    decision = decide(world(records=(record(asked=spec(source=name(1), source_digest="")),)))
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.action.status.active is not None
    assert "digest" not in decision.action.status.active.spec["from"]


def test_record_that_was_removed_is_written_again() -> None:
    observed = replace(before(), records=())
    assert decide(observed).action == CreateRecord(name=RecordName("by-hand"), spec=spec())


def test_forged_record_of_the_name_changes_nothing() -> None:
    """Whoever deletes the record and makes another of its name does not choose the target."""
    observed = replace(before(), records=(record(asked=spec(to=name(1), emergency=True)),))
    assert status_of(decide(observed)).target == name(2)


def test_forged_lock_is_let_go() -> None:
    observed = replace(
        having(world(), active=Active(name=RecordName("rb"), since=None, spec={})), taken=frozenset({"rb"})
    )
    decision = decide(observed)
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.action.status.active is None


# Before the switch


def test_incomplete_list_is_never_used_to_choose() -> None:
    decision = decide(before(complete=False, snapshots=(V1,)))
    assert (decision.reason, decision.requeue_after) == (Reason.WAITING, 1.0)
    assert not isinstance(decision.action, Switch | Verify | UpdateRecord)


def test_choice_is_verified_now() -> None:
    assert decide(replace(before(), checked={})).action == Verify(snapshot=V2)
    assert decide(replace(before(), checked=checked(V2, at=NOW - 1.1 * FRESH))).action == Verify(snapshot=V2)
    waiting = decide(replace(before(), checked={}, verifying=frozenset({name(2)})))
    assert not isinstance(waiting.action, Verify)


def test_verification_of_a_snapshot_created_anew_is_not_this_ones() -> None:
    """Deleting a snapshot and creating it again over other bytes does not inherit the verification."""
    old = {name(2): Checked(uid="old", digest=digest(2), reason=Reason.VERIFIED, at=NOW)}
    assert decide(replace(before(), checked=old)).action == Verify(snapshot=V2)


def test_intent_precedes_the_switch() -> None:
    status = status_of(decide(before()))
    assert (status.target, status.target_digest, status.intent_at) == (name(2), digest(2), NOW)
    assert (status.verification, status.verified_at, status.switched_at) == ("Fresh", NOW, None)
    assert [item.verdict for item in status.candidates] == ["Chosen", "NotNeeded", "PassedOver", "NotNeeded"]
    assert decide(before(record(**INTENT))).action == Switch(snapshot=V2)


def test_intent_is_made_anew_when_the_choice_changes() -> None:
    observed = replace(before(record(**INTENT)), checked=checked(V1), quarantined={digest(2): "INC-2"})
    assert status_of(decide(observed)).target == name(1)


def test_refused_copy_is_passed_over_and_the_next_one_verified() -> None:
    assert decide(replace(before(), checked=checked(V2, Reason.DIGEST_MISMATCH))).action == Verify(snapshot=V1)


def test_refusal_counts_as_long_as_the_rollback_runs() -> None:
    """Two large copies that cannot be read are not tried in turn for ever."""
    refused = checked(V2, Reason.UNREADABLE, ago(minutes=5)) | checked(V1, at=NOW)
    observed = replace(before(), checked=refused)
    active = observed.deployment.status.active
    assert active is not None
    assert status_of(decide(having(observed, active=replace(active, since=ago(minutes=6))))).target == name(1)
    assert decide(having(observed, active=replace(active, since=ago(minutes=4)))).action == Verify(snapshot=V2)


def test_nothing_to_go_back_to_keeps_what_serves() -> None:
    decision = decide(before(quarantined={digest(number): "INC-1" for number in range(3)}))
    assert ended(decision) == (Outcome.FAILED, Reason.NO_KNOWN_GOOD)
    assert len(status_of(decision).candidates) == 4


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (None, Reason.TARGET_NOT_FOUND),
        (workload(meta=Meta(namespace="ml", name="digits-server")), Reason.NOT_OPTED_IN),
        (workload(containers={}), Reason.CONTAINER_NOT_FOUND),
    ],
)
def test_workload_that_may_not_be_written_is_told_at_once(there: Any, reason: Reason) -> None:
    assert ended(decide(replace(before(), workload=there, complete=False))) == (Outcome.FAILED, reason)


def test_crash_after_the_apply_does_not_switch_again() -> None:
    observed = replace(before(record(**INTENT)), workload=workload(V2), checked={})
    assert status_of(decide(observed)).switched_at == NOW


def test_switch_is_not_forgotten_when_the_owner_opts_out_meanwhile() -> None:
    there = workload(V2, meta=Meta(namespace="ml", name="digits-server"))
    observed = replace(before(record(**INTENT)), workload=there)
    assert status_of(decide(observed)).switched_at == NOW
    half = replace(observed, complete=False, snapshots=(V1,))
    assert not isinstance(decide(half).action, UpdateRecord)


def test_workload_that_carries_the_target_without_an_intent_is_no_switch() -> None:
    assert status_of(decide(replace(before(), workload=workload(V2)))).switched_at is None


# Emergencies


def test_emergency_takes_a_recent_verification() -> None:
    observed = replace(before(record(asked=EMERGENCY)), checked={})
    status = status_of(decide(observed))
    assert (status.verification, status.verified_at) == ("Recent", ago(hours=1))


def test_emergency_verifies_what_was_not_verified_recently() -> None:
    observed = policy(replace(before(record(asked=EMERGENCY)), checked={}), max_verification_age=timedelta(hours=1))
    assert decide(observed).action == Verify(snapshot=V2)


@pytest.mark.parametrize("why", [Reason.DIGEST_MISMATCH, Reason.UNREADABLE])
def test_emergency_does_not_take_what_was_just_refused(why: Reason) -> None:
    observed = replace(before(record(asked=EMERGENCY)), checked=checked(V2, why))
    assert status_of(decide(observed)).target == name(1)


def test_emergency_quarantines_what_was_serving_once() -> None:
    observed = after(SWITCHED, EMERGENCY)
    assert decide(observed).action == QuarantineDigest(
        digest=digest(3), reason="INC-1: backdoor", incident="INC-1", by="ann"
    )
    listed = replace(observed, quarantined={digest(3): "INC-1"})
    assert status_of(decide(listed)).quarantined == (digest(3),)
    assert decide(after(SWITCHED | {"quarantined": (digest(3),)}, EMERGENCY)).action != decide(observed).action


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(spec(), id="no emergency"),
        pytest.param(replace(EMERGENCY, continues=RecordName("rb-1")), id="a target that failed is only left"),
        pytest.param(replace(EMERGENCY, source_digest=digest(2)), id="the target has the same bytes"),
        pytest.param(replace(EMERGENCY, source_digest=Digest("")), id="nobody knows what was serving"),
    ],
)
def test_not_quarantined(asked: Any) -> None:
    assert not isinstance(decide(after(SWITCHED, asked)).action, QuarantineDigest)


RECENT = SWITCHED | {"verification": "Recent", "quarantined": (digest(3),)}


def test_hash_that_an_emergency_left_out_is_made_up_for() -> None:
    observed = after(RECENT, EMERGENCY)
    assert decide(observed).action == Verify(snapshot=V2)
    old = replace(observed, checked=checked(V2, at=ago(seconds=2)))
    assert decide(old).action == Verify(snapshot=V2)
    good = replace(observed, checked=checked(V2))
    assert status_of(decide(good)).verification == "Fresh"
    unread = replace(observed, checked=checked(V2, Reason.UNREADABLE))
    assert status_of(decide(unread)).verification == "Unreadable"
    bad = replace(observed, checked=checked(V2, Reason.DIGEST_MISMATCH))
    assert ended(decide(bad)) == (Outcome.FAILED, Reason.DIGEST_MISMATCH)


def test_emergency_is_not_done_before_its_late_hash() -> None:
    observed = replace(after(RECENT | {"available_at": NOW}, EMERGENCY), verifying=frozenset({name(2)}))
    assert decide(observed).reason == Reason.WAITING


def test_emergency_of_unreadable_bytes_is_not_a_success() -> None:
    facts = AVAILABLE | {"verification": "Unreadable", "quarantined": (digest(3),)}
    assert ended(decide(after(facts, EMERGENCY))) == (Outcome.UNVALIDATED, Reason.UNVALIDATED)


def test_emergency_takes_over_what_runs() -> None:
    urgent = record("urgent", EMERGENCY)
    assert ended(decide(locked(world(), record(), [urgent]))) == (Outcome.SUPERSEDED, Reason.SUPERSEDED)
    running = after(SWITCHED)
    assert ended(decide(replace(running, records=(*running.records, urgent)))) == (
        Outcome.SUPERSEDED,
        Reason.SUPERSEDED,
    )


def test_emergency_about_to_switch_is_not_taken_over() -> None:
    observed = locked(world(checked=checked(V2)), record(asked=EMERGENCY), [record("urgent", EMERGENCY)])
    assert status_of(decide(observed)).outcome is None


def test_switch_is_recorded_before_an_emergency_takes_over() -> None:
    urgent = record("urgent", EMERGENCY)
    unrecorded = locked(world(workload=workload(V2)), record(**INTENT), [urgent])
    assert status_of(decide(unrecorded)).switched_at == NOW
    unsaid = locked(world(workload=workload(V2)), record(**SWITCHED), [urgent])
    assert isinstance(decide(unsaid).action, UpdateDeployment)


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
    assert status_of(decide(after(SWITCHED))).available_at == NOW


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
    assert ended(decide(refused)) == (Outcome.FAILED, Reason.NO_KNOWN_GOOD)
