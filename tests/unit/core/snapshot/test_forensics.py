"""What is at a quarantined snapshot is kept once, tried a few times, and never waited for by anything else."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lastgood.api.facts.evidence import Forensics, PassedOver
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot, QuarantineMark
from lastgood.api.specs.sources import StoreSource
from lastgood.core.actions import KeepEvidence, RepairSnapshot, UpdateSnapshot
from lastgood.core.snapshot.decide import decide_snapshot, with_conditions
from lastgood.core.snapshot.forensics import PAUSES, evidence_rest, failure
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Decision, Tell
from tests.unit.core.builders import NOW, V2, ago

KEPT = Forensics(reason=Reason.EVIDENCE_KEPT, time=ago(minutes=1), path="evidence/INC-1", message="it is kept")
PATH = StoreSource(path=V2.captured_path)


def fact(attempts: int = 1, **changes: Any) -> Forensics:
    failed = Forensics(reason=Reason.EVIDENCE_FAILED, time=ago(minutes=1), message="no room", attempts=attempts)
    return replace(failed, **changes)


def quarantined(forensics: Forensics | None = None, snapshot: ModelSnapshot = V2, scope: str = "Namespace") -> Any:
    """Return what is observed of a snapshot whose conditions are up to date already."""
    mark = QuarantineMark(scope=scope, reason="backdoor", incident="INC-1", since=ago(days=1), forensics=forensics)
    marked = replace(snapshot, status=replace(snapshot.status, quarantine=mark))
    listed: dict[str, str] = {} if scope == "Snapshot" else {snapshot.digest: "backdoor"}
    seen = ObservedSnapshot(now=NOW, snapshot=marked, interval=timedelta(hours=24), quarantined=listed)
    return replace(seen, snapshot=replace(marked, status=with_conditions(seen, marked.status)))


def decided(seen: ObservedSnapshot, **changes: Any) -> Decision:
    return decide_snapshot(replace(seen, **changes))


@pytest.mark.parametrize("scope", ["Snapshot", "Namespace", "All"])
def test_what_is_quarantined_is_kept(scope: str) -> None:
    seen = quarantined(scope=scope)
    everywhere = frozenset({V2.digest} if scope == "All" else ())
    assert decided(seen, everywhere=everywhere).action == KeepEvidence(snapshot=seen.snapshot)


def test_what_is_not_quarantined_is_not_kept() -> None:
    seen = ObservedSnapshot(now=NOW, snapshot=V2, interval=timedelta(hours=24))
    assert not isinstance(decide_snapshot(seen).action, KeepEvidence)


def test_it_is_kept_once() -> None:
    assert decided(quarantined(KEPT)).action is None
    assert decided(quarantined(KEPT), forensics=KEPT).action is None


def test_it_waits_for_a_copy_that_runs() -> None:
    assert decided(quarantined(), capturing=True).action is None


def test_what_became_of_it_is_written_once() -> None:
    seen = quarantined()
    decision = decided(seen, forensics=KEPT)
    assert isinstance(decision.action, UpdateSnapshot)
    mark = decision.action.status.quarantine
    assert mark is not None
    assert (mark.forensics, mark.incident, decision.tell) == (KEPT, "INC-1", Tell.INFO)
    assert decided(quarantined(KEPT), forensics=KEPT).action is None


def test_a_failure_is_a_warning_and_the_same_one_again_is_not_told() -> None:
    assert decided(quarantined(), forensics=fact()).tell == Tell.WARNING
    again = decided(quarantined(fact()), forensics=fact(2, time=NOW))
    assert isinstance(again.action, UpdateSnapshot)
    assert again.tell == Tell.NOBODY


def test_what_is_known_of_a_quarantine_that_was_lifted_is_written_nowhere() -> None:
    seen = ObservedSnapshot(now=NOW, snapshot=V2, interval=timedelta(hours=24), forensics=KEPT)
    assert not isinstance(decide_snapshot(seen).action, UpdateSnapshot)


def test_it_is_tried_a_few_times_with_growing_pauses_and_then_given_up() -> None:
    last, waits = None, []
    for _ in range(6):
        last = failure(last, NOW, "no room", lasting=False)
        waits.append(last.next_time - NOW if last.next_time else None)
    assert waits == [*PAUSES, None, None, None]
    assert last is not None
    assert last.attempts == len(PAUSES) + 1


def test_what_no_attempt_can_change_is_given_up_at_once() -> None:
    assert failure(None, NOW, "the store is read-only", lasting=True).next_time is None


@pytest.mark.parametrize(
    ("known", "tried", "rest"),
    [
        pytest.param(None, False, 0.0, id="never tried"),
        pytest.param(KEPT, False, None, id="kept"),
        pytest.param(fact(next_time=NOW + timedelta(seconds=30)), True, 30.0, id="in its pause"),
        pytest.param(fact(next_time=ago(seconds=1)), True, 0.0, id="after its pause"),
        pytest.param(fact(next_time=NOW + timedelta(days=900)), True, 0.0, id="a time that we never say"),
        pytest.param(fact(), True, None, id="given up, by this operator"),
        pytest.param(fact(), False, 0.0, id="given up, before this operator started"),
    ],
)
def test_when_it_is_tried(known: Forensics | None, tried: bool, rest: float | None) -> None:  # noqa: FBT001 - a column
    found = evidence_rest(known, NOW, tried=tried)
    assert (found.total_seconds() if found is not None else None) == rest


def test_a_store_that_is_still_read_only_after_a_restart_is_no_news() -> None:
    """Said once: a restart tries once more, and what it finds again is neither written nor told."""
    told = failure(None, ago(hours=1), "it is read-only", lasting=True)
    again = failure(told, NOW, "it is read-only", lasting=True)
    assert isinstance(decided(quarantined(told)).action, KeepEvidence)
    assert decided(quarantined(told), forensics=again).action is None


def test_a_pause_is_waited_for_and_nothing_else_waits_for_it() -> None:
    due: datetime = NOW + timedelta(seconds=30)
    decision = decided(quarantined(fact(next_time=due)))
    assert (decision.action, decision.requeue_after) == (None, 30.0)


def to_repair() -> ModelSnapshot:
    """Return a snapshot whose source in the store is bad, and whose mirror is good."""
    bad = PassedOver(copy="source", reason=Reason.DIGEST_MISMATCH)
    last = V2.status.verification
    assert last is not None
    status = replace(V2.status, verification=replace(last, copy="mirrors[0]", passed_over=(bad,)))
    mirrors = (StoreSource(path="digits/mirror"),)
    return replace(V2, repair=True, source=PATH, mirrors=mirrors, status=status)


def test_a_quarantined_source_is_not_repaired_whether_it_is_kept_or_not() -> None:
    """What an investigation needs must not be replaced: a repair would move it, and a copy may be under way."""
    snapshot = to_repair()
    seen = ObservedSnapshot(now=NOW, snapshot=snapshot, interval=timedelta(hours=24))
    settled = replace(snapshot, status=with_conditions(seen, snapshot.status))
    assert isinstance(decided(seen, snapshot=settled).action, RepairSnapshot)
    for known in (None, KEPT, fact()):
        for capturing in (False, True):
            action = decided(quarantined(known, snapshot), capturing=capturing).action
            assert not isinstance(action, RepairSnapshot)


def test_a_repair_waits_for_the_end_of_a_copy_whose_quarantine_was_lifted() -> None:
    snapshot = to_repair()
    seen = ObservedSnapshot(now=NOW, snapshot=snapshot, interval=timedelta(hours=24), capturing=True)
    settled = replace(snapshot, status=with_conditions(seen, snapshot.status))
    assert not isinstance(decided(seen, snapshot=settled).action, RepairSnapshot)
    assert isinstance(decided(seen, snapshot=settled, capturing=False).action, RepairSnapshot)


@pytest.mark.parametrize(("scope", "wider"), [("Namespace", "All"), ("All", "Namespace")])
def test_a_quarantine_that_reaches_further_keeps_what_is_known_of_its_copy(scope: str, wider: str) -> None:
    seen = quarantined(KEPT, scope=scope)
    everywhere = frozenset({V2.digest} if wider == "All" else ())
    action = decided(seen, everywhere=everywhere, quarantined={V2.digest: "backdoor"}).action
    assert isinstance(action, UpdateSnapshot)
    mark = action.status.quarantine
    assert mark is not None
    assert (mark.scope, mark.forensics) == (wider, KEPT)


def test_a_person_who_quarantines_what_an_emergency_has_quarantined_keeps_its_copy() -> None:
    seen = quarantined(KEPT)
    meta = replace(V2.meta, annotations={"lastgood.dev/quarantine": "INC-2: it is bad"})
    action = decided(replace(seen, snapshot=replace(seen.snapshot, meta=meta))).action
    assert isinstance(action, UpdateSnapshot)
    mark = action.status.quarantine
    assert mark is not None
    assert (mark.incident, mark.forensics) == ("INC-2", KEPT)
