"""On call with nothing but kubectl: an annotation brings the last known good back."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.integration.world import World, eventually

INCIDENT = "INC-2041: backdoor found in v2"


@pytest.mark.parametrize("target", ["modeldeployment/digits", "deployment/digits-server"])
def test_an_annotation_brings_the_last_known_good_back(world: World, target: str) -> None:
    world.serve(1)
    world.serve(2)

    world.annotate(target, "emergency-rollback", INCIDENT)
    record = world.rollback()

    assert record["status"]["outcome"] == "Succeeded"
    assert record["status"]["target"]["snapshot"] == "digits-v1"
    assert record["spec"]["incident"] == "INC-2041"
    assert record["spec"]["reason"] == INCIDENT
    assert record["spec"]["requestedBy"] == "unknown"
    assert world.model_path() == "/models/digits/1"


def test_what_was_serving_is_quarantined_and_never_comes_back(world: World) -> None:
    world.serve(1)
    world.serve(2)
    world.annotate("modeldeployment/digits", "emergency-rollback", INCIDENT)
    world.rollback()

    eventually(
        lambda: world.condition("Quarantined", kind="modelsnapshot", name="digits-v2").get("status") == "True",
        what="digits-v2 is quarantined",
    )
    world.annotate("modeldeployment/digits", "resume", "I am in a hurry")
    eventually(lambda: world.condition("Ready").get("reason") == "Quarantined", what="digits-v2 is refused")
    assert world.model_path() == "/models/digits/1"


def test_a_text_that_does_not_parse_still_rolls_back(world: World) -> None:
    world.serve(1)
    world.serve(2)

    world.annotate("modeldeployment/digits", "emergency-rollback", "before=yesterday to=: help!!")
    record = world.rollback()

    assert record["spec"]["reason"] == "before=yesterday to=: help!!"
    assert record["status"]["target"]["snapshot"] == "digits-v1"


def test_each_value_acts_once(world: World) -> None:
    world.serve(0)
    world.serve(1)
    world.serve(2)
    world.annotate("modeldeployment/digits", "emergency-rollback", INCIDENT)
    world.rollback()

    world.annotate("modeldeployment/digits", "emergency-rollback", INCIDENT)
    world.operator.stop()
    world.operator.start()
    world.annotate("modeldeployment/digits", "resume", "wakes the operator")
    eventually(lambda: world.condition("Ready").get("reason") == "Quarantined", what="the operator has looked again")

    assert len(world.list("modelrollback")) == 1
    assert world.model_path() == "/models/digits/1"


@contextlib.contextmanager
def status_refused(world: World) -> Iterator[None]:
    """Let nobody write the status of a ModelDeployment here, as a policy by mistake or with intent may."""
    name = f"refuse-{world.namespace}"
    here = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    rule = {
        "apiGroups": ["lastgood.dev"],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["modeldeployments/status"],
    }
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "false"}]}
    match = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}}
    world.apply(
        {**group, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**group, "kind": "ValidatingAdmissionPolicyBinding", "spec": match},
    )
    try:
        eventually(lambda: not _writable(world), what="the policy is enforced")
        yield
    finally:
        world.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)
    eventually(lambda: _writable(world), what="the policy is gone")


def _writable(world: World) -> bool:
    patch = ("patch", "modeldeployment", "digits", "--subresource=status", "--type=merge", "--dry-run=server")
    return bool(world.kubectl(*patch, "-p", '{"status": {"snapshot": "any"}}', check=False))


def test_a_status_that_cannot_be_written_does_not_stop_the_switch(world: World) -> None:
    """The record is the intent; the lock, which is in the status, comes after the switch and is made up for."""
    world.serve(1)
    world.serve(2)
    before = world.generation()

    with status_refused(world):
        world.annotate("modeldeployment/digits", "emergency-rollback", INCIDENT)
        eventually(lambda: world.model_path() == "/models/digits/1", what="v1 is bound")
        assert "activeRollback" not in world.status()
    record = world.rollback(within=60)

    assert (record["status"]["outcome"], record["status"]["target"]["snapshot"]) == ("Succeeded", "digits-v1")
    assert world.generation() == before + 1
    assert world.status()["snapshot"] == "digits-v1"
