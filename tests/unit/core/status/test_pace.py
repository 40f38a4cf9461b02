"""A signal that changes its mind all the time: the status follows once a minute, and nothing that is done waits for it.

Time is simulated look by look; what is written is read back as the API server stores it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.api.facts.deployment_status import Done
from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.meta import Meta
from lastgood.api.names import Reason, RecordName, Severity, Type
from lastgood.api.workload.workload import Container
from lastgood.core.actions import CreateRecord, UpdateDeployment
from lastgood.core.decide import decide
from lastgood.core.serving.soak import soak_end
from lastgood.core.status.pace import EVERY
from tests.unit.core.builders import (
    PODS,
    ROLLED_OUT,
    STARTING,
    V3,
    checked,
    declaring,
    having,
    policy,
    workload,
)
from tests.unit.core.looks import (
    ACTS,
    BAD,
    BROKEN,
    GOOD,
    HOUR,
    PAUSE,
    SILENT,
    TELLS,
    Life,
    Pattern,
    begun,
    every_second,
    lived,
    turns,
)


def suspended() -> Life:
    return begun(ACTS, suspend=True)


def cooling() -> Life:
    life = begun(ACTS)
    done = Done(name=RecordName("rb-1"), at=life.observed.now, automatic=True, outcome="Succeeded", reason="Succeeded")
    life.observed = policy(having(life.observed, rollbacks=(done,)), cooldown=timedelta(hours=9))
    return life


SHORT = 130 // PAUSE  # longer than any wait
FLAPS: dict[str, tuple[Callable[[], Life], dict[str, Pattern]]] = {
    "good and bad, alerts only": (lambda: begun(TELLS), {"accuracy": turns(GOOD, BAD)}),
    "good and bad, without a value": (
        lambda: begun(TELLS),
        {"accuracy": turns(replace(GOOD, value=""), replace(BAD, value=""))},
    ),
    "good and bad, suspended": (suspended, {"accuracy": turns(GOOD, BAD)}),
    "good and bad, cooling down": (cooling, {"accuracy": turns(GOOD, BAD)}),
    "bad for a second, good for a minute": (lambda: begun(TELLS), {"accuracy": turns(BAD, *[GOOD] * 12)}),
    "good and bad, 40 seconds each": (lambda: begun(TELLS), {"accuracy": turns(GOOD, BAD, each=8)}),
    "two kinds of error": (lambda: begun(ACTS), {"accuracy": turns(SILENT, BROKEN)}),
    "an answer and none": (lambda: begun(every_second(alert_on_no_data=True)), {"accuracy": turns(GOOD, SILENT)}),
    "no answer ten times, then one": (lambda: begun(ACTS), {"accuracy": turns(*[SILENT] * 11, GOOD)}),
    "bad, silent and good": (lambda: begun(TELLS), {"accuracy": turns(BAD, SILENT, GOOD)}),
    "three out of phase": (
        lambda: begun(*(every_second(name, severity=Severity.MEDIUM) for name in "abc")),
        {name: turns(GOOD, BAD, each=place + 1, late=place) for place, name in enumerate("abc")},
    ),
    "three out of phase, slowly": (
        lambda: begun(*(every_second(name, severity=Severity.MEDIUM) for name in "abc")),
        {name: turns(GOOD, BAD, each=13, late=4 * place) for place, name in enumerate("abc")},
    ),
}


def slow(life: Life) -> Life:
    life.pause = PAUSE
    return life


def news(life: Life) -> int:
    """Return how many writes may come at once: the first of each verdict and alert that each trigger has."""
    return 2 * len(life.observed.deployment.triggers)


@pytest.mark.parametrize("name", FLAPS)
def test_an_hour_of_flapping_is_a_write_a_minute(name: str) -> None:
    made, patterns = FLAPS[name]
    life = lived(slow(made()), patterns, HOUR)
    assert 1 <= len(life.written) <= 60 + news(life)
    assert len({(reason, message) for _, reason, message in life.told}) <= news(life)
    for message in {message for _, _, message in life.told}:
        at = [time for time, _, told in life.told if told == message]
        assert all(after - before >= EVERY for before, after in pairwise(at)), "Events and the security log are as rare"
    assert life.records == []
    life.stop()
    assert life.shown == life.truth


@pytest.mark.parametrize("name", FLAPS)
def test_a_restart_while_it_flaps_writes_nothing_at_once(name: str) -> None:
    made, patterns = FLAPS[name]
    life = lived(slow(made()), patterns, SHORT)
    before = len(life.written)
    for _ in range(3):
        life.restart()
        lived(life, patterns, 3)
    assert len(life.written) - before <= 1, "three restarts within a minute"


def flapping_pods(life: Life, look: int) -> None:
    there = workload(rollout=STARTING if look % 2 else ROLLED_OUT)
    life.look({"pods": BAD if look % 2 else GOOD}, workload=there)


def drifting(life: Life, look: int) -> None:
    """Somebody else writes the bound field, again and again."""
    owned: dict[str, Any] = {'k:{"name":"server"}': {"f:env": {'k:{"name":"MODEL_PATH"}': {"f:value": {}}}}}
    owners = (("rival", {"f:spec": {"f:containers": owned}}),)
    other = Container(name="server", image="registry.example/base:1", env={"MODEL_PATH": f"/other/{look}"})
    there = workload(containers={"server": other}, owners=owners)
    life.look({"accuracy": GOOD}, workload=there, checked=checked(V3, at=life.observed.now))


@pytest.mark.parametrize(
    ("life", "happens"),
    [
        pytest.param(lambda: begun(replace(PODS, failure_threshold=1), suspend=True), flapping_pods, id="pods"),
        pytest.param(begun, flapping_pods, id="pods, and no trigger"),
        pytest.param(lambda: begun(ACTS), drifting, id="drift"),
    ],
)
def test_an_hour_of_a_flapping_workload_is_a_write_a_minute(
    life: Callable[[], Life], happens: Callable[[Life, int], None]
) -> None:
    found = slow(life())
    for look in range(HOUR):
        happens(found, look)
    assert 1 <= len(found.written) <= 60 + 3


said = st.sampled_from([GOOD, BAD, SILENT, BROKEN])
phases = st.lists(st.tuples(said, st.integers(1, 18)), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None)
@given(first=phases, second=phases)
def test_whatever_signals_do_it_is_a_write_a_minute_and_true_in_the_end(
    first: list[tuple[Sample, int]], second: list[tuple[Sample, int]]
) -> None:
    life = slow(begun(TELLS, every_second("other", severity=Severity.LOW, alert_on_no_data=True)))
    patterns = {"accuracy": turns(*spread(first)), "other": turns(*spread(second))}
    lived(life, patterns, 420 // PAUSE)
    assert len(life.written) <= 7 + 2 * news(life)
    life.stop()
    assert life.shown == life.truth
    healthy = set(life.truth.values()) == {Verdict.HEALTHY}
    assert (life.condition(Type.HEALTHY) == "True") is healthy
    standing = {alert.about for alert in life.observed.deployment.status.alerts if alert.reason == "TriggerFired"}
    assert len(standing) == list(life.truth.values()).count(Verdict.BREACHED)


def spread(phases: list[tuple[Sample, int]]) -> list[Sample]:
    return [sample for sample, looks in phases for _ in range(looks)]


# What does not wait


def just_written(life: Life) -> Life:
    life.observed = having(life.observed, signalled_at=life.observed.now)
    return life


def test_a_breach_is_acted_on_in_the_same_second_whatever_was_written_just_now() -> None:
    life = just_written(begun(ACTS))
    life.look({"accuracy": BAD})
    assert life.records == [life.observed.now]
    record, lock = decide(life.observed).actions
    assert isinstance(record, CreateRecord)
    assert isinstance(lock, UpdateDeployment), "nor does its lock wait"
    assert lock.status.active is not None


def test_a_breach_acts_at_once_where_the_status_still_says_what_was_before() -> None:
    """The cooldown of a trigger that flaps ends between two writes."""
    life = cooling()
    lived(life, {"accuracy": turns(GOOD, BAD)}, 75)
    life.observed = policy(life.observed, cooldown=timedelta(seconds=10))
    life.look({"accuracy": BAD})
    assert life.records == [life.observed.now]


def test_a_trigger_that_fires_for_the_first_time_is_told_at_once() -> None:
    life = begun(every_second("a", severity=Severity.MEDIUM), every_second("b", severity=Severity.LOW))
    life.look({"a": BAD, "b": GOOD})
    life.look({"a": BAD, "b": BAD})
    messages = [(at, message) for at, _, message in life.told]
    assert messages == [
        (life.observed.now - timedelta(seconds=1), "fired: trigger a (medium)"),
        (life.observed.now, "fired: trigger b (low)"),
    ]


def test_a_suspended_trigger_is_told_at_once_though_something_else_flaps() -> None:
    life = begun(ACTS, every_second("other", severity=Severity.MEDIUM), suspend=True)
    lived(life, {"accuracy": turns(GOOD), "other": turns(GOOD, BAD)}, SHORT)
    life.told = []
    life.look({"accuracy": BAD, "other": GOOD})
    assert "a trigger fired, but spec.suspend is true: accuracy (high)" in [message for _, _, message in life.told]


def test_what_no_signal_says_is_written_at_once_though_a_signal_flaps() -> None:
    life = lived(begun(TELLS), {"accuracy": turns(GOOD, BAD)}, 7)
    life.written = []
    life.look({"accuracy": GOOD}, workload=workload(meta=Meta(namespace="ml", name="digits-server")))
    assert life.written == [life.observed.now]
    assert life.condition(Type.OPTED_IN) == "False"


def test_another_spec_is_seen_at_once_though_a_signal_flaps() -> None:
    life = lived(begun(TELLS), {"accuracy": turns(GOOD, BAD)}, 7)
    life.observed = declaring(life.observed, meta=replace(life.observed.deployment.meta, generation=2))
    life.look({"accuracy": GOOD})
    assert life.observed.deployment.status.observed_generation == 2


def test_what_flaps_fast_stays_shown_as_bad() -> None:
    life = lived(begun(TELLS), {"accuracy": turns(GOOD, BAD)}, 200)
    assert len(life.written) == 1
    assert life.shown == {"accuracy": "Breached"}


def test_the_first_verdicts_on_what_serves_are_written_at_once_each() -> None:
    life = begun(ACTS, every_second("other"))
    history = life.observed.deployment.status.history
    since = life.observed.now
    life.observed = having(
        life.observed,
        history=(*history[:-1], replace(history[-1], since=since)),
        available_at=since,
        signalled_at=since,
    )
    life.observed = replace(life.observed, tallies={}, watched=since)
    life.look({"accuracy": SILENT})
    life.look({"accuracy": SILENT, "other": SILENT})
    assert life.shown == {"accuracy": "Inconclusive", "other": "Inconclusive"}


def test_the_first_verdict_is_written_at_once_though_there_was_no_answer_before() -> None:
    """Too few samples, for the first seconds: the soak begins with the first verdict."""
    life = begun(TELLS)
    since = life.observed.now
    history = life.observed.deployment.status.history
    begin = {"history": (*history[:-1], replace(history[-1], since=since)), "available_at": since}
    life.observed = replace(having(life.observed, **begin, signalled_at=since), tallies={}, watched=since)
    for _ in range(3):
        life.look({"accuracy": SILENT})
    life.look({"accuracy": GOOD})
    assert life.written[-1] == life.observed.now
    assert life.shown == {"accuracy": "Healthy"}


def test_what_is_mended_is_said_within_a_minute_though_nothing_more_happens() -> None:
    life = begun(TELLS)
    life.look({"accuracy": BAD})
    decision = life.look({"accuracy": GOOD})
    assert life.shown == {"accuracy": "Breached"}
    assert decision.requeue_after is not None
    assert decision.requeue_after <= EVERY.total_seconds()
    life.stop()
    assert life.shown == {"accuracy": "Healthy"}
    assert life.condition(Type.HEALTHY) == "True"
    assert [alert.reason for alert in life.observed.deployment.status.alerts] == [Reason.ALERTS_ONLY]


def test_a_time_that_is_not_there_yet_stops_no_report() -> None:
    """With `patch modeldeployments/status`, or a backup of a cluster whose clock is wrong."""
    life = begun(TELLS)
    life.look({"accuracy": BAD})
    life.observed = having(life.observed, signalled_at=life.observed.now + timedelta(days=9999))
    lived(life, {"accuracy": turns(GOOD)}, 62)
    assert life.shown == {"accuracy": "Healthy"}


# What the status does not say yet is not forgotten: it soaks by what was heard.


def soaking() -> Life:
    life = begun(TELLS)
    history = life.observed.deployment.status.history
    unsoaked = having(life.observed, history=(*history[:-1], replace(history[-1], soaked_at=None)))
    life.observed = policy(unsoaked, soak=timedelta(minutes=2))
    return life


def has_soaked(life: Life) -> bool:
    return life.observed.deployment.status.history[-1].soaked_at is not None


def test_who_is_good_only_while_a_write_is_due_is_not_shown_as_good_for_ever() -> None:
    """The end of the soak moves with each fall: were that a reason for a write, each write would hide the next fall."""
    life = begun(TELLS)
    history = tuple(replace(entry, soaked_at=None) for entry in life.observed.deployment.status.history)
    life.observed = policy(having(life.observed, history=history), soak=timedelta(hours=2))
    life.look({"accuracy": BAD})
    lived(life, {"accuracy": turns(GOOD)}, 70)
    hidden = 0
    for _ in range(500):
        last = life.observed.deployment.status.signalled_at
        assert last is not None
        fires = life.observed.now - last < EVERY - timedelta(seconds=4)
        life.look({"accuracy": BAD if fires else GOOD})
        hidden += fires and life.condition(Type.HEALTHY) == "True"
    assert hidden <= EVERY.total_seconds(), "after that it stays good, or is told"


def test_a_model_that_flaps_never_soaks() -> None:
    life = soaking()
    life.look({"accuracy": BAD})
    life.observed = policy(life.observed, soak=timedelta(seconds=5))
    assert not has_soaked(lived(life, {"accuracy": turns(GOOD, BAD, each=3)}, 400))
    assert has_soaked(lived(life, {"accuracy": turns(GOOD)}, 70))


def test_a_breach_that_was_not_written_yet_begins_the_soak_again() -> None:
    life = soaking()
    life.look({"accuracy": BAD})
    lived(life, {"accuracy": turns(GOOD)}, 61)
    assert life.condition(Type.HEALTHY) == "True"
    life.look({"accuracy": BAD})
    heard = life.observed.now
    assert life.condition(Type.HEALTHY) == "True", "it waits"
    lived(life, {"accuracy": turns(GOOD)}, 200)
    soaked_at = life.observed.deployment.status.history[-1].soaked_at
    assert soaked_at is not None
    assert soaked_at - heard == timedelta(minutes=2)


def test_a_breach_that_a_restart_forgot_does_not_count_as_soaked() -> None:
    life = soaking()
    life.look({"accuracy": BAD})
    lived(life, {"accuracy": turns(GOOD)}, 61)
    life.look({"accuracy": BAD})
    life.restart()
    again = life.observed.now
    lived(life, {"accuracy": turns(GOOD)}, 200)
    soaked_at = life.observed.deployment.status.history[-1].soaked_at
    assert soaked_at is not None
    assert soaked_at - again >= timedelta(minutes=2)


def test_a_breach_that_was_heard_long_before_the_restart_does_not_count_as_soaked() -> None:
    """The process ends just before the write is due, and the next one begins after that time."""
    life = soaking()
    life.look({"accuracy": BAD})
    lived(life, {"accuracy": turns(GOOD)}, 62)
    life.observed = having(life.observed, signalled_at=life.observed.now)
    lived(life, {"accuracy": turns(BAD)}, 50)
    heard = life.observed.now
    lived(life, {"accuracy": turns(GOOD)}, 8)
    assert life.condition(Type.HEALTHY) == "True", "it was not written"
    life.observed = replace(life.observed, now=life.observed.now + timedelta(seconds=4))
    life.restart()
    life.look({"accuracy": GOOD})
    end = soak_end(life.observed)
    assert end is not None
    assert end - heard >= timedelta(minutes=2)
