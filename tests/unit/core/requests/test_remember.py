"""What outlives a ModelDeployment: every fact is in force while one of two places has it."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import MAX_HANDLED, MAX_LEFT, DeploymentStatus, Held, Left
from lastgood.api.facts.remembered import NOTHING, Proven, Remembered
from lastgood.api.names import EMERGENCY, RESUME, ROLLBACK, Digest, Outcome, Reason, RecordName
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.sources import PvcSource
from lastgood.core.actions import Remember, Switch, UpdateDeployment, UpdateRecord
from lastgood.core.candidates.likeness import runtime
from lastgood.core.candidates.proof import Proof, proof_of
from lastgood.core.decide import decide
from lastgood.core.requests.gone import ObservedGone, decide_gone
from lastgood.core.requests.remember import outdated, recalled, remember, to_remember
from lastgood.core.requests.requests import mark_handled, request_key
from lastgood.core.serving.forward import forward, released
from lastgood.core.state import Decision, Observed, Refusal
from lastgood.errors import InvalidSpecError
from tests.unit.core import builders
from tests.unit.core.builders import (
    BINDINGS,
    NOW,
    UID,
    V1,
    V2,
    V3,
    ago,
    annotated,
    checked,
    declaring,
    deployment,
    digest,
    having,
    name,
    record,
    spec,
    workload,
    world,
)
from tests.unit.core.simulated import events
from tests.unit.core.simulated.simulation import simulation

LEFT = Left(digest=digest(3), snapshot=name(3), reason="wrong answers", at=ago(hours=1))
HELD = Held(snapshot=name(3), digest=digest(3), reason="wrong answers", rollback=RecordName("rb-1"), since=ago(hours=1))
SOAKED = Proven(digest=digest(2), runtime=runtime(BINDINGS, V2), at=ago(days=1))
KEPT = Remembered(held=HELD, left=(LEFT,), handled={"rollback.0123456789abcdef": "rb-1"}, proven=(SOAKED,))


def anew(kept: Remembered | None = KEPT, **changes: Any) -> Observed:
    """Return the world after v3 was left for v2, and the ModelDeployment was deleted and made again."""
    made = deployment(meta=replace(deployment().meta, uid="another"), status=DeploymentStatus())
    observed = world(deployment=made, workload=workload(V2), checked=checked(V3), **({"remembered": kept} | changes))
    whole = recalled(observed.deployment, kept)
    return replace(observed, deployment=whole, recalled=whole != observed.deployment)


def test_hold_and_left_are_in_force_again_and_the_bad_one_is_not_deployed() -> None:
    observed = anew()
    assert (observed.deployment.status.held, observed.deployment.status.left) == (HELD, (LEFT,))
    first = decide(observed)
    assert (first.reason, type(first.action)) == (Reason.RECALLED, UpdateDeployment)
    step = forward(having(observed, snapshot=name(2), digest=digest(2)))
    assert step is not None
    assert (step.reason, step.action) == (Reason.HELD, None)


def test_what_a_switch_leaves_is_kept_together_with_the_status_that_says_so() -> None:
    world_ = simulation(second_first=False)
    events.sicken(3)(world_)
    world_.settle()
    at = world_.actions.index("Switch")
    assert world_.actions[at : at + 4] == ["Switch", "UpdateRecord", "UpdateDeployment", "Remember"]


def test_request_is_not_kept_as_handled_before_what_it_asks_for_is_written() -> None:
    """Where the second of the two is lost, it would never be done."""
    world_ = simulation()
    events.annotate(ROLLBACK, "wrong answers")(world_)
    world_.settle()
    events.annotate(RESUME, "it was not v3")(world_)
    before = len(world_.actions)
    world_.settle()
    assert world_.actions[before : before + 2] == ["Remember", "UpdateDeployment"], "the hold goes first, and alone"


def test_without_what_is_kept_the_bad_one_would_be_deployed() -> None:
    """So these tests can fail."""
    step = forward(having(anew(NOTHING), snapshot=name(2), digest=digest(2)))
    assert step is not None
    assert isinstance(step.action, Switch)


@pytest.mark.parametrize("problem", ["", "cannot read ConfigMap ops/lastgood-remembered-ml: forbidden"])
def test_what_cannot_be_read_is_not_nothing(problem: str) -> None:
    observed = having(anew(None, remembered_problem=problem), snapshot=name(2), digest=digest(2))
    step = forward(replace(observed, remembered=None))
    assert step is not None
    assert (step.reason, step.action) == (Reason.NOT_READ, None)
    assert (problem or "has not been read yet") in step.message


def test_emergency_waits_for_nothing_that_is_kept() -> None:
    for kept, problem in ((None, ""), (None, "forbidden")):
        served = replace(annotated(world(), emergency_rollback="INC-1: backdoor"), remembered=kept)
        decision = decide(replace(served, remembered_problem=problem))
        assert decision.reason == Reason.EMERGENCY


def test_naming_another_snapshot_releases_the_hold_and_not_the_digest() -> None:
    other = recalled(deployment(snapshot=name(1), status=DeploymentStatus()), KEPT)
    assert (other.status.held, other.status.left) == (None, (LEFT,))
    observed = replace(declaring(anew(), snapshot=name(1)), deployment=other, remembered=KEPT)
    assert released(observed) is None
    assert to_remember(observed).held is None


def test_status_that_is_restored_over_the_object_does_not_bring_the_bad_one_back() -> None:
    """A backup from when v3 served; its uid is right, and the difference to the workload looks like drift."""
    old = deployment(status=replace(deployment().status, uid=UID, observed_generation=1))
    whole = recalled(old, KEPT)
    observed = world(deployment=whole, workload=workload(V2), remembered=KEPT, recalled=True, checked=checked(V3))
    for _ in range(4):
        decision = decide(observed)
        assert isinstance(decision.action, UpdateDeployment)
        status = decision.action.status
        observed = replace(observed, deployment=replace(whole, status=status), recalled=False)
    assert (status.snapshot, status.held, status.left) == (name(2), HELD, (LEFT,))


def test_snapshot_that_was_left_and_named_again_serves_like_any_other() -> None:
    """Whoever says `to=` releases it; only a switch since then makes a status old."""
    again = having(world(workload=workload(V1)), left=(replace(LEFT, at=ago(hours=3)),))
    assert outdated(again) is None
    assert outdated(having(world(), left=(LEFT,))) is None, "the workload carries it"


def test_same_bytes_under_another_name_are_left_as_well() -> None:
    again = replace(V3, meta=replace(V3.meta, name="digits-v3-again", uid="new"))
    observed = replace(anew(), snapshots=(V1, V2, again))
    observed = replace(observed, deployment=replace(observed.deployment, snapshot=again.name))
    step = forward(having(observed, snapshot=name(2), digest=digest(2)))
    assert step is not None
    assert (step.reason, "digest rejected by" in step.message) == (Reason.HELD, True)


@pytest.mark.parametrize(
    ("changes", "proof"),
    [
        pytest.param({}, Proof.SOAKED, id="the same"),
        pytest.param({"meta": replace(V2.meta, name="restored", uid="new")}, Proof.SOAKED, id="another name and uid"),
        pytest.param({"source": PvcSource(claim="models", path="elsewhere/2")}, Proof.SOAKED, id="another path"),
        pytest.param({"image": "registry/evil:1"}, Proof.VERIFIED, id="another image"),
        pytest.param({"digest": digest(9)}, Proof.VERIFIED, id="other bytes"),
    ],
)
def test_proof_is_of_the_bytes_and_of_what_runs_them(changes: dict[str, Any], proof: Proof) -> None:
    """Whoever may create snapshots gains nothing by it: the image, or any other bound value, is not proven."""
    candidate = replace(V2, **changes)
    assert proof_of(replace(anew(), snapshots=(candidate,)), candidate) == proof


def test_status_of_another_object_says_what_it_left_and_no_more() -> None:
    """A restore with its status: what serves, the lock and the times are those of the backup."""
    body = world().deployment.status
    stale = replace(body, uid="old", left=(LEFT,), held=HELD, handled={"a": "b"}, observed_generation=3)
    assert stale.of("old") == stale
    assert stale.of("new") == DeploymentStatus(left=(LEFT,), held=HELD, handled={"a": "b"})
    assert replace(stale, uid="").of("new").snapshot == name(3), "of a version that wrote no uid"


def test_annotation_that_comes_back_from_a_backup_after_the_first_look_does_not_fire() -> None:
    """The workload is restored after the ModelDeployment, with last month's emergency on it."""
    text = "INC-1: last month"
    key = request_key(EMERGENCY, text, on_workload=True)
    made = having(anew(Remembered(handled={key: "rb-1"})), observed_generation=1)
    late = replace(made, workload=workload(V2, meta=replace(workload().meta, annotations={EMERGENCY: text})))
    assert decide(late).reason != Reason.EMERGENCY
    assert decide(having(late, handled={})).reason == Reason.EMERGENCY


@pytest.mark.parametrize("number", [1, MAX_HANDLED, MAX_HANDLED + 5])
def test_what_was_handled_last_is_never_pushed_out_by_what_is_kept(number: int) -> None:
    old = {f"old.{index}": "rb" for index in range(number)}
    now = {f"new.{index}": "rb" for index in range(MAX_HANDLED)}
    live = deployment(status=replace(deployment().status, observed_generation=1, handled=now))
    assert recalled(live, Remembered(handled=old)).status.handled == now


def test_what_was_acted_upon_last_stays_known_though_the_api_server_sorts_it() -> None:
    """Else an emergency that comes back from a backup fires again, because its hash sorts before those of others."""
    observed, keys = having(world(), handled={}), []
    for number in range(MAX_HANDLED * 2):
        keys.append(request_key(EMERGENCY, f"INC-{number}: x"))
        handled = mark_handled(observed, keys[-1], "rb")
        status = replace(observed.deployment.status, handled=dict(sorted(handled.items())))
        observed = replace(observed, deployment=replace(observed.deployment, status=status))
        observed = replace(observed, remembered=to_remember(observed))
    assert set(observed.deployment.status.handled) == set(keys[-MAX_HANDLED:])
    assert observed.remembered is not None
    assert list(observed.remembered.handled) == keys[-MAX_HANDLED:]


def test_lists_are_bounded_and_the_newest_stay() -> None:
    many = tuple(
        replace(LEFT, digest=digest(f"x{index}"), at=ago(minutes=200 - index)) for index in range(MAX_LEFT + 9)
    )
    kept = Remembered(left=many, proven=tuple(replace(SOAKED, digest=item.digest) for item in many)).written
    assert kept.left[-1].digest == many[-1].digest
    assert len(kept.left) == MAX_LEFT
    assert kept.written == kept
    assert len(kept.as_text()) < 32 * 1024


def test_nonsense_in_a_status_is_cut_and_stops_no_pass() -> None:
    """A restored or overwritten status must not keep a rollback from its outcome."""
    long = [{"digest": f"{index}{'d' * 2000}", "snapshot": "s" * 2000, "reason": "r" * 2000} for index in range(64)]
    body = {"status": {"uid": UID, "left": long, "handledRequests": {f"k{index}": "v" * 20_000 for index in range(16)}}}
    observed = replace(world(), deployment=deployment(status=DeploymentStatus.from_body(body)))
    kept = to_remember(observed)
    assert kept.written == kept
    assert len(kept.as_text()) < 32 * 1024


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{" * 10_000, '{"left": 5}', '{"proven": [7]}'])
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        Remembered.from_text(text)


def test_text_is_read_back() -> None:
    assert Remembered.from_text(KEPT.as_text()) == KEPT
    assert Remembered.from_text("{}") == NOTHING


def test_what_is_kept_already_is_not_written_again() -> None:
    assert remember(world()) is None
    assert remember(replace(world(), remembered=NOTHING)) is not None
    assert remember(replace(world(), remembered=None)) is None
    refused = replace(world(), remembered=NOTHING, refused={"remembered": Refusal(at=NOW)})
    assert remember(refused) is None, "what the API server refuses is not asked for all the time"
    assert remember(replace(refused, refused={"remembered": Refusal(at=ago(minutes=2))})) is not None


# Records of a ModelDeployment that is gone


def gone(of: ModelRollback, **changes: Any) -> ObservedGone:
    return replace(ObservedGone(now=NOW, records=(of,), workload=workload(V2), remembered=NOTHING), **changes)


def test_record_of_a_modeldeployment_that_is_gone_ends_and_what_it_left_is_kept_first() -> None:
    first = decide_gone(gone(record()))
    assert isinstance(first.action, Remember)
    assert [item.digest for item in first.action.facts.left] == [digest(3)]
    assert first.action.facts.held is not None
    then = decide_gone(gone(record(), remembered=first.action.facts))
    assert isinstance(then.action, UpdateRecord)
    assert then.action.status.outcome == Outcome.SUPERSEDED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"complete": False}, Reason.WAITING, id="half a list"),
        pytest.param({"remembered": None}, Reason.NOT_READ, id="what is kept is not read"),
        pytest.param({"refused": {"remembered": NOW}}, Reason.WAITING, id="it cannot be kept"),
    ],
)
def test_record_does_not_end_before_what_it_left_is_kept(changes: dict[str, Any], reason: Reason) -> None:
    decision = decide_gone(gone(record(), **changes))
    assert (decision.reason, decision.action) == (reason, None)


def test_record_that_switched_nothing_left_nothing() -> None:
    decision = decide_gone(gone(record(), workload=workload(V3)))
    assert isinstance(decision.action, UpdateRecord)


def test_made_anew_takes_over_what_an_open_record_of_the_earlier_one_left() -> None:
    """Killed between the switch and the next write, with the ModelDeployment deleted and made again meanwhile."""
    open_one = record("rb-1", spec(deployment_uid="uid-of-the-old-one"))
    observed = anew(NOTHING, records=(open_one,))
    first = decide(observed)
    assert isinstance(first.action, UpdateDeployment)
    assert [item.digest for item in first.action.status.left] == [digest(3)]
    assert first.action.status.held is not None
    then = decide(declaring(observed, status=first.action.status))
    assert isinstance(then.action, UpdateRecord)
    assert then.action.status.outcome == Outcome.SUPERSEDED


def test_record_without_a_uid_that_was_there_before_is_not_acted_upon() -> None:
    """A backup brings records back without their outcome."""
    decision = decide(anew(NOTHING, records=(record("mine", spec(deployment_uid="", emergency=True)),)))
    assert isinstance(decision.action, UpdateRecord)
    assert decision.action.status.outcome == Outcome.SUPERSEDED


def later(observed: Observed) -> Observed:
    """Return the world with a ModelDeployment that is younger than every record."""
    return replace(
        observed, deployment=replace(observed.deployment, meta=replace(observed.deployment.meta, created=NOW))
    )


def test_record_of_a_person_that_never_began_says_nothing_of_what_is_desired_now() -> None:
    """What is desired may be new: it never served, and was rejected."""
    asked = record("mine", spec(deployment_uid="", source="", source_digest=""))
    first = decide(later(anew(NOTHING, records=(asked,))))
    assert isinstance(first.action, UpdateRecord)
    assert first.action.status.outcome == Outcome.SUPERSEDED


def test_record_of_a_person_that_began_says_what_it_replaced() -> None:
    facts = {"deployment_uid": "uid-of-the-old-one", "source": name(3), "source_digest": digest(3)}
    asked = record("mine", spec(deployment_uid="", source="", source_digest=""), **facts)
    first = decide(later(anew(NOTHING, records=(asked,))))
    assert isinstance(first.action, UpdateDeployment)
    assert [item.digest for item in first.action.status.left] == [digest(3)]


def flood(number: int) -> tuple[ModelRollback, ...]:
    """Return records that anybody may create, which say that as many digests were left."""
    return tuple(
        record(f"e{at:02}", spec(deployment_uid="", source=name(40), source_digest=Digest(f"sha256:{at:064x}")))
        for at in range(number)
    )


def test_records_that_anybody_may_create_do_not_push_out_what_was_left() -> None:
    kept = KEPT
    for one in flood(MAX_LEFT + 3):
        decision = decide_gone(gone(one, remembered=kept))
        if isinstance(decision.action, Remember):
            kept = decision.action.facts
    assert len(kept.left) == MAX_LEFT
    assert digest(3) in {item.digest for item in kept.left}


def test_nor_do_they_push_it_out_of_a_status() -> None:
    observed = later(anew(KEPT, records=flood(MAX_LEFT + 3)))
    for _ in range(3 * MAX_LEFT):
        decision = decide(observed)
        match decision.action:
            case UpdateDeployment(status=status):
                observed = declaring(observed, status=status)
            case UpdateRecord(record=of, status=status):
                made = tuple(replace(item, status=status) if item == of else item for item in observed.records)
                observed = replace(observed, records=made)
            case _:
                break
    assert all(item.status.outcome for item in observed.records)
    assert digest(3) in {item.digest for item in observed.deployment.status.left}


def test_record_of_the_very_second_in_which_the_deployment_was_made_has_to_have_begun() -> None:
    """Else whoever makes it then has every good snapshot rejected."""
    good = record("forged", spec(deployment_uid="other", source=name(1), source_digest=digest(1)))
    observed = anew(NOTHING, records=(replace(good, meta=replace(good.meta, created=NOW)),))
    first = decide(later(observed))
    assert isinstance(first.action, UpdateRecord)
    began = replace(good, status=replace(good.status, deployment_uid="other", source=name(1), source_digest=digest(1)))
    observed = anew(NOTHING, records=(replace(began, meta=replace(began.meta, created=NOW)),))
    assert isinstance(decide(later(observed)).action, UpdateDeployment)


# What a person releases


def resuming(**changes: Any) -> Decision:
    """Return what becomes of a request to lift the hold on v3."""
    observed = annotated(having(world(), snapshot=name(2), digest=digest(2), held=HELD, left=(LEFT,)), resume="mended")
    return decide(builders.kept(replace(observed, **changes)))


def test_resume_of_a_snapshot_that_was_deleted_releases_its_digest_as_well() -> None:
    """It said that the hold is lifted, and applied again the same bytes were refused as left."""
    for snapshots in ((V1, V2, V3), (V1, V2)):
        first = resuming(snapshots=snapshots)
        assert isinstance(first.action, Remember)
        assert (first.action.facts.held, first.action.facts.left) == (None, ())


def test_resume_without_a_hold_says_so() -> None:
    assert decide(annotated(world(), resume="mended")).message == "there is no hold to lift: mended"
