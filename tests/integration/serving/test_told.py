"""What people are told when they ask for what cannot be had, or take away what is needed."""

import json
import sys

import pytest

from tests.integration.world import Body, World, eventually


def show(text: str) -> None:
    """Print what a person sees; `-rP` shows it."""
    sys.stdout.write(f"{text}\n")


@pytest.mark.parametrize("on", ["modeldeployment/digits", "deployment/digits-server"])
def test_an_emergency_to_a_snapshot_of_another_model_is_answered(world: World, on: str) -> None:
    world.serve(0)
    world.serve(1)
    world.apply(world.body("ModelSnapshot", "letters-v1", world.snapshot("a", model="letters")["spec"]))
    world.becomes("Verified", "True", kind="modelsnapshot", name="letters-v1")
    world.annotate(on, "emergency-rollback", "to=letters-v1: INC-1: any will do")
    record = world.rollback()
    assert (record["status"]["outcome"], record["status"]["outcomeReason"]) == ("Rejected", "WrongModel")
    told = "to=letters-v1: letters-v1 belongs to model 'letters', this ModelDeployment to 'digits'"
    assert told in record["status"]["message"]
    world.event("WrongModel", told)
    world.event("WrongModel", told, about=record["metadata"]["name"])
    eventually(lambda: told in world.condition("RolledBack")["message"], what="the condition says so")
    assert world.model_path() == "/models/digits/1"
    show(world.kubectl("get", "modelrollbacks") + record["status"]["message"])


def test_a_person_s_own_record_that_names_a_missing_snapshot_is_answered(world: World) -> None:
    world.serve(0)
    world.serve(1)
    world.request("mine", to="digit-v0")
    status = world.ended("mine")["status"]
    assert (status["outcome"], status["outcomeReason"]) == ("Rejected", "SnapshotNotFound")
    assert "there is no ModelSnapshot digit-v0" in status["message"]
    assert "did you mean digits-v0" in status["message"]
    show(world.kubectl("describe", "modelrollback", "mine"))


def second(world: World) -> Body:
    body = world.deployment("digits-v1")
    return {**body, "metadata": {"name": "second"}}


def ready(world: World, name: str, reason: str) -> str:
    def found() -> str:
        condition = world.condition("Ready", name=name)
        return str(condition["message"]) if condition.get("reason") == reason else ""

    return str(eventually(found, what=f"Ready of {name} says {reason}"))


def test_a_second_modeldeployment_is_not_told_how_to_take_the_workload(world: World) -> None:
    world.serve(0)
    world.serve(1)
    world.apply(second(world))
    told = ready(world, "second", "OwnedByAnother")
    show(told)
    assert "has opted in to ModelDeployment 'digits'" in told
    every = json.dumps([world.get("modeldeployment", "second"), world.list("event")])
    assert "kubectl label" not in every
    assert "model-deployment=second" not in every
    world.event("OwnedByAnother", about="second")
    assert world.condition("OptedIn", name="second")["reason"] == "OwnedByAnother"
    assert world.condition("Ready")["reason"] == "Serving"


def test_two_modeldeployments_for_a_workload_without_a_label_are_told_of_each_other(world: World) -> None:
    world.apply(world.snapshot(1), world.workload(label=False), world.deployment("digits-v1"))
    assert "opted in" in ready(world, "digits", "NotOptedIn")
    world.apply(second(world))
    told = ready(world, "second", "TargetShared")
    show(told)
    assert "'digits'" in told
    assert "kubectl" not in told
    world.kubectl("delete", "modeldeployment", "digits")
    assert "opted in" in ready(world, "second", "NotOptedIn")


def test_deleting_the_snapshot_that_serves_is_said_while_it_goes_and_when_it_is_gone(world: World) -> None:
    world.serve(0)
    world.serve(1)
    keep = {"metadata": {"finalizers": ["example.com/keep"]}}
    world.kubectl("patch", "modelsnapshot", "digits-v1", "--type=merge", "-p", json.dumps(keep))
    world.kubectl("delete", "modelsnapshot", "digits-v1", "--wait=false")
    world.ready("SnapshotBeingDeleted")
    world.event("SnapshotBeingDeleted", "digits-v1 serves, and its ModelSnapshot is being deleted")
    world.kubectl("patch", "modelsnapshot", "digits-v1", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    show(world.ready("SnapshotDeleted")["message"])
    event = world.event("SnapshotDeleted", "digits-v1 serves, and its ModelSnapshot was deleted")
    assert event["type"] == "Warning"
    assert world.model_path() == "/models/digits/1"
    world.apply(world.snapshot(1))
    world.ready("Serving")


def test_deleting_the_only_fallback_is_said(world: World) -> None:
    world.serve(0)
    world.serve(1)
    eventually(lambda: world.status().get("lastKnownGood") == "digits-v0", what="v0 is the fallback")
    world.kubectl("delete", "modelsnapshot", "digits-v0")
    event = world.event("FallbackDeleted", "digits-v0 was the only rollback target, and was deleted")
    show(event["message"])
    assert event["type"] == "Warning"
    condition = world.condition("KnownGoodAvailable")
    assert (condition["status"], condition["reason"]) == ("False", "FallbackDeleted")
    assert world.condition("Ready")["status"] == "True"
