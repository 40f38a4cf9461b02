"""A ModelDeployment is deleted and made anew, by a restore or by `Replace=true`: what rollbacks left stays left."""

import json

from lastgood.api.names import QUARANTINE_CONFIG_MAP
from lastgood.kube.shared.remembered import name_for, place_of
from tests.integration.rights import with_rights_of_the_chart
from tests.integration.world import FOLLOWED, Body, World, eventually

ALERT = "INC-1234: backdoor found in v2"


def serve(world: World, *versions: int) -> None:
    for version in versions:
        world.serve(version)


def deleted(world: World, *, snapshots: bool = False) -> None:
    """Delete the ModelDeployment, and its snapshots too."""
    world.kubectl("delete", "modeldeployment", "digits", "--wait=true")
    if snapshots:
        world.kubectl("delete", "modelsnapshots", "--all", "--wait=true")


def where(world: World) -> str:
    """Return the ConfigMap with what is kept of the ModelDeployment."""
    return name_for(place_of(world.namespace, "digits"))


def kept(world: World) -> Body:
    """Return what is kept of the ModelDeployment beyond its deletion."""
    found = world.get("configmap", where(world)).get("data", {})
    return dict(json.loads(found.get("digits", "{}")))


def left(world: World) -> set[str]:
    """Return the snapshots that the status says were left."""
    return {item["snapshot"] for item in world.status().get("left", [])}


def stays_held(world: World, serving: str) -> None:
    """Wait until the ModelDeployment made anew says what it does, and see that it is not to deploy v2."""
    generation = world.generation()
    assert "digits-v2" in world.ready("Held")["message"]
    assert (world.status()["held"]["snapshot"], left(world)) == ("digits-v2", {"digits-v2"})
    eventually(lambda: world.status().get("snapshot") == serving, what="it says what serves")
    assert world.model_path() == f"/models/digits/{serving[-1]}"
    assert world.generation() == generation, "the workload was not touched"


def test_bad_snapshot_is_not_deployed_again_by_a_modeldeployment_that_is_applied_again(world: World) -> None:
    serve(world, 0, 2)
    world.annotate("modeldeployment/digits", "rollback", "wrong answers")
    world.rollback()
    assert world.model_path() == "/models/digits/0"

    deleted(world)
    world.apply(world.deployment("digits-v2"))
    stays_held(world, "digits-v0")

    world.annotate("modeldeployment/digits", "resume", "it was the data")
    world.served("digits-v2")
    eventually(lambda: "left" not in kept(world), what="nothing is kept as left any more")
    deleted(world)
    world.apply(world.deployment("digits-v2"))
    assert world.ready("Serving")["status"] == "True"


def test_nor_if_its_snapshots_are_made_anew_as_well_and_what_soaked_is_still_known_good(world: World) -> None:
    serve(world, 0, 1, 2)
    world.annotate("modeldeployment/digits", "rollback", "wrong answers")
    world.rollback()
    assert world.model_path() == "/models/digits/1"

    deleted(world, snapshots=True)
    bad = world.snapshot(2)
    bad["metadata"]["name"] = "digits-v2-again"
    world.apply(world.snapshot(0), world.snapshot(1), bad, world.deployment("digits-v2-again"))

    assert "digest rejected by an earlier rollback" in world.ready("Held")["message"]
    eventually(lambda: world.status().get("lastKnownGood") == "digits-v0", what="v0 is known good by its digest")
    assert (world.status()["snapshot"], world.model_path()) == ("digits-v1", "/models/digits/1")


def test_restore_of_a_backup_with_status_and_annotations_neither_deploys_it_nor_fires_again(world: World) -> None:
    serve(world, 0, 2)
    world.annotate("modeldeployment/digits", "emergency-rollback", ALERT)
    world.rollback()
    backup = world.get("modeldeployment", "digits")
    old = world.deployment("digits-v2")
    old["metadata"]["annotations"] = backup["metadata"]["annotations"]
    status = {
        **backup["status"],
        "snapshot": "digits-v2",
        "digest": backup["status"]["left"][0]["digest"],
        "handledRequests": {},
        "held": None,
        "left": [],
    }

    deleted(world)
    world.kubectl("patch", "configmap", "lastgood-quarantine", "--type=json", "-p", '[{"op":"remove","path":"/data"}]')
    world.apply(old)
    body = {key: value for key, value in status.items() if value is not None}
    patch = json.dumps({"status": body})
    world.kubectl("patch", "modeldeployment", "digits", "--subresource=status", "--type=merge", "-p", patch)

    eventually(lambda: world.status().get("uid") != backup["metadata"]["uid"], what="the status is its own")
    stays_held(world, "digits-v0")
    assert len(world.list("modelrollback")) == 1, "an annotation that comes back is no emergency"


def test_deleted_in_mid_rollback_while_the_operator_is_down(world: World) -> None:
    serve(world, 0)
    lame = [
        {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"},
        {"annotation": {"name": "lastgood-test/ready"}, "value": "$(version)"},
    ]
    never = world.snapshot(1)
    never["spec"]["version"] = "never"
    world.apply(never, world.snapshot(2), world.deployment("digits-v2", bindings=lame))
    world.served("digits-v2")
    world.request("mine", to="digits-v1", **{"from": {"snapshot": "digits-v2"}})
    eventually(lambda: world.model_path() == "/models/digits/1", what="the workload is switched")
    world.operator.kill()
    world.kubectl("delete", "configmap", where(world), "--ignore-not-found")

    deleted(world)
    world.apply(world.deployment("digits-v2", bindings=lame))
    world.operator.start()

    eventually(lambda: world.get("modelrollback", "mine")["status"].get("outcome") == "Superseded", what="it ends")
    generation = world.generation()
    world.ready("Held")
    assert (world.model_path(), world.generation()) == ("/models/digits/1", generation)


def test_records_of_a_modeldeployment_that_is_gone_end(world: World) -> None:
    serve(world, 0)
    deleted(world)
    world.request("late", to="digits-v0")
    record = eventually(
        lambda: world.get("modelrollback", "late").get("status", {}).get("outcome"), what="the record ends"
    )
    assert record == "Superseded"
    assert "ModelDeployment digits no longer exists" in world.get("modelrollback", "late")["status"]["message"]


def test_an_administrator_has_it_forgotten(world: World) -> None:
    serve(world, 0, 2)
    world.annotate("modeldeployment/digits", "rollback", "wrong answers")
    world.rollback()
    name = where(world)

    world.kubectl("delete", "configmap", name)
    eventually(lambda: kept(world).get("left"), what="it is written again from the status", within=120.0)

    deleted(world)
    world.kubectl("patch", "configmap", name, "--type=merge", "-p", '{"data":{"digits":null}}')
    world.apply(world.deployment("digits-v2"))
    world.served("digits-v2")


def test_without_the_right_to_read_it_an_emergency_goes_on_and_nothing_new_is_deployed(still_world: World) -> None:
    world = still_world

    def keep(body: Body) -> bool:
        """Leave of ConfigMaps the quarantine's alone: here the operator's namespace is also one that it watches."""
        body["rules"] = [
            rule
            for rule in body.get("rules") or []
            if "configmaps" not in rule["resources"] or rule.get("resourceNames") == [QUARANTINE_CONFIG_MAP]
        ]
        return True

    with with_rights_of_the_chart(world, keep=lambda body: "rules" not in body or keep(body)):
        world.operator.start()
        world.apply(world.snapshot(1), world.snapshot(2), world.workload(), world.deployment("digits-v1"))
        unread = f"cannot read ConfigMap {world.namespace}/{where(world)}"

        def told() -> bool:
            """Tell whether it says why: for a moment it says that nothing has been read yet."""
            message = world.ready("RememberedFactsNotRead")["message"]
            return unread in message and "forbidden" in message

        eventually(told, what="it says why", within=FOLLOWED)
        assert not world.model_path(), "nothing is deployed while it is not known what was left"
        world.annotate("modeldeployment/digits", "emergency-rollback", ALERT)
        assert world.rollback()["status"]["target"]["snapshot"] in ("digits-v1", "digits-v2")
