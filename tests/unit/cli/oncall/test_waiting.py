"""`--wait`: one look after another at plain values, until there is an outcome or the time is up."""

from collections.abc import Mapping
from typing import Any

import pytest

from lastgood.api.names import Outcome
from lastgood.cli.oncall.cluster import Cluster, ClusterError, MissingError, UnreachableError
from lastgood.cli.oncall.waiting import CODES, Look, Waiter, wait
from lastgood.cli.parser import Exit
from tests.unit.cli.oncall.test_presence import NOW

KEY = "rollback.0123"


def deployment(record: str = "r1", **status: Any) -> dict[str, Any]:
    return {"status": {"handledRequests": {KEY: record} if record else {}, **status}}


def record(name: str = "r1", continues: str = "", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"continues": continues}, "status": status}


def ended(outcome: str, reason: str = "Why", name: str = "r1", continues: str = "") -> dict[str, Any]:
    return record(name, continues, outcome=outcome, outcomeReason=reason, message="told")


class World(Cluster):
    """Its moments come one after another, the last one for ever: a ModelDeployment, or an error, and records."""

    def __init__(self, *moments: tuple[dict[str, Any] | Exception, list[dict[str, Any]]]) -> None:
        self.namespace = "ml"
        self.moments = list(moments)
        self.time = 0.0
        self.said: list[str] = []
        self._records: list[dict[str, Any]] = []

    def get(self, plural: object, name: str) -> Mapping[str, Any]:
        if str(plural) == "modelrollbacks":
            found = [item for item in self._records if item["metadata"]["name"] == name]
            if not found:
                raise MissingError(name, NOW)
            return found[0]
        body, self._records = self.moments.pop(0) if len(self.moments) > 1 else self.moments[0]
        if isinstance(body, Exception):
            raise body
        return body

    def find_all(self, plural: object, *, everywhere: bool = False) -> list[Mapping[str, Any]]:
        assert (str(plural), everywhere) == ("modelrollbacks", False)
        return [*self._records]

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def wait(self, seconds: float = 60.0) -> Look:
        return wait(
            Waiter(self, "digits", KEY),
            seconds=seconds,
            clock=lambda: self.time,
            sleep=self.sleep,
            say=self.said.append,
        )


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_its_exit_code(outcome: Outcome) -> None:
    found = World((deployment(), [ended(outcome)])).wait()
    assert found.code == CODES[outcome]
    assert found.stage == f"{outcome} (Why): told\nModelRollback r1"
    assert len({CODES[item] for item in Outcome}) == 4
    assert CODES[Outcome.SUCCEEDED] == 0


@pytest.mark.parametrize("word", ["rejected", "found"])
def test_text_that_was_refused_is_an_end(word: str) -> None:
    refused = {"type": "Ready", "status": "False", "reason": "RequestRejected", "message": "write 'to=…'"}
    found = World((deployment(word, conditions=[refused]), [])).wait()
    assert (found.code, found.stage) == (Exit.REJECTED, "Rejected (RequestRejected): write 'to=…'")


def test_what_takes_long_is_told_by_its_stages() -> None:
    nothing: list[dict[str, Any]] = []
    slow = [(deployment(""), nothing)] * 6
    choosing: list[dict[str, Any]] = [record()]
    target: dict[str, Any] = {"target": {"snapshot": "v1"}}
    steps = [
        choosing,
        [record(intentAt="t", **target)],
        [record(intentAt="t", switchedAt="t", **target)],
        [record(intentAt="t", switchedAt="t", availableAt="t", **target)],
    ]
    world = World(*slow, *((deployment(), step) for step in steps), (deployment(), [ended("Succeeded")]))
    assert world.wait().code == 0
    assert [text.partition(": ")[2].removeprefix("ModelRollback r1: ") for text in world.said] == [
        "the operator has not picked it up yet",
        "choosing and verifying a snapshot",
        "switching to v1",
        "switched to v1; waiting for its pods",
        "v1 is available; it is being validated",
    ]


def test_what_is_quick_needs_no_word() -> None:
    world = World((deployment(""), []), (deployment(), [ended("Succeeded")]))
    assert world.wait().code == 0
    assert world.said == []


def test_time_that_is_up_says_how_far_it_was() -> None:
    found = World((deployment(""), [])).wait(5)
    assert found.code == Exit.TIMED_OUT
    assert found.stage.endswith("Last: the operator has not picked it up yet")


def test_long_waits_are_reminded_of() -> None:
    world = World((deployment(""), []))
    world.wait(60)
    assert 4 <= len(world.said) <= 5


def test_failed_target_is_followed_to_the_record_that_goes_on() -> None:
    failed = ended("Failed", "ProgressDeadlineExceeded")
    following = ended("Succeeded", name="r2", continues="r1")
    world = World(
        (deployment(activeRollback={"name": "r1"}), [failed]),
        (deployment(continues={"record": "r1"}), [failed]),
        (deployment(activeRollback={"name": "r2"}), [failed, record("r2", "r1")]),
        (deployment(), [failed, following]),
    )
    found = world.wait()
    assert (found.code, found.stage.splitlines()[-1]) == (0, "ModelRollback r2")


def test_failure_that_nothing_follows_is_the_end() -> None:
    world = World((deployment(activeRollback={"name": "r1"}), [ended("Failed")]), (deployment(), [ended("Failed")]))
    assert world.wait().code == Exit.FAILED


def test_record_that_is_not_written_yet_is_awaited() -> None:
    assert World((deployment(), []), (deployment(), [ended("Succeeded")])).wait().code == 0


def test_api_server_that_is_away_for_a_moment_is_asked_again() -> None:
    assert World((UnreachableError("away"), []), (deployment(), [ended("Succeeded")])).wait().code == 0


def test_right_that_is_missing_is_not_waited_for() -> None:
    with pytest.raises(ClusterError, match="you may not"):
        World((ClusterError("you may not"), [])).wait()
