"""How a snapshot is bound to a workload, and how a workload is read."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.bindings.binding import Binding
from lastgood.api.bindings.kinds.annotation import AnnotationBinding
from lastgood.api.bindings.kinds.env import EnvBinding
from lastgood.api.bindings.kinds.image import ImageBinding
from lastgood.api.meta import Meta
from lastgood.api.names import DIGEST_STAMP, OPT_IN_LABEL, SNAPSHOT_STAMP, Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import StoreSource
from lastgood.api.workload.kinds.deployment import Deployment
from lastgood.api.workload.workload import Container, Rollout, Workload
from lastgood.core.workload import carries, conflicts, render, template, workload_problem
from tests.unit.core.builders import BINDINGS, IMAGE, V2, V3, allowing, deployment, digest, snapshot, workload

STORED = replace(V2, source=StoreSource(path="digits/2"))


def env(value: str, variable: str = "MODEL_PATH") -> EnvBinding:
    return EnvBinding(container="server", name=variable, value=value)


@pytest.mark.parametrize(
    ("value", "of", "rendered"),
    [
        ("/models/$(path)", V2, "/models/digits/2"),
        ("$(uri)", V2, "pvc://models/digits/2"),
        ("$(uri)", STORED, "store://digits/2"),
        ("$(image)", V2, f"registry.example/serving/server:2@{digest(2)}"),
        ("$(digest)", V2, digest(2)),
        ("$(name)@$(version)", V2, "digits-v2@2"),
        ("$(path)$(path)", V2, "digits/2digits/2"),
        ("$(image)", snapshot(2, image=""), None),
        ("$(secret)", V2, None),
        ("$(name)", snapshot(2, version="$(digest)"), "digits-v2"),
        ("$(version)", snapshot(2, version="$(digest)"), None),
    ],
)
def test_render(value: str, of: ModelSnapshot, rendered: str | None) -> None:
    bound = render((env(value),), of)
    assert (bound and bound[0].value) == rendered


def test_one_field_without_a_value_is_no_value_at_all() -> None:
    assert render((*BINDINGS, IMAGE), snapshot(2, image="")) is None


def test_current_values() -> None:
    there = workload(template_annotations={"team": "vision"})
    assert env("").current(there) == "/models/digits/3"
    assert env("", "OTHER").current(there) is None
    assert ImageBinding(container="server", value="").current(there) == "registry.example/base:1"
    assert ImageBinding(container="other", value="").current(there) is None
    assert AnnotationBinding(name="team", value="").current(there) == "vision"


STAMPS = {SNAPSHOT_STAMP: "digits-v3", DIGEST_STAMP: str(digest(3))}


@pytest.mark.parametrize(
    ("there", "carried"),
    [
        pytest.param(workload(), True, id="values and stamps"),
        pytest.param(workload(stamped=False), True, id="set up by hand, never stamped"),
        pytest.param(workload(V2), False, id="another's values"),
        pytest.param(workload(template_annotations=STAMPS | {DIGEST_STAMP: "sha256:other"}), False, id="other bytes"),
        pytest.param(workload(template_annotations=STAMPS | {SNAPSHOT_STAMP: "copy"}), False, id="another copy"),
        pytest.param(workload(template_annotations={DIGEST_STAMP: str(digest(3))}), False, id="half a stamp"),
        pytest.param(workload(containers={}), False, id="the container is gone"),
        pytest.param(
            workload(containers={"server": Container(name="server", image="registry.example/base:1")}),
            False,
            id="no variable",
        ),
    ],
)
def test_carries(there: Workload, carried: bool) -> None:  # noqa: FBT001 - a column of the table
    assert carries(there, BINDINGS, V3) is carried


def test_nothing_to_bind_is_not_carried() -> None:
    assert not carries(workload(), (env("$(image)"),), snapshot(3, image=""))


def test_template_holds_every_bound_field_and_the_stamps() -> None:
    bindings = (*BINDINGS, IMAGE, env("$(name)", "MODEL"), AnnotationBinding(name="team/model", value="$(version)"))
    assert template(render(bindings, V2) or (), V2) == {
        "spec": {
            "template": {
                "metadata": {
                    "annotations": {SNAPSHOT_STAMP: "digits-v2", DIGEST_STAMP: str(digest(2)), "team/model": "2"}
                },
                "spec": {
                    "containers": [
                        {
                            "name": "server",
                            "env": [
                                {"name": "MODEL_PATH", "value": "/models/digits/2"},
                                {"name": "MODEL", "value": "digits-v2"},
                            ],
                            "image": V2.image,
                        }
                    ]
                },
            }
        }
    }


def test_template_of_annotations_alone_names_no_container() -> None:
    bound = render((AnnotationBinding(name="team/model", value="$(version)"),), V2) or ()
    assert template(bound) == {"spec": {"template": {"metadata": {"annotations": {"team/model": "2"}}}}}


PROVING = (
    EnvBinding(container="verify", name="MODEL_DIGEST", value="$(digest)"),
    EnvBinding(container="server", name="MODEL_PATH", value="/models/$(path)"),
    EnvBinding(container="fetch", name="MODEL_URI", value="$(uri)"),
)
POD = {
    "initContainers": [{"name": "fetch", "image": "lastgood"}, {"name": "verify", "image": "lastgood"}],
    "containers": [{"name": "server", "image": "registry/server:3"}],
}


def test_init_containers_are_bound_where_they_are_and_keep_their_order() -> None:
    there = Deployment.read({"spec": {"template": {"spec": POD}}})
    assert template(render(PROVING, V2) or (), into=there)["spec"]["template"]["spec"] == {
        "initContainers": [
            {"name": "fetch", "env": [{"name": "MODEL_URI", "value": "pvc://models/digits/2"}]},
            {"name": "verify", "env": [{"name": "MODEL_DIGEST", "value": str(digest(2))}]},
        ],
        "containers": [{"name": "server", "env": [{"name": "MODEL_PATH", "value": "/models/digits/2"}]}],
    }


def test_what_is_written_to_init_containers_is_carried() -> None:
    there = Deployment.read({"spec": {"template": {"spec": POD}}})
    assert not carries(there, PROVING, V2)
    written = Deployment.read(template(render(PROVING, V2) or (), V2, into=there) | {"metadata": {}})
    assert carries(written, PROVING, V2)
    assert not carries(written, PROVING, V3)


def test_init_container_that_is_missing_is_named_with_those_that_are_there() -> None:
    there = workload(containers=Deployment.read({"spec": {"template": {"spec": POD}}}).containers)
    missing = (EnvBinding(container="check", name="MODEL_DIGEST", value="$(digest)"),)
    assert workload_problem(deployment(bindings=PROVING), allowing(there, *PROVING)) is None
    assert workload_problem(deployment(bindings=missing), there) == (
        Reason.CONTAINER_NOT_FOUND,
        "spec.bindings: there is no container 'check' (there are: fetch, server, verify)",
    )


def test_who_owns_a_variable_of_an_init_container_is_found() -> None:
    there = workload(containers=Deployment.read({"spec": {"template": {"spec": POD}}}).containers)
    path = ("f:spec", "f:initContainers", 'k:{"name":"verify"}', "f:env", 'k:{"name":"MODEL_DIGEST"}', "f:value")
    found = conflicts(replace(there, owners=(owning("argocd", *path),)), PROVING)
    assert list(found) == [(PROVING[0], "argocd")]


def test_what_is_written_is_carried() -> None:
    bindings = (*BINDINGS, IMAGE)
    written = template(render(bindings, V2) or (), V2)
    body = {"metadata": {"labels": {OPT_IN_LABEL: "digits"}}, **written}
    assert carries(Deployment.read(body), bindings, V2)
    assert not carries(Deployment.read(body), bindings, V3)


COMMAND = (
    "its owner must run: kubectl patch -n ml deployment/digits-server --type merge -p '"
    '{"metadata":{"labels":{"lastgood.dev/model-deployment":"digits"},'
    '"annotations":{"lastgood.dev/bindable":"env:server/MODEL_PATH=/models/$(path)"}}}\''
)


def labelled(name: str) -> Meta:
    return Meta(namespace="ml", name="digits-server", labels={OPT_IN_LABEL: name})


@pytest.mark.parametrize("labels", [{OPT_IN_LABEL: "letters"}, {}])
def test_nobody_is_shown_how_to_take_a_workload_from_another_modeldeployment(labels: dict[str, str]) -> None:
    """The command would be pasted by whoever is told that his ModelDeployment does nothing."""
    there = workload(meta=Meta(namespace="ml", name="digits-server", labels=labels), rivals=("letters",))
    problem = workload_problem(deployment(), there)
    assert problem is not None
    assert "letters" in problem[1]
    assert "kubectl" not in problem[1]
    assert OPT_IN_LABEL not in problem[1]


@pytest.mark.parametrize(
    ("there", "reason", "words"),
    [
        (None, Reason.TARGET_NOT_FOUND, "spec.targetRef: there is no Deployment 'digits-server'"),
        (
            workload(meta=Meta(namespace="ml", name="digits-server")),
            Reason.NOT_OPTED_IN,
            COMMAND,
        ),
        (
            workload(meta=labelled("letters")),
            Reason.NOT_OPTED_IN,
            "has not opted in",
        ),
        (
            workload(meta=labelled("letters"), rivals=("letters",)),
            Reason.OWNED_BY_ANOTHER,
            "has opted in to ModelDeployment 'letters', and can have only one. Nothing",
        ),
        (
            workload(meta=Meta(namespace="ml", name="digits-server"), rivals=("letters",)),
            Reason.TARGET_SHARED,
            "is also the target of ModelDeployment 'letters', and has opted in to none",
        ),
        (workload(containers={}), Reason.CONTAINER_NOT_FOUND, "'server' (there are: none)"),
        (
            workload(containers={"web": Container(name="web"), "proxy": Container(name="proxy")}),
            Reason.CONTAINER_NOT_FOUND,
            "'server' (there are: proxy, web)",
        ),
        (
            workload(containers={"server": Container(name="server", computed=frozenset({"MODEL_PATH"}))}),
            Reason.VALUE_FROM,
            "variable 'MODEL_PATH' of 'server' has valueFrom",
        ),
    ],
)
def test_workload_problem(there: Workload | None, reason: Reason, words: str) -> None:
    found = workload_problem(deployment(), there)
    assert found is not None
    assert found[0] == reason
    assert words in found[1]


def test_annotation_needs_no_container() -> None:
    bindings = (AnnotationBinding(name="team/model", value="$(version)"),)
    assert workload_problem(deployment(bindings=bindings), allowing(workload(containers={}), *bindings)) is None


def owning(manager: str, *path: str) -> tuple[str, dict[str, Any]]:
    fields: dict[str, Any] = {}
    for step in reversed(path):
        fields = {step: fields}
    return manager, fields


SERVER = ("f:spec", "f:containers", 'k:{"name":"server"}')
VARIABLE = (*SERVER, "f:env", 'k:{"name":"MODEL_PATH"}', "f:value")
TEAM = AnnotationBinding(name="team/model", value="x")


@pytest.mark.parametrize(
    ("owner", "found"),
    [
        (owning("argocd", *VARIABLE), [(BINDINGS[0], "argocd")]),
        (owning("argocd", *SERVER, "f:image"), [(IMAGE, "argocd")]),
        (owning("helm", "f:metadata", "f:annotations", "f:team/model"), [(TEAM, "helm")]),
        (owning("lastgood", *VARIABLE), []),
        (owning("argocd", *SERVER, "f:env", 'k:{"name":"OTHER"}', "f:value"), []),
        (owning("argocd", *SERVER, "f:env", 'k:{"name":"MODEL_PATH"}', "f:valueFrom"), []),
        (owning("argocd", "f:spec", "f:containers", 'k:{"name":"proxy"}', "f:image"), []),
        (owning("argocd"), []),
        (("argocd", {"f:spec": "nonsense"}), []),
    ],
)
def test_conflicts(owner: tuple[str, dict[str, Any]], found: list[tuple[Binding, str]]) -> None:
    assert list(conflicts(workload(owners=(owner,)), (*BINDINGS, IMAGE, TEAM))) == found


BODY = {
    "metadata": {
        "name": "digits-server",
        "namespace": "ml",
        "generation": 4,
        "labels": {OPT_IN_LABEL: "digits"},
        "managedFields": [
            {"manager": "argocd", "fieldsV1": {"f:spec": {"f:template": {"f:metadata": {}}}}},
            {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}},
        ],
    },
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "digits"}},
        "template": {
            "metadata": {"annotations": STAMPS},
            "spec": {
                "containers": [
                    {
                        "name": "server",
                        "image": "registry.example/base:1",
                        "env": [
                            {"name": "MODEL_PATH", "value": "/models/digits/3"},
                            {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "a", "persistentVolumeClaim": {"claimName": "models"}},
                    {"name": "b", "emptyDir": {}},
                ],
            },
        },
    },
    "status": {
        "observedGeneration": 4,
        "replicas": 2,
        "updatedReplicas": 2,
        "availableReplicas": 2,
        "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}],
    },
}


def test_workload_is_read() -> None:
    read = Deployment.read(BODY)
    assert carries(read, BINDINGS, V3)
    assert read.claims == frozenset({"models"})
    assert read.containers["server"].computed == frozenset({"HOST"})
    assert read.owners == (("argocd", {"f:metadata": {}}),), "of the pod template"
    assert read.selector == {"app": "digits"}
    assert read.rollout == Rollout(seen=True, desired=2, updated=2, available=2, total=2)


@pytest.mark.parametrize(
    ("rollout", "complete"),
    [
        pytest.param(Rollout(seen=True, desired=2, updated=2, available=2, total=2), True, id="done"),
        pytest.param(Rollout(seen=False, desired=2, updated=2, available=2, total=2), False, id="not seen yet"),
        pytest.param(Rollout(seen=True, desired=2, updated=1, available=2, total=2), False, id="half updated"),
        pytest.param(Rollout(seen=True, desired=2, updated=2, available=2, total=3), False, id="an old one left"),
        pytest.param(Rollout(seen=True, desired=2, updated=2, available=1, total=2), False, id="one not available"),
        pytest.param(Rollout(seen=True), True, id="scaled to zero"),
    ],
)
def test_rollout_is_complete_as_kubectl_has_it(rollout: Rollout, complete: bool) -> None:  # noqa: FBT001 - a column of the table
    assert rollout.complete is complete


def test_deadline_is_read_from_the_condition() -> None:
    status = BODY["status"] | {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}
    assert Deployment.read(BODY | {"status": status}).rollout.deadline_exceeded
