"""A ModelSnapshot that matters is deleted: the ModelDeployment says so, while it goes and after it is gone."""

from dataclasses import replace

import pytest

from lastgood.api.names import Reason
from lastgood.core.actions import UpdateDeployment
from lastgood.core.decide import decide
from lastgood.core.state import Observed, Tell
from tests.unit.core.builders import SNAPSHOTS, declaring, digest, having, name, snapshot, swapped, world

ONLY_V2 = having(replace(world(), snapshots=(snapshot(3), snapshot(2))), last_known_good=str(name(2)))


def going(number: int) -> Observed:
    return swapped(world(), replace(snapshot(number), meta=replace(snapshot(number).meta, deleting=True)))


def without(observed: Observed, number: int) -> Observed:
    return replace(observed, snapshots=tuple(item for item in observed.snapshots if item.name != name(number)))


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        (going(3), Reason.SNAPSHOT_DELETING, "digits-v3 serves, and its ModelSnapshot is being deleted"),
        (without(world(), 3), Reason.SNAPSHOT_DELETED, "digits-v3 serves, and its ModelSnapshot was deleted"),
    ],
)
def test_deleting_what_serves_is_told(observed: Observed, reason: Reason, words: str) -> None:
    decision = decide(observed)
    assert isinstance(decision.action, UpdateDeployment)
    assert (decision.reason, decision.tell) == (reason, Tell.WARNING)
    assert words in decision.message
    assert "apply it again with the same digest" in decision.message
    ready = decision.action.status.conditions["Ready"]
    assert (ready.status, ready.reason, ready.message) == ("False", reason, decision.message)
    assert decision.action.status.snapshot == name(3), "what serves goes on serving"


def test_it_is_told_once_while_it_goes_and_once_when_it_is_gone() -> None:
    first = decide(going(3))
    assert isinstance(first.action, UpdateDeployment)
    again = declaring(going(3), status=first.action.status)
    assert decide(again).tell == Tell.NOBODY
    assert decide(without(again, 3)).tell == Tell.WARNING


def test_it_is_told_though_something_else_is_desired_and_held() -> None:
    desired = declaring(without(world(), 3), snapshot="digits-v9")
    assert decide(desired).reason == Reason.SNAPSHOT_DELETED


def test_half_a_list_is_no_deletion() -> None:
    assert decide(replace(world(), snapshots=(), complete=False)).reason != Reason.SNAPSHOT_DELETED


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "going"])
def test_deleting_the_only_fallback_is_told_once_and_the_condition_goes_on_saying_so(*, gone: bool) -> None:
    deleting = replace(snapshot(2), meta=replace(snapshot(2).meta, deleting=True))
    observed = without(ONLY_V2, 2) if gone else swapped(ONLY_V2, deleting)
    decision = decide(observed)
    assert isinstance(decision.action, UpdateDeployment)
    assert (decision.reason, decision.tell) == (Reason.FALLBACK_DELETED, Tell.WARNING)
    assert "digits-v2 was the only rollback target" in decision.message
    status = decision.action.status
    assert status.conditions["Ready"].reason != Reason.FALLBACK_DELETED
    after = decide(declaring(observed, status=status))
    assert (after.action, after.tell) == (None, Tell.NOBODY)
    told = status.conditions["KnownGoodAvailable"]
    assert (told.status, told.reason, told.message) == ("False", Reason.FALLBACK_DELETED, decision.message)


def test_a_fallback_among_others_may_go() -> None:
    settled = decide(having(world(), last_known_good=str(name(2))))
    assert isinstance(settled.action, UpdateDeployment)
    decision = decide(without(declaring(world(), status=settled.action.status), 2))
    assert decision.reason != Reason.FALLBACK_DELETED
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.action.status.last_known_good == name(1)


def test_a_fallback_that_is_quarantined_was_not_deleted() -> None:
    decision = decide(replace(ONLY_V2, quarantined={digest(2): "INC-1"}))
    assert decision.reason != Reason.FALLBACK_DELETED
    assert len(SNAPSHOTS) == 4


def test_the_only_fallback_is_missed_also_while_what_is_desired_is_not_there() -> None:
    """What waits for another reason is told beside it, and does not take its place in the conditions."""
    observed = declaring(without(ONLY_V2, 2), snapshot=name(9))
    decision = decide(observed)
    assert isinstance(decision.action, UpdateDeployment)
    assert decision.reason == Reason.FALLBACK_DELETED
    told = decision.action.status.conditions["KnownGoodAvailable"]
    assert (told.status, told.reason, told.message) == ("False", Reason.FALLBACK_DELETED, decision.message)
    ready = decision.action.status.conditions["Ready"]
    assert (ready.status, ready.reason) == ("False", Reason.SNAPSHOT_NOT_FOUND), "and it was not ready for a moment"
    again = declaring(observed, status=decision.action.status)
    assert (decide(again).action, decide(again).tell) == (None, Tell.NOBODY)
