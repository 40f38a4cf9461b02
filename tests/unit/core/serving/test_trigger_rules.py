"""Triggers: three verdicts, thresholds, and what binds an automatic rollback."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import Done, Held, Left, TriggerReport
from lastgood.api.facts.signal import Verdict
from lastgood.api.meta import Meta
from lastgood.api.names import Reason, RecordName, Severity, Type
from lastgood.api.specs.rollback import FiredTrigger
from lastgood.api.specs.snapshot import QuarantineMark
from lastgood.core.actions import CreateRecord
from lastgood.core.serving.triggers import automatic, breached, fired, integrity, verdict
from lastgood.core.state import Observed, Tell
from lastgood.core.words import INTEGRITY
from tests.unit.core.builders import (
    ACCURACY,
    HISTORY,
    NOW,
    PODS,
    V3,
    ago,
    condition,
    declaring,
    digest,
    having,
    name,
    policy,
    served,
    snapshot_status,
    swapped,
    tally,
    unverified,
    workload,
    world,
)

SICK = world(tallies={"accuracy": tally(Verdict.BREACHED)})


def reported(verdict_: Verdict) -> tuple[TriggerReport, ...]:
    return (TriggerReport(name="accuracy", severity="high", verdict=verdict_),)


def done(at: datetime, reason: Reason = Reason.SUCCEEDED, *, by_itself: bool = True) -> Done:
    outcome = "Failed" if reason == Reason.NO_KNOWN_GOOD else "Succeeded"
    return Done(name=RecordName(f"rb-{at}"), at=at, automatic=by_itself, outcome=outcome, reason=reason)


@pytest.mark.parametrize(
    ("said", "streak", "before", "now", "fires"),
    [
        (Verdict.BREACHED, 3, None, Verdict.BREACHED, True),
        (Verdict.BREACHED, 2, None, Verdict.INCONCLUSIVE, False),
        (Verdict.BREACHED, 2, Verdict.HEALTHY, Verdict.HEALTHY, False),
        (Verdict.HEALTHY, 1, Verdict.BREACHED, Verdict.HEALTHY, False),
        (Verdict.INCONCLUSIVE, 2, Verdict.HEALTHY, Verdict.HEALTHY, False),
        (Verdict.INCONCLUSIVE, 2, Verdict.BREACHED, Verdict.BREACHED, False),
        (Verdict.INCONCLUSIVE, 3, Verdict.HEALTHY, Verdict.INCONCLUSIVE, False),
        (Verdict.INCONCLUSIVE, 300, Verdict.BREACHED, Verdict.INCONCLUSIVE, False),
    ],
)
def test_verdict(said: Verdict, streak: int, before: Verdict | None, now: Verdict, fires: bool) -> None:  # noqa: FBT001 - a column of the table
    observed = world(tallies={"accuracy": tally(said, streak)})
    observed = having(observed, triggers=reported(before) if before else ())
    assert verdict(observed, ACCURACY) == now
    assert breached(observed, ACCURACY) is fires


def test_restart_leaves_the_verdict_as_it_was_and_votes_for_nothing() -> None:
    observed = having(world(), triggers=reported(Verdict.BREACHED))
    assert verdict(observed, ACCURACY) == Verdict.BREACHED
    assert not breached(observed, ACCURACY)
    assert automatic(observed) is None


def test_nonsense_in_status_is_no_verdict() -> None:
    report = replace(reported(Verdict.HEALTHY)[0], verdict="Whatever")
    assert verdict(having(world(), triggers=(report,)), ACCURACY) == Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("threshold", "fires"), [(1, True), (3, True), (4, False), (100, False)])
def test_threshold(threshold: int, fires: bool) -> None:  # noqa: FBT001 - a column of the table
    observed = declaring(SICK, triggers=(replace(ACCURACY, failure_threshold=threshold),))
    assert bool(fired(observed)) is fires


def test_gravest_trigger_is_named_first() -> None:
    observed = world(tallies={"accuracy": tally(Verdict.BREACHED), "pods": tally(Verdict.BREACHED, value="0 of 2")})
    found = fired(declaring(observed, triggers=(ACCURACY, PODS)))
    assert [(item.name, item.severity, item.condition) for item in found] == [
        ("pods", "critical", "workload"),
        ("accuracy", "high", "result.accuracy < 0.9"),
    ]


def test_trigger_opens_a_record_that_says_why() -> None:
    step = automatic(SICK)
    assert step is not None
    assert isinstance(step.action, CreateRecord)
    spec = step.action.spec
    assert step.tell == Tell.WARNING
    assert (spec.automatic, spec.emergency, spec.requested_by) == (True, False, "lastgood")
    assert (spec.source, spec.source_digest) == (name(3), digest(3))
    assert spec.trigger == FiredTrigger(
        name="accuracy", severity="high", value="accuracy=0.5", condition="result.accuracy < 0.9"
    )
    assert "accuracy=0.5" in spec.reason


def severity(level: Severity, **fields: Any) -> Observed:
    return policy(declaring(SICK, triggers=(replace(ACCURACY, severity=level),)), **fields)


@pytest.mark.parametrize(
    ("observed", "acts"),
    [
        pytest.param(severity(Severity.CRITICAL), True, id="critical acts"),
        pytest.param(severity(Severity.HIGH), True, id="high acts"),
        pytest.param(severity(Severity.MEDIUM), False, id="medium does not"),
        pytest.param(severity(Severity.LOW), False, id="low does not"),
        pytest.param(severity(Severity.HIGH, automatic=("critical",)), False, id="high is not among automatic"),
        pytest.param(severity(Severity.HIGH, automatic=()), False, id="nothing is automatic"),
        pytest.param(having(SICK, snapshot=""), False, id="nothing was deployed yet"),
        pytest.param(replace(SICK, complete=False), False, id="the lists are not complete"),
        pytest.param(replace(SICK, workload=None), False, id="there is no workload"),
        pytest.param(
            replace(SICK, workload=workload(meta=Meta(namespace="ml", name="digits-server"))), False, id="not opted in"
        ),
    ],
)
def test_who_acts(observed: Observed, acts: bool) -> None:  # noqa: FBT001 - a column of the table
    step = automatic(observed)
    assert (step is not None and isinstance(step.action, CreateRecord)) is acts


@pytest.mark.parametrize(
    ("observed", "reason", "after"),
    [
        pytest.param(declaring(SICK, suspend=True), Reason.SUSPENDED, None, id="suspended"),
        pytest.param(having(SICK, rollbacks=(done(ago(minutes=4)),)), Reason.COOLDOWN, 60.0, id="cooling down"),
        pytest.param(
            having(SICK, rollbacks=(done(ago(minutes=4), by_itself=False),)),
            Reason.COOLDOWN,
            60.0,
            id="after a person's",
        ),
        pytest.param(having(SICK, rollbacks=(done(ago(minutes=5)),)), None, None, id="cooled down"),
        pytest.param(
            having(SICK, rollbacks=tuple(done(ago(minutes=minutes)) for minutes in (50, 40, 30))),
            Reason.RATE_LIMITED,
            600.0,
            id="three in an hour",
        ),
        pytest.param(
            having(SICK, rollbacks=tuple(done(ago(minutes=minutes)) for minutes in (60, 40, 30))),
            None,
            None,
            id="the first was an hour ago",
        ),
        pytest.param(
            having(SICK, rollbacks=tuple(done(ago(minutes=minutes), by_itself=False) for minutes in (50, 40, 30))),
            None,
            None,
            id="a person's do not count",
        ),
        pytest.param(
            policy(having(SICK, rollbacks=(done(ago(minutes=30)),)), max_per_hour=1),
            Reason.RATE_LIMITED,
            1800.0,
            id="one",
        ),
    ],
)
def test_what_binds_an_automatic_rollback(observed: Observed, reason: Reason | None, after: float | None) -> None:
    step = automatic(observed)
    assert step is not None
    if reason is None:
        assert isinstance(step.action, CreateRecord)
    else:
        assert (step.reason, step.action, step.after) == (reason, None, after)


def test_sixty_an_hour_is_a_limit_too() -> None:
    """The list of rollbacks that status keeps is long enough to count to maxPerHour."""
    many = tuple(done(ago(minutes=59) + timedelta(seconds=30 * number)) for number in range(60))
    body = having(SICK, rollbacks=many).deployment.status.as_body()
    read = type(SICK.deployment.status).from_body({"status": body})
    observed = policy(declaring(SICK, status=read), max_per_hour=60, cooldown=timedelta(0))
    step = automatic(observed)
    assert step is not None
    assert step.reason == Reason.RATE_LIMITED


NOTHING_LEFT = tuple(Left(digest=digest(number), snapshot=name(number), reason="wrong answers") for number in (0, 1, 2))


def test_no_known_good_makes_one_record_and_no_more() -> None:
    failed = (done(ago(hours=2), Reason.NO_KNOWN_GOOD),)
    older = (*HISTORY[:2], served(3, ago(hours=3), None))
    step = automatic(having(SICK, left=NOTHING_LEFT, rollbacks=failed, history=older))
    assert step is not None
    assert (step.reason, step.action) == (Reason.NO_KNOWN_GOOD, None)


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"rollbacks": ()}, id="it has not been tried"),
        pytest.param({"rollbacks": (done(ago(hours=3), Reason.NO_KNOWN_GOOD),)}, id="something else serves since"),
        pytest.param(
            {"rollbacks": (done(ago(minutes=70), Reason.NO_KNOWN_GOOD),), "left": NOTHING_LEFT[:1]},
            id="there is one now",
        ),
    ],
)
def test_no_known_good_is_tried_again_when_something_changed(facts: dict[str, Any]) -> None:
    step = automatic(having(SICK, **({"left": NOTHING_LEFT} | facts)))
    assert step is not None
    assert isinstance(step.action, CreateRecord)


TAMPERED = unverified(3, Reason.DIGEST_MISMATCH, "1.bin is changed")
MARKED = replace(V3, status=replace(snapshot_status(3), quarantine=QuarantineMark(scope="Snapshot", reason="INC-1")))


@pytest.mark.parametrize(
    ("observed", "why", "value"),
    [
        pytest.param(world(), None, "", id="all is well"),
        pytest.param(world(quarantined={digest(3): "INC-1"}), Reason.QUARANTINED, "INC-1", id="digest quarantined"),
        pytest.param(
            replace(world(quarantined={digest(3): "INC-1"}), snapshots=()),
            Reason.QUARANTINED,
            "INC-1",
            id="quarantined, and its snapshot is gone",
        ),
        pytest.param(swapped(world(), MARKED), Reason.QUARANTINED, "INC-1", id="snapshot quarantined"),
        pytest.param(swapped(world(), TAMPERED), Reason.DIGEST_MISMATCH, "1.bin is changed", id="tampered with"),
        pytest.param(swapped(world(), unverified(3, Reason.UNREADABLE, "EIO")), None, "", id="unreadable is no breach"),
        pytest.param(swapped(world(), unverified(3)), None, "", id="not verified is no breach"),
        pytest.param(
            swapped(world(), replace(TAMPERED, digest=digest("new"))), None, "", id="the name is another's by now"
        ),
        pytest.param(world(quarantined={digest(2): "INC-1"}), None, "", id="another digest is quarantined"),
    ],
)
def test_integrity_needs_no_declaration(observed: Observed, why: Reason | None, value: str) -> None:
    found = integrity(observed)
    if why is None:
        assert found is None
    else:
        assert found == FiredTrigger(name=INTEGRITY, severity="critical", value=value, condition=why)


def test_integrity_acts_only_where_critical_may() -> None:
    observed = world(quarantined={digest(3): "INC-1"})
    assert automatic(observed) is not None
    assert automatic(policy(observed, automatic=("high",))) is None


def test_hold_and_conditions_do_not_bind_a_trigger() -> None:
    held = Held(snapshot=name(3), digest=digest(3), reason="x", rollback=RecordName("rb"), since=NOW)
    stalled = {"Stalled": condition(Type.STALLED, "True", Reason.RATE_LIMITED)}
    step = automatic(having(SICK, held=held, conditions=stalled))
    assert step is not None
    assert isinstance(step.action, CreateRecord)
