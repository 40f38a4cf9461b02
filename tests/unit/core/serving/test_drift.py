"""Drift: what somebody else wrote over a bound field is verified, and written back with a growing pause."""

from dataclasses import replace

import pytest

from lastgood.api.meta import Meta
from lastgood.api.names import Reason
from lastgood.core.actions import Switch, Verify
from lastgood.core.decide import decide
from lastgood.core.serving.drift import pause, reassert
from lastgood.core.serving.forward import drifted
from lastgood.core.state import Drift, Observed
from tests.unit.core.builders import (
    V2,
    V3,
    ago,
    checked,
    digest,
    having,
    locked,
    name,
    record,
    swapped,
    workload,
    world,
)
from tests.unit.core.owned import ENV, owned


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (1000, 60)]
)
def test_pause_grows_to_once_a_minute(count: int, seconds: float) -> None:
    assert pause(count).total_seconds() == seconds


DRIFTED = world(workload=workload(V2), checked=checked(V3))


def test_drift_names_the_field_managers_that_wrote_another_value() -> None:
    by = replace(DRIFTED, workload=workload(V2, owners=owned(**ENV)))
    step, unknown = drifted(by), drifted(DRIFTED)
    assert step is not None
    assert unknown is not None
    assert step.message == "overwritten by field manager 'argocd'; restoring digits-v3"
    assert unknown.message == "the pod template was changed and no longer names digits-v3; restoring it"


def test_drift_is_verified_and_written_back() -> None:
    assert getattr(drifted(replace(DRIFTED, checked={})), "action", None) == Verify(snapshot=V3)
    step = drifted(DRIFTED)
    assert step is not None
    assert (step.reason, step.action) == (Reason.DRIFTED, Switch(snapshot=V3, drift=True))


def test_drift_waits_for_its_pause() -> None:
    step = drifted(replace(DRIFTED, drift=Drift(count=3, last=ago(seconds=1))))
    assert step is not None
    assert (step.action, step.after) == (None, 3.0)
    assert decide(replace(DRIFTED, drift=Drift(count=3, last=ago(seconds=4)))).action == Switch(snapshot=V3, drift=True)


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(world(), id="it serves what it should"),
        pytest.param(replace(DRIFTED, complete=False), id="half a list does not know what is quarantined"),
        pytest.param(replace(DRIFTED, quarantined={digest(3): "INC-1"}), id="a quarantined digest is not written back"),
        pytest.param(having(DRIFTED, snapshot=""), id="nothing serves"),
        pytest.param(swapped(DRIFTED, replace(V3, digest=digest("new"))), id="the name is another's by now"),
        pytest.param(replace(DRIFTED, workload=None), id="there is no workload"),
        pytest.param(
            replace(DRIFTED, workload=workload(V2, meta=Meta(namespace="ml", name="digits-server"))), id="not opted in"
        ),
    ],
)
def test_not_written_back(observed: Observed) -> None:
    assert drifted(observed) is None


def test_drift_is_not_written_back_with_bytes_that_changed() -> None:
    step = drifted(replace(DRIFTED, checked=checked(V3, Reason.DIGEST_MISMATCH)))
    assert step is not None
    assert (step.reason, step.action) == (Reason.DIGEST_MISMATCH, None)


def test_drift_during_a_rollback_waits_for_complete_lists_too() -> None:
    assert reassert(replace(DRIFTED, complete=False), V3) is None
    running = record(target=name(2), target_digest=digest(2), intent_at=ago(minutes=1), switched_at=ago(minutes=1))
    observed = locked(replace(DRIFTED, complete=False, workload=workload()), running)
    assert not isinstance(decide(observed).action, Switch)
