"""Known good means proven: who goes back to what, and what is said of it before."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import TriggerReport
from lastgood.api.names import Reason, SnapshotName, Type
from lastgood.api.specs.deployment import RollbackPolicy
from lastgood.api.specs.rollback import FiredTrigger, RollbackSpec
from lastgood.api.specs.snapshot import Verification
from lastgood.core.candidates.fallback import fallback
from lastgood.core.candidates.proof import Proof, least
from lastgood.core.candidates.selection import ask, select
from lastgood.core.decide import serving
from lastgood.core.state import Observed
from lastgood.core.status.report import report
from lastgood.core.words import INTEGRITY
from tests.unit.core.builders import (
    HISTORY,
    NOW,
    V0,
    V1,
    V2,
    V3,
    ago,
    condition,
    digest,
    having,
    name,
    policy,
    served,
    spec,
    unverified,
    world,
)

METRIC = FiredTrigger(name="accuracy", severity="high")
TAMPERED = FiredTrigger(name=INTEGRITY, severity="critical", condition=str(Reason.DIGEST_MISMATCH))
QUARANTINED = FiredTrigger(name=INTEGRITY, severity="critical", condition=str(Reason.QUARANTINED))
BY_METRIC = spec(automatic=True, trigger=METRIC)
BY_TAMPERING = spec(automatic=True, trigger=TAMPERED)
BY_QUARANTINE = spec(automatic=True, trigger=QUARANTINED)
NAMED = spec(to=SnapshotName("digits-v0"))
EMERGENCY = spec(emergency=True)


@pytest.mark.parametrize(
    ("asked", "soaked", "verified"),
    [
        pytest.param(BY_METRIC, Proof.SOAKED, Proof.VERIFIED, id="a metric fell"),
        pytest.param(BY_TAMPERING, Proof.SERVED, Proof.VERIFIED, id="what serves was tampered with"),
        pytest.param(BY_QUARANTINE, Proof.SERVED, Proof.VERIFIED, id="what serves was quarantined"),
        pytest.param(spec(), Proof.SERVED, Proof.VERIFIED, id="a person asks"),
        pytest.param(NAMED, Proof.VERIFIED, Proof.VERIFIED, id="a person names one"),
        pytest.param(EMERGENCY, Proof.VERIFIED, Proof.VERIFIED, id="an emergency"),
        pytest.param(spec(emergency=True, automatic=True), Proof.VERIFIED, Proof.VERIFIED, id="one that goes on"),
    ],
)
def test_least_proof(asked: RollbackSpec, soaked: Proof, verified: Proof) -> None:
    assert least(RollbackPolicy(), asked) == soaked
    assert least(RollbackPolicy(require_soaked=False), asked) == verified


NEVER = having(world(), history=HISTORY[2:])  # v3 serves, and nothing else ever did
SERVED = having(world(), history=(served(2, ago(days=10), ago(hours=2), soaked=False), HISTORY[2]))
SOAKED = world()


@pytest.mark.parametrize(
    ("observed", "asked", "chosen", "merit"),
    [
        pytest.param(SOAKED, BY_METRIC, V2, "completed its soak", id="automatic, soaked"),
        pytest.param(SERVED, BY_METRIC, None, "", id="automatic, only served"),
        pytest.param(SERVED, BY_TAMPERING, V2, "did not complete its soak", id="tampered, only served"),
        pytest.param(SERVED, BY_QUARANTINE, V2, "served before", id="quarantined, only served"),
        pytest.param(SERVED, spec(), V2, "served before", id="a person, only served"),
        pytest.param(NEVER, BY_TAMPERING, None, "", id="tampered, never served"),
        pytest.param(NEVER, spec(), None, "", id="a person, never served"),
        pytest.param(NEVER, NAMED, V0, "never served: the request names it", id="named, never served"),
        pytest.param(SERVED, EMERGENCY, V2, "served before", id="emergency, what served first"),
        pytest.param(
            NEVER, EMERGENCY, V2, "never served: last resort of an emergency", id="emergency, nothing that served"
        ),
        pytest.param(
            policy(NEVER, require_soaked=False),
            BY_METRIC,
            V2,
            "never served: spec.rollback.knownGood.require is Verified",
            id="the policy says so",
        ),
    ],
)
def test_where_to(observed: Observed, asked: RollbackSpec, chosen: Any, merit: str) -> None:
    found, candidates = select(observed, ask(observed, asked))
    assert found == chosen
    told = [item.message for item in candidates if item.verdict == "Chosen"]
    assert merit in "".join(told)


def test_soaked_goes_before_served_and_served_before_never_whoever_asks() -> None:
    history = (
        served(1, ago(days=20), ago(days=10)),
        served(2, ago(days=10), ago(hours=2), soaked=False),
        HISTORY[2],
    )
    observed = policy(having(world(), history=history), require_soaked=False)
    for asked in (BY_METRIC, BY_TAMPERING, spec(), EMERGENCY):
        assert select(observed, ask(observed, asked))[0] == V1


HEALTHY: dict[str, Any] = {
    "conditions": {"Healthy": condition(Type.HEALTHY, "True", Reason.HEALTHY, since=ago(minutes=4))},
    "triggers": (TriggerReport(name="accuracy", severity="high", verdict="Healthy"),),
}


def soaking(observed: Observed) -> Observed:
    return having(observed, **HEALTHY)


LOST = unverified(2, Reason.UNREADABLE, "input/output error")
READ = Verification(reason=Reason.UNREADABLE, time=NOW, next_time=NOW, verified_at=ago(hours=1))
UNREADABLE = replace(LOST, status=replace(LOST.status, verification=READ))
DONE = (served(3, ago(hours=2), None),)


@pytest.mark.parametrize(
    ("observed", "targets", "column", "reason", "words"),
    [
        pytest.param(SOAKED, (V2, None), "digits-v2", Reason.KNOWN_GOOD, "would go to digits-v2", id="soaked"),
        pytest.param(
            soaking(SERVED),
            (None, V2),
            "digits-v2 (request or emergency only)",
            Reason.NOTHING_SOAKED,
            "digits-v3 is known good at 2026-03-01T12:06:00Z if it stays healthy; "
            "a person's rollback, or an emergency, would go to digits-v2",
            id="only served",
        ),
        pytest.param(
            soaking(replace(SERVED, snapshots=(V3, UNREADABLE))),
            (None, UNREADABLE),
            "digits-v2 (emergency only)",
            Reason.NOTHING_SOAKED,
            "; an emergency would go to digits-v2, which served here",
            id="only served, and not readable now: a request would not take it",
        ),
        pytest.param(
            soaking(NEVER),
            (None, V2),
            "digits-v2 (emergency only)",
            Reason.NOTHING_SOAKED,
            "an emergency would go to digits-v2, which never served here",
            id="never served",
        ),
        pytest.param(
            NEVER,
            (None, V2),
            "digits-v2 (emergency only)",
            Reason.NOTHING_SOAKED,
            "digits-v3 is known good once it has served healthily for 10m",
            id="not healthy yet",
        ),
        pytest.param(
            soaking(replace(NEVER, snapshots=(V3,))),
            (None, None),
            "",
            Reason.NOTHING_SOAKED,
            "digits-v3 is known good at",
            id="the first ten minutes of the first snapshot",
        ),
        pytest.param(
            having(replace(NEVER, snapshots=(V3,)), history=DONE),
            (None, None),
            "",
            Reason.NO_KNOWN_GOOD,
            "there is no rollback target",
            id="the first snapshot has soaked, and there is no other",
        ),
        pytest.param(
            having(NEVER, history=DONE),
            (None, V2),
            "digits-v2 (emergency only)",
            Reason.NOTHING_SOAKED,
            "an emergency would go to digits-v2, which never served here",
            id="it has soaked, and the others never served",
        ),
        pytest.param(
            replace(soaking(SOAKED), snapshots=(V3, UNREADABLE)),
            (None, UNREADABLE),
            "digits-v2 (emergency only)",
            Reason.NO_KNOWN_GOOD,
            "an emergency would go to digits-v2, which completed its soak here, but cannot be verified now",
            id="it soaked, and cannot be read",
        ),
        pytest.param(
            policy(NEVER, require_soaked=False),
            (V2, None),
            "digits-v2",
            Reason.KNOWN_GOOD,
            "would go to digits-v2",
            id="the policy takes what never served",
        ),
        pytest.param(
            having(replace(SOAKED, quarantined={digest(3): "INC-1"}), history=SERVED.deployment.status.history),
            (V2, None),
            "digits-v2",
            Reason.KNOWN_GOOD,
            "would go to digits-v2",
            id="what serves is quarantined: what served will do",
        ),
    ],
)
def test_fallback_is_told_and_for_whom(
    observed: Observed, targets: tuple[Any, Any], column: str, reason: Reason, words: str
) -> None:
    found, (normal, emergency) = fallback(observed), targets
    assert (found.normal, found.emergency, found.told) == (normal, emergency, column)
    status = report(observed, serving(observed))
    assert (status.fallback, status.last_known_good) == (column, normal.name if normal else "")
    assert status.emergency_fallback == (emergency.name if emergency else "")
    row = status.conditions["KnownGoodAvailable"]
    assert (row.status, row.reason) == ("True" if normal else "False", reason)
    assert words in row.message


def test_how_long_is_left_is_said_as_a_time_so_that_a_quiet_cluster_sees_no_writes() -> None:
    first = report(soaking(NEVER), serving(NEVER))
    later = having(replace(NEVER, now=NOW + timedelta(minutes=1)), **vars(first))
    assert report(later, serving(later)).conditions == first.conditions


def test_every_candidate_says_why_it_is_no_fallback() -> None:
    told = {item.snapshot: (item.verdict, item.reason) for item in fallback(SERVED).candidates}
    assert told == {
        name(2): ("PassedOver", Reason.NOT_SOAKED),
        name(3): ("PassedOver", Reason.LEAVING),
        name(1): ("PassedOver", Reason.NOT_SOAKED),
        name(0): ("PassedOver", Reason.NOT_SOAKED),
    }
