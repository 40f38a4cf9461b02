"""What was there when a digest is quarantined is kept in the store, once, and no rollback waits for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.verify import digest
from lastgood.verify.store import sweep
from tests.integration.rollback.test_quarantine import key, list_digests
from tests.integration.snapshots.test_capture import SLOW, V1, large, leftovers, read_only, status
from tests.integration.world import eventually
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.servers.samples import DIGEST, FILES, s3_fields
from tests.unit.verify.store.helpers import needs_root

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.world import World
    from tests.servers.s3 import S3Server

V2 = "digits-v2"
REASON = "INC-2041: backdoor found"


def forensics(world: World, reason: str, *, name: str = V2, within: float = 60.0) -> dict[str, Any]:
    """Wait until the status says this of the forensics copy, and return what it says."""

    def found() -> dict[str, Any]:
        said = status(world, name).get("quarantine", {}).get("forensics", {})
        return said if said.get("reason") == reason else {}

    return dict(eventually(found, what=f"{name} is {reason}", within=within))


def evidence(world: World) -> list[Path]:
    return sorted(world.store.glob("evidence/*"))


def told(world: World) -> list[str]:
    return [entry["reason"] for entry in world.operator.security_log()]


def test_what_is_quarantined_by_an_annotation_is_kept(world: World) -> None:
    world.serve(1)
    world.serve(2)
    world.annotate("modelsnapshot/digits-v2", "quarantine", REASON)
    said = forensics(world, "EvidenceKept")
    (kept,) = evidence(world)
    assert (said["path"], "its digest matches" in said["message"]) == (f"evidence/{kept.name}", True)
    assert kept.name.startswith("INC-2041-")
    assert (kept / "content/model.bin").read_text() == "weights of 2"
    note = json.loads((kept / "note.json").read_text())
    assert ("backdoor found" in note["reason"], note["incident"]) == (True, "INC-2041")
    assert world.rollback()["status"]["outcome"] == "Succeeded"
    world.event("EvidenceKept", kept.name, about=V2)
    assert (told(world).count("KeepingEvidence"), told(world).count("EvidenceKept")) == (1, 1)
    assert leftovers(world) == []


def test_an_emergency_keeps_what_served_and_a_restart_keeps_nothing_more(world: World) -> None:
    world.serve(1)
    world.serve(2)
    world.annotate("modeldeployment/digits", "emergency-rollback", REASON)
    assert world.rollback()["status"]["target"]["snapshot"] == V1
    said = forensics(world, "EvidenceKept")
    (kept,) = evidence(world)
    assert (kept / "content/model.bin").read_text() == "weights of 2"
    world.operator.stop()
    world.operator.start()
    world.apply(world.snapshot(3))
    world.becomes("Verified", "True", kind="modelsnapshot", name="digits-v3")
    assert evidence(world) == [kept]
    assert forensics(world, "EvidenceKept") == said
    assert "forensics" not in status(world).get("quarantine", {})


def test_what_the_list_quarantines_is_kept_also_where_it_was_tampered_with(world: World) -> None:
    world.apply(world.snapshot(1))
    world.becomes("Verified", "True", kind="modelsnapshot", name=V1)
    listed = key(world, 1)
    (world.store / "digits/1/model.bin").write_text("evil weights")
    list_digests(world, **{listed: REASON})
    said = forensics(world, "EvidenceKept", name=V1)
    assert "not the declared one" in said["message"]
    assert (world.store / said["path"] / "content/model.bin").read_text() == "evil weights"


def test_what_is_in_s3_is_fetched_and_kept(still_world: World, s3: S3Server) -> None:
    world = still_world
    s3.put("digits/1", FILES)
    data = {"host": s3.endpoint, "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": data})
    source = s3_fields(s3, "digits/1")
    source["s3"]["secretRef"] = {"name": "keys"}
    world.apply(world.snapshot(1, source=source, digest=DIGEST))
    world.operator.start()
    world.becomes("Verified", "True", kind="modelsnapshot", name=V1)
    world.annotate("modelsnapshot/digits-v1", "quarantine", REASON)
    said = forensics(world, "EvidenceKept", name=V1)
    assert digest(world.store / said["path"] / "content").digest == DIGEST
    note = (world.store / said["path"] / "note.json").read_text()
    assert SECRET_KEY not in note + json.dumps(world.operator.security_log())


@needs_root
def test_a_store_that_may_only_be_read_is_said_once_and_delays_nothing(still_world: World) -> None:
    world = still_world
    world.operator.start()
    world.serve(1)
    world.serve(2)
    world.operator.stop()
    (world.store / ".partial").mkdir(exist_ok=True)
    with read_only(world.store):
        world.operator.start()
        world.annotate("modeldeployment/digits", "emergency-rollback", REASON)
        assert world.rollback()["status"]["outcome"] == "Succeeded"
        said = forensics(world, "EvidenceFailed")
        assert "EROFS" in said["message"]
        assert "store.capture" in said["message"]
        assert "nextTime" not in said
        world.event("EvidenceFailed", "store.capture", about=V2)
        world.operator.stop()
        world.operator.start()
        eventually(lambda: told(world).count("KeepingEvidence") == 2, what="it is tried once more by a new operator")
        world.annotate("modeldeployment/digits", "resume", "wakes the operator")
        world.ready("Quarantined")
        assert told(world).count("EvidenceFailed") == 1
        assert forensics(world, "EvidenceFailed") == said
        world.operator.stop()
    world.operator.start()
    kept = forensics(world, "EvidenceKept")
    assert (world.store / kept["path"] / "content/model.bin").read_text() == "weights of 2"


@pytest.mark.timeout(240)
def test_an_operator_killed_in_the_middle_keeps_it_once(still_world: World) -> None:
    world = still_world
    world.apply(world.snapshot(1, digest=large(world, 1, 24)))
    world.operator.start()
    world.becomes("Verified", "True", kind="modelsnapshot", name=V1)
    world.operator.stop()
    world.operator.arguments = SLOW
    world.annotate("modelsnapshot/digits-v1", "quarantine", REASON)
    world.operator.start()
    eventually(lambda: list(world.store.glob(".partial/evidence-*/content/*")), what="a file that is half there")
    world.operator.kill()
    assert evidence(world) == []
    dead = leftovers(world)
    assert len(dead) == 1
    world.operator.arguments = ()
    world.operator.start()
    said = forensics(world, "EvidenceKept", name=V1)
    (kept,) = evidence(world)
    assert said["path"] == f"evidence/{kept.name}"
    assert digest(kept / "content").digest == world.get("modelsnapshot", V1)["spec"]["digest"]
    assert leftovers(world) == dead
    assert sweep(world.store, older_than=0).removed == tuple(dead)


def test_what_cannot_be_read_is_said_with_when_it_is_tried_again(world: World) -> None:
    world.apply(world.snapshot(1, source={"store": {"path": "nowhere"}}))
    world.becomes("Verified", "Unknown", kind="modelsnapshot", name=V1)
    world.annotate("modelsnapshot/digits-v1", "quarantine", REASON)
    said = forensics(world, "EvidenceFailed", name=V1)
    assert (said["attempts"], said["nextTime"] > said["time"]) == (1, True)
    world.event("EvidenceFailed", about=V1)
    assert evidence(world) == []
