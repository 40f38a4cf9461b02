"""What status says: facts into conditions, and nothing written where nothing changed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import Active, DeploymentStatus, Done, Held, TriggerReport
from lastgood.api.facts.signal import Verdict
from lastgood.api.fields import compact
from lastgood.api.meta import Meta, merge_conditions
from lastgood.api.names import Outcome, Reason, RecordName, Type
from lastgood.core.actions import DeleteRecord, UpdateDeployment
from lastgood.core.decide import decide
from lastgood.core.serving.soak import soak_rest
from lastgood.core.state import Observed, Tell
from tests.unit.core.builders import (
    ACCURACY,
    NOW,
    STARTING,
    V2,
    V3,
    ago,
    annotated,
    condition,
    declaring,
    digest,
    having,
    locked,
    name,
    policy,
    record,
    served,
    snapshot,
    spec,
    swapped,
    tally,
    unverified,
    workload,
    world,
)

SAMPLED = world(tallies={"accuracy": tally(Verdict.HEALTHY, 1, value="accuracy=0.97")})


def written(observed: Observed) -> DeploymentStatus:
    action = decide(observed).action
    assert isinstance(action, UpdateDeployment)
    return action.status


def rows(observed: Observed) -> dict[str, tuple[str, str]]:
    return {type_: (item.status, item.reason) for type_, item in written(observed).conditions.items()}


def again(observed: Observed) -> Observed:
    """Return the world after the write, read back as the API server stores it."""
    body = compact(written(observed).as_body())
    return declaring(observed, status=DeploymentStatus.from_body({"status": body}))


def test_good_world_in_conditions() -> None:
    assert rows(SAMPLED) == {
        "Ready": ("True", Reason.SERVING),
        "Healthy": ("True", Reason.HEALTHY),
        "Protected": ("True", Reason.PROTECTED),
        "Progressing": ("False", Reason.SERVING),
        "RolledBack": ("False", Reason.NOT_ROLLED_BACK),
        "KnownGoodAvailable": ("True", Reason.KNOWN_GOOD),
        "GitOpsConflict": ("False", Reason.NO_CONFLICT),
        "OptedIn": ("True", Reason.OPTED_IN),
        "Stalled": ("False", Reason.SERVING),
    }
    status = written(SAMPLED)
    assert (status.desired, status.last_known_good, status.observed_generation) == (name(3), name(2), 1)


OPTED_OUT = workload(meta=Meta(namespace="ml", name="digits-server"))
DONE = Done(name=RecordName("rb-1"), at=ago(hours=2), automatic=True, outcome="Succeeded", reason="Succeeded")
BY = (replace(served(2, ago(hours=2), None), by="rb-1"),)


@pytest.mark.parametrize(
    ("observed", "type_", "status", "reason"),
    [
        pytest.param(world(), "Healthy", "Unknown", Reason.NO_DATA, id="a trigger without data"),
        pytest.param(declaring(world(), triggers=()), "Healthy", "True", Reason.HEALTHY, id="no triggers at all"),
        pytest.param(
            declaring(world(workload=workload(rollout=STARTING)), triggers=()),
            "Healthy",
            "Unknown",
            Reason.UNAVAILABLE,
            id="pods start",
        ),
        pytest.param(replace(SAMPLED, workload=None), "Ready", "False", Reason.TARGET_NOT_FOUND, id="no workload"),
        pytest.param(replace(SAMPLED, workload=None), "OptedIn", "False", Reason.TARGET_NOT_FOUND, id="nor opted in"),
        pytest.param(replace(SAMPLED, workload=OPTED_OUT), "OptedIn", "False", Reason.NOT_OPTED_IN, id="no label"),
        pytest.param(replace(SAMPLED, workload=OPTED_OUT), "Stalled", "True", Reason.NOT_OPTED_IN, id="your turn"),
        pytest.param(
            replace(SAMPLED, workload=workload(containers={})), "OptedIn", "True", Reason.OPTED_IN, id="labelled though"
        ),
        pytest.param(
            replace(SAMPLED, snapshots=(V3,)), "KnownGoodAvailable", "False", Reason.NOTHING_SOAKED, id="none"
        ),
        pytest.param(
            replace(SAMPLED, complete=False), "KnownGoodAvailable", "Unknown", Reason.WAITING, id="half a list"
        ),
        pytest.param(having(SAMPLED, available_at=None), "Progressing", "False", Reason.SERVING, id="available now"),
        pytest.param(
            having(replace(SAMPLED, workload=workload(rollout=STARTING)), available_at=None),
            "Progressing",
            "True",
            Reason.DEPLOYING,
            id="starting",
        ),
        pytest.param(
            having(SAMPLED, rollbacks=(DONE,), history=BY), "RolledBack", "True", Reason.SUCCEEDED, id="rolled back"
        ),
        pytest.param(
            having(SAMPLED, rollbacks=(DONE,)), "RolledBack", "False", Reason.SUCCEEDED, id="and forward again since"
        ),
        pytest.param(
            having(SAMPLED, rollbacks=(replace(DONE, outcome="Failed", reason="NoKnownGood"),), history=BY),
            "RolledBack",
            "False",
            Reason.NO_KNOWN_GOOD,
            id="failed",
        ),
    ],
)
def test_condition(observed: Observed, type_: str, status: str, reason: Reason) -> None:
    assert rows(observed)[type_] == (status, reason)


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(SAMPLED, id="the good world"),
        pytest.param(world(), id="no data"),
        pytest.param(replace(SAMPLED, workload=None), id="no workload"),
        pytest.param(replace(SAMPLED, workload=OPTED_OUT), id="opted out"),
        pytest.param(replace(SAMPLED, complete=False), id="half a list"),
        pytest.param(declaring(SAMPLED, snapshot=name(9)), id="no such snapshot"),
        pytest.param(declaring(swapped(SAMPLED, unverified(2)), snapshot=name(2)), id="not verified"),
        pytest.param(having(SAMPLED, rollbacks=(DONE,)), id="after a rollback"),
        pytest.param(
            declaring(world(tallies={"accuracy": tally(Verdict.BREACHED)}), suspend=True),
            id="suspended while it is bad",
        ),
        pytest.param(
            having(world(tallies={"accuracy": tally(Verdict.BREACHED)}), rollbacks=(replace(DONE, at=ago(minutes=1)),)),
            id="cooling down",
        ),
        pytest.param(locked(replace(SAMPLED, verifying=frozenset({name(2)})), record()), id="a rollback waits"),
        pytest.param(annotated(SAMPLED, resume="x"), id="after a resume"),
    ],
)
def test_second_report_on_the_same_world_changes_nothing(observed: Observed) -> None:
    quiet = again(observed)
    if decide(quiet).action:  # what has just happened is no state: one more write says what is
        quiet = again(quiet)
    decision = decide(quiet)
    assert decision.action is None
    later = decide(replace(quiet, now=NOW + timedelta(seconds=1)))
    assert later.action is None
    assert (later.reason, later.message) == (decision.reason, decision.message)


def test_wait_is_told_once() -> None:
    observed = replace(SAMPLED, workload=OPTED_OUT)
    assert decide(observed).tell == Tell.WARNING
    assert decide(again(observed)).tell == Tell.NOBODY


def test_time_of_a_condition_is_that_of_its_status_alone() -> None:
    before = {"Ready": condition(Type.READY, "False", Reason.HELD, "x", ago(days=1))}
    other = merge_conditions(before, [condition(Type.READY, "False", Reason.SUSPENDED, "y")], NOW)
    assert (other["Ready"].since, other["Ready"].reason) == (ago(days=1), Reason.SUSPENDED)
    flipped = merge_conditions(before, [condition(Type.READY, "True", Reason.SERVING)], NOW)
    assert flipped["Ready"].since == NOW


def test_conditions_of_somebody_else_do_not_fill_the_list() -> None:
    """The list is bounded: whoever fills it would have every write of ours refused."""
    theirs = {f"TheirOwn{number}": condition(Type.READY, "True", "Fine") for number in range(16)}
    assert set(written(having(SAMPLED, conditions=theirs)).conditions) <= set(Type)


@pytest.mark.parametrize(
    ("said", "known", "kept"),
    [
        (tally(Verdict.HEALTHY, 1, value="accuracy=0.98"), "Healthy", True),
        (tally(Verdict.BREACHED, 2), "Healthy", True),
        (tally(Verdict.HEALTHY, 1), "Breached", False),
        (tally(Verdict.INCONCLUSIVE, 3, value="", error="connection refused"), "Healthy", False),
    ],
)
def test_value_is_written_when_the_verdict_changes(said: Any, known: str, kept: bool) -> None:  # noqa: FBT001 - a column of the table
    before = TriggerReport(name="accuracy", severity="high", verdict=known, value="accuracy=0.97", since=ago(days=1))
    after = written(having(world(tallies={"accuracy": said}), triggers=(before,))).triggers
    assert (after == (before,)) is kept
    if not kept:
        value = said.value or "accuracy=0.97"  # without an answer, the last value that was seen stays, with its time
        assert (after[0].verdict, after[0].value, after[0].error) == (said.verdict, value, said.error)
        assert (after[0].value_at, after[0].error_at) == (NOW if said.value else None, NOW if said.error else None)
        assert after[0].since == NOW


def test_trigger_that_is_declared_no_more_is_reported_no_more() -> None:
    before = TriggerReport(name="old", severity="high", verdict="Healthy")
    assert [item.name for item in written(having(SAMPLED, triggers=(before,))).triggers] == [ACCURACY.name]


# Soaking


def healthy(since_minutes: float, **facts: Any) -> Observed:
    row = {"Healthy": condition(Type.HEALTHY, "True", Reason.HEALTHY, since=ago(minutes=since_minutes))}
    report = (TriggerReport(name="accuracy", severity="high", verdict="Healthy"),)
    return having(SAMPLED, **({"conditions": row, "triggers": report} | facts))


@pytest.mark.parametrize(
    ("observed", "rest"),
    [
        pytest.param(healthy(4), 6, id="healthy for four minutes"),
        pytest.param(healthy(10), 0, id="healthy for ten"),
        pytest.param(healthy(30, available_at=ago(minutes=4)), 6, id="available for four"),
        pytest.param(policy(healthy(4), soak=timedelta(minutes=30)), 26, id="a longer soak"),
        pytest.param(healthy(30, available_at=None), None, id="not available yet"),
        pytest.param(healthy(30, history=()), None, id="nothing serves"),
        pytest.param(healthy(30, history=(served(3, ago(days=1), None),)), None, id="soaked before"),
        pytest.param(having(SAMPLED, conditions={}), None, id="nobody knows whether it is healthy"),
        pytest.param(replace(healthy(30), workload=workload(V2)), None, id="something else serves"),
        pytest.param(
            healthy(30, active=Active(name=RecordName("rb"), since=NOW, spec=spec().as_body())),
            None,
            id="a rollback runs",
        ),
    ],
)
def test_soak(observed: Observed, rest: float | None) -> None:
    found = soak_rest(observed)
    assert (found is None) == (rest is None)
    if found is not None and rest is not None:
        assert found.total_seconds() / 60 == rest


def test_soaked_is_written_once_and_told() -> None:
    observed = healthy(11)
    decision = decide(observed)
    assert (decision.reason, decision.tell) == (Reason.SOAKED, Tell.INFO)
    status = written(observed)
    assert status.history[-1].soaked_at == NOW
    assert status.conditions["Ready"].reason == Reason.SERVING
    assert decide(again(observed)).reason == Reason.SERVING


ON_HOLD = Held(snapshot=name(4), digest=digest(4), reason="INC-1: backdoor", rollback=RecordName("rb-1"), since=NOW)


@pytest.mark.parametrize(
    ("observed", "reason", "tell"),
    [
        pytest.param(healthy(11, held=ON_HOLD), Reason.HELD, Tell.INFO, id="held"),
        pytest.param(
            replace(healthy(11), quarantined={digest(4): "INC-1"}), Reason.QUARANTINED, Tell.WARNING, id="quarantined"
        ),
    ],
)
def test_soak_says_in_the_same_write_why_what_is_desired_is_not_deployed(
    observed: Observed, reason: Reason, tell: Tell
) -> None:
    """Ready was True in between for a moment, and whoever waits for that went on."""
    observed = declaring(swapped(observed, snapshot(4)), snapshot=name(4))
    decision, status = decide(observed), written(observed)
    assert (decision.reason, status.history[-1].soaked_at) == (Reason.SOAKED, NOW)
    assert (status.conditions["Ready"].status, status.conditions["Ready"].reason) == ("False", reason)
    assert [(told.reason, told.tell) for told in decision.alerts] == [(reason, tell)]
    assert [item.reason for item in status.alerts] == ([reason] if tell == Tell.WARNING else [])
    assert decide(again(observed)).action is None


def test_history_limit_removes_the_oldest_finished_records() -> None:
    finished = [
        replace(made, meta=replace(made.meta, created=ago(hours=number)))
        for number in range(1, 4)
        for made in (record(f"rb-{number}", outcome=Outcome.SUCCEEDED),)
    ]
    quiet = replace(again(SAMPLED), records=tuple(finished))
    assert decide(policy(quiet, history_limit=3)).action is None
    assert decide(policy(quiet, history_limit=2)).action == DeleteRecord(record=finished[2])
    leaving = replace(finished[2], meta=replace(finished[2].meta, deleting=True))
    assert decide(replace(policy(quiet, history_limit=2), records=(*finished[:2], leaving))).action is None
