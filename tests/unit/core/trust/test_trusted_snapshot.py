"""What trust makes of a snapshot itself: its conditions, when it is looked at again, its mark, its capture."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lastgood.api.facts.evidence import Capture
from lastgood.api.facts.signature import SignatureProblem
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import CaptureSnapshot, QuarantineDigest, UpdateSnapshot, Verify
from lastgood.core.snapshot.capture import asks_for_capture
from lastgood.core.snapshot.decide import decide_snapshot
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import REFUSED, Tell
from lastgood.core.trust.policy import Trust, TrustedKey
from tests.unit.core.builders import (
    NOW,
    V2,
    V3,
    ago,
    checked,
    digest,
    name,
    unverified,
    world,
)
from tests.unit.core.trust.signed import DAY, POLICY, REVOKED_KEY, signed


def seen(of: ModelSnapshot, *policies: Trust, **changes: Any) -> ObservedSnapshot:
    return replace(ObservedSnapshot(now=NOW, snapshot=of, interval=DAY, trust=policies), **changes)


def settled(of: ModelSnapshot, *policies: Trust, **changes: Any) -> ModelSnapshot:
    """Return a snapshot after all that there is to write about it was written."""
    for _ in range(5):
        action = decide_snapshot(seen(of, *policies, **changes)).action
        if not isinstance(action, UpdateSnapshot):
            return of
        of = replace(of, status=action.status)
    raise AssertionError("it is written again and again")


def condition(of: ModelSnapshot, type_: str) -> tuple[str, str]:
    return of.status.conditions[type_].status, of.status.conditions[type_].reason


def test_signed_says_who_signed() -> None:
    of = settled(signed(2), POLICY)
    assert condition(of, "Signed") == ("True", Reason.SIGNATURE_TRUSTED)
    assert condition(of, "Ready") == ("True", Reason.VERIFIED)
    assert "alice" in of.status.conditions["Signed"].message


def test_revoked_key_acts_without_a_byte_being_read() -> None:
    of = settled(signed(2), POLICY)
    decision = decide_snapshot(seen(of, REVOKED_KEY))
    assert isinstance(decision.action, UpdateSnapshot)
    assert (decision.reason, decision.tell) == (Reason.KEY_REVOKED, Tell.WARNING)
    after = settled(of, REVOKED_KEY)
    assert condition(after, "Ready") == ("False", Reason.KEY_REVOKED)
    assert decide_snapshot(seen(after, REVOKED_KEY)).action is None


def test_revocation_to_come_is_looked_at_when_it_comes() -> None:
    later = replace(POLICY, keys=(replace(POLICY.keys[0], revoked=NOW + timedelta(minutes=5)),))
    assert decide_snapshot(seen(settled(signed(2), later), later)).requeue_after == 301.0


def test_trust_regained_is_told_as_well() -> None:
    decision = decide_snapshot(seen(settled(signed(2), REVOKED_KEY), POLICY))
    assert (decision.reason, decision.tell) == (Reason.SIGNATURE_TRUSTED, Tell.INFO)


def test_new_key_asks_for_a_fresh_look_and_not_twice_in_a_row() -> None:
    more = replace(POLICY, keys=(*POLICY.keys, TrustedKey(name="bob", key_id="b" * 64)))
    of = settled(signed(2), more)
    assert decide_snapshot(seen(of, more)).action == Verify(snapshot=of)
    assert of.status.verification is not None
    just = replace(of, status=replace(of.status, verification=replace(of.status.verification, time=NOW)))
    assert (decide_snapshot(seen(just, more)).action, decide_snapshot(seen(just, more)).requeue_after) == (None, 30.0)


def test_bundle_applied_after_its_snapshot_is_found_soon_and_one_that_never_comes_costs_less_and_less() -> None:
    missing = SignatureProblem(source="spec.signatures[0]", reason=Reason.SIGNATURE_MISSING, message="no ConfigMap")
    good = signed(2)
    assert good.status.verification is not None
    assert good.status.signatures is not None

    def waits(first: datetime) -> float | None:
        status = replace(
            good.status,
            first_seen=first,
            verification=replace(good.status.verification, time=NOW, next_time=NOW + timedelta(days=1)),  # type: ignore[type-var]  # not None, see above
            signatures=replace(good.status.signatures, facts=(), problems=(missing,)),  # type: ignore[type-var]  # the same
        )
        return decide_snapshot(seen(settled(replace(good, status=status), POLICY), POLICY)).requeue_after

    assert waits(NOW) == 30.0
    assert waits(NOW - timedelta(minutes=10)) == 300.0


def test_half_a_list_of_policies_takes_and_gives_no_trust() -> None:
    refused = settled(signed(2), REVOKED_KEY)
    assert settled(refused, complete=False) == refused
    fresh = replace(signed(2), status=replace(signed(2).status, conditions={}))
    assert condition(settled(fresh, complete=False), "Ready") == ("Unknown", Reason.WAITING)


def test_revoked_digest_marks_the_snapshot_until_it_is_revoked_no_more() -> None:
    cluster = replace(POLICY, cluster=True, revoked_digests={digest(2): "INC-1"})
    of = settled(signed(2), cluster)
    assert condition(of, "Quarantined") == ("True", Reason.DIGEST_REVOKED)
    assert of.status.quarantine is not None
    assert of.status.quarantine.scope == "All"
    assert settled(of, POLICY).status.quarantine is None


def quarantining(of: ModelSnapshot) -> ModelSnapshot:
    return replace(of, meta=replace(of.meta, annotations={"lastgood.dev/quarantine": "INC-1: backdoor"}))


def test_refused_quarantine_does_not_keep_a_snapshot_from_being_verified() -> None:
    of, refused = quarantining(V2), {V2.digest: NOW}
    assert isinstance(decide_snapshot(seen(of)).action, QuarantineDigest)
    marked = settled(of, refused=refused)
    assert marked.status.quarantine is not None
    assert marked.status.quarantine.scope == "Snapshot"
    waiting = decide_snapshot(seen(marked, refused=refused, capturing=True))
    assert waiting.requeue_after == REFUSED.total_seconds()
    due = replace(
        marked,
        status=replace(marked.status, verification=replace(V2.status.verification, next_time=NOW)),  # type: ignore[type-var]  # it is there
    )
    # A copy to the evidence runs meanwhile, and nothing waits for it.
    assert decide_snapshot(seen(due, refused=refused, capturing=True)).action == Verify(snapshot=due)
    again = {V2.digest: NOW - REFUSED - timedelta(seconds=1)}
    assert isinstance(decide_snapshot(seen(marked, refused=again)).action, QuarantineDigest)


@pytest.mark.parametrize(
    ("reason", "kept"), [(Reason.VERIFIED, NOW), (Reason.UNREADABLE, ago(hours=2)), (Reason.DIGEST_MISMATCH, None)]
)
def test_last_success_is_remembered_until_a_mismatch(reason: Reason, kept: datetime | None) -> None:
    assert V2.status.verification is not None
    before = replace(
        V2, status=replace(V2.status, verification=replace(V2.status.verification, verified_at=ago(hours=2)))
    )
    action = decide_snapshot(seen(before, checked=checked(V2, reason)[name(2)])).action
    assert isinstance(action, UpdateSnapshot)
    assert action.status.verification is not None
    assert action.status.verification.verified_at == kept


# Captures


def test_capture_is_made_once_of_what_is_good() -> None:
    of = settled(replace(V2, capture=True))
    assert decide_snapshot(seen(of)).action == CaptureSnapshot(snapshot=of)
    assert decide_snapshot(seen(of, capturing=True)).action is None
    done = Capture(reason=Reason.CAPTURED, time=NOW, path=V2.captured_path)
    kept = settled(of, captured=done)
    assert kept.status.capture == done
    assert decide_snapshot(seen(kept)).action is None


def test_what_is_not_trusted_is_not_captured() -> None:
    of = replace(signed(2), capture=True)
    assert not isinstance(decide_snapshot(seen(settled(of, REVOKED_KEY), REVOKED_KEY)).action, CaptureSnapshot)


def test_what_is_not_verified_is_not_captured() -> None:
    of = settled(replace(unverified(2, Reason.DIGEST_MISMATCH), capture=True))
    assert not isinstance(decide_snapshot(seen(of)).action, CaptureSnapshot)


def test_capture_that_is_said_to_be_elsewhere_is_made_again() -> None:
    forged = Capture(reason=Reason.CAPTURED, time=NOW, path="../evil")
    of = settled(replace(V2, capture=True, status=replace(V2.status, capture=forged)))
    assert decide_snapshot(seen(of)).action == CaptureSnapshot(snapshot=of)


def test_failed_capture_waits_before_the_next_try() -> None:
    failed = Capture(reason=Reason.CAPTURE_FAILED, time=NOW, message="disk full")
    of = settled(replace(V2, capture=True), captured=failed)
    decision = decide_snapshot(seen(of))
    assert (decision.action, decision.requeue_after) == (None, 300.0)


def test_deployment_asks_for_a_capture_of_what_soaked_there() -> None:
    deployment = world().deployment
    asking = replace(deployment, rollback=replace(deployment.rollback, capture_soaked=True))
    assert asks_for_capture(asking, V2)
    assert not asks_for_capture(asking, V3)  # it has not soaked
    assert not asks_for_capture(deployment, V2)
    assert not asks_for_capture(asking, replace(V2, meta=replace(V2.meta, uid="another")))
