"""Forward: what brings a snapshot to the workload, and each reason why it is not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.bindings.kinds.annotation import AnnotationBinding
from lastgood.api.facts.deployment_status import Held, Left
from lastgood.api.facts.signal import Verdict
from lastgood.api.meta import Meta
from lastgood.api.names import FIELD_MANAGER, Reason, RecordName
from lastgood.api.specs.rollback import FiredTrigger
from lastgood.api.specs.snapshot import QuarantineMark
from lastgood.api.specs.sources import PvcSource
from lastgood.core.actions import Adopt, CreateRecord, Remember, Switch, UpdateDeployment, Verify
from lastgood.core.candidates.eligible import RULES, Way
from lastgood.core.decide import decide
from lastgood.core.rollback.closing import is_bad_copy
from lastgood.core.serving.forward import continued, forward, released, resumed
from lastgood.core.state import FRESH, Drift, Observed, Refusal, Step
from lastgood.core.words import INTEGRITY
from tests.unit.core.builders import (
    HISTORY,
    NOW,
    V2,
    V3,
    ago,
    allowing,
    annotated,
    bringing,
    checked,
    declaring,
    digest,
    having,
    name,
    served,
    snapshot,
    spec,
    swapped,
    tally,
    unverified,
    workload,
    world,
)
from tests.unit.core.owned import ENV, IMAGE, owned

V4 = snapshot(4)

WANTED = declaring(swapped(world(), V4), snapshot=name(4))
VERIFIED = replace(WANTED, checked=checked(V4))
HOLD = Held(snapshot=name(4), digest=digest(4), reason="INC-1: backdoor", rollback=RecordName("rb-1"), since=NOW)
LEFT = Left(digest=digest(4), snapshot=name(4), reason="INC-1: backdoor", at=NOW)
MARKED = replace(V4, status=replace(V4.status, quarantine=QuarantineMark(scope="Snapshot", reason="INC-1")))
ELSEWHERE = replace(V4, source=PvcSource(claim="archive", path="digits/4"))


def step_of(observed: Observed) -> Step:
    step = forward(observed)
    assert step is not None
    return step


def test_what_serves_is_what_is_wanted() -> None:
    assert forward(world()) is None


def test_verified_switched_and_then_recorded() -> None:
    assert step_of(WANTED).action == Verify(snapshot=V4)
    assert step_of(replace(WANTED, verifying=frozenset({name(4)}))).action is None
    assert step_of(VERIFIED).action == Switch(snapshot=V4)
    found = step_of(replace(WANTED, workload=workload(V4)))
    assert isinstance(found.action, UpdateDeployment)
    status = found.action.status
    assert (status.snapshot, status.digest, status.placement, status.available_at) == (name(4), digest(4), 8, None)
    assert [(item.snapshot, item.until) for item in status.history[-2:]] == [(name(3), NOW), (name(4), None)]


def test_verification_of_yesterday_lets_nothing_be_deployed() -> None:
    assert step_of(replace(WANTED, checked=checked(V4, at=NOW - 1.1 * FRESH))).action == Verify(snapshot=V4)
    assert step_of(replace(WANTED, checked=checked(V4, at=NOW - FRESH))).action == Switch(snapshot=V4)


def test_bytes_swapped_after_a_look_are_not_deployed_again_on_the_strength_of_it() -> None:
    """No pod would load them, it was left, and a person lets go of the hold within seconds: that look is too old."""
    looked = ago(seconds=10)
    left_after = having(WANTED, history=(*HISTORY, served(4, ago(seconds=9), ago(seconds=5), soaked=False)))
    left_before = having(WANTED, history=(*HISTORY, served(4, ago(seconds=20), ago(seconds=15), soaked=False)))
    assert step_of(replace(left_after, checked=checked(V4, at=looked))).action == Verify(snapshot=V4)
    assert step_of(replace(left_before, checked=checked(V4, at=looked))).action == Switch(snapshot=V4)


@pytest.mark.parametrize("reason", [Reason.DIGEST_MISMATCH, Reason.UNREADABLE])
def test_verification_at_the_moment_of_use_refuses(reason: Reason) -> None:
    step = step_of(replace(WANTED, checked=checked(V4, reason)))
    assert (step.reason, step.action, step.after) == (Reason.NOT_VERIFIED, None, 30.0)


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        pytest.param(
            declaring(world(), snapshot=name(9)),
            Reason.SNAPSHOT_NOT_FOUND,
            "no ModelSnapshot 'digits-v9'",
            id="missing",
        ),
        pytest.param(having(VERIFIED, held=HOLD), Reason.HELD, "annotate lastgood.dev/resume", id="held"),
        pytest.param(
            having(VERIFIED, left=(LEFT,)), Reason.HELD, "digest rejected by an earlier rollback: INC-1", id="left"
        ),
        pytest.param(
            swapped(VERIFIED, replace(V4, model="letters")),
            Reason.WRONG_MODEL,
            "belongs to model 'letters'",
            id="other model",
        ),
        pytest.param(
            replace(VERIFIED, quarantined={digest(4): "INC-1"}),
            Reason.QUARANTINED,
            "digits-v4: INC-1",
            id="quarantined",
        ),
        pytest.param(swapped(VERIFIED, MARKED), Reason.QUARANTINED, "digits-v4: INC-1", id="snapshot quarantined"),
        pytest.param(
            swapped(VERIFIED, unverified(4)), Reason.NOT_VERIFIED, "has not been verified yet", id="not verified yet"
        ),
        pytest.param(
            swapped(VERIFIED, unverified(4, Reason.DIGEST_MISMATCH, "1.bin is changed")),
            Reason.NOT_VERIFIED,
            "DigestMismatch: 1.bin is changed",
            id="tampered with",
        ),
        pytest.param(
            swapped(VERIFIED, replace(V4, status=replace(V4.status, conditions={}))),
            Reason.NOT_VERIFIED,
            "has not been verified yet",
            id="no condition",
        ),
        pytest.param(
            swapped(VERIFIED, ELSEWHERE), Reason.NOT_MOUNTED, "does not mount claim 'archive'", id="not mounted"
        ),
        pytest.param(
            swapped(bringing(VERIFIED), replace(V4, image="")), Reason.NO_VALUE, "spec.runtime.image", id="no value"
        ),
        pytest.param(
            bringing(VERIFIED, trust=()),
            Reason.IMAGE_NOT_ALLOWED,
            "no trust policy allows",
            id="nobody allows its image",
        ),
        pytest.param(
            replace(VERIFIED, refused={V4.name: Refusal(at=NOW)}),
            Reason.SWITCH_REFUSED,
            "refused the switch",
            id="switch refused",
        ),
        pytest.param(declaring(VERIFIED, suspend=True), Reason.SUSPENDED, "spec.suspend is true", id="suspended"),
    ],
)
def test_refused_with_a_sentence(observed: Observed, reason: Reason, words: str) -> None:
    step = step_of(observed)
    assert (step.reason, step.action) == (reason, None)
    assert words in step.message
    ready = decide(observed).action
    assert isinstance(ready, UpdateDeployment)
    assert ready.status.conditions["Ready"].reason == reason


def test_every_refusal_has_its_row() -> None:
    asked = [rule for rule, ways in RULES.items() if Way.FORWARD in ways]
    assert len(asked) == 12  # those of the trust policies, and of this moment, have theirs elsewhere


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(replace(VERIFIED, complete=False), id="the lists are not complete"),
        pytest.param(replace(VERIFIED, workload=None), id="no workload"),
        pytest.param(
            replace(VERIFIED, workload=workload(meta=Meta(namespace="ml", name="digits-server"))), id="not opted in"
        ),
    ],
)
def test_not_even_asked(observed: Observed) -> None:
    assert forward(observed) is None


def test_suspended_says_so_and_records_what_is_there() -> None:
    """An apply that was cut off by a suspend is a fact, and not undone as drift."""
    observed = declaring(replace(WANTED, workload=workload(V4)), suspend=True)
    assert step_of(observed).reason == Reason.DEPLOYED


def test_adopted_without_a_stamp_and_without_a_restart() -> None:
    fresh = having(world(workload=workload(stamped=False)), snapshot="", digest="", history=(), available_at=None)
    step = step_of(fresh)
    assert (step.reason, type(step.action)) == (Reason.ADOPTED, UpdateDeployment)
    done = step.action
    assert isinstance(done, UpdateDeployment)
    assert done.status.history[-1].snapshot == name(3)


def test_what_is_quarantined_is_not_adopted() -> None:
    fresh = having(world(workload=workload(stamped=False), quarantined={digest(3): "INC-1"}), snapshot="", history=())
    assert step_of(fresh).reason == Reason.QUARANTINED


def first_switch(owners: Any, **changes: Any) -> Observed:
    observed = replace(VERIFIED, workload=workload(stamped=False, owners=owners), **changes)
    return having(observed, snapshot="", digest="", history=())


def test_other_manager_of_a_variable_stops_the_first_switch() -> None:
    step = step_of(first_switch(owned(**ENV)))
    assert (step.reason, step.action) == (Reason.FIELD_OWNED, None)
    assert "'argocd' owns variable MODEL_PATH of container server" in step.message
    assert "set spec.snapshot to the snapshot that the workload already has" in step.message
    assert "then leave the variable out of the manifest, and apply that server-side" in step.message


def test_other_manager_of_an_image_is_told_and_does_not_stop_us() -> None:
    observed = bringing(first_switch(owned(**IMAGE)))
    assert step_of(observed).action == Switch(snapshot=V4)
    report = decide(replace(observed, checked={})).action
    assert isinstance(report, Verify)
    quiet = decide(declaring(observed, suspend=True)).action
    assert isinstance(quiet, UpdateDeployment)
    conflict = quiet.status.conditions["GitOpsConflict"]
    assert (conflict.status, conflict.reason) == ("True", Reason.FIELD_OWNED)
    assert "jqPathExpressions" in conflict.message


def test_other_manager_of_an_annotation_stops_the_first_switch() -> None:
    binding = AnnotationBinding(name="team/model", value="$(version)")
    owners: Any = (("helm", {"f:metadata": {"f:annotations": {"f:team/model": {}}}}),)
    first = first_switch(owners)
    there = allowing(workload(stamped=False, owners=owners), binding)
    step = step_of(declaring(replace(first, workload=there), bindings=(binding,)))
    assert step.reason == Reason.FIELD_OWNED
    assert "'helm' owns pod template annotation team/model" in step.message


def test_other_manager_does_not_stop_a_later_switch() -> None:
    assert step_of(replace(VERIFIED, workload=workload(owners=owned(**ENV)))).action == Switch(snapshot=V4)


def test_other_manager_of_what_was_adopted_stops_the_first_switch_of_ours() -> None:
    step = step_of(replace(VERIFIED, workload=workload(stamped=False, owners=owned(**ENV))))
    assert (step.reason, step.action) == (Reason.FIELD_OWNED, None)
    assert "MODEL_PATH of container server: leave the variable out of the manifest" in step.message


def test_what_the_workload_carries_by_another_word_alone_is_applied_before_it_is_adopted() -> None:
    fresh = having(world(workload=workload(stamped=False, owners=owned(**ENV))), snapshot="", digest="", history=())
    assert step_of(fresh).action == Adopt(snapshot=V3)
    ours = (*owned(**ENV), (FIELD_MANAGER, owned(**ENV)[0][1]))
    both = having(world(workload=workload(stamped=False, owners=ours)), snapshot="", digest="", history=())
    assert isinstance(step_of(both).action, UpdateDeployment)


def test_ownership_that_was_lost_comes_back_with_the_pause_of_a_drift() -> None:
    lost = world(workload=workload(owners=owned(**ENV)))
    assert decide(lost).action == Adopt(snapshot=V3)
    paused = replace(lost, drift=Drift(count=3, last=ago(seconds=1)))
    assert not isinstance(decide(paused).action, Adopt)
    assert decide(replace(paused, now=NOW + timedelta(seconds=3))).action == Adopt(snapshot=V3)


def test_hold_ends_when_another_is_named_and_the_digest_stays_left() -> None:
    observed = having(world(), held=HOLD, left=(LEFT,))
    step = released(observed)
    assert step is not None
    assert step.facts is not None
    assert (step.facts.held, step.facts.left) == (None, (LEFT,))
    assert released(declaring(observed, snapshot=name(4))) is None


def test_person_lets_go_of_a_hold() -> None:
    observed = annotated(
        having(WANTED, held=HOLD, left=(LEFT, replace(LEFT, digest=digest(2)))), resume="a false alarm"
    )
    first = resumed(observed)
    assert first is not None
    assert isinstance(first.action, Remember), "what is kept goes first: the request stands until the status has it"
    assert [item.digest for item in first.action.facts.left] == [digest(2)]
    assert first.action.facts.held is None
    step = resumed(replace(observed, remembered=first.action.facts))
    assert step is not None
    assert step.facts is not None
    assert step.facts.held is None
    assert [item.digest for item in step.facts.left] == [digest(2)]
    assert "a false alarm" in step.message
    assert resumed(declaring(observed, status=step.facts)) is None


def test_resume_does_not_lift_a_quarantine() -> None:
    observed = replace(VERIFIED, quarantined={digest(4): "INC-1"})
    assert step_of(observed).reason == Reason.QUARANTINED


def after(reason: Reason, **first: Any) -> Observed:
    before = {"record": "rb-1", "reason": str(reason), "message": "v2 failed", "spec": spec(**first).as_body()}
    return having(world(workload=workload(V2)), continues=before, snapshot=name(2), digest=digest(2))


INTEGRITY_TRIGGER = FiredTrigger(name=INTEGRITY, severity="critical", condition=Reason.DIGEST_MISMATCH)
METRIC = FiredTrigger(name="accuracy", severity="high", value="0.5", condition="x")


def test_next_record_goes_on_from_the_target_that_failed() -> None:
    asked = {"emergency": True, "incident": "INC-1", "requested_by": "ann", "before": ago(days=1), "to": name(2)}
    step = continued(after(Reason.VALIDATION_FAILED, **asked))
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    new = step.action.spec
    assert (new.source, new.source_digest, new.continues) == (name(2), digest(2), "rb-1")
    assert (new.emergency, new.incident, new.requested_by, new.before) == (True, "INC-1", "ann", ago(days=1))
    assert new.to == ""
    assert "v2 failed" in new.reason


def test_what_goes_on_comes_before_a_trigger_that_would_ask_the_same_again() -> None:
    """The trigger's record would begin anew: without the incident, and within its cooldown and limit."""
    failed = after(Reason.VALIDATION_FAILED, emergency=True, incident="INC-1")
    action = decide(replace(failed, tallies={"accuracy": tally(Verdict.BREACHED)})).action
    assert isinstance(action, CreateRecord)
    assert (action.spec.continues, action.spec.emergency, action.spec.incident) == ("rb-1", True, "INC-1")


@pytest.mark.parametrize(
    ("reason", "first", "bad_copy"),
    [
        pytest.param(Reason.DIGEST_MISMATCH, None, True, id="the target was a wrong copy"),
        pytest.param(Reason.NOT_AVAILABLE, INTEGRITY_TRIGGER, False, id="only what was left at first was a wrong copy"),
        pytest.param(Reason.NOT_AVAILABLE, METRIC, False, id="no wrong copy at all"),
    ],
)
def test_mismatch_condemns_one_copy_and_not_the_next(
    reason: Reason,
    first: FiredTrigger | None,
    bad_copy: bool,  # noqa: FBT001 - a column of the table
) -> None:
    step = continued(after(reason, trigger=first))
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    assert is_bad_copy(step.action.spec) is bad_copy
