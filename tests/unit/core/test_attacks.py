"""What somebody may write to stop a rollback, to choose its target, or to keep the operator busy, each by its name."""

from dataclasses import replace

from lastgood.api.deployment_status import DeploymentStatus
from lastgood.api.names import DIGEST_STAMP, Outcome, Reason
from lastgood.api.signal import Verdict
from lastgood.core.decide import decide
from lastgood.core.selection import Question, passed_over, soaked
from lastgood.core.state import CreateRecord, Observed, QuarantineDigest, Switch, UpdateDeployment, UpdateRecord, Verify
from tests.unit.core.builders import (
    NOW,
    SMOKE,
    V1,
    V2,
    annotated,
    checked,
    declaring,
    digest,
    having,
    locked,
    name,
    record,
    tally,
    workload,
    world,
)
from tests.unit.core.moments import AVAILABLE, EMERGENCY, INTENT, SWITCHED, after, before, ended, status_of


def test_switch_that_a_policy_refuses_goes_to_the_next_candidate() -> None:
    refused = replace(before(record(**INTENT)), refused={name(2): NOW}, checked=checked(V2) | checked(V1))
    assert status_of(decide(refused)).target == name(1)


def test_value_rewritten_by_a_webhook_is_a_switch_all_the_same() -> None:
    """Else it would be applied again for ever, and nothing would be held."""
    ours = workload(V2)
    server = replace(ours.containers["server"], image="mirror/server@sha256:0")
    rewritten = before(record(**INTENT), workload=replace(ours, containers={"server": server}))
    assert status_of(decide(rewritten)).switched_at == NOW


def test_stamp_of_another_digest_is_no_switch() -> None:
    forged = replace(workload(V2), template_annotations={DIGEST_STAMP: digest(9)})
    assert isinstance(decide(before(record(**INTENT), workload=forged)).action, Switch)


def test_quarantine_that_is_refused_does_not_stop_the_rollback() -> None:
    asked = after(SWITCHED, EMERGENCY)
    assert isinstance(decide(asked).action, QuarantineDigest)
    going_on = decide(replace(asked, refused={digest(3): NOW}))
    assert isinstance(going_on.action, UpdateRecord)
    assert going_on.reason == Reason.AVAILABLE


def test_refused_record_does_not_stop_what_runs() -> None:
    """An annotation whose record the API server refuses must not keep a running rollback from its next step."""
    running = annotated(before(record(**INTENT)), emergency_rollback="INC-1: x")
    first = decide(running)
    assert isinstance(first.action, CreateRecord)
    assert isinstance(decide(replace(running, taken=frozenset({first.action.name}))).action, Switch)


def test_emergency_that_only_reads_does_not_hold_up_another() -> None:
    reading = locked(
        world(verifying=frozenset({name(2)})),
        record(asked=replace(EMERGENCY, to=name(2))),
        [record("urgent", EMERGENCY)],
    )
    old = [replace(item, status=replace(item.status, verification=None)) for item in reading.snapshots]
    assert ended(decide(replace(reading, snapshots=tuple(old)))) == (Outcome.SUPERSEDED, Reason.SUPERSEDED)


def validating(verdict: Verdict, looks: int) -> Observed:
    asked = declaring(after(AVAILABLE), checks=(SMOKE,), next_on_failure=True)
    return replace(asked, checks={SMOKE.name: replace(tally(verdict, 1), looks=looks)})


def test_answers_that_contradict_each_other_end() -> None:
    assert not isinstance(decide(validating(Verdict.BREACHED, 19)).action, UpdateRecord)
    assert ended(decide(validating(Verdict.BREACHED, 20))) == (Outcome.UNVALIDATED, Reason.UNVALIDATED)


def test_snapshot_made_anew_has_not_soaked() -> None:
    """Its digest covers no image: whoever may make snapshots would choose what the pods run."""
    anew = replace(V2, meta=replace(V2.meta, uid="another"), image="evil", status=replace(V2.status, first_seen=NOW))
    observed = replace(world(), snapshots=(V1, anew))
    assert not soaked(observed, anew)
    found = passed_over(observed, Question(leaving=name(3), leaving_digest=digest(3)), anew)
    assert found is not None
    assert found[0] == Reason.APPEARED_LATER


def test_annotation_of_before_our_time_is_no_emergency() -> None:
    """A restore from a backup brings last month's annotation back, and no status."""
    restored = annotated(
        having(world(), snapshot="", digest="", history=(), available_at=None), emergency_rollback="INC-1: last month"
    )
    decision = decide(restored)
    assert isinstance(decision.action, UpdateDeployment)
    assert list(decision.action.status.handled.values()) == ["found"]


def test_continuation_is_not_lost_to_a_request_that_switches_nothing() -> None:
    waiting = having(
        world(records=(record(),)), continues={"record": "rb-1", "reason": "x", "message": "x", "spec": {}}
    )
    decision = decide(waiting)
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.action.status.active is not None
    assert decision.action.status.continues is not None


def test_nothing_is_switched_to_what_was_read_before_the_lock() -> None:
    stale = replace(before(record(**INTENT)), checked=checked(V2, at=NOW.replace(year=NOW.year - 1)))
    assert decide(stale).action == Verify(snapshot=V2)


def test_forged_continuation_of_nothing_makes_no_records_for_ever() -> None:
    """No lock would clear it: a record that goes on from none does not say that it does."""
    forged = DeploymentStatus.from_body({"status": {**world().deployment.status.as_body(), "continues": {"name": 7}}})
    assert forged.continues is None
    assert not isinstance(decide(declaring(world(), status=forged)).action, CreateRecord)
