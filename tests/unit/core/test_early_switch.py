"""An emergency's switch goes before its lock: when it does, with what, and what a crash between them leaves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lastgood.api.deployment_status import Intent
from lastgood.api.names import Reason
from lastgood.core.decide import Early, decide, early
from lastgood.core.state import CreateRecord, Observed, Switch, UpdateDeployment, UpdateRecord, Verify
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
    spec,
    unverified,
    workload,
    world,
)
from tests.unit.core.moments import EMERGENCY

ASKED = record("urgent", EMERGENCY)


def waiting(**changes: object) -> Observed:
    """Return a world in which an emergency's record is there and nothing else has been done for it."""
    return replace(world(records=(ASKED,)), **changes)  # type: ignore[arg-type]  # the names are those of Observed


def found(observed: Observed) -> Early:
    first = early(observed)
    assert first is not None
    return first


def test_emergency_switches_before_its_lock_is_written() -> None:
    first = found(waiting())
    assert first.switch.action == Switch(snapshot=V2)
    assert isinstance(first.lock.action, UpdateDeployment)
    active = first.lock.action.status.active
    assert active is not None
    assert active.name == "urgent"
    assert active.intent == Intent(
        target=name(2), digest=digest(2), at=NOW, verification="Recent", verified_at=NOW - timedelta(hours=1)
    )
    assert first.lock.action.status.snapshot == name(3)  # what serves is noted once it was seen


def test_lock_is_the_one_that_would_have_come_first() -> None:
    assert found(waiting()).lock.action == decide(waiting()).action


def test_switch_is_told_as_one_of_its_record() -> None:
    active = found(waiting()).holding.deployment.status.active
    assert active is not None
    assert active.name == "urgent"


def test_annotation_is_marked_in_the_lock_that_follows() -> None:
    asking = annotated(world(), emergency_rollback="INC-1: backdoor")
    create = decide(asking).action
    assert isinstance(create, CreateRecord)
    lock = found(replace(asking, records=(record(create.name, create.spec),))).lock.action
    assert isinstance(lock, UpdateDeployment)
    assert list(lock.status.handled.values()) == [create.name]


def test_record_is_there_before_anything_is_switched() -> None:
    assert early(annotated(world(), emergency_rollback="INC-1: backdoor")) is None


@pytest.mark.parametrize(
    "observed",
    [
        world(records=(record("asked", spec()),), checked=checked(V2)),
        waiting(records=(replace(ASKED, spec=replace(EMERGENCY, deployment_uid="another")),)),
        waiting(records=(replace(ASKED, spec=replace(EMERGENCY, source_digest=digest(9))),)),
        waiting(complete=False),
        waiting(workload=None),
        waiting(workload=replace(workload(), meta=replace(workload().meta, labels={}))),
        waiting(quarantined={digest(number): "INC-2" for number in range(3)}),
        waiting(snapshots=(V3, unverified(2), unverified(1))),
        policy(waiting(), max_verification_age=timedelta(minutes=1)),
        locked(waiting(), record("another"), (ASKED,)),
        waiting(workload=workload(V2)),
    ],
    ids=[
        "no emergency",
        "of another ModelDeployment",
        "names a digest that never served",
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
    assert early(observed) is None


def test_candidate_that_is_refused_is_passed_over() -> None:
    assert found(waiting(quarantined={digest(2): "INC-2"})).switch.action == Switch(snapshot=V1)
    assert found(waiting(refused={name(2): NOW})).switch.action == Switch(snapshot=V1)


def test_candidate_that_was_found_changed_is_passed_over() -> None:
    changed = unverified(2, Reason.DIGEST_MISMATCH)
    assert found(waiting(snapshots=(*SNAPSHOTS[:2], changed, V3))).switch.action == Switch(snapshot=V1)


def test_killed_after_the_switch_it_takes_the_lock_and_notes_the_switch() -> None:
    """Not a second switch: the workload carries what would be chosen."""
    again = waiting(workload=workload(V2))
    lock = decide(again).action
    assert isinstance(lock, UpdateDeployment)
    assert lock.status.active is not None
    held = having(again, active=lock.status.active)
    noted = decide(held).action
    assert isinstance(noted, UpdateRecord)
    assert (noted.status.target, noted.status.switched_at) == (name(2), NOW)
    assert [item.snapshot for item in noted.status.candidates if item.reason], "why not the others is told"


def test_killed_after_the_switch_the_record_is_there_and_what_was_left_is_not_written_back() -> None:
    """What looks like drift is the switch of a record that waits."""
    again = waiting(workload=workload(V2), complete=False)
    assert not isinstance(decide(again).action, Switch | Verify)


def test_a_suspended_model_deployment_is_no_obstacle() -> None:
    assert found(declaring(waiting(), suspend=True)).switch.action == Switch(snapshot=V2)
