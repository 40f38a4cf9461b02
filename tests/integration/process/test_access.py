"""Rights that are taken away and definitions that are deleted: one alert, not ready, and back by itself."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial

import pytest

from tests.integration.rights import Body, listed, rendered, with_rights_of_the_chart
from tests.integration.world import World, eventually

PLURALS = (
    "modelsnapshots",
    "modeldeployments",
    "modelrollbacks",
    "modeltrustpolicies",
    "clustermodeltrustpolicies",
)


@pytest.fixture
def probed(still_world: World) -> Iterator[World]:
    """An operator with the rights of the chart, and with the address that the kubelet asks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    still_world.operator.environment["LASTGOOD_LIVENESS"] = address
    with with_rights_of_the_chart(still_world):
        still_world.operator.start()
        eventually(lambda: ready(still_world), what="the pod is ready")
        yield still_world


def answer(world: World, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://{world.operator.environment['LASTGOOD_LIVENESS']}{path}", timeout=5) as it:
            return int(it.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def ready(world: World) -> bool:
    return answer(world, "/readyz") == 200


def log(world: World) -> str:
    return (world.operator.logs / "operator.log").read_text()


def alerts(world: World, reason: str) -> list[str]:
    return [item["message"] for item in world.operator.security_log() if item["reason"] == reason]


def is_told(world: World, sentence: str) -> bool:
    return any(sentence in text for text in alerts(world, "DefinitionMissing"))


def same_process(world: World) -> None:
    """Nobody had to start it again, nobody had to read a traceback, and it is alive all the time."""
    assert world.operator.process is not None
    assert world.operator.process.poll() is None
    assert "Traceback" not in log(world)


def rights(world: World, *kinds: str) -> list[Body]:
    return [body for body in rendered(world) if body["kind"] in kinds]


def take(world: World, bodies: list[Body]) -> None:
    world.kubectl("delete", "-f", "-", stdin=json.dumps(listed(bodies)))


def test_lost_rights_are_one_alert_and_the_pod_is_not_ready_until_they_are_back(probed: World) -> None:
    world = probed
    world.serve(1)
    world.serve(2)
    bindings = rights(world, "RoleBinding", "ClusterRoleBinding")
    before = len(log(world).splitlines())
    take(world, bindings)
    eventually(lambda: not ready(world), what="the pod is not ready")
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-1: v2 is bad")
    eventually(lambda: alerts(world, "RightMissing"), what="the alert")
    time.sleep(15)  # long enough for whoever would say it again and again
    assert answer(world, "/healthz") == 200, "to kill it would help nobody"
    lines = log(world).splitlines()[before:]
    (missing,) = alerts(world, "RightMissing")
    assert f"RBAC does not allow the operator, in namespace {world.namespace}, to " in missing
    for right in (
        "get/patch leases.coordination.k8s.io lastgood",
        "get/list/patch/watch deployments.apps",
        "create/get/list/watch modelrollbacks.lastgood.dev",
    ):
        assert right in missing, "it says all of them, also those that nobody has needed yet"
    assert len([line for line in lines if "RBAC" in line]) == 1, "\n".join(lines)
    assert len(lines) <= 5, "\n".join(lines)
    same_process(world)
    assert world.model_path() == "/models/digits/2"

    world.apply(*bindings)
    eventually(lambda: ready(world), what="the pod is ready again")
    assert world.rollback()["status"]["target"]["snapshot"] == "digits-v1"
    assert any("patch deployments.apps" in text for text in alerts(world, "AccessRestored"))
    same_process(world)


def test_an_emergency_that_may_not_switch_waits_for_the_right_and_gives_up_no_snapshot(probed: World) -> None:
    """The API server's no is about the operator here, and about no snapshot."""
    world = probed
    world.serve(1)
    world.serve(2)
    roles = [body for body in rights(world, "Role") if body["metadata"]["name"].endswith("-watch")]
    world.apply(*(without_patch(body) for body in roles))
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-1: v2 is bad")
    told = f"RBAC does not allow the operator, in namespace {world.namespace}, to patch deployments.apps: apply"
    eventually(lambda: any(told in text for text in alerts(world, "RightMissing")), what="the alert")
    eventually(lambda: not ready(world), what="the pod is not ready")
    assert [item.get("status", {}).get("outcome") for item in world.list("modelrollback")] == [None]
    assert world.model_path() == "/models/digits/2"

    world.apply(*roles)
    record = world.rollback()
    assert (record["status"]["outcome"], record["status"]["target"]["snapshot"]) == ("Succeeded", "digits-v1")
    assert len(world.list("modelrollback")) == 1
    eventually(lambda: ready(world), what="the pod is ready again")
    same_process(world)


def without_patch(role: Body) -> Body:
    rules = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "patch"]}
        if "deployments" in rule.get("resources", [])
        else rule
        for rule in role["rules"]
    ]
    return {**role, "rules": rules}


@pytest.mark.parametrize("plurals", [("modelsnapshots",), PLURALS], ids=["one", "all"])
def test_a_deleted_definition_is_waited_for(probed: World, plurals: tuple[str, ...]) -> None:
    world = probed
    world.serve(1)
    names = [f"{plural}.lastgood.dev" for plural in plurals]
    try:
        world.cluster.kubectl("delete", "crd", *names)
        for name in names:
            eventually(partial(is_told, world, f"CustomResourceDefinition {name}"), what=f"{name} is missed", within=90)
        assert not ready(world)
        assert answer(world, "/healthz") == 200
        same_process(world)
    finally:
        world.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds/")
        world.cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
    eventually(lambda: ready(world), what="the pod is ready again", within=90)
    told = "\n".join(alerts(world, "DefinitionMissing"))
    assert all(told.count(f"Definition {name}") == 1 for name in names), told
    world.serve(1)
    world.apply(world.snapshot(2), world.deployment("digits-v2"))
    world.served("digits-v2")
    same_process(world)


def test_an_operator_that_is_started_without_definitions_waits_for_them(still_world: World) -> None:
    world = still_world
    try:
        world.cluster.kubectl("delete", "crd", *(f"{plural}.lastgood.dev" for plural in PLURALS))
        world.operator.start()
        eventually(lambda: alerts(world, "DefinitionMissing"), what="it says so")
        same_process(world)
    finally:
        world.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds/")
        world.cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
    world.serve(1)
    same_process(world)


def test_who_takes_our_rights_in_his_namespace_stops_nobody_elsewhere(still_world: World) -> None:
    """An administrator of a namespace may delete the RoleBinding in it, and rollbacks of other teams go on."""
    world = still_world
    theirs = f"{world.namespace}-theirs"
    world.cluster.kubectl("create", "namespace", theirs)
    given = f"watch.namespaces={{{world.namespace},{theirs}}}"
    foreign = [body for body in rendered(world, given) if body["metadata"].get("namespace") == theirs]
    world.operator.arguments = ("--namespace", theirs)
    try:
        with with_rights_of_the_chart(world, given, keep=lambda body: body not in foreign):
            world.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed(foreign)))
            world.operator.start()
            world.serve(1)
            world.serve(2)
            world.cluster.kubectl("delete", "-f", "-", stdin=json.dumps(listed(foreign)))
            where = f"RBAC does not allow the operator, in namespace {theirs}, to "
            world.operator.stop()
            world.operator.start()  # it lists everything anew, as far as it may
            eventually(lambda: any(where in text for text in alerts(world, "RightMissing")), what="the alert")
            world.annotate("modeldeployment/digits", "emergency-rollback", "INC-1: v2 is bad")
            assert world.rollback()["status"]["target"]["snapshot"] == "digits-v1"
            same_process(world)
    finally:
        world.operator.stop()
        world.cluster.kubectl("delete", "namespace", theirs, "--wait=false")
