"""A repository applies the same manifests again and again, and other hands write the workload as well."""

import json
import shlex
from datetime import datetime

import pytest

from tests.integration.world import Body, World, eventually

STALE = [{"name": "MODEL_PATH", "value": "/models/stale"}]
MODEL_SERVER = f"localhost/model-server:2@sha256:{'2' * 64}"
IMAGE = {"image": {"container": "server"}, "value": "$(image)"}
SERVER_SIDE = ("--server-side", "--field-manager=argocd-controller", "--force-conflicts")


def apply(world: World, bodies: list[Body], *flags: str) -> None:
    """Apply as a GitOps controller does."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    world.kubectl("apply", *flags, "-f", "-", stdin=text)


@pytest.mark.parametrize(
    ("flags", "manager"),
    [((), "kubectl-client-side-apply"), (SERVER_SIDE, "argocd-controller")],
    ids=["client", "server"],
)
def test_another_owner_of_the_variable_is_told_before_the_first_switch(
    world: World, flags: tuple[str, ...], manager: str
) -> None:
    apply(world, [world.workload(env=STALE)], *flags)
    world.apply(world.snapshot(1), world.deployment("digits-v1"))

    told = world.ready("FieldOwnedByAnother")["message"]
    assert repr(manager) in told
    assert "variable MODEL_PATH of container server" in told
    assert "then leave the variable out of the manifest, and apply that server-side" in told
    assert world.condition("GitOpsConflict")["status"] == "True"
    assert world.generation() == 1, "nothing is written"
    assert world.model_path() == "/models/stale"
    assert "lastgood" not in world.managers()

    apply(world, [world.workload()], *flags)
    world.served("digits-v1")
    assert world.condition("GitOpsConflict")["status"] == "False"
    assert world.model_path() == "/models/digits/1"


def test_an_image_that_another_owns_is_told_and_switched_all_the_same(world: World) -> None:
    snapshot = world.snapshot(1, runtime={"image": MODEL_SERVER})
    allowing = world.body("ModelTrustPolicy", "images", {"images": {"repositories": ["localhost/model-server"]}})
    there = world.workload(allowed=["image:server"])
    world.apply(allowing, snapshot, there, world.deployment("digits-v1", bindings=[IMAGE]))
    world.served("digits-v1")

    assert world.template()["spec"]["containers"][0]["image"] == MODEL_SERVER
    told = world.event("Deploying", "owns the image of container server")
    assert told["type"] == "Warning"
    assert "jqPathExpressions" in told["message"]
    assert '.spec.template.spec.containers[] | select(.name == "server") | .image' in told["message"]

    apply(world, [there], *SERVER_SIDE)
    eventually(
        lambda: world.template()["spec"]["containers"][0]["image"] == MODEL_SERVER,
        what="it is written back",
    )


@pytest.mark.parametrize("flags", [(), SERVER_SIDE], ids=["client", "server"])
def test_unchanged_manifests_applied_again_do_not_undo_a_rollback(world: World, flags: tuple[str, ...]) -> None:
    manifests = [world.snapshot(1), world.snapshot(2), world.workload()]
    apply(world, [*manifests, world.deployment("digits-v1")], *flags)
    world.served("digits-v1")
    apply(world, [*manifests, world.deployment("digits-v2")], *flags)
    world.served("digits-v2")
    world.annotate("modeldeployment/digits", "rollback", "accuracy has fallen")
    world.rollback()
    before = world.get("deployment", "digits-server")["metadata"]["generation"]

    for _ in range(2):
        apply(world, [*manifests, world.deployment("digits-v2")], *flags)
    apply(world, [world.deployment("digits-v2", suspend=False, triggers=[])], *flags)  # wakes the operator for sure

    told = world.ready("Held")
    assert "digits-v2: on hold since" in told["message"]
    assert "accuracy has fallen" in told["message"]
    assert world.model_path() == "/models/digits/1"
    assert world.generation() == before
    assert world.status()["snapshot"] == "digits-v1"


def test_a_hand_that_writes_the_bound_variable_is_overruled_with_a_growing_pause(world: World) -> None:
    world.serve(1)

    for count in range(1, 4):
        world.kubectl("set", "env", "deployment/digits-server", f"MODEL_PATH=/models/by-hand/{count}")
        eventually(lambda: world.model_path() == "/models/digits/1", what=f"written back, time {count}")

    first, *times = (datetime.fromisoformat(event["requestReceivedTimestamp"]) for event in world.writes())
    pauses = [(later - earlier).total_seconds() for earlier, later in zip([first, *times], times, strict=False)]
    assert len(times) == 3, "once for each time"
    assert pauses[1] >= 0.9, "1 s after the first"
    assert pauses[2] >= 1.9, "2 s after the second"
    world.event("Drifted", "digits-v1")
    assert world.list("modelrollback") == []


def test_a_variable_that_its_owner_takes_back_is_not_written_any_more(world: World) -> None:
    world.serve(1)
    world.kubectl("annotate", "deployment/digits-server", "lastgood.dev/bindable-")
    told = world.ready("NotBindable")["message"]
    assert "does not allow what spec.bindings would write to env:server/MODEL_PATH" in told
    assert world.condition("OptedIn")["reason"] == "NotBindable"
    assert world.condition("Stalled")["status"] == "True"
    before = world.generation()

    world.kubectl("set", "env", "deployment/digits-server", "MODEL_PATH=/models/by-hand")
    world.apply(world.snapshot(2), world.deployment("digits-v2"))
    world.ready("NotBindable")
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-1: it may be bad")
    assert world.rollback()["status"]["outcomeReason"] == "NotBindable", "nor in an emergency"
    assert (world.model_path(), world.generation()) == ("/models/by-hand", before + 1)

    world.cluster.kubectl(*shlex.split(told.partition("its owner must run: ")[2])[1:])
    world.becomes("OptedIn", "True")


def test_a_label_that_is_taken_back_ends_our_writes(world: World) -> None:
    world.serve(1)
    world.kubectl("label", "deployment/digits-server", "lastgood.dev/model-deployment-")
    world.ready("NotOptedIn")
    before = world.generation()

    world.apply(world.snapshot(2), world.deployment("digits-v2"))
    world.ready("NotOptedIn")
    assert world.generation() == before
    assert world.status()["snapshot"] == "digits-v1"
