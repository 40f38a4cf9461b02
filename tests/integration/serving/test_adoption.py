"""A running Deployment whose manifest sets the variable comes under lastgood, and no pod ever starts without it."""

import json
from pathlib import Path

import pytest

from tests.integration.world import Body, World, eventually

SET = [{"name": "MODEL_PATH", "value": "/models/digits/1"}]
GIT = ("--server-side", "--field-manager=argocd-controller")
CLIENT: tuple[str, ...] = ()
ARGO = ("--field-manager=argocd-controller",)
OURS = ("--server-side",)  # what docs/gitops.md says for manifests that were applied client-side

ways = pytest.mark.parametrize(
    ("flags", "giving_up"),
    [
        pytest.param(GIT, GIT, id="a tool that applies server-side"),
        pytest.param(CLIENT, OURS, id="kubectl apply, and once server-side"),
        pytest.param(ARGO, ("--server-side", *ARGO), id="Argo CD client-side, and once server-side in its name"),
    ],
)


def apply(world: World, bodies: list[Body], flags: tuple[str, ...]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    world.kubectl("apply", *flags, "-f", "-", stdin=text)


def adopt(world: World, flags: tuple[str, ...]) -> None:
    """Bring up a Deployment as it was before lastgood, then what lastgood needs."""
    apply(world, [world.workload(label=False, env=SET)], flags)
    world.apply(world.snapshot(1), world.snapshot(2), world.deployment("digits-v1"))
    world.ready("NotOptedIn")
    world.kubectl("label", "deployment/digits-server", "lastgood.dev/model-deployment=digits")
    world.served("digits-v1")


def paths(template: Body) -> list[str]:
    (container,) = template["spec"]["containers"]
    return [item.get("value", "") for item in container.get("env", []) if item["name"] == "MODEL_PATH"]


def ever(world: World) -> list[list[str]]:
    """Return the variable in every template that the Deployment ever had, and in every ReplicaSet that there is."""
    templates = [item["spec"]["template"] for item in world.list("replicaset")]
    for event in world.cluster.audit():
        about, answer = event.get("objectRef", {}), event.get("responseObject") or {}
        here = (about.get("namespace"), about.get("name")) == (world.namespace, "digits-server")
        if here and about.get("resource") == "deployments" and answer.get("kind") == "Deployment":
            templates.append(answer["spec"]["template"])
    return [paths(template) for template in templates]


@ways
def test_git_gives_the_variable_up_and_no_pod_starts_without_it(
    world: World, flags: tuple[str, ...], giving_up: tuple[str, ...]
) -> None:
    adopt(world, flags)
    assert world.generation() == 1, "nothing restarts"

    before = world.get("deployment", "digits-server")["spec"]
    apply(world, [world.workload()], giving_up)
    assert world.get("deployment", "digits-server")["spec"] == before, "nothing restarts"
    world.becomes("GitOpsConflict", "False")

    world.apply(world.deployment("digits-v2"))
    world.served("digits-v2")
    for again in (giving_up, flags):
        apply(world, [world.workload()], again)
    assert world.model_path() == "/models/digits/2"
    assert len(world.list("replicaset")) == 2
    assert sorted({tuple(item) for item in ever(world)}) == [("/models/digits/1",), ("/models/digits/2",)]


@ways
def test_another_snapshot_waits_until_git_has_given_the_variable_up(
    world: World, flags: tuple[str, ...], giving_up: tuple[str, ...]
) -> None:
    adopt(world, flags)
    world.apply(world.deployment("digits-v2"))
    told = world.ready("FieldOwnedByAnother")["message"]
    assert "kubectl apply --server-side" in told
    apply(world, [world.workload(env=SET)], flags)  # what would be a fight
    assert world.model_path() == "/models/digits/1"

    apply(world, [world.workload()], giving_up)
    world.served("digits-v2")
    assert [] not in ever(world)


def test_a_rollback_does_not_wait_for_git(world: World) -> None:
    adopt(world, GIT)
    world.annotate("modeldeployment/digits", "emergency-rollback", "to=digits-v2: INC-1: the only one there is")
    record = world.rollback()
    assert record["status"]["outcome"] in ("Succeeded", "Unvalidated")
    assert world.model_path() == "/models/digits/2"


def test_ownership_that_somebody_took_away_comes_back(world: World) -> None:
    adopt(world, GIT)
    wipe = json.dumps([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}])
    world.kubectl("patch", "deployment/digits-server", "--type=json", "-p", wipe)
    apply(world, [world.workload(env=SET)], GIT)
    eventually(lambda: "lastgood" in world.managers(), what="lastgood owns the field again")
    assert world.generation() == 1


def test_helm_gives_the_variable_up_server_side(world: World, tmp_path: Path) -> None:
    """A chart that sets the variable, as Helm 3 installs it, and the same chart without it."""
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: digits\nversion: 0.1.0\n")
    template = tmp_path / "templates" / "server.yaml"
    template.parent.mkdir()
    upgrade = ("upgrade", "--install", "digits", str(tmp_path), "--namespace", world.namespace)

    template.write_text(json.dumps(world.workload(env=SET)))
    world.cluster.helm(*upgrade, "--server-side=false")
    world.apply(world.snapshot(1), world.snapshot(2), world.deployment("digits-v1"))
    world.served("digits-v1")

    template.write_text(json.dumps(world.workload()))
    world.cluster.helm(*upgrade, "--server-side=true")
    assert world.model_path() == "/models/digits/1"
    world.apply(world.deployment("digits-v2"))
    world.served("digits-v2")
    world.cluster.helm(*upgrade)
    assert world.model_path() == "/models/digits/2"
    assert [] not in ever(world)
