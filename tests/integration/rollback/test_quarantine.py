"""A responder takes a digest out of circulation: wherever it serves it is left, and nothing brings it back."""

import json

import pytest

from tests.integration.world import World, eventually

REASON = "INC-2041: backdoor found"
OTHERS = f"sha256-{'a' * 64}"


def key(world: World, version: int | str) -> str:
    """Return the digest of a version as a key of the ConfigMap."""
    return world.weights(version).replace(":", "-")


def list_digests(world: World, **data: str) -> None:
    """Write the quarantine ConfigMap as a responder does."""
    metadata = {"name": "lastgood-quarantine", "namespace": world.namespace}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    world.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(body))


def listed(world: World) -> dict[str, str]:
    """Return what the quarantine ConfigMap holds."""
    return dict(world.get("configmap", "lastgood-quarantine").get("data", {}))


def quarantined(world: World, name: str) -> dict[str, str]:
    """Wait until a snapshot says that it is quarantined, and return how."""
    world.becomes("Quarantined", "True", kind="modelsnapshot", name=name)
    return dict(world.get("modelsnapshot", name)["status"]["quarantine"])


def test_a_quarantined_snapshot_stops_serving(world: World) -> None:
    world.serve(1)
    world.serve(2)
    world.annotate("modelsnapshot/digits-v2", "quarantine", REASON)
    record = world.rollback()

    assert record["spec"]["trigger"]["name"] == "snapshot-integrity"
    assert record["spec"]["trigger"]["condition"] == "Quarantined"
    assert record["status"]["outcome"] == "Succeeded"
    assert world.model_path() == "/models/digits/1"
    why = json.loads(listed(world)[f"{world.namespace}.{key(world, 2)}"])
    assert why["incident"] == "INC-2041"
    assert "backdoor found" in why["reason"]
    assert quarantined(world, "digits-v2")["scope"] == "Namespace"
    assert world.becomes("Ready", "False", kind="modelsnapshot", name="digits-v2")["reason"] == "Quarantined"
    assert world.event("Quarantined", about="digits-v2")["type"] == "Warning"


def test_a_quarantined_copy_takes_the_same_bytes_along_under_every_name(world: World) -> None:
    digest = world.weights("copy", "weights of 2")
    world.apply(world.snapshot("copy", digest=digest))
    world.serve(1)
    world.serve(2)
    eventually(
        lambda: world.condition("Verified", kind="modelsnapshot", name="digits-vcopy").get("status") == "True",
        what="the copy is verified",
    )
    world.annotate("modelsnapshot/digits-vcopy", "quarantine", REASON)
    record = world.rollback()

    assert record["status"]["target"]["snapshot"] == "digits-v1"
    assert world.candidates(record)["digits-vcopy"] in ("Quarantined", "BeingLeft")
    quarantined(world, "digits-v2")


def test_whoever_declares_the_digest_of_others_over_wrong_bytes_quarantines_only_that(world: World) -> None:
    world.serve(1)
    world.serve(2)
    digest = world.weights(2)
    world.weights("evil", "not those bytes")
    world.apply(world.snapshot("evil", digest=digest))
    eventually(
        lambda: world.condition("Verified", kind="modelsnapshot", name="digits-vevil").get("status") == "False",
        what="the bytes are wrong",
    )
    world.annotate("modelsnapshot/digits-vevil", "quarantine", REASON)

    assert quarantined(world, "digits-vevil")["scope"] == "Snapshot"
    world.apply(world.deployment("digits-v2", suspend=True))  # so that the operator looks again, and we see that it did
    world.ready("Serving")
    assert listed(world) == {}
    assert world.condition("Quarantined", kind="modelsnapshot", name="digits-v2")["status"] == "False"
    assert world.list("modelrollback") == []
    assert world.model_path() == "/models/digits/2"


@pytest.mark.parametrize("scope", ["All", "Namespace"])
def test_a_key_of_the_config_map_is_enough(world: World, scope: str) -> None:
    world.serve(1)
    world.serve(2)
    prefix = f"{world.namespace}." if scope == "Namespace" else ""
    list_digests(world, **{f"{prefix}{key(world, 2)}": "INC-2041: it phones home"})
    record = world.rollback()

    assert "it phones home" in record["spec"]["trigger"]["value"]
    assert record["status"]["target"]["snapshot"] == "digits-v1"
    assert quarantined(world, "digits-v2")["scope"] == scope
    assert world.model_path() == "/models/digits/1"


def test_keys_that_are_none_quarantine_nothing_and_harm_nothing(world: World) -> None:
    world.serve(1)
    world.serve(2)
    two = key(world, 2)
    keys = (two.upper(), two[:-1], f"{two}0", f"x-{two}", "sha256-", f"elsewhere.{two}", "README")
    garbage = dict.fromkeys(keys, "a key that means nothing here")
    list_digests(world, **garbage, **{OTHERS: "not ours"})
    eventually(lambda: "quarantine key" in operator_log(world), what="the operator has read it, and says so")
    world.apply(world.deployment("digits-v2", suspend=True))
    world.ready("Serving")
    assert world.list("modelrollback") == []
    assert world.condition("Quarantined", kind="modelsnapshot", name="digits-v2")["status"] == "False"

    world.apply(world.deployment("digits-v2", suspend=False))
    list_digests(world, **garbage, **{two: "INC-1: this one is meant"})
    assert world.rollback()["status"]["outcome"] == "Succeeded"


def operator_log(world: World) -> str:
    """Return what the operator wrote to stderr."""
    return (world.operator.logs / "operator.log").read_text()


def test_creating_the_snapshot_again_does_not_lift_the_quarantine(world: World) -> None:
    world.serve(1)
    world.serve(2)
    world.annotate("modelsnapshot/digits-v2", "quarantine", REASON)
    world.rollback()

    world.kubectl("delete", "modelsnapshot", "digits-v2")
    renamed = world.snapshot("2-renamed", source={"store": {"path": "digits/2"}}, digest=world.weights(2))
    world.apply(world.snapshot(2), renamed)
    quarantined(world, "digits-v2")
    quarantined(world, "digits-v2-renamed")
    world.annotate("modeldeployment/digits", "resume", "it is a new one")
    assert "backdoor found" in world.ready("Quarantined")["message"]
    world.apply(world.deployment("digits-v2-renamed"))
    assert "backdoor found" in world.ready("Quarantined")["message"]
    assert world.model_path() == "/models/digits/1"


def test_a_quarantined_candidate_is_not_chosen_even_by_name_in_an_emergency(world: World) -> None:
    world.serve(1)
    world.serve(2)
    list_digests(world, **{key(world, 1): "INC-1: v1 is stolen"})
    quarantined(world, "digits-v1")
    before = world.generation()
    world.annotate("modeldeployment/digits", "emergency-rollback", "to=digits-v1: INC-2: v2 is worse")
    record = world.rollback()

    assert record["spec"]["to"] == "digits-v1"
    assert (record["status"]["outcome"], record["status"]["outcomeReason"]) == ("Rejected", "Quarantined")
    assert "to=digits-v1: digits-v1 was refused (Quarantined): INC-1: v1 is stolen" in record["status"]["message"]
    found = next(item for item in record["status"]["candidates"] if item["snapshot"] == "digits-v1")
    assert found["reason"] == "Quarantined"
    assert "v1 is stolen" in found["message"]
    assert world.generation() == before
    assert world.model_path() == "/models/digits/2"


def test_a_quarantined_snapshot_is_not_deployed_and_is_once_a_responder_lifts_it(world: World) -> None:
    world.serve(1)
    list_digests(world, **{key(world, 2): "INC-1: under suspicion"})
    world.apply(world.snapshot(2), world.deployment("digits-v2"))
    assert "under suspicion" in world.ready("Quarantined")["message"]
    assert world.model_path() == "/models/digits/1"

    list_digests(world)
    world.served("digits-v2")
