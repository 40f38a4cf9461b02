"""Somebody with the rights of a responder, and no others, tries to make more of a binding than what serves.

The operator may patch the workload, and the attacker may patch the ModelDeployment: whatever a binding could set, the
attacker could. The user is real, and only RBAC, the API server and the operator decide.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.rights import rendered
from tests.integration.signing import Signer, claims, config_map, files_of, policy, reference
from tests.integration.world import ALLOWED, Body, World, eventually

PATH = {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}
IMAGE = {"image": {"container": "server"}, "value": "$(image)"}
PLAIN = "localhost/none:1"
MALLORY = "mallory"


@pytest.fixture
def responder(world: World) -> Iterator[World]:
    """A world in which Mallory has the chart's role of a responder, and v1 serves."""
    (role,) = (body for body in rendered(world) if body["metadata"]["name"] == f"{world.namespace}-responder")
    subject = {"kind": "User", "name": MALLORY, "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "ClusterRole", "name": role["metadata"]["name"], "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "on-call"}}
    world.apply(role, {**binding, "subjects": [subject], "roleRef": reference})
    yield world
    world.kubectl("delete", "clusterrole", role["metadata"]["name"])


def tried(world: World, kind: str, name: str, change: Body) -> subprocess.CompletedProcess[str]:
    """Patch an object as Mallory."""
    arguments = ("-n", world.namespace, "patch", kind, name, "--type=merge", "-p", json.dumps(change))
    return world.cluster.kubectl(*arguments, user=MALLORY, check=False)


def bound(world: World, *bindings: Body, **spec: Any) -> str:
    """Set the bindings as Mallory; return what the API server says against it, if anything."""
    done = tried(world, "modeldeployment", "digits", {"spec": {"bindings": list(bindings), **spec}})
    return done.stderr if done.returncode else ""


def refused(world: World, words: str) -> None:
    """Wait until the operator refuses the spec with these words."""

    def found() -> bool:
        ready = world.condition("Ready")
        return ready.get("reason") == "InvalidSpec" and words in ready["message"]

    eventually(found, what=f"InvalidSpec says {words!r}")


def env(name: str, value: str) -> Body:
    return {"env": {"container": "server", "name": name}, "value": value}


def images(*repositories: str) -> Body:
    spec = {"images": {"repositories": list(repositories)}}
    return {
        "apiVersion": "lastgood.dev/v1alpha1",
        "kind": "ModelTrustPolicy",
        "metadata": {"name": "images"},
        "spec": spec,
    }


def pinned(repository: str) -> str:
    return f"{repository}@sha256:{'e' * 64}"


def image(world: World) -> str:
    return str(world.template()["spec"]["containers"][0]["image"])


def test_responder_cannot_set_ld_preload_through_a_binding(responder: World) -> None:
    world = responder
    world.apply(world.workload(allowed=[*ALLOWED, "env:server/LD_PRELOAD=/models/$(path)"]))
    world.serve(1)
    world.apply(world.workload(allowed=[*ALLOWED, "env:server/LD_PRELOAD=/models/$(path)"]))
    before = world.template()

    assert "must contain a placeholder" in bound(world, PATH, env("LD_PRELOAD", "/models/evil.so"))
    assert bound(world, PATH, env("LD_PRELOAD", "/models/$(path)")) == ""
    refused(world, "spec.bindings[1].env.name: LD_PRELOAD cannot be bound")
    world.weights(2)
    world.apply(world.snapshot(2))
    assert bound(world, PATH, env("ld_preload", "/models/$(path)"), snapshot="digits-v2") == ""
    refused(world, "spec.bindings[1].env.name: ld_preload cannot be bound")
    assert world.template() == before, "not even where the owner was talked into allowing it"


def test_responder_cannot_write_the_owners_word(responder: World) -> None:
    world = responder
    world.serve(1)
    word = {"metadata": {"annotations": {"lastgood.dev/bindable": "image:server"}}}
    assert "forbidden" in tried(world, "deployment", "digits-server", word).stderr


@pytest.mark.parametrize(
    "binding",
    [
        pytest.param(env("MODEL_ID", "$(name)"), id="another variable"),
        pytest.param(env("MODEL_PATH", "/uploads/$(path)"), id="the variable, with bytes that nobody verified"),
        pytest.param(env("MODEL_PATH", "https://evil.example/?$(path)"), id="the variable, with another source"),
        pytest.param(IMAGE, id="the image"),
        pytest.param({"annotation": {"name": "example.com/team"}, "value": "$(name)"}, id="an annotation"),
    ],
)
def test_responder_cannot_bind_what_the_owner_did_not_allow(responder: World, binding: Body) -> None:
    world = responder
    world.apply(images("localhost/serving"))
    world.apply(world.snapshot(1, runtime={"image": pinned("localhost/serving")}), world.workload())
    world.apply(world.deployment("digits-v1"))
    world.served("digits-v1")
    before = world.template()

    others = [] if binding.get("env", {}).get("name") == "MODEL_PATH" else [PATH]
    assert bound(world, *others, binding) == ""
    told = world.ready("NotBindable")["message"]
    assert "kubectl patch" in told
    assert world.template() == before
    tried(world, "modeldeployment", "digits", {"metadata": {"annotations": {"lastgood.dev/emergency-rollback": "x"}}})
    assert world.rollback()["status"]["outcomeReason"] == "NotBindable"
    assert world.template() == before


def test_literal_image_binding_is_refused_by_the_api_server(responder: World) -> None:
    world = responder
    world.serve(1)
    for value in ("evil.example/backdoor:1", f"{pinned('localhost/none')}", "evil.example/$(name)"):
        assert "must be $(image) and nothing else" in bound(world, PATH, {**IMAGE, "value": value})


def test_responder_cannot_set_an_annotation_that_injects(responder: World) -> None:
    world = responder
    name = "instrumentation.opentelemetry.io/inject-python"
    world.apply(world.snapshot(1), world.workload(allowed=[*ALLOWED, f"annotation:{name}=$(version)"]))
    world.apply(world.deployment("digits-v1"))
    world.served("digits-v1")
    before = world.template()

    assert bound(world, PATH, {"annotation": {"name": name}, "value": "$(version)"}) == ""
    refused(world, f"spec.bindings[1].annotation.name: {name} cannot be bound")
    assert world.template() == before


def test_reference_to_another_variable_is_not_expanded_by_the_kubelet(responder: World) -> None:
    world = responder
    world.serve(1)
    for value in ("$(path)$(API_TOKEN)", "$$(path)(API_TOKEN)", "$(path)$(API_TOKEN", "$$$(path)"):
        assert "$" in bound(world, env("MODEL_PATH", value))


def test_repository_prefix_lookalike_is_not_written_in_an_emergency_either(world: World) -> None:
    """Whoever may create snapshots brings an image of theirs; the owner lets the image be bound, to good ones."""
    allowed = (*ALLOWED, "image:server")
    world.apply(images("registry.example/serving"), world.workload(allowed=allowed))
    for version, repository in (
        (1, "registry.example/serving-evil"),
        (2, "evil.example/registry.example/serving"),
        (3, "registry.example:5000/serving"),
        (4, "registry.example/serving/digits"),
    ):
        world.apply(world.snapshot(version, runtime={"image": pinned(repository)}))
    world.apply(world.snapshot(5, runtime={"image": "registry.example/serving:latest"}))
    world.apply(world.deployment("digits-v4", bindings=[PATH, IMAGE]))
    world.served("digits-v4")
    assert image(world) == pinned("registry.example/serving/digits")
    before = world.template()

    world.apply(world.deployment("digits-v2", bindings=[PATH, IMAGE]))
    assert "evil.example/registry.example/serving" in world.ready("ImageNotAllowed")["message"]
    world.apply(world.deployment("digits-v5", bindings=[PATH, IMAGE]))
    assert "create a snapshot with registry/repository@sha256" in world.ready("ImageNotPinned")["message"]
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-1: suspected")
    record = world.rollback()
    assert record["status"]["outcomeReason"] == "NoKnownGood"
    assert world.candidates(record) == {
        "digits-v1": "ImageNotAllowed",
        "digits-v2": "ImageNotAllowed",
        "digits-v3": "ImageNotAllowed",
        "digits-v4": "BeingLeft",
        "digits-v5": "ImageNotPinned",
    }
    assert world.template() == before


def test_responder_cannot_bring_an_image_to_what_serves_already(responder: World) -> None:
    """What serves was deployed without its image: a new binding would have it written as if it were drift."""
    world = responder
    world.apply(world.workload(allowed=[*ALLOWED, "image:server"]))
    world.apply(world.snapshot(1, runtime={"image": pinned("evil.example/serving")}), world.deployment("digits-v1"))
    world.served("digits-v1")

    assert bound(world, PATH, IMAGE) == ""
    assert "no trust policy allows image repository 'evil.example/serving'" in world.ready("ImageNotAllowed")["message"]
    assert image(world) == PLAIN
    world.apply(images("evil.example"))
    eventually(lambda: image(world) == pinned("evil.example/serving"), what="it is written once a policy allows it")


def test_image_counts_where_a_trusted_signer_has_named_it(world: World) -> None:
    alice, mallory = Signer(name="alice"), Signer(name="mallory")
    there = world.workload(allowed=[*ALLOWED, "image:server"])
    good, evil = pinned("registry.example/serving"), pinned("evil.example/serving")
    world.apply(policy(world, alice.entry(), signatures={"required": False}), there)
    for version, signer, said, brought in ((1, alice, good, good), (2, mallory, evil, evil), (3, alice, good, evil)):
        about = claims(version, image=said)
        bundle = signer.bundle(files_of(world, version), claims=about)
        world.apply(
            config_map(f"b-{version}", x=bundle),
            world.snapshot(version, signatures=[reference(f"b-{version}", "x")], runtime={"image": brought}),
        )

    for version in (2, 3):
        world.apply(world.deployment(f"digits-v{version}", bindings=[PATH, IMAGE]))
        assert "evil.example/serving" in world.ready("ImageNotAllowed")["message"]
        assert image(world) == PLAIN
    world.apply(world.deployment("digits-v1", bindings=[PATH, IMAGE]))
    world.served("digits-v1")
    assert image(world) == good
