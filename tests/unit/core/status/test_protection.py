"""Protection that is off is told, and an alert is lost to nothing else that goes on."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.facts.alert import Alert
from lastgood.api.facts.deployment_status import DeploymentStatus, TriggerReport
from lastgood.api.facts.signal import Unusable, Verdict
from lastgood.api.fields import compact
from lastgood.api.meta import Meta
from lastgood.api.names import LookError, Reason, Severity, SnapshotName, Type
from lastgood.core.actions import UpdateDeployment
from lastgood.core.decide import decide
from lastgood.core.serving.triggers import breached, verdict
from lastgood.core.state import Observed, Tell
from lastgood.core.status.protection import gap
from lastgood.core.status.report import unread
from tests.unit.core.builders import (
    ACCURACY,
    NOW,
    PODS,
    STARTING,
    ago,
    declaring,
    having,
    locked,
    name,
    policy,
    record,
    spec,
    swapped,
    tally,
    unverified,
    workload,
    world,
)

WELL = world(tallies={"accuracy": tally(Verdict.HEALTHY, 1)})
UNSWITCHED = replace(WELL, workload=workload(stamped=False))
HIDDEN = Unusable(kind=LookError.HOST_NOT_ALLOWED, message="spec.triggers[0].http.url: host x is not called")


def test_half_a_list_is_no_protection_that_one_may_count_on() -> None:
    """A right to list snapshots is lost: triggers are heard, and none of them rolls back."""
    heard = world(tallies={"accuracy": tally(Verdict.HEALTHY)})
    assert gap(heard) is None
    found = gap(replace(heard, complete=False))
    assert found is not None
    assert (found.protected, found.reason, found.tell) == (None, Reason.WAITING, Tell.NOBODY)


def told(observed: Observed) -> list[tuple[str, str, Tell]]:
    """Return what people hear of in this pass."""
    decision = decide(observed)
    own = [(str(decision.reason), decision.message, decision.tell)] if decision.tell != Tell.NOBODY else []
    return own + [(str(alert.reason), alert.message, alert.tell) for alert in decision.alerts]


def written(observed: Observed) -> DeploymentStatus:
    action = decide(observed).action
    assert isinstance(action, UpdateDeployment)
    return action.status


def after(observed: Observed) -> Observed:
    """Return the world after the write, read back as the API server stores it."""
    return declaring(observed, status=DeploymentStatus.from_body({"status": compact(written(observed).as_body())}))


def protected(observed: Observed) -> tuple[str, str]:
    row = written(observed).conditions[Type.PROTECTED]
    return row.status, row.reason


def silent(looks: int, **since: float) -> Observed:
    """Return a world in which the trigger, asked every ten seconds, has had no answer for so long."""
    quiet = replace(tally(Verdict.INCONCLUSIVE, looks, value="", error="it is not there"), since=ago(**since))
    return world(tallies={"accuracy": replace(quiet, kind=LookError.NAME_NOT_FOUND)})


SICK = world(tallies={"accuracy": tally(Verdict.BREACHED)})
KNOWN = (TriggerReport(name="accuracy", severity="high", verdict="Healthy", since=ago(days=1)),)


@pytest.mark.parametrize(
    ("observed", "status", "reason"),
    [
        pytest.param(WELL, "True", Reason.PROTECTED, id="heard and may act"),
        pytest.param(silent(10, seconds=100), "False", Reason.NO_DATA, id="ten intervals without a verdict"),
        pytest.param(having(silent(10, seconds=99), triggers=KNOWN), "Unknown", Reason.WAITING, id="nearly ten"),
        pytest.param(silent(3, seconds=99), "Unknown", Reason.WAITING, id="nearly ten from the start"),
        pytest.param(declaring(WELL, suspend=True), "False", Reason.SUSPENDED, id="suspended"),
        pytest.param(declaring(WELL, triggers=()), "False", Reason.NO_TRIGGERS, id="no triggers"),
        pytest.param(policy(WELL, automatic=()), "False", Reason.ALERTS_ONLY, id="nothing is automatic"),
        pytest.param(
            declaring(WELL, triggers=(replace(ACCURACY, severity=Severity.LOW),)), "False", Reason.ALERTS_ONLY, id="low"
        ),
        pytest.param(
            replace(WELL, unusable={"trigger/accuracy": HIDDEN}), "False", Reason.INVALID_SPEC, id="a refused host"
        ),
        pytest.param(
            replace(WELL, unusable={"check/smoke": HIDDEN}), "True", Reason.PROTECTED, id="a check is another matter"
        ),
        pytest.param(
            replace(WELL, workload=workload(meta=Meta(namespace="ml", name="digits-server"))),
            "False",
            Reason.NOT_OPTED_IN,
            id="nothing could be switched",
        ),
        pytest.param(
            declaring(having(UNSWITCHED, snapshot="", history=()), snapshot=SnapshotName("digits-v9")),
            "Unknown",
            Reason.WAITING,
            id="nothing was deployed yet",
        ),
        pytest.param(
            declaring(silent(10, seconds=100), triggers=(ACCURACY, PODS)), "False", Reason.NO_DATA, id="one of two"
        ),
    ],
)
def test_protected(observed: Observed, status: str, reason: Reason) -> None:
    assert protected(observed) == (status, reason)


def test_never_sampled_is_silence_as_well() -> None:
    observed = having(replace(world(), watched=ago(minutes=2)), triggers=KNOWN)
    assert protected(observed) == ("False", Reason.NO_DATA)
    assert protected(replace(observed, watched=ago(seconds=30))) == ("True", Reason.PROTECTED)


def test_looks_that_stop_are_silence_as_well() -> None:
    late = replace(tally(Verdict.HEALTHY), at=ago(minutes=2))
    assert protected(world(tallies={"accuracy": late})) == ("False", Reason.NO_DATA)


def by_turns(said: Verdict, streak: int = 1, *, settled: float, threshold: int = 3) -> Observed:
    """Return a world in which breaches and silence take turns, and nothing was healthy for so many seconds."""
    turning = replace(tally(said, streak), since=ago(seconds=10), settled=ago(seconds=settled), looks=99)
    trigger = replace(ACCURACY, failure_threshold=threshold)
    return having(declaring(world(tallies={"accuracy": turning}), triggers=(trigger,)), triggers=KNOWN)


@pytest.mark.parametrize("said", [Verdict.BREACHED, Verdict.INCONCLUSIVE])
def test_a_bad_model_that_times_out_now_and_then_is_not_called_healthy_for_ever(said: Verdict) -> None:
    observed = by_turns(said, settled=101)
    assert protected(observed) == ("False", Reason.NO_DATA)
    assert written(observed).conditions[Type.HEALTHY].status == "Unknown"  # and so nothing soaks
    assert [row[0] for row in told(observed)] == [Reason.NO_DATA]
    assert told(after(observed)) == []


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(by_turns(Verdict.BREACHED, settled=99), id="not for so long"),
        pytest.param(by_turns(Verdict.BREACHED, 50, settled=500, threshold=60), id="a row that grows"),
    ],
)
def test_a_row_of_breaches_is_no_silence(observed: Observed) -> None:
    assert protected(observed) == ("True", Reason.PROTECTED)


def test_a_trigger_that_was_added_just_now_is_not_called_silent() -> None:
    observed = replace(world(), watched=ago(days=1))
    assert protected(observed) == ("Unknown", Reason.WAITING)
    assert told(observed) == []


def test_a_spec_that_cannot_be_read_is_not_called_protected() -> None:
    """With `patch modeldeployments` alone: nobody looks at the triggers any more."""
    before = written(WELL).conditions
    assert (before[Type.PROTECTED].status, before[Type.HEALTHY].status) == ("True", "True")
    found = unread(before, "spec.bindings[0].env.name: x", serves=True, generation=2, now=NOW)
    rows = {type_: found[type_].status for type_ in (Type.PROTECTED, Type.HEALTHY, Type.READY, Type.STALLED)}
    assert list(rows.values()) == ["False", "Unknown", "False", "True"]
    assert {found[type_].reason for type_ in rows} == {Reason.INVALID_SPEC}
    assert Type.PROTECTED not in unread({}, "spec.digest: x", serves=False, generation=1, now=NOW)


def starting(minutes: float) -> Observed:
    """Return a world in which the pods have been starting for so long, and the trigger has been silent all along."""
    observed = replace(silent(100, minutes=minutes), workload=workload(rollout=STARTING))
    history = observed.deployment.status.history
    history = (*history[:-1], replace(history[-1], since=ago(minutes=minutes)))
    return having(observed, available_at=None, history=history)


def test_pods_that_start_are_no_silence_before_the_progress_deadline() -> None:
    assert protected(starting(minutes=9))[0] == "Unknown"
    assert protected(starting(minutes=12)) == ("False", Reason.NO_DATA)


def test_a_restart_does_not_call_protected_what_was_silent() -> None:
    observed = after(silent(10, seconds=100))
    again = replace(observed, tallies={}, now=NOW + timedelta(seconds=1), watched=NOW)
    assert observed.deployment.status.conditions[Type.PROTECTED].status == "False"
    decision = decide(again)
    assert decision.alerts == ()
    assert not isinstance(decision.action, UpdateDeployment) or protected(again) == ("False", Reason.NO_DATA)


def test_a_high_threshold_does_not_call_healthy_what_is_silent() -> None:
    patient = replace(ACCURACY, failure_threshold=100)
    observed = having(declaring(silent(10, seconds=100), triggers=(patient,)), triggers=KNOWN)
    assert verdict(observed, patient) == Verdict.INCONCLUSIVE
    assert written(observed).conditions[Type.HEALTHY].status == "Unknown"


def test_a_wrong_url_from_the_start_is_told_and_what_serves_is_ready() -> None:
    """Field case 22."""
    observed = silent(10, seconds=100)
    (alert,) = told(observed)
    assert alert == (
        "NoData",
        "not protected: no data for 10 intervals from trigger: accuracy; see lastError in status.triggers",
        Tell.ALERT,
    )
    assert written(observed).conditions[Type.READY].status == "True"
    assert told(after(observed)) == []


def test_a_refused_host_is_told_when_it_is_written() -> None:
    observed = replace(world(), unusable={"trigger/accuracy": HIDDEN})
    assert told(observed) == [("InvalidSpec", HIDDEN.message, Tell.WARNING)]
    report = written(observed).triggers[0]
    assert (report.verdict, report.error, report.error_kind) == ("Inconclusive", HIDDEN.message, "HostNotAllowed")
    assert told(after(observed)) == []


def test_what_was_seen_of_a_trigger_before_it_was_made_unusable_does_not_fire() -> None:
    observed = replace(SICK, unusable={"trigger/accuracy": HIDDEN})
    assert not breached(observed, ACCURACY)
    assert verdict(observed, ACCURACY) == Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("observed", "reason", "tell"),
    [
        pytest.param(declaring(WELL, suspend=True), "Suspended", Tell.WARNING, id="suspended"),
        pytest.param(declaring(WELL, triggers=()), "NoTriggers", Tell.WARNING, id="no triggers"),
        pytest.param(policy(WELL, automatic=()), "AlertsOnly", Tell.WARNING, id="nothing is automatic"),
    ],
)
def test_protection_that_somebody_switched_off_is_told_once(observed: Observed, reason: str, tell: Tell) -> None:
    assert [(row[0], row[2]) for row in told(observed)] == [(reason, tell)]
    assert told(after(observed)) == []


# An alert is not lost because another rule's step won.


def suspended_and_pending() -> Observed:
    """Return a world that is suspended, with a forward deployment that waits for that, told and written."""
    world_ = declaring(WELL, snapshot=name(2), suspend=True)
    observed = after(world_)
    assert observed.deployment.status.conditions[Type.READY].reason == Reason.SUSPENDED
    return observed


def test_suspended_with_a_deployment_pending_tells_of_tampered_bytes() -> None:
    """Field case 24."""
    observed = swapped(suspended_and_pending(), unverified(3, Reason.DIGEST_MISMATCH, "another digest"))
    assert told(observed) == [
        ("Suspended", "a trigger fired, but spec.suspend is true: snapshot-integrity (critical)", Tell.ALERT)
    ]
    assert told(after(observed)) == []


def test_suspended_tells_of_each_trigger_that_fires() -> None:
    accuracy = after(declaring(SICK, suspend=True))
    assert told(accuracy) == []
    both = swapped(accuracy, unverified(3, Reason.DIGEST_MISMATCH, "another digest"))
    assert [row[1] for row in told(both)] == [
        "a trigger fired, but spec.suspend is true: snapshot-integrity (critical)"
    ]


MEDIUM = (replace(ACCURACY, severity=Severity.MEDIUM), PODS)
FIRED = {"accuracy": tally(Verdict.BREACHED), "pods": tally(Verdict.HEALTHY, 1)}


def settled(observed: Observed) -> Observed:
    """Return the world once everything is written, and nothing is done any more."""
    while isinstance(decide(observed).action, UpdateDeployment):
        observed = after(observed)
    assert decide(observed).action is None
    return observed


QUIET = declaring(world(tallies={"pods": tally(Verdict.HEALTHY, 1)}), triggers=MEDIUM)
OPTED_OUT = workload(meta=Meta(namespace="ml", name="digits-server"))
RUNNING = record(asked=spec(to=name(2)))


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(declaring(QUIET, snapshot=SnapshotName("digits-v9")), id="a snapshot that is not there"),
        pytest.param(replace(QUIET, workload=OPTED_OUT), id="not opted in"),
        pytest.param(declaring(QUIET, suspend=True, snapshot=name(2)), id="suspended with a deployment pending"),
        pytest.param(replace(locked(QUIET, RUNNING), verifying=frozenset({name(2)})), id="a rollback that waits"),
    ],
)
def test_what_only_tells_is_told_whatever_else_goes_on(before: Observed) -> None:
    observed = replace(settled(before), tallies=FIRED)
    assert ("TriggerFired", "fired: trigger accuracy (medium)", Tell.ALERT) in told(observed)
    assert told(settled(observed)) == []


def test_suspended_while_a_rollback_waits_tells_of_tampered_bytes() -> None:
    waiting = replace(locked(declaring(WELL, suspend=True), RUNNING), verifying=frozenset({name(2)}))
    observed = swapped(settled(waiting), unverified(3, Reason.DIGEST_MISMATCH, "another digest"))
    assert ("Suspended", Tell.ALERT) in [(row[0], row[2]) for row in told(observed)]


def test_what_is_no_more_is_told_again_when_it_comes_back() -> None:
    suspended = after(declaring(SICK, suspend=True))
    calm = after(replace(suspended, tallies=WELL.tallies, now=NOW + timedelta(minutes=1)))
    assert [alert.about for alert in calm.deployment.status.alerts] == ["protection"]
    again = replace(calm, tallies=SICK.tallies, now=NOW + timedelta(minutes=2))
    assert [row[0] for row in told(again)] == ["Suspended"]


def test_what_was_told_stays_as_it_was_told_and_is_not_written_again() -> None:
    observed = after(declaring(SICK, suspend=True))
    later = replace(observed, now=NOW + timedelta(hours=1))
    assert later.deployment.status.alerts[0].since == NOW
    assert decide(later).action is None


def test_a_write_of_something_else_does_not_forget_what_was_told() -> None:
    alert = Alert(reason="Suspended", about="accuracy", message="x", since=ago(hours=1))
    observed = having(declaring(SICK, suspend=True), alerts=(alert,), held=None)
    assert alert in written(observed).alerts


# Errors


def erring(kind: LookError, error: str, **known: Any) -> Observed:
    quiet = replace(tally(Verdict.INCONCLUSIVE, 9, value="", error=error), kind=kind, since=ago(minutes=5))
    report = TriggerReport(
        name="accuracy", severity="high", verdict="Inconclusive", error="it is not JSON", since=ago(minutes=5)
    )
    before = replace(replace(report, error_kind="UnusableJSON", error_at=ago(minutes=5)), **known)
    return having(world(tallies={"accuracy": quiet}), triggers=(before,))


def test_the_error_that_is_shown_is_the_last_one() -> None:
    """Field case 23."""
    report = written(erring(LookError.STATUS, "it answered with status 503")).triggers[0]
    assert (report.error, report.error_kind, report.error_at) == ("it answered with status 503", "HTTPStatus", NOW)
    assert (report.verdict, report.since) == ("Inconclusive", ago(minutes=5))


def test_a_status_that_changes_is_another_error() -> None:
    observed = erring(LookError.STATUS, "status 404", error_kind="HTTPStatus")
    assert written(observed).triggers[0].error == "status 404"


def test_another_host_that_is_refused_is_named_at_once() -> None:
    observed = after(replace(world(), unusable={"trigger/accuracy": HIDDEN}))
    other = replace(HIDDEN, message="spec.triggers[0].http.url: host y is not called")
    changed = replace(observed, unusable={"trigger/accuracy": other})
    assert written(changed).triggers[0].error == other.message
    assert told(changed) == [("InvalidSpec", other.message, Tell.WARNING)]


def test_the_same_error_keeps_its_time() -> None:
    report = written(erring(LookError.UNUSABLE_JSON, "it is not JSON")).triggers[0]
    assert (report.error, report.error_at) == ("it is not JSON", ago(minutes=5))


def test_the_last_value_stays_while_there_is_none_with_its_time() -> None:
    known = replace(KNOWN[0], value="accuracy=0.97", value_at=ago(hours=1))
    report = written(having(silent(3, seconds=30), triggers=(known,))).triggers[0]
    assert (report.verdict, report.value, report.value_at) == ("Inconclusive", "accuracy=0.97", ago(hours=1))
    assert (report.error, report.error_at, report.since) == ("it is not there", NOW, ago(seconds=30))


def test_the_report_is_read_back_as_it_was_written() -> None:
    status = written(erring(LookError.STATUS, "status 503"))
    again = DeploymentStatus.from_body({"status": compact(status.as_body())})
    assert (again.triggers, again.alerts) == (status.triggers, status.alerts)
