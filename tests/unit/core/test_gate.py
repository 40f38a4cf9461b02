"""The executor lets no switch out that the rules of eligibility do not allow, whoever decided it."""

from dataclasses import replace

import pytest

from lastgood.api.names import Reason
from lastgood.core.actions import Action, Adopt, RunChecks, Switch, SwitchFirst
from lastgood.core.execute import Answer, Look, Turn, execute
from lastgood.core.gate import refused
from lastgood.core.state import Decision, Observed
from lastgood.errors import RefusedError
from tests.unit.core.builders import V1, V2, V3, checked, having, locked, record, snapshot, swapped, unverified, world
from tests.unit.core.moments import EMERGENCY

URGENT = record("emergency", EMERGENCY)
V4 = snapshot(4)
QUARANTINED: dict[str, str] = {V2.digest: "INC-1"}
READ = replace(world(), checked=checked(V2))
RUNNING = replace(locked(world(), record()), checked=checked(V2))


@pytest.mark.parametrize(
    ("observed", "action", "reason"),
    [
        pytest.param(replace(swapped(world(), V4), checked=checked(V4)), Switch(snapshot=V4), None, id="forward"),
        pytest.param(RUNNING, Switch(snapshot=V2), None, id="rollback"),
        pytest.param(world(), SwitchFirst(snapshot=V2, record=URGENT), None, id="emergency before its lock"),
        pytest.param(replace(world(), checked=checked(V3)), Switch(snapshot=V3, drift=True), None, id="drift"),
        pytest.param(world(), Adopt(snapshot=V3), None, id="adopted"),
        pytest.param(world(), RunChecks(checks=()), None, id="another action is not asked about"),
        pytest.param(world(), Switch(snapshot=V4), Reason.NOT_VERIFIED, id="forward, read by nobody"),
        pytest.param(
            locked(world(), record()), Switch(snapshot=V2), Reason.NOT_VERIFIED, id="rollback, read by nobody"
        ),
        pytest.param(world(), Switch(snapshot=V3, drift=True), Reason.NOT_VERIFIED, id="drift, read by nobody"),
        pytest.param(
            having(READ, left=()),
            Switch(snapshot=replace(V2, model="letters")),
            Reason.WRONG_MODEL,
            id="forward, model",
        ),
        pytest.param(replace(READ, quarantined=QUARANTINED), Switch(snapshot=V2), Reason.QUARANTINED, id="forward"),
        pytest.param(replace(RUNNING, quarantined=QUARANTINED), Switch(snapshot=V2), Reason.QUARANTINED, id="rollback"),
        pytest.param(
            replace(READ, quarantined=QUARANTINED), Switch(snapshot=V2, drift=True), Reason.QUARANTINED, id="drift"
        ),
        pytest.param(
            replace(world(), quarantined=QUARANTINED), Adopt(snapshot=V2), Reason.QUARANTINED, id="adopted, quarantined"
        ),
        pytest.param(
            replace(world(), quarantined=QUARANTINED),
            SwitchFirst(snapshot=V2, record=URGENT),
            Reason.QUARANTINED,
            id="emergency, quarantined",
        ),
        pytest.param(
            swapped(world(), unverified(2)),
            SwitchFirst(snapshot=unverified(2), record=URGENT),
            Reason.NOT_VERIFIED,
            id="emergency, never verified",
        ),
        pytest.param(RUNNING, Switch(snapshot=V3), Reason.LEAVING, id="rollback to what is left"),
        pytest.param(replace(RUNNING, complete=False), Switch(snapshot=V2), Reason.WAITING, id="half a list"),
        pytest.param(replace(RUNNING, workload=None), Switch(snapshot=V2), Reason.TARGET_NOT_FOUND, id="no workload"),
        pytest.param(replace(world(), workload=None), Adopt(snapshot=V3), Reason.TARGET_NOT_FOUND, id="adopted, none"),
        pytest.param(
            replace(READ, checked=checked(V2, Reason.DIGEST_MISMATCH)),
            Switch(snapshot=V2, drift=True),
            Reason.DIGEST_MISMATCH,
            id="drift, a wrong copy",
        ),
    ],
)
def test_gate(observed: Observed, action: Action, reason: Reason | None) -> None:
    found = refused(observed, action)
    assert (found[0] if found else None) == reason


def test_executor_writes_nothing_that_the_gate_refuses() -> None:
    forgetful = Decision(reason=Reason.DEPLOYING, message="deploying", actions=(Switch(snapshot=V1),))
    steps = execute(lambda _: forgetful, refused=refused)
    observed = replace(world(), quarantined={V1.digest: "INC-7"}, checked=checked(V1))
    assert isinstance(next(steps), Look)
    turn = steps.send(observed)
    assert isinstance(turn, Turn)
    assert turn.actions == ()  # it only reads
    assert isinstance(steps.send(Answer.DONE), Look)
    with pytest.raises(RefusedError, match=r"Switch \(Deploying\) was refused: Quarantined: INC-7"):
        steps.send(observed)
