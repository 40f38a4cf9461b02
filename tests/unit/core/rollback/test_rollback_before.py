"""A rollback before its switch: each test is one moment of it and the one next thing to do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api import names
from lastgood.api.facts.deployment_status import Active
from lastgood.api.facts.signal import Verdict
from lastgood.api.meta import Meta
from lastgood.api.names import Digest, Outcome, Reason, RecordName, Severity, SnapshotName, Type
from lastgood.api.specs.rollback import ModelRollback
from lastgood.core.actions import CreateRecord, QuarantineDigest, Switch, UpdateDeployment, UpdateRecord, Verify
from lastgood.core.decide import decide
from lastgood.core.requests.record_names import record_names
from lastgood.core.requests.requests import as_stored, made_for, pending, spec_of, waiting_records
from lastgood.core.rollback import course as rollback
from lastgood.core.rollback.course import opening
from lastgood.core.rollback.run import Run
from lastgood.core.state import FRESH, Checked, Observed, Step
from tests.unit.core.builders import (
    ACCURACY,
    NOW,
    V1,
    V2,
    ago,
    annotated,
    checked,
    condition,
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
    workload,
    world,
)
from tests.unit.core.moments import AVAILABLE, EMERGENCY, INTENT, SWITCHED, after, before, ended, status_of

# The lock


def test_waiting_record_takes_the_lock_and_what_it_takes_to_write_it_again() -> None:
    decision = decide(world(records=(record(asked=spec(source="", source_digest="")),)))
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.reason == Reason.ACCEPTED
    assert decision.action.status.active == Active(name=RecordName("by-hand"), since=NOW, spec=spec().as_body())


def test_source_gets_the_digest_with_which_it_served() -> None:
    decision = decide(world(records=(record(asked=spec(source=name(1), source_digest="")),)))
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.action.status.active is not None
    assert decision.action.status.active.spec["from"] == {"snapshot": name(1), "digest": digest(1)}


@pytest.mark.parametrize("claimed", ["x", "sha256:" + "A" * 64, digest(9)])
def test_digest_that_never_served_here_is_nobodys_to_leave(claimed: str) -> None:
    """It would be left and quarantined, on one person's word."""
    decision = decide(world(records=(record(asked=spec(source=name(3), source_digest=claimed)),)))
    assert isinstance(decision.action, UpdateRecord)
    assert (decision.reason, decision.action.status.outcome) == (Reason.REQUEST_REJECTED, Outcome.REJECTED)


def test_record_that_was_removed_is_written_again() -> None:
    observed = replace(before(), records=())
    assert decide(observed).action == CreateRecord(name=RecordName("by-hand"), spec=spec())


def test_forged_record_of_the_name_changes_nothing() -> None:
    """Whoever deletes the record and makes another of its name does not choose the target."""
    given = next(record_names(world()))
    observed = replace(before(record(given)), records=(record(given, spec(to=name(1), emergency=True)),))
    assert status_of(decide(observed)).target == name(2)


def test_record_that_a_person_made_under_the_name_of_the_one_that_runs_is_a_request_of_its_own() -> None:
    """What runs goes on under another name; the new one is not taken for done when it ends."""
    asked = spec(to=name(1), emergency=True)
    observed = replace(before(), records=(record(asked=asked),))
    decision = decide(observed)
    assert isinstance(decision.action, UpdateDeployment)
    active = decision.action.status.active
    assert active is not None
    assert active.name == next(record_names(world()))
    then = declaring(observed, status=decision.action.status)
    assert [item.spec for item in waiting_records(then)] == [asked]


@pytest.mark.parametrize("claimed", [name(33), name(4)])
def test_replaced_snapshot_that_never_served_here_is_refused(claimed: SnapshotName) -> None:
    """A misspelt one left nothing, so that an emergency went to the bad one, and succeeded."""
    asked = spec(source=claimed, source_digest="", emergency=True)
    decision = decide(world(records=(record(asked=asked),)))
    assert isinstance(decision.action, UpdateRecord)
    assert decision.action.status.outcome == Outcome.REJECTED
    assert f"spec.from: {claimed} has not served here; omit spec.from" in decision.action.status.message


@pytest.mark.parametrize("forged", [{"continues": "x"}, {"automatic": True}, {"source": name(2), "source_digest": ""}])
def test_record_under_the_next_name_that_asks_for_something_else_does_not_stand_for_the_annotation(
    forged: dict[str, Any],
) -> None:
    observed = annotated(world(), emergency_rollback="INC-1: backdoor")
    own = as_stored(spec_of(observed, next(pending(observed))))
    given = next(record_names(observed))
    assert made_for(observed, record(given, own))
    assert not made_for(observed, record(given, as_stored(replace(own, **forged))))


def test_forged_lock_is_let_go() -> None:
    observed = replace(
        having(world(), active=Active(name=RecordName("rb"), since=None, spec={})), taken=frozenset({"rb"})
    )
    decision = decide(observed)
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.action.status.active is None


def asked_for() -> Observed:
    meta = replace(world().deployment.meta, annotations={names.ROLLBACK: "it answers nonsense"})
    return declaring(world(), meta=meta)


def test_request_whose_record_lost_its_name_is_asked_again() -> None:
    """The lock and the record are written at the same time; whoever squats the name must not swallow the request."""
    asking = asked_for()
    create, lock = decide(asking).actions
    assert isinstance(create, CreateRecord)
    assert isinstance(lock, UpdateDeployment)
    locked = replace(asking, deployment=replace(asking.deployment, status=lock.status))
    freed = decide(replace(locked, taken=frozenset({create.name}))).action
    assert isinstance(freed, UpdateDeployment)
    again = replace(asking, deployment=replace(asking.deployment, status=freed.status))
    second = decide(replace(again, taken=frozenset({create.name}))).action
    assert isinstance(second, CreateRecord)
    assert second.name != create.name


def test_lock_is_not_written_beside_a_record_while_another_one_comes_first() -> None:
    create = CreateRecord(name=RecordName("rb-later"), spec=spec())
    step = Step(reason=Reason.REQUESTED, message="requested", action=create)
    assert len(opening(asked_for(), step, create)) == 2
    assert opening(replace(asked_for(), records=(record(),)), step, create) == (step,)
    assert opening(before(), step, create) == (step,)


# A run that waits before its lock


def wait(run: Run) -> Step | None:
    """Wait for somebody to say yes: a line before the lock."""
    return None if run.lock else Step(reason=Reason.WAITING, message="for a person")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "NORMAL", (wait, *rollback.NORMAL))


def firing(*severities: Severity, records: tuple[ModelRollback, ...] = ()) -> Observed:
    """Return a world in which triggers have fired, and what they ask for waits."""
    triggers = tuple(replace(ACCURACY, name=str(severity), severity=severity) for severity in severities)
    tallies = {trigger.name: tally(Verdict.BREACHED) for trigger in triggers}
    return declaring(world(tallies=tallies, records=records), triggers=triggers)


def opened(observed: Observed) -> ModelRollback:
    (create,) = decide(observed).actions[:1]
    assert isinstance(create, CreateRecord)
    return record(create.name, create.spec)


@pytest.mark.usefixtures("waits")
def test_record_that_waits_is_asked_for_once() -> None:
    person = opened(asked_for())
    assert not decide_open(replace(asked_for(), records=(person,)))
    trigger = opened(firing(Severity.HIGH))
    assert not decide_open(firing(Severity.HIGH, records=(trigger,)))


@pytest.mark.usefixtures("waits")
def test_record_that_waits_holds_nothing_up() -> None:
    person, trigger = opened(asked_for()), opened(firing(Severity.HIGH))
    row = {"Healthy": condition(Type.HEALTHY, "True", Reason.HEALTHY, since=ago(hours=1))}
    soaks = having(world(records=(person,)), conditions=row)
    assert decide(soaks).reason == Reason.SOAKED
    newer = replace(swapped(soaks, snapshot(4)), checked=checked(snapshot(4)))
    assert decide(declaring(newer, snapshot=name(4))).action == Switch(snapshot=snapshot(4))
    assert decide_open(firing(Severity.HIGH, Severity.CRITICAL, records=(trigger,)))
    urgent = declaring(soaks, meta=replace(soaks.deployment.meta, annotations={names.EMERGENCY: "INC-1: backdoor"}))
    assert decide(urgent).reason == Reason.EMERGENCY


def decide_open(observed: Observed) -> bool:
    """Tell whether another record is opened; a waiting one never gets its lock."""
    actions = decide(observed).actions
    assert not any(isinstance(action, UpdateDeployment) and action.status.active for action in actions)
    return any(isinstance(action, CreateRecord) for action in actions)


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
    assert [item.verdict for item in status.candidates] == ["Chosen", "NotNeeded", "PassedOver", "PassedOver"]
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
