"""A snapshot in the operator's store whose first copy is destroyed: deployed, and gone back to, from its mirror."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from demo.scenes import ROLLBACK
from demo.world import MODEL, NAMESPACE, snapshot
from lastgood.verify import digest

if TYPE_CHECKING:
    from demo.world import World

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]  # the first test may build a cluster and images

NEW, OLD = "4", "0"
MIRROR = f"copies/{MODEL}/{NEW}"


@pytest.fixture(scope="module")
def mirrored(world: World) -> World:
    """The demo's model with one more version, whose files are whole in a second place only."""
    source, copy = world.folder.checkpoint(NEW), world.folder.models / MIRROR
    shutil.copytree(world.folder.checkpoint(OLD), source)
    (source / "notes.txt").write_text("the fourth\n")
    found = digest(source).digest
    shutil.copytree(source, copy)
    (copy.parent.parent).chmod(0o755)
    copy.parent.chmod(0o755)
    world.tamper(NEW)
    spec = {
        "model": MODEL,
        "version": NEW,
        "digest": found,
        "source": {"store": {"path": f"{MODEL}/{NEW}"}},
        "mirrors": [{"store": {"path": MIRROR}}],
    }
    metadata = {"name": snapshot(NEW), "namespace": NAMESPACE}
    body = {"apiVersion": "lastgood.dev/v1alpha1", "kind": "ModelSnapshot", "metadata": metadata, "spec": spec}
    world.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    serve(world, NEW)
    return world


def serve(world: World, version: str) -> None:
    """Name a version in Git, and wait until it serves and is known good."""
    world.desire(version)
    world.until(f"v{version} serves", lambda: world.serves(version), seconds=180)
    world.until(f"v{version} is known good", lambda: world.soaked(version))


def test_snapshot_whose_first_copy_is_destroyed_is_deployed_from_its_mirror(mirrored: World) -> None:
    assert mirrored.served() == f"/models/{MIRROR}"
    found = mirrored.get("modelsnapshots", snapshot(NEW))["status"]["verification"]
    assert (found["reason"], found["copy"]) == ("Verified", "mirrors[0]")
    assert [item["reason"] for item in found["passedOver"]] == ["DigestMismatch"]


def test_it_is_gone_back_to_from_its_mirror(mirrored: World) -> None:
    serve(mirrored, OLD)
    before = len(mirrored.records())
    mirrored.annotate(f"modeldeployment/{MODEL}", ROLLBACK, f"to={snapshot(NEW)}: the other one looks wrong")
    mirrored.until("the rollback has ended", lambda: ended(mirrored, before), seconds=180)
    record = mirrored.records()[-1]
    sys.stdout.write(f"{record['status']}\n")
    assert record["status"]["outcome"] == "Succeeded"
    mirrored.until(f"v{NEW} serves", lambda: mirrored.serves(NEW))
    assert mirrored.served() == f"/models/{MIRROR}"


def ended(world: World, before: int) -> bool:
    records = world.records()
    return len(records) > before and bool((records[-1].get("status") or {}).get("outcome"))
