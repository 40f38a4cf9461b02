"""On call with nothing but kubectl: an annotation brings the last known good back."""

import pytest

from tests.integration.policies import refused
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


WRITABLE = ("patch", "modeldeployment", "digits", "--subresource=status", "--type=merge", "--dry-run=server")


def test_a_status_that_cannot_be_written_does_not_stop_the_switch(world: World) -> None:
    """The record is the intent; the lock, which is in the status, comes after the switch and is made up for."""
    world.serve(1)
    world.serve(2)
    before = world.generation()

    with refused(world, "lastgood.dev", "modeldeployments/status", (*WRITABLE, "-p", '{"status": {"snapshot": "x"}}')):
        world.annotate("modeldeployment/digits", "emergency-rollback", INCIDENT)
        eventually(lambda: world.model_path() == "/models/digits/1", what="v1 is bound")
        assert "activeRollback" not in world.status()
    record = world.rollback(within=60)

    assert (record["status"]["outcome"], record["status"]["target"]["snapshot"]) == ("Succeeded", "digits-v1")
    assert world.generation() == before + 1
    assert world.status()["snapshot"] == "digits-v1"
