"""What somebody may write to stop a rollback, to choose its target, or to keep the operator busy, each by its name."""

from dataclasses import replace

import pytest

from lastgood.api.facts.deployment_status import DeploymentStatus, Done
from lastgood.api.facts.signal import Verdict
from lastgood.api.names import DIGEST_STAMP, Outcome, Reason, RecordName
from lastgood.core.actions import CreateRecord, Switch, UpdateDeployment, UpdateRecord, Verify
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.candidates.proof import Proof, proof_of
from lastgood.core.decide import decide
from lastgood.core.requests.past import of_the_past
from lastgood.core.requests.record_names import record_names
from lastgood.core.requests.requests import as_stored, waiting_records
from lastgood.core.state import Observed, Refusal
from tests.unit.core.builders import (
    NOW,
    SMOKE,
    V1,
    V2,
    ago,
    annotated,
    checked,
    declaring,
    digest,
    having,
    locked,
    name,
    record,
    spec,
    tally,
    workload,
    world,
)
from tests.unit.core.moments import AVAILABLE, EMERGENCY, INTENT, after, before, ended, status_of


def test_value_rewritten_by_a_webhook_is_a_switch_all_the_same() -> None:
    """Else it would be applied again for ever, and nothing would be held."""
    ours = workload(V2)
    server = replace(ours.containers["server"], image="mirror/server@sha256:0")
    rewritten = before(record(**INTENT), workload=replace(ours, containers={"server": server}))
    assert status_of(decide(rewritten)).switched_at == NOW


def test_stamp_of_another_digest_is_no_switch() -> None:
    forged = replace(workload(V2), template_annotations={DIGEST_STAMP: digest(9)})
    assert isinstance(decide(before(record(**INTENT), workload=forged)).action, Switch)


def test_refused_record_does_not_stop_what_runs() -> None:
    """An annotation whose record the API server refuses must not keep a running rollback from its next step."""
    running = annotated(before(record(**INTENT)), emergency_rollback="INC-1: x")
    first = decide(running)
    assert isinstance(first.action, CreateRecord)
    assert isinstance(decide(replace(running, refused={first.action.name: Refusal(at=NOW)})).action, Switch)


def test_squatted_name_does_not_keep_an_emergency_waiting_for_what_runs() -> None:
    """Names are derived, so anybody may take the next ones, with records that name another ModelDeployment."""
    running = annotated(before(record(**INTENT)), emergency_rollback="INC-1: x")
    names = list(record_names(running))
    for number in (1, 5, len(names)):
        decision = decide(replace(running, taken=frozenset(names[:number])))
        assert isinstance(decision.action, CreateRecord)
        assert decision.action.name not in names[:number]


def test_record_of_an_earlier_modeldeployment_that_is_younger_than_this_one_leaves_nothing() -> None:
    """Whoever may create records could take every snapshot that there is to go back to away, all at once."""
    ours = declaring(world(), meta=replace(world().deployment.meta, created=ago(days=1)))
    asked = spec(deployment_uid="an-earlier-one", source=name(2), source_digest=digest(2))
    decision = decide(replace(ours, records=(record("forged", asked),)))
    assert isinstance(decision.action, UpdateRecord)
    assert decision.action.status.outcome == Outcome.SUPERSEDED
    earlier = declaring(ours, meta=replace(ours.deployment.meta, created=NOW))
    assert isinstance(decide(replace(earlier, records=(record("earlier", asked),))).action, UpdateDeployment)


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
    assert proof_of(observed, anew) == Proof.VERIFIED
    asked = Question(leaving=name(3), leaving_digest=digest(3))
    for least, reason in ((Proof.SOAKED, Reason.NOT_SOAKED), (Proof.VERIFIED, Reason.APPEARED_LATER)):
        found = ineligible(observed, replace(asked, least=least), anew)
        assert found is not None
        assert found[0] == reason


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


@pytest.mark.parametrize(("named", "lost"), [("rb-1", True), ("x", False)])
def test_continuation_is_not_lost_to_a_record_that_says_it_goes_on(named: str, lost: bool) -> None:  # noqa: FBT001 - a column of the table
    asked = record(asked=spec(continues=RecordName(named)))
    observed = having(world(records=(asked,)), continues={"record": "rb-1", "reason": "x", "message": "x", "spec": {}})
    decision = decide(observed)
    assert isinstance(decision.action, UpdateDeployment)
    assert (decision.action.status.continues is None) is lost


@pytest.mark.parametrize(("outcome", "reason"), [("Rejected", Reason.TRIGGER_FIRED), ("Failed", Reason.RATE_LIMITED)])
def test_records_that_say_a_trigger_made_them_and_are_rejected_do_not_use_up_its_rollbacks(
    outcome: str, reason: Reason
) -> None:
    done = tuple(Done(name=RecordName(f"x{n}"), at=ago(minutes=20), automatic=True, outcome=outcome) for n in range(3))
    firing = having(world(tallies={"accuracy": tally(Verdict.BREACHED)}), rollbacks=done)
    assert decide(firing).reason == reason


def test_forged_continuation_of_nothing_makes_no_records_for_ever() -> None:
    """No lock would clear it: a record that goes on from none does not say that it does."""
    forged = DeploymentStatus.from_body({"status": {**world().deployment.status.as_body(), "continues": {"name": 7}}})
    assert forged.continues is None
    assert not isinstance(decide(declaring(world(), status=forged)).action, CreateRecord)


FLOOD = tuple(record(f"forged-{number:03}", spec(emergency=True, reason=f"INC-{number}")) for number in range(200))


def test_flood_of_forged_emergencies_keeps_no_annotated_one_waiting() -> None:
    """Whoever may create records may create many; each would be carried out before the one that somebody calls for."""
    calling = annotated(world(records=FLOOD), emergency_rollback="INC-1: backdoor")
    first = decide(calling).action
    assert isinstance(first, CreateRecord)
    assert first.spec.reason == "INC-1: backdoor"
    called = replace(record(first.name, first.spec), meta=replace(record().meta, name=first.name, created=NOW))
    assert waiting_records(replace(calling, records=(*FLOOD, called)))[0] == called


def test_forged_emergency_that_runs_gives_way_to_the_annotated_one() -> None:
    running = locked(world(), replace(FLOOD[0], status=replace(FLOOD[0].status, **INTENT)), FLOOD[1:])
    asking = annotated(running, emergency_rollback="INC-1: backdoor")
    made = decide(asking).action
    assert isinstance(made, CreateRecord)
    switched = replace(FLOOD[0], status=replace(FLOOD[0].status, **AVAILABLE, quarantined=(digest(3),)))
    called = replace(record(made.name, made.spec), meta=replace(record().meta, name=made.name, created=NOW))
    over = decide(replace(asking, workload=workload(V2), records=(switched, *FLOOD[1:], called)))
    while isinstance(over.action, UpdateDeployment):  # first it says what serves since its switch
        asking = declaring(asking, status=over.action.status)
        over = decide(replace(asking, workload=workload(V2), records=(switched, *FLOOD[1:], called)))
    assert ended(over) == (Outcome.SUPERSEDED, Reason.SUPERSEDED)


def test_copy_of_what_an_annotation_asks_for_has_its_turn() -> None:
    """With nothing but the words of the annotation, a copy of it is what was called for; a flood does not hide it."""
    copy = record("copy", spec(emergency=True, reason="INC-1: backdoor"))
    copy = replace(copy, meta=replace(copy.meta, created=NOW))
    calling = annotated(world(records=(*FLOOD, copy)), emergency_rollback="INC-1: backdoor")
    assert waiting_records(calling)[0] == copy


@pytest.mark.parametrize("history", [True, False], ids=["in the history", "nowhere"])
@pytest.mark.parametrize("way", [{"emergency_rollback": "INC-1: backdoor"}, {"rollback": "wrong answers"}])
def test_digest_that_somebody_took_from_the_status_stops_no_rollback(way: dict[str, str], *, history: bool) -> None:
    """Its record was refused, and followed by another, as fast as the API server took them."""
    status = world().deployment.status
    robbed = having(world(), digest="", history=status.history if history else ())
    asking = annotated(robbed, **way)
    made = decide(asking).action
    assert isinstance(made, CreateRecord)
    stored = as_stored(made.spec)
    there = replace(asking, records=(replace(record(made.name, stored), meta=replace(record().meta, name=made.name)),))
    assert of_the_past(there) is None
