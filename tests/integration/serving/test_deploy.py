"""An ML engineer applies manifests: what is verified is deployed, and nothing else is ever written."""

import shlex
import shutil

from tests.integration.world import World, eventually

WRONG = f"sha256:{'0' * 64}"
OTHER = f"localhost/serving/model:2@sha256:{'2' * 64}"
IMAGE = {"image": {"container": "server"}, "value": "$(image)"}


def apply(world: World, *, snapshot: int = 1, **spec: object) -> None:
    """Apply everything that a first deployment takes."""
    world.apply(world.snapshot(snapshot), world.workload(), world.deployment(f"digits-v{snapshot}", **spec))


def test_a_verified_snapshot_is_deployed(world: World) -> None:
    apply(world)
    served = world.served("digits-v1")

    assert world.model_path() == "/models/digits/1"
    stamps = world.template()["metadata"]["annotations"]
    assert stamps["lastgood.dev/snapshot"] == "digits-v1"
    assert stamps["lastgood.dev/digest"] == served["status"]["digest"] == world.weights(1)
    assert world.becomes("Ready", "True")["reason"] == "Serving"
    assert world.generation() == 2, "one apply"


def test_a_wrong_digest_is_never_deployed(world: World) -> None:
    actual = world.weights(1)
    world.apply(world.snapshot(1, digest=WRONG), world.workload(), world.deployment("digits-v1"))

    found = world.becomes("Verified", "False", kind="modelsnapshot", name="digits-v1")
    assert found["reason"] == "DigestMismatch"
    assert WRONG in found["message"]
    assert actual in found["message"], "whoever mistyped it wants to know the right one"
    told = eventually(
        lambda: "DigestMismatch" in world.condition("Ready").get("message", "") and world.condition("Ready"),
        what="the ModelDeployment says why",
    )
    assert told["reason"] == "NotVerified"
    assert WRONG in told["message"]
    assert world.generation() == 1
    assert "lastgood" not in world.managers()


def test_what_serves_goes_on_serving_when_the_next_one_is_wrong(world: World) -> None:
    world.serve(1)
    world.apply(world.snapshot(2, digest=WRONG, source={"store": {"path": "digits/1"}}), world.deployment("digits-v2"))

    world.ready("NotVerified")
    assert world.model_path() == "/models/digits/1"
    assert world.status()["snapshot"] == "digits-v1"


def test_what_is_not_there_yet_is_not_tampered_and_is_deployed_once_it_can_be_read(still_world: World) -> None:
    world = still_world
    world.operator.environment = {"LASTGOOD_REVERIFY_INTERVAL": "2s"}
    world.operator.start()
    snapshot = world.snapshot(1)
    shutil.move(world.store / "digits", world.store / "elsewhere")
    world.apply(snapshot, world.workload(), world.deployment("digits-v1"))

    eventually(
        lambda: world.condition("Verified", kind="modelsnapshot", name="digits-v1").get("reason") == "Unreadable",
        what="it is said to be unreadable",
    )
    assert world.condition("Verified", kind="modelsnapshot", name="digits-v1")["status"] == "Unknown"
    world.ready("NotVerified")
    assert world.generation() == 1

    shutil.move(world.store / "elsewhere", world.store / "digits")
    world.served("digits-v1")


def test_a_target_that_has_not_opted_in_is_not_written(world: World) -> None:
    world.apply(world.snapshot(1), world.workload(label=False, allowed=()), world.deployment("digits-v1"))

    told = world.ready("NotOptedIn")
    before = world.get("deployment", "digits-server")["metadata"]
    command = told["message"].partition("its owner must run: ")[2]
    assert command.startswith(f"kubectl patch -n {world.namespace} deployment/digits-server --type merge -p '")
    assert world.condition("OptedIn")["status"] == "False"
    assert world.condition("Stalled")["status"] == "True"
    assert before["generation"] == 1
    assert "lastgood" not in world.managers()

    world.cluster.kubectl(*shlex.split(command)[1:])
    world.served("digits-v1")
    assert world.condition("OptedIn")["status"] == "True"
    after = world.get("deployment", "digits-server")["metadata"]
    assert after["labels"]["lastgood.dev/model-deployment"] == "digits"
    assert after["annotations"]["lastgood.dev/bindable"] == "env:server/MODEL_PATH=/models/$(path)"


def test_a_target_that_is_missing_is_waited_for(world: World) -> None:
    world.apply(world.snapshot(1), world.deployment("digits-v1"))
    assert "'digits-server'" in world.ready("TargetNotFound")["message"]

    world.apply(world.workload())
    world.served("digits-v1")


def test_a_container_that_is_missing_is_named_with_those_that_are_there(world: World) -> None:
    binding = {"env": {"container": "sevrer", "name": "MODEL_PATH"}, "value": "$(path)"}
    apply(world, bindings=[binding])

    told = world.ready("ContainerNotFound")
    assert "'sevrer'" in told["message"]
    assert "server" in told["message"].replace("sevrer", "")
    assert world.generation() == 1


def test_a_variable_with_value_from_is_not_bound(world: World) -> None:
    env = [{"name": "MODEL_PATH", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    world.apply(world.snapshot(1), world.workload(env=env), world.deployment("digits-v1"))

    assert "valueFrom" in world.ready("VariableHasValueFrom")["message"]
    assert world.generation() == 1
    assert "lastgood" not in world.managers()


def test_a_snapshot_that_is_missing_is_waited_for(world: World) -> None:
    world.apply(world.workload(), world.deployment("digits-v1"))
    assert "'digits-v1'" in world.ready("SnapshotNotFound")["message"]

    world.apply(world.snapshot(1))
    world.served("digits-v1")


def test_a_snapshot_of_another_model_is_refused(world: World) -> None:
    apply(world, model="letters")

    assert "'digits'" in world.ready("WrongModel")["message"]
    assert world.generation() == 1


def test_suspend_keeps_what_serves(world: World) -> None:
    world.serve(1)
    world.apply(world.snapshot(2), world.deployment("digits-v2", suspend=True))
    world.ready("Suspended")
    assert world.model_path() == "/models/digits/1"

    world.apply(world.deployment("digits-v2", suspend=False))
    world.served("digits-v2")


def test_a_workload_that_carries_the_value_is_adopted_without_a_restart(world: World) -> None:
    workload = world.workload(env=[{"name": "MODEL_PATH", "value": "/models/digits/1"}])
    world.apply(world.snapshot(1), workload, world.deployment("digits-v1"))
    world.served("digits-v1")

    assert world.generation() == 1
    assert len(world.list("replicaset")) == 1
    assert "lastgood" in world.managers(), "what only another manager owns goes when it gives the field up"
    assert "MODEL_PATH" in world.becomes("GitOpsConflict", "True")["message"], "said before a rollback needs it"


def test_all_bindings_are_written_in_one_apply_with_their_values(world: World) -> None:
    bindings = [
        {"env": {"container": "server", "name": "MODEL"}, "value": "$(name)@$(version):/models/$(path)"},
        {"env": {"container": "server", "name": "MODEL_URI"}, "value": "$(uri)#$(digest)"},
        IMAGE,
        {"annotation": {"name": "example.com/model"}, "value": "$(version)"},
    ]
    allowed = (
        "env:server/MODEL=$(name)@$(version):/models/$(path)",
        "env:server/MODEL_URI=$(uri)#$(digest)",
        "image:server",
        "annotation:example.com/model=$(version)",
    )
    world.apply(
        world.body("ModelTrustPolicy", "images", {"images": {"repositories": ["localhost/serving"]}}),
        world.snapshot(1, version="1.0-rc1", runtime={"image": OTHER}),
        world.workload(allowed=allowed),
        world.deployment("digits-v1", bindings=bindings),
    )
    world.served("digits-v1")

    template = world.template()
    container = template["spec"]["containers"][0]
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "MODEL": "digits-v1@1.0-rc1:/models/digits/1",
        "MODEL_URI": f"store://digits/1#{world.weights(1)}",
    }
    assert container["image"] == OTHER
    assert template["metadata"]["annotations"]["example.com/model"] == "1.0-rc1"
    assert template["metadata"]["labels"] == {"app": "digits"}
    assert world.generation() == 2


def test_a_snapshot_without_the_image_that_is_bound_is_refused(world: World) -> None:
    world.apply(world.snapshot(1), world.workload(allowed=["image:server"]))
    world.apply(world.deployment("digits-v1", bindings=[IMAGE]))

    assert "spec.runtime.image" in world.ready("NoValueForBinding")["message"]
    assert world.generation() == 1
