"""A policy refuses what a rollback has to write: it waits and says so, and goes on when it may."""

from tests.integration.policies import refused
from tests.integration.world import World, eventually

INCIDENT = "INC-2041: backdoor found in v2"
ANNOTATED = ("annotate", "--overwrite", "--dry-run=server")
WORKLOAD = (*ANNOTATED, "deployment", "digits-server", "probe=1")
QUARANTINE = ("create", "configmap", "lastgood-quarantine", "--dry-run=server", "--output=name")
NOT_IT = "object.metadata.name != 'lastgood-quarantine'"


def test_switch_that_a_policy_refuses_is_made_when_it_may_be(world: World) -> None:
    """Not one refusal more, and it was `NoKnownGood`, and the bad one went on serving."""
    world.serve(1)
    world.serve(2)
    with refused(world, "apps", "deployments", WORKLOAD):
        world.annotate("modeldeployment/digits", "emergency-rollback", INCIDENT)
        said = eventually(lambda: _ready(world, "SwitchRefused"), what="it says that the switch is refused")
        assert "digits-v1" in said["message"]
        assert world.event("SwitchRefused")["count"] == 1
        assert world.model_path() == "/models/digits/2"
    record = world.rollback(within=90)
    assert (record["status"]["outcome"], record["status"]["target"]["snapshot"]) == ("Succeeded", "digits-v1")
    assert world.model_path() == "/models/digits/1"


def test_emergency_does_not_end_without_its_quarantine(world: World) -> None:
    world.serve(1)
    world.serve(2)
    with refused(world, "", "configmaps", QUARANTINE, unless=NOT_IT):
        world.annotate("modeldeployment/digits", "emergency-rollback", INCIDENT)
        eventually(lambda: _ready(world, "QuarantineRefused"), what="it says that the quarantine is refused", within=60)
        assert world.model_path() == "/models/digits/1"
        (record,) = world.list("modelrollback")
        assert "outcome" not in record["status"]
    record = world.rollback(within=90)
    assert record["status"]["outcome"] == "Succeeded"
    assert record["status"]["quarantined"] == [world.get("modelsnapshot", "digits-v2")["spec"]["digest"]]


def _ready(world: World, reason: str) -> dict[str, str] | None:
    found = world.condition("Ready")
    return found if found.get("reason") == reason else None
