"""A copy in the operator's own store: made once, said how far it is, and good for a rollback without its source."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.verify import digest
from lastgood.verify.store import path_of, sweep
from tests.integration.world import eventually
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY
from tests.servers.samples import DIGEST, FILES, s3_fields
from tests.unit.verify.store.helpers import needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.world import World
    from tests.servers.s3 import S3Server

V1 = "digits-v1"
SLOW = ("--verify-rate", "2Mi")
OFTEN = ("--reverify-interval", "2s")


def status(world: World, name: str = V1) -> dict[str, Any]:
    return dict(world.get("modelsnapshot", name).get("status", {}))


def capture(world: World, reason: str, *, name: str = V1, within: float = 60.0) -> dict[str, Any]:
    """Wait until the status says this of the capture, and return what it says."""

    def found() -> dict[str, Any]:
        said = status(world, name).get("capture", {})
        return said if said.get("reason") == reason else {}

    return dict(eventually(found, what=f"{name} is {reason}", within=within))


def copies(world: World) -> list[str]:
    """Return the paths of all snapshots in the store."""
    return sorted(str(path.relative_to(world.store)) for path in world.store.glob("sha256/*/*"))


def leftovers(world: World) -> list[str]:
    return sorted(path.name for path in world.store.glob(".partial/*"))


def patch_status(world: World, body: dict[str, Any], name: str = V1) -> None:
    """Write a status as somebody with too many rights does."""
    what = json.dumps({"status": body})
    world.kubectl("patch", "modelsnapshot", name, "--subresource=status", "--type=merge", "-p", what)


def read_from(world: World, copy: str, name: str = V1) -> dict[str, Any]:
    """Wait until a snapshot is verified from a copy, and return what the verification says."""

    def found() -> dict[str, Any]:
        said = status(world, name).get("verification", {})
        return said if (said.get("reason"), said.get("copy")) == ("Verified", copy) else {}

    return dict(eventually(found, what=f"{name} is verified from {copy}"))


def large(world: World, version: int, mebibytes: int) -> str:
    """Write a checkpoint that takes a while to copy, and return its digest."""
    directory = world.store / "digits" / str(version)
    directory.mkdir(parents=True)
    for number in range(4):
        (directory / f"{number}.bin").write_bytes(bytes([number]) * (mebibytes * 2**18))
    return digest(directory).digest


def test_a_snapshot_is_captured_once_it_is_verified(world: World) -> None:
    world.apply(world.snapshot(1, capture=True))
    said = capture(world, "Captured")
    wanted = world.get("modelsnapshot", V1)["spec"]["digest"]
    assert (said["path"], said["bytesDone"]) == (path_of(wanted), said["sizeBytes"])
    assert copies(world) == [said["path"]]
    assert (world.store / said["path"] / "model.bin").read_text() == "weights of 1"
    assert leftovers(world) == []
    world.event("Captured", said["path"], about=V1)
    told = [entry["reason"] for entry in world.operator.security_log()]
    assert told.count("Captured") == 1


def test_a_snapshot_in_s3_is_captured_and_verified_from_the_copy_when_the_bucket_is_emptied(
    still_world: World, s3: S3Server
) -> None:
    world = still_world
    s3.put("digits/1", FILES)
    data = {"host": s3.endpoint, "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": data})
    source = s3_fields(s3, "digits/1")
    source["s3"]["secretRef"] = {"name": "keys"}
    world.apply(world.snapshot(1, source=source, digest=DIGEST, capture=True))
    world.operator.arguments = OFTEN
    world.operator.start()
    said = capture(world, "Captured")
    assert (said["path"], digest(world.store / said["path"]).digest) == (path_of(DIGEST), DIGEST)
    shutil.rmtree(s3.bucket / "digits/1")
    found = read_from(world, "capture")
    assert [item["copy"] for item in found["passedOver"]] == ["source"]
    assert SECRET_KEY not in json.dumps(world.operator.security_log()) + json.dumps(status(world))


def test_what_is_not_verified_is_not_captured(world: World) -> None:
    world.weights(1)
    world.apply(world.snapshot(1, digest=f"sha256:{'0' * 64}", capture=True))
    world.becomes("Verified", "False", kind="modelsnapshot", name=V1)
    world.apply(world.snapshot(2, capture=True))
    capture(world, "Captured", name="digits-v2")
    assert "capture" not in status(world)
    assert len(copies(world)) == 1


@pytest.mark.timeout(240)
def test_how_far_a_capture_is_can_be_seen(still_world: World) -> None:
    world = still_world
    world.apply(world.snapshot(1, digest=large(world, 1, 24), capture=True))
    world.operator.arguments = SLOW
    world.operator.start()
    seen: list[int] = []

    def moved() -> bool:
        said = status(world).get("capture", {})
        seen.append(int(said.get("bytesDone", 0)))
        return said.get("reason") == "Capturing" and seen[-1] > 0 and said["sizeBytes"] == 24 * 2**20

    eventually(moved, what="bytes of a capture that runs", within=90)
    capture(world, "Captured", within=90)
    assert seen == sorted(seen)


@pytest.mark.timeout(240)
def test_an_operator_killed_in_the_middle_captures_once(still_world: World) -> None:
    world = still_world
    world.apply(world.snapshot(1, digest=large(world, 1, 24), capture=True))
    world.operator.arguments = SLOW
    world.operator.start()
    capture(world, "Capturing", within=90)
    eventually(lambda: list(world.store.glob(".partial/capture-*/content/*")), what="a file that is half there")
    world.operator.kill()
    assert copies(world) == []
    dead = leftovers(world)
    assert len(dead) == 1
    world.operator.arguments = ()
    world.operator.start()
    said = capture(world, "Captured")
    assert copies(world) == [said["path"]]
    assert leftovers(world) == dead
    assert sweep(world.store, older_than=0).removed == tuple(dead)
    assert digest(world.store / said["path"]).digest == world.get("modelsnapshot", V1)["spec"]["digest"]


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Mount a directory as a pod that may only read it has it."""
    subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def later(world: World) -> None:
    """Let the pause after a failed capture be over: start the operator when it looks ten minutes old."""
    world.operator.stop()
    patch_status(world, {"capture": {"time": "2026-01-01T00:00:00.000000Z"}})
    world.operator.start()


@needs_root
def test_a_store_that_may_only_be_read_is_told_with_the_value_to_set_and_tried_again(still_world: World) -> None:
    world = still_world
    world.apply(world.snapshot(1, capture=True))
    with read_only(world.store):
        world.operator.start()
        said = capture(world, "CaptureFailed")
        assert "EROFS" in said["message"]
        assert "store.capture" in said["message"]
        world.event("CaptureFailed", "store.capture", about=V1)
        world.operator.stop()
    assert world.condition("Verified", kind="modelsnapshot", name=V1)["status"] == "True"
    later(world)
    capture(world, "Captured")


@needs_root
def test_a_full_disk_is_told_leaves_nothing_and_is_tried_again(still_world: World) -> None:
    world = still_world
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(world.store)], check=True)
    try:
        world.apply(world.snapshot(1, digest=large(world, 1, 3), capture=True))
        world.operator.start()
        said = capture(world, "CaptureFailed")
        assert "the store is full" in said["message"]
        assert (copies(world), leftovers(world)) == ([], [])
        subprocess.run(["mount", "-o", "remount,size=20m", str(world.store)], check=True)
        later(world)
        capture(world, "Captured")
        world.operator.stop()
    finally:
        subprocess.run(["umount", "-l", str(world.store)], check=True)


def test_what_has_soaked_is_captured_where_a_deployment_asks_for_it(world: World) -> None:
    rollback = {"knownGood": {"soak": "1s"}, "captureSoaked": True}
    world.apply(world.snapshot(1), world.snapshot(2), world.workload(), world.deployment(V1, rollback=rollback))
    world.served(V1)
    capture(world, "Captured")
    assert "capture" not in status(world, "digits-v2")


def test_a_rollback_goes_to_the_captured_copy_when_the_source_is_tampered_with(world: World) -> None:
    rollback = {"knownGood": {"soak": "0s"}, "captureSoaked": True, "cooldown": "0s", "maxPerHour": 60}
    world.apply(world.snapshot(1), world.workload(), world.deployment(V1, rollback=rollback))
    world.served(V1)
    kept = capture(world, "Captured")["path"]
    assert world.model_path() == "/models/digits/1"
    world.apply(world.snapshot(2), world.deployment("digits-v2", rollback=rollback))
    world.served("digits-v2")
    (world.store / "digits/1/model.bin").write_text("evil weights")
    world.annotate("modeldeployment/digits", "rollback", "it looks wrong")
    record = world.rollback()
    assert (record["status"]["outcome"], record["status"]["target"]["snapshot"]) == ("Succeeded", V1)
    assert world.model_path() == f"/models/{kept}"
    found = read_from(world, "capture")
    assert [(item["copy"], item["reason"]) for item in found["passedOver"]] == [("source", "DigestMismatch")]


@pytest.mark.parametrize("path", ["../evil", "digits/evil"])
def test_a_forged_status_cannot_lead_elsewhere(world: World, path: str) -> None:
    evil = world.store / path
    evil.mkdir(parents=True)
    (evil / "model.bin").write_text("weights of 1")  # the right bytes, in a place that nobody may lead to
    world.apply(world.snapshot(1))
    world.becomes("Verified", "True", kind="modelsnapshot", name=V1)
    shutil.rmtree(world.store / "digits/1")
    forged = {"reason": "Captured", "path": path, "time": "2026-01-01T00:00:00.000000Z"}
    patch_status(world, {"capture": forged, "verification": {"copy": "capture", "nextTime": "2026-01-01T00:00:00Z"}})
    world.becomes("Verified", "Unknown", kind="modelsnapshot", name=V1)
    said = status(world)["verification"]
    assert said["reason"] == "Unreadable"
    assert "evil" not in json.dumps(said)
    assert world.condition("Ready", kind="modelsnapshot", name=V1)["status"] == "Unknown"


def test_a_forged_capture_is_made_good(world: World) -> None:
    world.apply(world.snapshot(1, capture=True))
    path = capture(world, "Captured")["path"]
    forged = {"reason": "Captured", "path": "../evil", "time": "2026-01-01T00:00:00.000000Z"}
    patch_status(world, {"capture": forged})
    eventually(lambda: status(world)["capture"]["path"] == path, what="the path is what the digest says")


def test_a_bad_copy_in_the_store_is_not_used_and_told(world: World) -> None:
    made = world.snapshot(1, capture=True)
    place = world.store / path_of(made["spec"]["digest"])
    place.mkdir(parents=True)
    (place / "model.bin").write_text("evil weights")
    world.apply(made)
    said = capture(world, "CaptureFailed")
    assert "the store's copy is bad" in said["message"]
    assert world.condition("Verified", kind="modelsnapshot", name=V1)["status"] == "True"
    assert (place / "model.bin").read_text() == "evil weights"


# Repair


def repaired(world: World, path: str, **spec: Any) -> dict[str, Any]:
    """Return a snapshot whose source is at a path in the store, with a good mirror beside it, tampered with."""
    wanted = world.weights("mirror", "weights of 1")
    mirrors = [{"store": {"path": "digits/mirror"}}]
    place = world.store / path.format(place=path_of(wanted))
    place.mkdir(parents=True)
    (place / "model.bin").write_text("evil weights")
    source = {"store": {"path": str(place.relative_to(world.store))}}
    return world.snapshot(1, source=source, digest=wanted, mirrors=mirrors, **spec)


def test_a_bad_source_is_repaired_from_a_mirror_and_kept_as_evidence(world: World) -> None:
    made = repaired(world, "{place}", repair="FromMirror")
    world.apply(made)
    found = read_from(world, "source")
    assert "passedOver" not in found
    assert (world.store / path_of(made["spec"]["digest"]) / "model.bin").read_text() == "weights of 1"
    (evidence,) = world.store.glob("evidence/*")
    assert (evidence / "content/model.bin").read_text() == "evil weights"
    world.event("Repaired", evidence.name, about=V1)
    reasons = [entry["reason"] for entry in world.operator.security_log()]
    assert reasons.index("Repairing") < reasons.index("Repaired")


def test_nothing_is_repaired_that_nobody_asks_for(world: World) -> None:
    made = repaired(world, "{place}")
    world.apply(made)
    read_from(world, "mirrors[0]")
    world.apply(world.snapshot(2, capture=True))
    capture(world, "Captured", name="digits-v2")
    assert not list(world.store.glob("evidence/*"))


def test_another_teams_path_is_not_overwritten_by_a_snapshot_that_declares_it(world: World) -> None:
    """The store is shared: whoever may declare a snapshot must not put his bytes where others read theirs."""
    world.apply(repaired(world, "theirs/1", repair="FromMirror"))
    read_from(world, "mirrors[0]")
    world.apply(world.snapshot(2, capture=True))
    capture(world, "Captured", name="digits-v2")
    assert (world.store / "theirs/1/model.bin").read_text() == "evil weights"
    assert not list(world.store.glob("evidence/*"))


@needs_root
def test_a_repair_in_a_read_only_store_is_told_once_and_the_mirror_serves(still_world: World) -> None:
    world = still_world
    world.apply(repaired(world, "{place}", repair="FromMirror"))
    with read_only(world.store):
        world.operator.start()
        world.event("RepairFailed", "store.capture", about=V1)
        assert read_from(world, "mirrors[0]")["passedOver"][0]["reason"] == "DigestMismatch"
        world.operator.stop()
    reasons = [entry["reason"] for entry in world.operator.security_log()]
    assert reasons.count("Repairing") == 1
