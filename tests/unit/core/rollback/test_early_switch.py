"""An emergency's switch goes before its lock: when it does, with what, and what a crash between them leaves."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import Intent, Left
from lastgood.api.names import INTENT, Digest, Outcome, Reason
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import SnapshotStatus
from lastgood.core.actions import CreateRecord, SwitchFirst, UpdateDeployment, UpdateRecord
from lastgood.core.decide import decide
from lastgood.core.rollback.course import lock, without_lock
from lastgood.core.state import Observed, Refusal
from lastgood.core.trust.policy import Trust
from tests.unit.core.builders import (
    NOW,
    SNAPSHOTS,
    V1,
    V2,
    V3,
    annotated,
    checked,
    declaring,
    digest,
    having,
    locked,
    name,
    policy,
    record,
    swapped,
    unverified,
    workload,
    world,
)
from tests.unit.core.moments import EMERGENCY, SWITCHED, after, ended, status_of

TEXT = "INC-1: backdoor"
ASKING = annotated(world(), emergency_rollback=TEXT)


def asked(observed: Observed) -> ModelRollback:
    """Return the record that an annotation leads to, with the intent that it is made with."""
    create = decide(observed).action
    assert isinstance(create, CreateRecord)
    return replace(record(create.name, create.spec), intent=create.intent)


URGENT = asked(ASKING)


def waiting(**changes: object) -> Observed:
    """Return a world in which an emergency's record is there and nothing else has been done for it."""
    return replace(ASKING, **{"records": (URGENT,), **changes})  # type: ignore[arg-type]  # names of Observed


def having_switched(**changes: object) -> Observed:
    """Return a world in which this process has switched for it."""
    return waiting(**({"switched_first": {URGENT.name: URGENT.intent}, "workload": workload(V2)} | changes))


def lock_of(observed: Observed) -> UpdateDeployment:
    (action,) = decide(observed).actions
    assert isinstance(action, UpdateDeployment)
    return action


def test_emergency_switches_before_its_lock_is_written() -> None:
    assert decide(waiting()).actions == (SwitchFirst(snapshot=V2, record=URGENT),)
    taken = lock_of(having_switched()).status
    assert taken.active is not None
    assert taken.active.name == URGENT.name
    assert taken.active.intent == Intent(
        target=name(2), digest=digest(2), at=NOW, verification="Recent", verified_at=NOW - timedelta(hours=1)
    )
    assert taken.snapshot == name(3)  # what serves is noted once it was seen


def test_lock_is_the_one_that_would_have_come_first() -> None:
    first, then = lock_of(having_switched(workload=workload())).status, lock_of(having_switched()).status
    assert (first.active, first.handled, first.continues) == (then.active, then.handled, then.continues)


def test_nothing_is_written_beside_the_record_of_an_emergency() -> None:
    assert len(decide(ASKING).actions) == 1


def test_record_is_made_with_the_intent() -> None:
    assert URGENT.intent == Intent(
        target=name(2), digest=digest(2), at=NOW, verification="Recent", verified_at=NOW - timedelta(hours=1)
    )


def test_annotation_is_marked_in_the_lock_that_follows() -> None:
    assert list(lock_of(having_switched()).status.handled.values()) == [URGENT.name]


def test_continuation_of_an_emergency_switches_early_as_well() -> None:
    before = {"record": "rb-1", "reason": "x", "message": "x", "spec": EMERGENCY.as_body()}
    observed = having(world(), continues=before)
    assert isinstance(decide(replace(observed, records=(asked(observed),))).action, SwitchFirst)


def test_record_is_there_before_anything_is_switched() -> None:
    assert isinstance(decide(ASKING).action, CreateRecord)


def test_once_for_each_record() -> None:
    """While its lock cannot be written, somebody else's writes are not answered for ever."""
    assert isinstance(decide(having_switched(workload=workload())).action, UpdateDeployment)


NORMAL = annotated(world(checked=checked(V2)), rollback="it answers nonsense")


@pytest.mark.parametrize(
    "observed",
    [
        replace(NORMAL, records=(replace(asked(NORMAL), intent=URGENT.intent),)),
        world(records=(replace(URGENT, meta=record("by-hand").meta),)),
        waiting(records=(replace(URGENT, spec=replace(URGENT.spec, deployment_uid="another")),)),
        waiting(records=(replace(URGENT, spec=replace(URGENT.spec, source_digest=digest(9))),)),
        waiting(records=(replace(URGENT, intent=None),)),
        waiting(quarantined={digest(2): "INC-2"}),
        waiting(complete=False),
        waiting(workload=None),
        waiting(workload=replace(workload(), meta=replace(workload().meta, labels={}))),
        waiting(quarantined={digest(number): "INC-2" for number in range(3)}),
        waiting(snapshots=(V3, unverified(2), unverified(1))),
        policy(waiting(), max_verification_age=timedelta(minutes=1)),
        locked(waiting(), record("another"), (URGENT,)),
        waiting(workload=workload(V2)),
    ],
    ids=[
        "no emergency",
        "a person's record",
        "of another ModelDeployment",
        "names a digest that never served",
        "without an intent",
        "the choice has changed",
        "half a list",
        "no workload",
        "not opted in",
        "all quarantined",
        "none verified",
        "verified too long ago",
        "another holds the lock",
        "switched already",
    ],
)
def test_everything_else_waits_for_its_lock(observed: Observed) -> None:
    assert not isinstance(decide(observed).action, SwitchFirst)


@pytest.mark.parametrize(
    "changes",
    [
        {"quarantined": {digest(2): "INC-2"}},
        {"refused": {name(2): Refusal(at=NOW, count=3)}},
        {"snapshots": (*SNAPSHOTS[:2], unverified(2, Reason.DIGEST_MISMATCH), V3)},
    ],
    ids=["quarantined", "refused", "found changed"],
)
def test_candidate_that_may_not_serve_is_no_intent(changes: dict[str, Any]) -> None:
    intent = asked(replace(ASKING, **changes)).intent
    assert intent is not None
    assert intent.target == name(1)


# Killed between the switch and the lock


def taken(observed: Observed) -> Intent | None:
    """Return the intent in the lock that is taken."""
    active = lock_of(observed).status.active
    assert active is not None
    return active.intent


CHANGES: dict[str, dict[str, Any]] = {
    "nothing has changed": {},
    "it was quarantined, and all others": {"quarantined": {digest(number): "INC-2" for number in range(3)}},
    "it was found changed": {"snapshots": (*SNAPSHOTS[:2], unverified(2, Reason.DIGEST_MISMATCH), V3)},
    "its verification is old": {"now": NOW + timedelta(days=3)},
    "the workload has not opted in any more": {
        "workload": replace(workload(V2), meta=replace(workload().meta, labels={}))
    },
    "the lists are not complete": {"complete": False},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_the_switch_is_known_whatever_became_of_its_target(changes: dict[str, Any]) -> None:
    """Else the record would end with nothing switched, and what it left would be written back as drift."""
    again = waiting(**({"workload": workload(V2)} | changes))
    found, made = taken(again), URGENT.intent
    assert found is not None
    assert made is not None
    assert (found.target, found.digest, found.at) == (made.target, made.digest, made.at)
    noted = decide(declaring(again, status=lock_of(again).status)).action
    assert isinstance(noted, UpdateRecord)
    assert (noted.status.target, noted.status.switched_at, noted.status.outcome) == (name(2), again.now, None)


def test_target_of_another_request_is_not_believed() -> None:
    """Whoever may annotate somebody else's record does not steer it past what was asked for."""
    for text in ("to=digits-v1: INC-1", "before=2020-01-01T00:00:00Z: INC-1"):
        made = asked(annotated(world(), emergency_rollback=text))
        forged = replace(made, intent=URGENT.intent)
        observed = annotated(world(workload=workload(V2), records=(forged,)), emergency_rollback=text)
        intent = taken(observed)
        assert intent is None or intent.target != name(2)


def test_what_is_to_be_left_is_no_target() -> None:
    person = record("by-hand", replace(EMERGENCY, source=name(2), source_digest=Digest("")))
    assert URGENT.intent is not None
    forged = replace(person, intent=URGENT.intent)
    intent = taken(world(workload=workload(V2), records=(forged,)))
    assert intent is None or intent.target != name(2)


FORGED: dict[str, dict[str, Any]] = {
    "what serves without us": {"workload": workload(V3)},
    "what the workload does not carry": {"workload": workload(V1)},
    "another digest": {"snapshots": (*SNAPSHOTS[:2], replace(V2, digest=digest(9)), V3), "workload": workload(V2)},
    "another model": {"snapshots": (*SNAPSHOTS[:2], replace(V2, model="faces"), V3), "workload": workload(V2)},
}


@pytest.mark.parametrize("changes", FORGED.values(), ids=FORGED.keys())
def test_intent_that_was_not_carried_out_is_not_believed(changes: dict[str, Any]) -> None:
    observed = waiting(**changes)
    step = lock(without_lock(observed, URGENT))  # whether or not it would be switched to first
    assert step is not None
    noted = decide(declaring(observed, status=step.facts)).action
    assert not isinstance(noted, UpdateRecord) or noted.status.switched_at is None


def test_intent_that_was_not_carried_out_gives_way_to_the_choice_of_now() -> None:
    intent = taken(waiting(quarantined={digest(2): "INC-2"}))
    assert intent is not None
    assert intent.target == name(1)


def test_nobody_s_word_is_taken_that_the_target_was_verified() -> None:
    """It is verified after the switch, as what an emergency switched to is."""
    assert URGENT.intent is not None
    forged = replace(URGENT, intent=replace(URGENT.intent, verification="Fresh", verified_at=NOW))
    intent = taken(waiting(records=(forged,), workload=workload(V2)))
    assert intent is not None
    assert (intent.verification, intent.verified_at) == ("Recent", NOW - timedelta(hours=1))


def test_what_a_rollback_left_is_not_believed_to_be_one_s_target() -> None:
    left = (Left(digest=digest(2), snapshot=name(2), reason="bad", at=NOW),)
    intent = taken(having(waiting(workload=workload(V2)), left=left))
    assert intent is not None
    assert intent.target == name(1)


def test_target_that_cannot_be_read_and_never_was_has_failed() -> None:
    """Whoever forges an intent and the workload does not get something served that nobody has ever verified."""
    facts = SWITCHED | {"verification": "Recent", "quarantined": (digest(3),)}
    observed = after(facts, EMERGENCY, checked=checked(V2, Reason.UNREADABLE))
    assert status_of(decide(observed)).verification == "Unreadable"
    never = swapped(observed, replace(V2, status=SnapshotStatus()))
    assert ended(decide(never)) == (Outcome.FAILED, Reason.TARGET_LOST)


def test_target_that_cannot_be_read_has_to_be_trusted_all_the_same() -> None:
    facts = SWITCHED | {"verification": "Recent", "quarantined": (digest(3),)}
    observed = after(facts, EMERGENCY, checked=checked(V2, Reason.UNREADABLE))
    asking = Trust(name="ModelTrustPolicy release", scanned=True)
    assert ended(decide(replace(observed, trust=(asking,)))) == (Outcome.FAILED, Reason.TARGET_LOST)


def test_only_an_emergency_has_an_intent_before_its_lock() -> None:
    normal = replace(asked(NORMAL), intent=URGENT.intent)
    assert taken(replace(NORMAL, records=(normal,), workload=workload(V2), checked={})) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"snapshot": 7}', '{"snapshot": "digits-v2"}', "[" * 2000])
def test_nonsense_in_the_annotation_is_no_intent(text: str) -> None:
    body = {"metadata": {"name": "rb", "namespace": "ml", "annotations": {INTENT: text}}, "spec": EMERGENCY.as_body()}
    assert ModelRollback.from_body(body).intent is None


def test_intent_is_read_back() -> None:
    assert URGENT.intent is not None
    text = json.dumps(URGENT.intent.as_body())
    body = {"metadata": {"name": "rb", "namespace": "ml", "annotations": {INTENT: text}}, "spec": EMERGENCY.as_body()}
    assert ModelRollback.from_body(body).intent == URGENT.intent


def test_a_suspended_model_deployment_is_no_obstacle() -> None:
    assert isinstance(decide(declaring(waiting(), suspend=True)).action, SwitchFirst)
