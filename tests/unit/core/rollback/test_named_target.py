"""`to=`: whoever names a snapshot that cannot be gone to is told why, by its name, and what to do."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.names import Outcome, Reason, SnapshotName
from lastgood.api.specs.rollback import RollbackStatus
from lastgood.core.actions import UpdateDeployment, UpdateRecord
from lastgood.core.decide import decide
from lastgood.core.state import Observed, Tell
from lastgood.core.trust.policy import Trust
from tests.unit.core.builders import (
    ago,
    bringing,
    declaring,
    digest,
    having,
    locked,
    name,
    record,
    snapshot,
    spec,
    swapped,
    unverified,
    workload,
    world,
)

WITHOUT = "The current snapshot stays; without `to=`, a rollback would "


def asked(to: str, **changes: Any) -> Observed:
    emergency = bool(changes.pop("emergency", False))
    return replace(locked(world(), record(asked=spec(to=SnapshotName(to), emergency=emergency))), **changes)


def ended(observed: Observed) -> RollbackStatus:
    decision = decide(observed)
    assert isinstance(decision.action, UpdateRecord)
    assert decision.tell == Tell.ALERT
    return decision.action.status


def revoking(number: int) -> Trust:
    return Trust(name="release", revoked_digests={digest(number): "INC-1: stolen"})


DELETING = replace(snapshot(1), meta=replace(snapshot(1).meta, deleting=True))
OTHER = replace(snapshot(1), model="letters")


@pytest.mark.parametrize("emergency", [False, True], ids=["rollback", "emergency"])
@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        pytest.param(
            asked("digits-9"),
            Reason.SNAPSHOT_NOT_FOUND,
            "to=digits-9: there is no ModelSnapshot digits-9 in namespace ml",
            id="missing",
        ),
        pytest.param(asked("digit-v2"), Reason.SNAPSHOT_NOT_FOUND, " (did you mean digits-v2 or", id="misspelt"),
        pytest.param(
            swapped(asked("digits-v1"), OTHER),
            Reason.WRONG_MODEL,
            "digits-v1 belongs to model 'letters', this ModelDeployment to 'digits'; see `kubectl get modelsnapshots",
            id="of another model",
        ),
        pytest.param(
            asked("digits-v3"),
            Reason.SERVES_ALREADY,
            "digits-v3 is already the current snapshot; nothing to do",
            id="serves",
        ),
        pytest.param(
            asked("digits-v1", quarantined={digest(1): "INC-1: stolen"}),
            Reason.QUARANTINED,
            "to=digits-v1: digits-v1 was refused (Quarantined): INC-1: stolen; nothing overrides a quarantine",
            id="quarantined",
        ),
        pytest.param(
            asked("digits-v1", trust=(revoking(1),)),
            Reason.DIGEST_REVOKED,
            "digits-v1 was refused (DigestRevoked): ",
            id="revoked",
        ),
        pytest.param(
            swapped(asked("digits-v1"), DELETING),
            Reason.DELETING,
            "(Deleting): it is being deleted",
            id="being deleted",
        ),
        pytest.param(
            swapped(asked("digits-v1"), unverified(1)),
            Reason.NOT_VERIFIED,
            "it has not been verified yet; wait until its condition Verified is True",
            id="not verified",
        ),
        pytest.param(
            swapped(asked("digits-v1"), unverified(1, Reason.DIGEST_MISMATCH, "model.bin differs")),
            Reason.DIGEST_MISMATCH,
            "(DigestMismatch): model.bin differs; name another snapshot",
            id="tampered with",
        ),
        pytest.param(
            asked("digits-v1", workload=workload(claims=frozenset())),
            Reason.NOT_MOUNTED,
            "does not mount claim 'models'; mount the claim in the workload",
            id="not mounted",
        ),
        pytest.param(
            swapped(bringing(asked("digits-v1")), replace(snapshot(1), image="")),
            Reason.NO_VALUE,
            "(NoValueForBinding)",
            id="no value",
        ),
    ],
)
def test_named_target_that_is_refused_is_answered_with_its_name_and_why(
    observed: Observed, reason: Reason, words: str, *, emergency: bool
) -> None:
    running = observed.records[0]
    again = replace(running, spec=replace(running.spec, emergency=emergency))
    status = ended(replace(locked(observed, again)))
    assert (status.outcome, status.outcome_reason) == (Outcome.REJECTED, reason)
    assert words in status.message
    assert WITHOUT in status.message
    assert words in status.conditions["Completed"].message


def test_a_rejected_request_is_read_on_the_model_deployment() -> None:
    facts: dict[str, Any] = {
        "outcome": Outcome.REJECTED,
        "outcome_reason": str(Reason.QUARANTINED),
        "outcome_at": ago(seconds=1),
    }
    there = record(asked=spec(to=name(1)), message="to=digits-v1: digits-v1 was refused", **facts)
    closing = decide(locked(world(), there))
    assert isinstance(closing.action, UpdateDeployment)
    settled = decide(having(replace(world(), records=(there,)), rollbacks=closing.action.status.rollbacks))
    assert isinstance(settled.action, UpdateDeployment)
    told = settled.action.status.conditions["RolledBack"]
    assert (told.status, told.reason) == ("False", Reason.QUARANTINED)
    assert told.message == "ModelRollback by-hand: Rejected: to=digits-v1: digits-v1 was refused"


def test_misspelt_desired_snapshot_is_answered_with_what_may_be_meant() -> None:
    decision = decide(declaring(world(), snapshot="digits-2"))
    assert decision.reason == Reason.SNAPSHOT_NOT_FOUND
    assert decision.message.endswith("'digits-2' in this namespace (did you mean digits-v2 or digits-v3?)")


def test_nothing_else_is_suggested_where_there_is_nothing() -> None:
    nothing = asked("digits-v9", quarantined={digest(number): "INC-1" for number in range(3)})
    assert ended(nothing).message.endswith("without `to=`, a rollback would find no snapshot either")
