"""What is promised before a rollback is what the rollback then chooses, in whatever world."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from lastgood.api.facts.deployment_status import Left
from lastgood.api.facts.signal import Verdict
from lastgood.api.names import Reason, Severity
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import RollbackSpec
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import CreateRecord
from lastgood.core.candidates.fallback import fallback
from lastgood.core.candidates.selection import select
from lastgood.core.decide import decide
from lastgood.core.rollback.run import Run
from lastgood.core.state import Observed
from tests.unit.core.builders import (
    ACCURACY,
    PODS,
    ago,
    annotated,
    checked,
    deployment,
    digest,
    having,
    kept,
    name,
    policy,
    record,
    served,
    snapshot,
    tally,
    unverified,
    world,
)

NUMBERS = st.integers(0, 3)
SOME = st.sets(NUMBERS)
SEVERITIES = st.sampled_from(list(Severity))
KINDS = (
    snapshot,
    snapshot,
    snapshot,
    unverified,
    lambda number: unverified(number, Reason.UNREADABLE),
    lambda number: unverified(number, Reason.DIGEST_MISMATCH, "it is another"),
    lambda number: snapshot(number, model="letters"),
)


@st.composite
def snapshots(draw: st.DrawFn) -> tuple[ModelSnapshot, ...]:
    """Snapshots of which some are unread, wrong, being deleted, or made anew."""
    found = []
    for number in range(4):
        made = draw(st.sampled_from(KINDS))(number)
        uid = draw(st.sampled_from((made.meta.uid, made.meta.uid, "made-anew")))
        deleting = draw(st.sampled_from((False, False, False, True)))
        found.append(replace(made, meta=replace(made.meta, uid=uid, deleting=deleting)))
    return tuple(found)


@st.composite
def declared(draw: st.DrawFn) -> ModelDeployment:
    """A ModelDeployment with any past and any policy."""
    triggers = tuple(replace(item, severity=draw(SEVERITIES)) for item in (ACCURACY, PODS))
    there, soaked = deployment(triggers=triggers), draw(SOME)
    allowed = tuple(draw(st.sets(SEVERITIES)))
    policy = replace(there.rollback, automatic=allowed, require_soaked=draw(st.booleans()))
    history = [
        served(number, ago(days=9 - place), ago(days=8 - place), soaked=number in soaked)
        for place, number in enumerate(draw(st.lists(NUMBERS, max_size=4)))
    ]
    now = served(3, ago(hours=2), None, soaked=3 in soaked)
    left = tuple(Left(digest=digest(item), snapshot=name(item), reason="bad", at=ago(days=1)) for item in draw(SOME))
    return replace(there, rollback=policy, status=replace(there.status, history=(*history, now), left=left))


@st.composite
def worlds(draw: st.DrawFn) -> Observed:
    """Any of them."""
    verdicts, found = st.sampled_from((Verdict.BREACHED, Verdict.HEALTHY, Verdict.INCONCLUSIVE)), draw(snapshots())
    marked = draw(st.sets(NUMBERS, max_size=2))
    changes = {
        "deployment": draw(declared()),
        "snapshots": found,
        "quarantined": {digest(number): "INC-1" for number in marked},
        "tallies": {"accuracy": tally(draw(verdicts)), "pods": tally(draw(verdicts))},
        "checked": checked(found[draw(NUMBERS)]) if draw(st.booleans()) else {},
    }
    return kept(world(**changes))


def chosen(observed: Observed, asked: RollbackSpec) -> str:
    """Return what a record that asks for this goes to."""
    found, _ = select(observed, Run(observed=observed, spec=asked, record=record(asked=asked)).question)
    return found.name if found else ""


@given(observed=worlds())
def test_automatic_rollback_goes_where_the_column_says(observed: Observed) -> None:
    action = decide(observed).action
    if isinstance(action, CreateRecord) and action.spec.automatic:
        promised = fallback(observed).normal
        assert chosen(observed, action.spec) == (promised.name if promised else "")


@given(observed=worlds())
def test_emergency_goes_where_the_column_says(observed: Observed) -> None:
    promised, action = fallback(observed), decide(annotated(observed, emergency_rollback="INC-1: x")).action
    assert isinstance(action, CreateRecord)
    assert action.spec.emergency
    found = chosen(observed, action.spec)
    if promised.normal is None:
        assert found == (promised.emergency.name if promised.emergency else "")
    else:
        assert found, "where a normal rollback finds something, an emergency does"


def test_trigger_that_may_not_act_promises_nothing() -> None:
    """What serves is quarantined, which may not roll back here; a metric may, and goes only to what soaked."""
    history = (served(2, ago(days=2), ago(hours=2), soaked=False), served(3, ago(hours=2), None, soaked=False))
    observed = policy(having(world(), history=history), automatic=("high",))
    observed = replace(observed, quarantined={digest(3): "INC-1"}, tallies={"accuracy": tally(Verdict.BREACHED)})
    action = decide(observed).action
    assert isinstance(action, CreateRecord)
    assert (chosen(observed, action.spec), fallback(observed).normal) == ("", None)
