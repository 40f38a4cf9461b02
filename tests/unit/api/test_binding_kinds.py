"""The door for bindings: the module that docs/extending.md shows, put beside the others, is all that a kind takes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.bindings import kinds as door
from lastgood.api.bindings.binding import Binding, kinds, read_bindings
from lastgood.api.fields import Fields
from lastgood.api.workload.kinds.deployment import Deployment
from lastgood.api.workload.target import read_target, targets
from lastgood.core.workload import carries, conflicts, render, template, workload_problem
from lastgood.errors import InvalidSpecError
from tests.unit.core.builders import V2, allowing, deployment, workload
from tests.unit.doors import example_behind

DECLARED = {"tracker": {}, "value": "digits $(version)"}


@pytest.fixture
def added() -> Iterator[None]:
    """The example of the page, as a module of its own."""
    with example_behind(door, "BINDING", "tracker", kinds.cache_clear):
        yield


def read(*declared: Mapping[str, object]) -> tuple[Binding, ...]:
    return read_bindings(Fields({"bindings": list(declared)}, "spec"))


@pytest.mark.parametrize(
    ("name", "facts"), [("env", (False, True)), ("image", (True, False)), ("annotation", (False, True))]
)
def test_kinds_are_found_by_the_fields_that_declare_them(name: str, facts: tuple[bool, bool]) -> None:
    assert (kinds()[name].runs, kinds()[name].optional) == facts


@pytest.mark.usefixtures("added")
def test_a_module_is_all_that_a_new_kind_takes() -> None:
    """It is read, allowed by the owner, written, recognised, and its other owner is found."""
    bindings = read(DECLARED, {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"})
    there, asked = workload(), deployment(bindings=bindings)
    problem = workload_problem(asked, there)
    assert problem is not None
    assert "would write to tracker" in problem[1]
    there = allowing(there, *bindings)
    assert workload_problem(asked, there) is None
    written = template(render(bindings, V2) or (), V2, into=there)
    assert written["spec"]["template"]["metadata"]["annotations"]["tracker.example.com/model"] == "digits 2"
    assert carries(Deployment.read({"metadata": {}, **written}), bindings, V2)
    owner: Any = ("helm", {"f:metadata": {"f:annotations": {"f:tracker.example.com/model": {}}}})
    ((binding, manager),) = conflicts(replace(there, owners=(owner,)), bindings)
    assert (binding.told, manager) == ("pod template annotation tracker.example.com/model", "helm")


@pytest.mark.usefixtures("added")
def test_a_new_kind_is_held_to_what_a_binding_may_be() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.bindings\[0\]\.value: must contain a placeholder"):
        read({"tracker": {}, "value": "constant"})
    with pytest.raises(InvalidSpecError, match=r"must have exactly one of annotation, .*env, .*image and .*tracker"):
        read(DECLARED | {"image": {"container": "server"}})


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(
    "other", [DECLARED, {"annotation": {"name": "tracker.example.com/model"}, "value": "$(version)"}]
)
def test_two_bindings_never_write_one_field_whatever_their_kinds(other: Mapping[str, object]) -> None:
    with pytest.raises(
        InvalidSpecError, match=r"two bindings write pod template annotation tracker\.example\.com/model"
    ):
        read(DECLARED, other)


def test_target_is_found_by_its_kind() -> None:
    assert targets() == {"Deployment": Deployment}
    assert read_target(Fields({"name": "digits-server"}, "spec.targetRef")) == ("Deployment", "digits-server")
    with pytest.raises(InvalidSpecError, match=r"spec\.targetRef\.kind: must be Deployment"):
        read_target(Fields({"kind": "CronJob", "name": "digits-server"}, "spec.targetRef"))
