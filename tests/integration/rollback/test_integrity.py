"""Somebody tampers with bytes, or with what is said of them: what serves is what was verified, or it is left."""

import json
from typing import Any

import pytest

from tests.integration.world import World, eventually

WRONG = f"sha256:{'0' * 64}"
ATTACK = "these weights have a backdoor"


@pytest.fixture
def watchful(still_world: World) -> World:
    """A world whose operator hashes every snapshot again each second or two."""
    still_world.operator.environment = {"LASTGOOD_REVERIFY_INTERVAL": "2s"}
    still_world.operator.start()
    return still_world


def tamper(world: World, version: int | str) -> None:
    """Change the bytes of a checkpoint in the store."""
    world.weights(version, ATTACK)


def verified(world: World, name: str) -> str:
    """Return the reason of a snapshot's condition Verified."""
    return str(world.condition("Verified", kind="modelsnapshot", name=name).get("reason"))


def forge(world: World, name: str, time: str) -> None:
    """Write a status that says that all is well, as somebody does who may patch it."""
    digest = world.get("modelsnapshot", name)["spec"]["digest"]
    condition = {"type": "Verified", "status": "True", "reason": "Verified", "message": "", "lastTransitionTime": time}
    status = {
        "digest": digest,
        "verification": {"reason": "Verified", "message": "", "findings": None, "lastTime": time, "nextTime": time},
        "conditions": [condition],
    }
    world.kubectl(
        *("patch", "modelsnapshot", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    )


def test_tampered_weights_of_what_serves_are_found_and_left(watchful: World) -> None:
    world = watchful
    world.serve(1)
    world.serve(2)
    digest = world.weights(2)
    tamper(world, 2)
    record = world.rollback()

    fired = record["spec"]["trigger"]
    assert (fired["name"], fired["severity"]) == ("snapshot-integrity", "critical")
    assert fired["condition"] == "DigestMismatch"
    assert digest in fired["value"]
    assert record["status"]["target"]["snapshot"] == "digits-v1"
    assert record["status"]["outcome"] == "Succeeded"
    assert verified(world, "digits-v2") == "DigestMismatch"
    assert world.event("DigestMismatch", about="digits-v2")["type"] == "Warning"
    assert world.model_path() == "/models/digits/1"


def test_a_bad_copy_condemns_the_copy_and_not_the_digest(watchful: World) -> None:
    world = watchful
    digest = world.weights("copy", "weights of 2")
    world.apply(world.snapshot("copy", digest=digest))
    world.serve(2)
    assert digest == world.status()["digest"], "the same bytes at two places"
    tamper(world, 2)
    record = world.rollback()

    assert record["status"]["target"] == {"snapshot": "digits-vcopy", "digest": digest}
    assert record["status"]["outcome"] == "Succeeded"
    assert world.model_path() == "/models/digits/copy"
    assert world.status().get("left", []) == []
    assert not world.get("configmap", "lastgood-quarantine")


def test_a_tampered_candidate_is_passed_over_at_the_moment_of_use(world: World) -> None:
    for version in range(3):
        world.serve(version)
    world.operator.stop()
    tamper(world, 1)
    world.annotate("modeldeployment/digits", "rollback", "v2 looks wrong")
    assert verified(world, "digits-v1") == "Verified", "nobody has looked yet"
    world.operator.start()
    record = world.rollback()

    assert world.candidates(record)["digits-v1"] == "DigestMismatch"
    assert record["status"]["target"]["snapshot"] == "digits-v0"
    assert record["status"]["verification"] == "Fresh"
    assert record["status"]["outcome"] == "Succeeded"
    assert [stamp(event) for event in world.writes()] == ["digits-v0", "digits-v1", "digits-v2", "digits-v0"]


def stamp(event: dict[str, Any]) -> str:
    """Return the snapshot that a write of the operator put on the pod template."""
    annotations = event["responseObject"]["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["lastgood.dev/snapshot"])


def test_an_emergency_that_trusted_a_recent_hash_goes_on_when_it_was_wrong(world: World) -> None:
    for version in range(3):
        world.serve(version)
    world.operator.stop()
    tamper(world, 1)
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-3: backdoor in v2")
    world.operator.start()
    second = world.rollback(number=2)

    first = world.get("modelrollback", second["spec"]["continues"])
    assert first["status"]["target"]["snapshot"] == "digits-v1"
    assert (first["status"]["outcome"], first["status"]["outcomeReason"]) == ("Failed", "DigestMismatch")
    assert second["status"]["target"]["snapshot"] == "digits-v0"
    assert second["status"]["outcome"] == "Succeeded"
    assert second["spec"]["emergency"] is True
    assert world.model_path() == "/models/digits/0"


def test_where_everything_is_poisoned_nothing_is_deployed_and_one_alert_is_raised(watchful: World) -> None:
    world = watchful
    for version in range(3):
        world.serve(version)
    world.operator.stop()
    for version in range(3):
        tamper(world, version)
    before = world.generation()
    world.operator.start()
    record = world.rollback()

    assert record["status"]["outcome"] == "Failed"
    assert record["status"]["outcomeReason"] == "NoKnownGood"
    assert world.candidates(record) == {
        "digits-v0": "DigestMismatch",
        "digits-v1": "DigestMismatch",
        "digits-v2": "BeingLeft",
    }
    assert all(len(item["message"]) > 10 for item in record["status"]["candidates"]), "each says why"
    world.becomes("KnownGoodAvailable", "False")
    assert world.ready("NoKnownGood")["status"] == "False"
    seen = verified_at(world)
    eventually(lambda: verified_at(world) > seen, what="everything is verified once more")
    assert len(world.list("modelrollback")) == 1
    alerts = [item for item in world.list("event") if item["reason"] == "NoKnownGood"]
    assert [
        item["involvedObject"]["name"] for item in alerts if item["involvedObject"]["kind"] == "ModelDeployment"
    ] == ["digits"]
    assert world.generation() == before
    assert world.model_path() == "/models/digits/2"


def verified_at(world: World) -> str:
    """Return when the snapshot that was verified longest ago was verified."""
    return min(str(item["status"]["verification"]["lastTime"]) for item in world.list("modelsnapshot"))


def test_an_unreadable_volume_is_not_a_tampered_one(watchful: World) -> None:
    world = watchful
    world.serve(1)
    world.serve(2)
    (world.store / "digits").rename(world.store / "elsewhere")
    eventually(lambda: verified(world, "digits-v2") == "Unreadable", what="it cannot be read")
    assert world.condition("Verified", kind="modelsnapshot", name="digits-v2")["status"] == "Unknown"
    seen = verified_at(world)
    eventually(lambda: verified_at(world) > seen, what="it is tried again")

    assert world.list("modelrollback") == []
    assert world.model_path() == "/models/digits/2"
    assert world.condition("Healthy")["status"] == "True"

    (world.store / "elsewhere").rename(world.store / "digits")
    eventually(lambda: verified(world, "digits-v2") == "Verified", what="it can be read again")


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"], ids=["past", "future"])
def test_a_forged_status_is_not_believed(world: World, time: str) -> None:
    world.weights(1, ATTACK)
    world.apply(world.snapshot(1, digest=WRONG), world.workload())
    eventually(lambda: verified(world, "digits-v1") == "DigestMismatch", what="it was looked at")
    world.operator.stop()
    forge(world, "digits-v1", time)
    world.apply(world.deployment("digits-v1"))
    assert verified(world, "digits-v1") == "Verified"
    world.operator.start()

    told = world.ready("NotVerified")
    eventually(lambda: verified(world, "digits-v1") == "DigestMismatch", what="the forged status is corrected")
    assert WRONG in told["message"]
    assert world.generation() == 1
    assert "lastgood" not in world.managers()
