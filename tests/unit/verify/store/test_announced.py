"""What is deleted was announced by an earlier plan, long enough ago, and every plan since has named it."""

from datetime import UTC, datetime, timedelta

from lastgood.verify.store import Deletion, Plan
from lastgood.verify.store.announced import Announced

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = 3600.0


def deletion(number: int, *, captured: int = 0) -> Deletion:
    at = NOW + timedelta(seconds=captured)
    return Deletion(digest=f"sha256:{number:064x}", why="it is old", size_bytes=number, captured_at=at)


def naming(*numbers: int) -> Plan:
    return Plan(delete=tuple(map(deletion, numbers)), keep=())


def ripe(announced: Announced, plan: Plan, now: float) -> list[int]:
    return [item.size_bytes for item in announced.ripe(plan, now).delete]


def test_nothing_is_ripe_that_was_announced_just_now() -> None:
    said = Announced(HOUR)
    assert said.take(naming(1, 2), 0.0)
    assert ripe(said, naming(1, 2), 0.0) == []
    assert ripe(said, naming(1, 2), HOUR - 1) == []


def test_what_was_announced_long_enough_ago_is_ripe_and_what_is_new_is_not() -> None:
    said = Announced(HOUR)
    said.take(naming(1), 0.0)
    assert said.take(naming(1, 2), HOUR)
    assert ripe(said, naming(1, 2), HOUR) == [1]


def test_a_plan_that_did_not_change_is_not_announced_again() -> None:
    said = Announced(HOUR)
    said.take(naming(1), 0.0)
    assert not said.take(naming(1), HOUR)
    assert said.take(naming(1), 2 * HOUR, beside=("the store has something strange in it",))


def test_what_one_plan_left_out_is_announced_anew() -> None:
    said = Announced(HOUR)
    said.take(naming(1), 0.0)
    said.take(naming(), HOUR)
    said.take(naming(1), 2 * HOUR)
    assert ripe(said, naming(1), 2 * HOUR) == []


def test_what_no_plan_named_is_never_ripe() -> None:
    said = Announced(HOUR)
    said.take(naming(1), 0.0)
    assert ripe(said, naming(2), 9 * HOUR) == []


def test_what_was_captured_again_is_another_one() -> None:
    said = Announced(HOUR)
    said.take(naming(1), 0.0)
    again = Plan(delete=(deletion(1, captured=9),), keep=())
    said.take(again, HOUR)
    assert ripe(said, again, HOUR) == []


def test_who_forgets_begins_again() -> None:
    said = Announced(HOUR)
    said.take(naming(1), 0.0)
    said.forget()
    assert said.take(naming(1), 2 * HOUR)
    assert ripe(said, naming(1), 2 * HOUR) == []
