"""The decision about a snapshot: verified, verified again, quarantined."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot, QuarantineMark, SnapshotStatus, Verification
from lastgood.core.actions import QuarantineDigest, UpdateSnapshot, Verify
from lastgood.core.snapshot.decide import decide_snapshot, jittered
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Checked, Tell
from tests.unit.core.builders import NOW, V2, ago, digest, unverified

DAY = timedelta(hours=24)


def observed(snapshot: ModelSnapshot = V2, **changes: Any) -> ObservedSnapshot:
    return replace(ObservedSnapshot(now=NOW, snapshot=snapshot, interval=DAY), **changes)


def found(reason: Reason = Reason.VERIFIED, **changes: Any) -> Checked:
    good = Checked(
        uid="uid-of-v2",
        digest=digest(2),
        reason=reason,
        at=NOW,
        actual=digest(2) if reason == Reason.VERIFIED else digest("evil"),
        message=f"{reason}, it says",
        size_bytes=3000,
        file_count=3,
        seconds=1.5,
        findings=() if reason == Reason.VERIFIED else ("1.bin is changed",),
    )
    return replace(good, **changes)


def written(what: ObservedSnapshot) -> SnapshotStatus:
    action = decide_snapshot(what).action
    assert isinstance(action, UpdateSnapshot)
    return action.status


def conditions(status: SnapshotStatus) -> dict[str, tuple[str, str]]:
    return {type_: (item.status, item.reason) for type_, item in status.conditions.items()}


def annotated(snapshot: ModelSnapshot, text: str) -> ModelSnapshot:
    return replace(snapshot, meta=replace(snapshot.meta, annotations={"lastgood.dev/quarantine": text}))


def marked(scope: str, snapshot: ModelSnapshot = V2) -> ModelSnapshot:
    mark = QuarantineMark(scope=scope, reason="backdoor", incident="INC-1", since=ago(days=1))
    return replace(snapshot, status=replace(snapshot.status, quarantine=mark))


NEW = replace(V2, status=SnapshotStatus())


def test_new_snapshot_is_first_described_and_then_verified() -> None:
    status = written(observed(NEW))
    assert status.first_seen == NOW
    assert conditions(status)["Verified"] == ("Unknown", Reason.PENDING)
    assert decide_snapshot(observed(replace(NEW, status=status))).action == Verify(snapshot=replace(NEW, status=status))


def test_quiet_snapshot_is_left_alone_until_it_is_due() -> None:
    decision = decide_snapshot(observed())
    assert (decision.action, decision.requeue_after) == (None, 23 * 3600.0)


def test_quiet_snapshot_is_verified_again_when_due() -> None:
    assert decide_snapshot(observed(now=NOW + timedelta(hours=23))).action == Verify(snapshot=V2)
    assert decide_snapshot(observed(now=NOW + timedelta(hours=23), verifying=True)).action is None


def test_finished_verification_is_recorded_with_what_it_found() -> None:
    status = written(observed(NEW, checked=found()))
    assert (status.digest, status.size_bytes, status.file_count) == (digest(2), 3000, 3)
    assert conditions(status) == {
        "Verified": ("True", Reason.VERIFIED),
        "Quarantined": ("False", Reason.NOT_QUARANTINED),
        "Restorable": ("True", Reason.READ_WHOLE),
        "Signed": ("Unknown", Reason.NO_TRUST_POLICY),
        "Ready": ("True", Reason.VERIFIED),
    }
    assert status.verification is not None
    assert (status.verification.bytes_per_second, status.verification.seconds) == (2000, 1.5)
    assert replace(NEW, status=status).verified


def test_mismatch_is_an_alert_and_keeps_the_last_good_facts() -> None:
    what = observed(checked=found(Reason.DIGEST_MISMATCH))
    status = written(what)
    assert conditions(status)["Verified"] == ("False", Reason.DIGEST_MISMATCH)
    assert conditions(status)["Ready"] == ("False", Reason.DIGEST_MISMATCH)
    assert (status.digest, status.size_bytes, status.first_seen) == (digest("evil"), 1000, V2.status.first_seen)
    assert status.verification is not None
    assert status.verification.findings == ("1.bin is changed",)
    assert decide_snapshot(what).tell == Tell.ALERT
    assert not replace(V2, status=status).verified


def test_mismatch_is_told_once() -> None:
    before = unverified(2, Reason.DIGEST_MISMATCH)
    assert decide_snapshot(observed(before, checked=found(Reason.DIGEST_MISMATCH))).tell == Tell.NOBODY


def test_cannot_read_is_not_tampered_and_tried_again_soon() -> None:
    status = written(observed(checked=found(Reason.UNREADABLE, actual="")))
    assert conditions(status)["Verified"] == ("Unknown", Reason.UNREADABLE)
    assert status.digest == digest(2)
    assert status.verification is not None
    assert status.verification.next_time == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    "checked",
    [
        pytest.param(found(digest=digest("other")), id="of another digest"),
        pytest.param(found(uid="uid-of-the-old-one"), id="of a snapshot of this name that is gone"),
        pytest.param(found(at=ago(hours=1)), id="recorded already"),
        pytest.param(found(at=ago(hours=2)), id="older than what is recorded"),
    ],
)
def test_verification_that_says_nothing_new_is_not_recorded(checked: Checked) -> None:
    assert decide_snapshot(observed(checked=checked)).action is None


def test_verification_of_a_snapshot_that_is_gone_does_not_verify_its_successor() -> None:
    status = written(observed(NEW))
    again = decide_snapshot(observed(replace(NEW, status=status), checked=found(uid="uid-of-the-old-one")))
    assert isinstance(again.action, Verify)


def test_snapshots_are_not_all_read_at_once() -> None:
    waits = {jittered(DAY, f"uid-{number}") for number in range(100)}
    assert len(waits) > 50
    assert all(0.9 * DAY <= wait <= DAY for wait in waits)
    assert jittered(DAY, "uid-1") == jittered(DAY, "uid-1")


def test_quarantine_of_a_verified_snapshot_is_of_its_digest() -> None:
    what = observed(annotated(V2, "INC-1: backdoor"))
    decision = decide_snapshot(what)
    assert decision.action == QuarantineDigest(digest=digest(2), reason="INC-1: backdoor", incident="INC-1")
    assert decision.tell == Tell.ALERT
    status = written(replace(what, quarantined={digest(2): "INC-1: backdoor"}))
    assert status.quarantine is not None
    assert (status.quarantine.scope, status.quarantine.incident) == ("Namespace", "INC-1")
    assert conditions(status)["Ready"] == ("False", Reason.QUARANTINED)
    assert len(status.handled) == 1


@pytest.mark.parametrize(
    "snapshot",
    [
        NEW,
        unverified(2, Reason.DIGEST_MISMATCH),
        unverified(2, Reason.UNREADABLE),
        replace(V2, status=replace(V2.status, digest=digest("evil"))),
    ],
    ids=["new", "mismatch", "unreadable", "verified as something else"],
)
def test_quarantine_of_an_unverified_snapshot_is_of_itself_alone(snapshot: ModelSnapshot) -> None:
    """Whoever declares another team's digest over wrong bytes cannot quarantine that team's model."""
    status = written(observed(annotated(snapshot, "INC-1: backdoor")))
    assert status.quarantine is not None
    assert status.quarantine.scope == "Snapshot"


def test_quarantine_acts_once() -> None:
    listed = observed(annotated(V2, "INC-1"), quarantined={digest(2): "INC-1"})
    status = written(listed)
    lifted = observed(annotated(replace(V2, status=status), "INC-1"))
    assert written(lifted).quarantine is None
    assert not isinstance(decide_snapshot(lifted).action, QuarantineDigest)


@pytest.mark.parametrize(
    ("snapshot", "listed", "everywhere", "scope"),
    [
        pytest.param(V2, True, False, "Namespace", id="listed for the namespace"),
        pytest.param(V2, True, True, "All", id="listed for all"),
        pytest.param(marked("Namespace"), True, True, "All", id="widened"),
        pytest.param(marked("All"), True, False, "Namespace", id="narrowed"),
        pytest.param(marked("All"), False, False, None, id="lifted"),
        pytest.param(marked("Namespace"), False, False, None, id="lifted for the namespace"),
    ],
)
def test_mark_follows_the_list(snapshot: ModelSnapshot, listed: bool, everywhere: bool, scope: str | None) -> None:  # noqa: FBT001 - columns of the table
    status = written(
        observed(
            snapshot,
            quarantined={digest(2): "INC-1: backdoor"} if listed else {},
            everywhere=frozenset({digest(2)} if everywhere else ()),
        )
    )
    assert (status.quarantine and status.quarantine.scope) == scope


@pytest.mark.parametrize("listed", [True, False])
def test_a_snapshots_own_mark_stays(listed: bool) -> None:  # noqa: FBT001 - a column of the table
    """A list that comes and goes must not take the mark of a person along."""
    snapshot = marked("Snapshot")
    what = observed(snapshot, quarantined={digest(2): "INC-2"} if listed else {})
    assert written(what).quarantine == snapshot.status.quarantine


def test_half_a_list_lifts_nothing() -> None:
    snapshot = marked("Namespace")
    status = written(observed(snapshot, complete=False))
    assert status.quarantine == snapshot.status.quarantine


def test_nonsense_in_status_is_put_right() -> None:
    nonsense = replace(V2, status=SnapshotStatus(verification=Verification(reason="Whatever")))
    status = written(observed(nonsense))
    assert conditions(status)["Verified"] == ("Unknown", Reason.PENDING)


def test_second_decision_on_the_same_world_writes_nothing() -> None:
    for snapshot in (V2, marked("Snapshot"), unverified(2, Reason.UNREADABLE)):
        status = written(observed(replace(snapshot, status=replace(snapshot.status, conditions={}))))
        assert not isinstance(decide_snapshot(observed(replace(snapshot, status=status))).action, UpdateSnapshot)
