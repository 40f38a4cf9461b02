"""What is known after the switch of an emergency is written at once if the outcome waits, and else with the outcome."""

from dataclasses import replace

import pytest

from lastgood.api.names import Outcome, Reason
from lastgood.core.decide import decide
from lastgood.core.state import Observed
from tests.unit.core.builders import NOW, SMOKE, STARTING, V2, checked, declaring, digest, workload
from tests.unit.core.moments import AVAILABLE, EMERGENCY, after, ended, status_of

RECENT = AVAILABLE | {"verification": "Recent", "quarantined": (digest(3),)}


def read(reason: Reason = Reason.VERIFIED, **changes: object) -> Observed:
    """Return a world in which the target was read after the switch, and no checks are declared."""
    observed = replace(after(RECENT, EMERGENCY, **changes), checked=checked(V2, reason))
    return declaring(observed, checks=())


@pytest.mark.parametrize(
    ("reason", "word", "outcome"),
    [(Reason.VERIFIED, "Fresh", Outcome.SUCCEEDED), (Reason.UNREADABLE, "Unreadable", Outcome.UNVALIDATED)],
)
def test_it_is_written_with_the_outcome(reason: Reason, word: str, outcome: Outcome) -> None:
    decision = decide(read(reason))
    assert ended(decision)[0] == outcome
    assert (status_of(decision).verification, status_of(decision).verified_at) == (word, NOW)


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(read(workload=workload(V2, rollout=STARTING)), id="the pods start"),
        pytest.param(declaring(read(), checks=(SMOKE,)), id="checks are open"),
    ],
)
def test_it_is_written_at_once(observed: Observed) -> None:
    decision = decide(observed)
    assert (decision.reason, status_of(decision).outcome) == (Reason.VERIFIED, None)
    assert (status_of(decision).verification, status_of(decision).verified_at) == ("Fresh", NOW)


def test_nothing_is_known_of_it_before_it_is_read_again() -> None:
    decision = decide(replace(read(), checked={}))
    assert not hasattr(decision.action, "status")
