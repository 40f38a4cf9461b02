"""Before a rollback: the operator's own rules over plain objects, and what could not be read is said."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lastgood.cli.oncall.prospects import Read, prospects
from lastgood.errors import InvalidSpecError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME = "2026-03-01T11:00:00Z"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def snapshot(number: int, model: str = "digits", verified: str = "True", **status: Any) -> dict[str, Any]:
    condition = {
        "type": "Verified",
        "status": verified,
        "reason": "Verified",
        "message": "m",
        "lastTransitionTime": TIME,
    }
    source = {"store": {"path": f"digits/{number}"}}
    return {
        "metadata": {"name": f"digits-v{number}", "namespace": "ml", "uid": f"u{number}"},
        "spec": {"model": model, "version": str(number), "source": source, "digest": digest(number)},
        "status": {
            "digest": digest(number),
            "verification": {"reason": "Verified", "lastTime": TIME, "verifiedAt": TIME},
            "conditions": [condition],
            **status,
        },
    }


def served(number: int, **more: str) -> dict[str, str]:
    return {"snapshot": f"digits-v{number}", "digest": digest(number), "uid": f"u{number}", "since": TIME, **more}


def deployment(**status: Any) -> dict[str, Any]:
    history = [served(1, until=TIME, soakedAt=TIME), served(2)]
    return {
        "metadata": {"name": "digits", "namespace": "ml", "uid": "u"},
        "spec": {
            "model": "digits",
            "snapshot": "digits-v2",
            "targetRef": {"name": "server"},
            "bindings": [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}],
        },
        "status": {
            "snapshot": "digits-v2",
            "digest": digest(2),
            "lastKnownGood": "digits-v1",
            "history": history,
            **status,
        },
    }


def rows(read: Read) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in prospects(read, NOW).rows}


def test_every_snapshot_of_the_model_has_its_reason_by_the_operator_s_rules() -> None:
    read = Read(deployment=deployment(), snapshots=[snapshot(1), snapshot(2), snapshot(3, model="letters")])
    found = rows(read)
    assert found["digits-v1"][:2] == ("chosen", "chosen")
    assert found["digits-v2"] == ("skipped", "skipped", "BeingLeft: it is the current snapshot")
    assert set(found) == {"digits-v1", "digits-v2"}
    assert "a rollback would go to digits-v1, an emergency to digits-v1" in prospects(read, NOW).notes


def test_quarantine_is_told_from_what_the_operator_wrote() -> None:
    mark = {"scope": "All", "by": "mia", "reason": "stolen", "incident": "INC-1", "since": TIME}
    found = rows(Read(deployment=deployment(), snapshots=[snapshot(1, quarantine=mark), snapshot(2)]))
    assert found["digits-v1"][:2] == ("skipped", "skipped")
    assert found["digits-v1"][2].startswith("Quarantined: ")


def test_same_digest_under_another_name_is_quarantined_as_well() -> None:
    mark = {"scope": "Namespace", "by": "mia", "reason": "stolen", "since": TIME}
    twin = snapshot(1)
    twin["metadata"] = {"name": "twin", "namespace": "ml", "uid": "t"}
    read = Read(deployment=deployment(), snapshots=[snapshot(1, quarantine=mark), twin, snapshot(2)])
    assert rows(read)["twin"][2].startswith("Quarantined: ")


def test_policy_that_can_be_read_refuses_as_it_does_in_the_operator() -> None:
    policy = {
        "metadata": {"name": "p", "namespace": "ml"},
        "spec": {"models": ["digits"], "revokedDigests": [{"digest": digest(1), "reason": "stolen"}]},
    }
    found = rows(Read(deployment=deployment(), snapshots=[snapshot(1), snapshot(2)], policies=[policy]))
    assert found["digits-v1"][2].startswith("DigestRevoked: ")


def test_what_was_not_read_is_said() -> None:
    read = Read(deployment=deployment(), snapshots=[snapshot(2)], unread=("what policies refuse is not known here",))
    notes = prospects(read, NOW).notes
    assert "what policies refuse is not known here" in notes
    assert any(note.startswith("quarantines are shown as of the last reconcile of each snapshot") for note in notes)


def test_where_the_operator_says_something_else_that_is_said() -> None:
    other = Read(deployment=deployment(lastKnownGood=""), snapshots=[snapshot(1), snapshot(2)])
    assert any("status.lastKnownGood is none" in note for note in prospects(other, NOW).notes)


def test_snapshot_that_cannot_be_understood_is_named() -> None:
    broken = snapshot(1)
    broken["spec"] = {"model": "digits"}
    notes = prospects(Read(deployment=deployment(), snapshots=[broken, snapshot(2)]), NOW).notes
    assert any(note.startswith("ModelSnapshot digits-v1 is invalid: spec.") for note in notes)


def test_deployment_that_cannot_be_understood_is_an_error_of_its_field() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\."):
        prospects(Read(deployment={"metadata": {"name": "x"}, "spec": {}}), NOW)
