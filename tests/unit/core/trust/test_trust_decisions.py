"""What trust policies change: who is a candidate, what is deployed, what rolls back, and what is only told."""

from dataclasses import replace
from datetime import datetime

import pytest

from lastgood.api.facts.signal import Verdict
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import CreateRecord, Switch
from lastgood.core.candidates.eligible import Question
from lastgood.core.candidates.selection import select
from lastgood.core.decide import decide
from lastgood.core.state import Observed, Tell
from lastgood.core.trust.policy import Floor, Trust
from tests.unit.core.builders import (
    NOW,
    V1,
    V2,
    ago,
    checked,
    declaring,
    digest,
    having,
    name,
    swapped,
    tally,
    unverified,
    world,
)
from tests.unit.core.trust.signed import DAY, LEAVING, POLICY, REVOKED_KEY, examined, fact, signed, trusting, why


def test_signed_snapshot_is_a_candidate() -> None:
    assert select(trusting(), LEAVING)[0] == signed(2)


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        pytest.param(trusting(REVOKED_KEY), Reason.KEY_REVOKED, id="its key was revoked"),
        pytest.param(swapped(trusting(), V2), Reason.SIGNATURE_MISSING, id="its signature was stripped"),
        pytest.param(
            swapped(trusting(), signed(2, fact(V2, model="fraud"))),
            Reason.CLAIMS_MISMATCH,
            id="claims of another model",
        ),
        pytest.param(
            swapped(
                trusting(), replace(signed(2), digest=V2.digest, status=replace(V2.status, signatures=examined(V1)))
            ),
            Reason.NOT_EXAMINED,
            id="facts about other bytes",
        ),
        pytest.param(
            trusting(POLICY, replace(REVOKED_KEY, name="second")), Reason.KEY_REVOKED, id="all policies count"
        ),
        pytest.param(
            trusting(replace(POLICY, problem="keys[0]: x")), Reason.POLICY_INVALID, id="policy made unreadable"
        ),
        pytest.param(
            trusting(replace(POLICY, required=False, revoked_digests={digest(2): "INC-1"})),
            Reason.DIGEST_REVOKED,
            id="its digest is revoked",
        ),
        pytest.param(
            trusting(replace(POLICY, models=("other",), revoked_digests={digest(2): ""})),
            Reason.DIGEST_REVOKED,
            id="its digest is revoked for another model",
        ),
        pytest.param(trusting(Trust(name="p", scanned=True)), Reason.NOT_SCANNED, id="no scan"),
        pytest.param(
            trusting(Trust(name="p", formats=frozenset({"json"}))), Reason.NOT_SCANNED, id="formats not known"
        ),
    ],
)
def test_emergency_that_names_it_does_not_get_it_either(observed: Observed, reason: Reason) -> None:
    assert why(observed) == reason
    assert why(observed, question=replace(LEAVING, emergency=True, to=name(2))) == reason


def test_policy_for_another_model_does_not_count() -> None:
    assert why(replace(world(), trust=(replace(POLICY, models=("fraud",)),))) is None


def test_policy_that_only_knows_signers_refuses_nothing() -> None:
    assert why(replace(world(), trust=(replace(POLICY, required=False),))) is None


def test_policy_that_was_deleted_and_not_read_again_lets_nothing_pass() -> None:
    observed = trusting(REVOKED_KEY, complete=False)
    fired = replace(observed, tallies={"accuracy": tally(Verdict.BREACHED)})
    assert not isinstance(decide(fired).action, CreateRecord | Switch)


# Dates


OLD, CUT = ago(days=300), ago(days=100)
BEFORE = replace(LEAVING, before=CUT)


def test_back_dated_manifest_is_no_candidate_where_signatures_are_required() -> None:
    dated = replace(V2, data_cutoff=OLD)
    assert why(swapped(world(), dated), question=BEFORE) is None
    unsigned_date = signed(2, fact(V2), data_cutoff=OLD)
    assert why(swapped(trusting(), unsigned_date), question=BEFORE) == Reason.DATE_NOT_SIGNED
    assert why(swapped(trusting(), signed(2, fact(dated), data_cutoff=OLD)), question=BEFORE) is None
    lying = signed(2, fact(V2, data_cutoff=ago(days=1)), data_cutoff=OLD)
    assert why(swapped(trusting(), lying), question=BEFORE) == Reason.CLAIMS_MISMATCH


@pytest.mark.parametrize(
    ("date", "reason"), [(OLD, Reason.BELOW_FLOOR), (CUT, None), (ago(days=1), None), (None, Reason.BELOW_FLOOR)]
)
def test_nothing_below_the_floor_is_gone_back_to(date: datetime | None, reason: Reason | None) -> None:
    policy = Trust(name="p", floor=Floor(data_cutoff=CUT))
    observed = replace(swapped(world(), replace(V2, data_cutoff=date, trained_at=NOW)), trust=(policy,))
    assert why(observed) == reason
    assert why(observed, question=replace(LEAVING, emergency=True)) == reason


def test_unsigned_date_does_not_lift_above_the_floor() -> None:
    policy = replace(POLICY, floor=Floor(trained_at=CUT))
    observed = swapped(trusting(policy), signed(2, replace(fact(V2), claims=None), trained_at=ago(days=1)))
    assert why(observed) == Reason.BELOW_FLOOR


# What serves


def test_revoked_key_on_what_serves_is_told_and_does_not_roll_back() -> None:
    decision = decide(trusting(REVOKED_KEY))
    assert (decision.reason, decision.tell) == (Reason.KEY_REVOKED, Tell.WARNING)
    assert not isinstance(decision.action, CreateRecord | Switch)


@pytest.mark.parametrize("suspend", [False, True])
def test_revoked_digest_that_serves_rolls_back(suspend: bool) -> None:  # noqa: FBT001 - a column of the table
    observed = declaring(trusting(replace(POLICY, revoked_digests={digest(3): "INC-1"})), suspend=suspend)
    action = decide(observed).action
    assert isinstance(action, CreateRecord)
    assert action.spec.trigger is not None
    assert action.spec.trigger.condition == Reason.DIGEST_REVOKED


def forward_of(observed: Observed) -> Observed:
    """Return a world in which v2 is desired and verified just now."""
    now = {name(2): replace(checked(V2)[name(2)], examined=examined(V2))}
    return replace(declaring(having(observed, triggers=()), snapshot=name(2)), checked=now)


def test_signed_snapshot_is_deployed() -> None:
    assert decide(forward_of(trusting())).action == Switch(snapshot=signed(2))


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(trusting(REVOKED_KEY), id="key revoked"),
        pytest.param(trusting(replace(POLICY, revoked_digests={digest(2): ""})), id="digest revoked"),
        pytest.param(trusting(replace(POLICY, floor=Floor(trained_at=NOW))), id="reverted in Git to below the floor"),
        pytest.param(swapped(trusting(), V2), id="unsigned"),
    ],
)
def test_what_is_not_trusted_is_not_deployed(observed: Observed) -> None:
    assert not isinstance(decide(forward_of(observed)).action, Switch)


def test_signature_taken_away_just_now_outranks_the_status() -> None:
    observed = trusting(checked=checked(V2))  # verified at this moment, and nobody found a signature
    assert why(observed) == Reason.NOT_EXAMINED
    assert not isinstance(decide(replace(forward_of(trusting()), checked=checked(V2))).action, Switch)


# Emergencies and reading


def unread(at: datetime | None) -> ModelSnapshot:
    of = unverified(2, Reason.UNREADABLE, "the Job did not start")
    assert of.status.verification is not None
    return replace(of, status=replace(of.status, verification=replace(of.status.verification, verified_at=at)))


def changed(at: datetime | None) -> ModelSnapshot:
    """Return what was found changed, and of which somebody wrote that it had been good."""
    of = unverified(2, Reason.DIGEST_MISMATCH, "1.bin is changed")
    assert of.status.verification is not None
    return replace(of, status=replace(of.status, verification=replace(of.status.verification, verified_at=at)))


EMERGENCY = replace(LEAVING, emergency=True)


@pytest.mark.parametrize(
    ("of", "question", "reason"),
    [
        pytest.param(unread(ago(hours=1)), EMERGENCY, None, id="verified an hour ago, and the Job does not start"),
        pytest.param(unread(ago(hours=1)), LEAVING, Reason.UNREADABLE, id="but only in an emergency"),
        pytest.param(unread(ago(hours=25)), EMERGENCY, Reason.UNREADABLE, id="not if that is long ago"),
        pytest.param(unread(NOW + DAY), EMERGENCY, Reason.UNREADABLE, id="not if the time lies ahead"),
        pytest.param(unread(None), EMERGENCY, Reason.UNREADABLE, id="not if it never was"),
        pytest.param(
            unverified(2, Reason.DIGEST_MISMATCH), EMERGENCY, Reason.DIGEST_MISMATCH, id="never after a mismatch"
        ),
        pytest.param(changed(ago(hours=1)), EMERGENCY, Reason.DIGEST_MISMATCH, id="whatever else the status says"),
    ],
)
def test_emergency_takes_what_was_good_recently(of: ModelSnapshot, question: Question, reason: Reason | None) -> None:
    assert why(swapped(world(), of), question=question) == reason


def test_mismatch_that_the_status_does_not_know_yet_counts() -> None:
    stale = checked(V2, Reason.DIGEST_MISMATCH, ago(minutes=5))
    assert why(replace(swapped(world(), unread(ago(hours=1))), checked=stale), question=EMERGENCY) == Reason.UNREADABLE
