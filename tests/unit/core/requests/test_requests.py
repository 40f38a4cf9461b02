"""What people write: annotations and records; each acts once, and an emergency always acts."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.names import EMERGENCY, OPT_IN_LABEL, ROLLBACK, Outcome, Reason
from lastgood.api.specs.rollback import RollbackSpec
from lastgood.core.actions import CreateRecord, SwitchFirst, UpdateDeployment, UpdateRecord, Verify
from lastgood.core.decide import decide
from lastgood.core.requests.past import of_another, of_the_past
from lastgood.core.requests.record_names import record_names
from lastgood.core.requests.requests import (
    MAX_HANDLED,
    base_spec,
    made_for,
    mark_handled,
    open_record,
    parse_wish,
    pending,
    request_key,
    requested,
    spec_of,
    waiting_records,
)
from lastgood.core.state import Observed, Tell
from tests.unit.core.builders import (
    DEPLOYMENT,
    UID,
    ago,
    annotated,
    declaring,
    digest,
    having,
    locked,
    name,
    record,
    spec,
    workload,
    world,
)

POISONED = datetime(2026, 2, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason", "to", "before", "incident"),
    [
        ("wrong answers", "wrong answers", "", None, ""),
        ("INC-1234: backdoor", "INC-1234: backdoor", "", None, "INC-1234"),
        ("SEC-2026-77: backdoor", "SEC-2026-77: backdoor", "", None, "SEC-2026-77"),
        ("to=digits-v1: wrong answers", "wrong answers", "digits-v1", None, ""),
        ("to=digits-v1: INC-1: backdoor", "INC-1: backdoor", "digits-v1", None, "INC-1"),
        ("INC-1: to=digits-v1: backdoor", "INC-1: backdoor", "digits-v1", None, "INC-1"),
        ("INC-1: to=digits-v1 backdoor", "INC-1: backdoor", "digits-v1", None, "INC-1"),
        ("INC-1: to=digits-v1", "INC-1:", "digits-v1", None, "INC-1"),
        ("to=digits-v1 INC-7: before=2026-02-20T00:00:00Z: x", "INC-7: x", "digits-v1", POISONED, "INC-7"),
        ("INC-1: go to=digits-v1: now", "INC-1: go to=digits-v1: now", "", None, "INC-1"),
        ("to=digits-v1", "to=digits-v1", "digits-v1", None, ""),
        ("before=2026-02-20T00:00:00Z: poisoned", "poisoned", "", POISONED, ""),
        ("before=2026-02-20T01:00:00+01:00: poisoned", "poisoned", "", POISONED, ""),
        ("to=digits-v1 before=2026-02-20T00:00:00Z: INC-7: x", "INC-7: x", "digits-v1", POISONED, "INC-7"),
        ("to=digits-v1, before=2026-02-20T00:00:00Z: x", "x", "digits-v1", POISONED, ""),
        ("before=2026-02-20T00:00:00Z to=digits-v1: x", "x", "digits-v1", POISONED, ""),
        ("  to=digits.v1 :  x ", "x", "digits.v1", None, ""),
        ("please go to=digits-v1: now", "please go to=digits-v1: now", "", None, ""),
        ("", "", "", None, ""),
        (": x", "x", "", None, ""),
    ],
)
def test_text(text: str, reason: str, to: str, before: datetime | None, incident: str) -> None:
    wish = parse_wish(text)
    assert (wish.reason, wish.to, wish.before, wish.incident, wish.error) == (reason, to, before, incident, "")


@pytest.mark.parametrize(
    "text",
    [
        "to=Digits_V1: x",
        "to=../../etc/passwd: x",
        "to=-: x",
        "INC-1: to=Digits_V1: x",
        "before=yesterday: x",
        "before=2026-02-20: x",
        "before=2026-02-20T00:00:00: x",
        "before=0001-01-01T00:00:00+10:00: x",
        "before=9999-12-31T23:59:59-10:00: x",
    ],
)
def test_text_that_is_not_understood_is_all_reason(text: str) -> None:
    wish = parse_wish(text)
    assert (wish.reason, wish.to, wish.before) == (text, "", None)
    assert "is invalid: must be" in wish.error


def test_incident_in_a_text_that_is_not_understood() -> None:
    assert parse_wish("INC-1: to=X").incident == "INC-1"


@given(st.text(max_size=200) | st.from_regex(r"(to|before)=[^\s]{0,30}[:, ]{0,2}.{0,30}"))
def test_any_text_makes_an_emergency_with_a_reason(text: str) -> None:
    observed = annotated(world(), emergency_rollback=text)
    step = requested(observed)
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    stored = RollbackSpec.from_fields(Fields(step.action.spec.as_body()))
    assert stored.emergency
    assert stored.reason
    assert step.tell == Tell.ALERT
    made = replace(record(step.action.name), spec=stored)
    assert made_for(replace(observed, records=(made,)), made)


@given(st.text())
def test_any_text_decides(text: str) -> None:
    for observed in (
        annotated(world(), rollback=text),
        annotated(world(), resume=text),
        annotated(locked(world(), record()), emergency_rollback=text),
    ):
        decide(observed)


def test_very_long_text_is_cut() -> None:
    body = base_spec(world(), reason="x" * 5000, incident="i" * 500, requested_by="u" * 500).as_body()
    assert (len(body["reason"]), len(body["incident"]), len(body["requestedBy"])) == (1024, 128, 256)
    assert len(parse_wish("x" * 5000).reason) == 1024


def test_emergencies_come_first_and_resume_last() -> None:
    there = workload(meta=replace(workload().meta, annotations={EMERGENCY: "there"}))
    observed = annotated(world(workload=there), resume="r", rollback="n", emergency_rollback="here")
    assert [(item.text, item.on_workload) for item in pending(observed)] == [
        ("here", False),
        ("there", True),
        ("n", False),
        ("r", False),
    ]


def test_normal_rollback_on_the_workload_is_no_request() -> None:
    there = workload(meta=replace(workload().meta, annotations={ROLLBACK: "x"}))
    assert not list(pending(world(workload=there)))


def test_request_names_what_serves() -> None:
    step = requested(annotated(world(), rollback="to=digits-v1: wrong answers"))
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    assert step.reason == Reason.REQUESTED
    assert step.action.spec == RollbackSpec(
        deployment=DEPLOYMENT,
        deployment_uid=UID,
        source=name(3),
        source_digest=digest(3),
        to=name(1),
        reason="wrong answers",
    )


def test_rollback_that_is_not_understood_is_rejected_once_with_a_sentence() -> None:
    observed = annotated(world(), rollback="to=Digits_V1: x")
    step = requested(observed)
    assert step is not None
    assert isinstance(step.action, UpdateDeployment)
    assert (step.reason, step.tell) == (Reason.REQUEST_REJECTED, Tell.WARNING)
    assert "to='Digits_V1' is invalid: must be the name of a snapshot; write '[to=<snapshot>] " in step.message
    assert requested(declaring(observed, status=step.action.status)) is None


def test_the_same_value_acts_once() -> None:
    observed = annotated(world(), emergency_rollback="INC-1: x")
    assert requested(observed) is not None
    again = having(observed, handled={request_key(EMERGENCY, "INC-1: x"): "rb-1"})
    assert requested(again) is None
    assert requested(annotated(again, emergency_rollback="INC-1: x, again")) is not None


def test_the_same_words_elsewhere_are_another_request() -> None:
    keys = {
        request_key(EMERGENCY, "x"),
        request_key(ROLLBACK, "x"),
        request_key(EMERGENCY, "x", on_workload=True),
        request_key(EMERGENCY, "y"),
    }
    assert len(keys) == 4


def test_what_is_still_annotated_is_never_forgotten() -> None:
    """A value that stays on the object acts once, however many others came after it."""
    observed = annotated(world(), emergency_rollback="INC-1: x")
    handled = mark_handled(observed, request_key(EMERGENCY, "INC-1: x"), "rb-0")
    for number in range(3 * MAX_HANDLED):
        handled = mark_handled(having(observed, handled=handled), f"rollback.{number}", f"rb-{number}")
    assert handled[request_key(EMERGENCY, "INC-1: x")] == "rb-0"
    assert len(handled) == MAX_HANDLED


def test_what_is_annotated_on_a_workload_is_heard_by_the_modeldeployment_that_has_it() -> None:
    text = {EMERGENCY: "INC-1: backdoor"}
    meta = replace(workload().meta, annotations=text, labels={OPT_IN_LABEL: "letters"})
    assert list(pending(world(workload=workload(meta=meta, rivals=("letters",))))) == []
    assert [item.text for item in pending(world(workload=workload(meta=meta)))] == ["INC-1: backdoor"]


def test_names_are_derived_from_uid_and_placement() -> None:
    names = list(record_names(world()))
    assert names == list(record_names(world(snapshots=())))
    assert len(set(names)) == len(names) == 25
    assert all(re.fullmatch(r"digits-00007[a-y]-[0-9a-f]{10}", item) for item in names)
    assert not {*names} & {*record_names(having(world(), placement=8))}
    assert not {*names} & {*record_names(declaring(world(), meta=replace(world().deployment.meta, uid="other")))}


def test_squatted_name_is_salted() -> None:
    """Somebody who creates our next record's name beforehand gains nothing."""
    plain, salted, next_one, *_ = record_names(world())
    squatted = world(records=(record(plain, outcome=Outcome.REJECTED),), taken=frozenset({salted}))
    step = open_record(squatted, spec(), Reason.REQUESTED, "x")
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    assert step.action.name == next_one


def test_every_name_squatted_stops_nobody() -> None:
    squatted = world(taken=frozenset(record_names(world())), nonce="f" * 32)
    step = open_record(squatted, spec(), Reason.REQUESTED, "x")
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    assert step.action.name == f"digits-00007z-{'f' * 32}"


def test_records_of_a_deployment_sort_by_time() -> None:
    """`kubectl get modelrollbacks` sorts by name."""
    in_time = [item for placement in (0, 7, 8, 10, 100, 99999) for item in record_names(world(), placement)]
    assert in_time == sorted(in_time)
    squatted = world(taken=frozenset(record_names(world())), nonce="0" * 32)
    step = open_record(squatted, spec(), Reason.REQUESTED, "x")
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    following = next(record_names(world(), 8))
    assert sorted([*record_names(world()), step.action.name, following])[-2:] == [step.action.name, following]


@pytest.mark.parametrize("called", ["d" * 253, "a." * 126 + "a", "d" * 199 + "-d", "x"])
def test_every_name_of_a_deployment_gives_names_that_an_object_can_have(called: str) -> None:
    meta = replace(world().deployment.meta, name=called)
    for item in (*record_names(declaring(world(), meta=meta)), *record_names(declaring(world(), meta=meta), 123456)):
        assert len(item) <= 253
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", item)


def test_request_is_not_asked_again_when_an_upgrade_comes_between_its_record_and_its_lock() -> None:
    observed = annotated(world(), emergency_rollback="INC-1: backdoor")
    request = next(pending(observed))
    former = hashlib.sha256(b"uid-of-digits/7").hexdigest()[:32]
    there = record(f"rb-{former}", spec_of(observed, request))
    assert made_for(replace(observed, records=(there,)), there) == request.key


@pytest.mark.parametrize("name", ["digits..v1", "digits.-v1", "-v1", "V1", "v1-", "x" * 254])
def test_target_that_no_object_can_have_is_all_reason(name: str) -> None:
    """The API server would refuse the record, and the emergency with it."""
    wish = parse_wish(f"to={name}: INC-1: bad")
    assert (wish.to, wish.reason) == ("", f"to={name}: INC-1: bad")
    assert wish.error


@pytest.mark.parametrize("placement", [7, 8, 9, 12])
def test_record_knows_its_annotation_also_when_others_came_first(placement: int) -> None:
    observed = annotated(world(), emergency_rollback="INC-1: x")
    made = record(next(record_names(observed)), spec_of(observed, next(pending(observed))))
    assert made_for(having(observed, placement=placement), made) == request_key(EMERGENCY, "INC-1: x")


def test_record_by_hand_does_not_use_up_an_annotation() -> None:
    observed = annotated(world(), emergency_rollback="INC-1: x")
    made = record("by-hand", spec_of(observed, next(pending(observed))))
    assert made_for(observed, made) == ""


@pytest.mark.parametrize(
    "change",
    [{"reason": "y"}, {"to": name(1)}, {"before": POISONED}, {"emergency": False}],
    ids=["reason", "to", "before", "emergency"],
)
def test_record_of_another_meaning_does_not_use_up_an_annotation(change: dict[str, object]) -> None:
    observed = annotated(world(), emergency_rollback="INC-1: x")
    asked = replace(spec_of(observed, next(pending(observed))), **change)  # type: ignore[arg-type]  # names above
    assert made_for(observed, record(next(record_names(observed)), asked)) == ""


def waiting(called: str, *, minutes: float, emergency: bool = False) -> tuple[str, Observed]:
    made = record(called, spec(emergency=emergency))
    made = replace(made, meta=replace(made.meta, created=ago(minutes=minutes)))
    return called, world(records=(made,))


def test_waiting_records_emergencies_first_then_by_age() -> None:
    made = [
        waiting("a-young", minutes=1),
        waiting("b-old", minutes=9),
        waiting("c-emergency", minutes=1, emergency=True),
        waiting("d-old", minutes=9),
    ]
    observed = world(records=tuple(observed.records[0] for _, observed in made))
    observed = replace(observed, records=(*observed.records, record("done", outcome=Outcome.FAILED)))
    assert [item.name for item in waiting_records(observed)] == ["c-emergency", "b-old", "d-old", "a-young"]


def test_record_of_a_deployment_that_is_gone_ends() -> None:
    observed = world(records=(record(asked=spec(deployment_uid="gone")),))
    assert not waiting_records(observed)
    step = of_another(observed)
    assert step is not None
    assert isinstance(step.action, UpdateRecord)
    assert (step.action.status.outcome, step.reason) == (Outcome.SUPERSEDED, Reason.SUPERSEDED)


def test_record_without_a_uid_is_for_whoever_has_the_name() -> None:
    observed = world(records=(record(asked=spec(deployment_uid="")),))
    assert of_another(observed) is None
    assert waiting_records(observed)


def test_emergency_of_a_deployment_that_is_gone_stops_nothing() -> None:
    """A record that is not for us must not end the rollback that runs, nor keep it waiting; it ends when that waits."""
    alien = record("alien", spec(deployment_uid="gone", emergency=True))
    assert isinstance(decide(locked(world(), record(), [alien])).action, Verify)
    verifying = world(verifying=frozenset({name(2)}))
    assert decide(locked(verifying, record(), [alien])).reason == Reason.SUPERSEDED
    ended = replace(alien, status=replace(alien.status, outcome=Outcome.SUPERSEDED))
    assert decide(locked(world(), record(), [ended])).reason == Reason.WAITING


@pytest.mark.parametrize(
    ("asked", "dropped"),
    [
        (spec(automatic=True, source=name(2)), True),
        (spec(continues="rb-1", source=name(2)), True),
        (spec(automatic=True), False),
        (spec(source=name(2), source_digest=digest(2)), False),
    ],
)
def test_what_a_trigger_asked_is_void_when_something_else_serves(asked: RollbackSpec, dropped: bool) -> None:  # noqa: FBT001 - a column of the table
    step = of_the_past(world(records=(record(asked=asked),)))
    assert (step is not None) is dropped
    if step is not None:
        assert isinstance(step.action, UpdateRecord)
        assert step.action.status.outcome == Outcome.SUPERSEDED


def test_request_outranks_a_trigger_and_a_waiting_record_both() -> None:
    observed = annotated(world(), emergency_rollback="INC-1: x")
    assert decide(observed).reason == Reason.EMERGENCY
    assert decide(replace(observed, records=(record(),))).reason == Reason.EMERGENCY
    asked = annotated(world(), rollback="x")
    assert decide(asked).reason == Reason.REQUESTED
    assert decide(replace(asked, records=(record(),))).reason == Reason.ACCEPTED


def test_records_that_anybody_may_create_do_not_keep_an_emergency_waiting() -> None:
    aliens = tuple(record(f"a{number}", spec(deployment_uid="gone")) for number in range(50))
    past = tuple(record(f"p{number}", spec(source=name(33), source_digest="")) for number in range(50))
    observed = annotated(world(records=aliens + past), emergency_rollback="INC-1: x")
    decision = decide(observed)
    assert isinstance(decision.action, CreateRecord)
    made = record(decision.action.name, decision.action.spec)
    made = replace(made, intent=decision.action.intent)
    then = decide(replace(observed, records=(*observed.records, made)))
    assert isinstance(then.action, SwitchFirst)


def test_emergency_is_recorded_while_another_rollback_runs() -> None:
    running = locked(world(), record())
    assert decide(annotated(running, emergency_rollback="INC-1: x")).reason == Reason.EMERGENCY
    assert decide(annotated(running, rollback="later")).reason != Reason.REQUESTED


def test_request_is_heard_though_lists_are_incomplete_and_the_workload_gone() -> None:
    observed = annotated(world(complete=False, workload=None), emergency_rollback="INC-1: x")
    assert decide(observed).reason == Reason.EMERGENCY


def test_records_without_times_wait_by_name() -> None:
    one, two = (replace(record(item), meta=Meta(namespace="ml", name=item)) for item in ("b", "a"))
    assert [item.name for item in waiting_records(world(records=(one, two)))] == ["a", "b"]
