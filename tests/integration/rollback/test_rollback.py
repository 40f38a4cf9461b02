"""A person asks for a rollback, in any of the ways there are, and reads in the record what became of it."""

from collections.abc import Iterator

import pytest

from tests.integration.process.metrics import Metrics, metrics
from tests.integration.world import Body, World, eventually

FAST = {"cooldown": "0s", "maxPerHour": 60, "knownGood": {"soak": "0s"}, "progressDeadline": "5s"}
PATIENT = FAST | {"progressDeadline": "10m"}


@pytest.fixture
def endpoint() -> Iterator[Metrics]:
    """An endpoint for validation checks."""
    with metrics() as found:
        yield found


def check(endpoint: Metrics) -> Body:
    """Return a check that the served model must pass."""
    return {"name": "accuracy", "http": {"url": endpoint.url()}, "successCondition": "result.accuracy > 0.9"}


def serve(world: World, *versions: int, **spec: object) -> None:
    """Serve one version after the other, each until it has soaked."""
    for version in versions:
        world.apply(world.snapshot(version), world.workload(), world.deployment(f"digits-v{version}", **spec))
        world.served(f"digits-v{version}")


def serve_with_a_lame_target(world: World, rollback: Body) -> None:
    """Serve v0, then v2; the pods of v1, which never served, do not become ready."""
    bindings = [
        {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"},
        {"annotation": {"name": "lastgood-test/ready"}, "value": "$(version)"},
    ]
    lame = world.snapshot(1)
    lame["spec"]["version"] = "never"
    world.apply(lame)
    serve(world, 0, 2, bindings=bindings, rollback=rollback)


def stuck(world: World) -> None:
    """Start a rollback to v1 that waits for pods."""
    world.request("mine", to="digits-v1")
    eventually(
        lambda: world.get("modelrollback", "mine").get("status", {}).get("switchedAt"), what="the workload is switched"
    )
    eventually(lambda: world.status()["snapshot"] == "digits-v1", what="the status says so")


def helped(world: World, name: str) -> Body:
    """Let the pods that wait become ready, and the ones that come after them, until a record has ended."""

    def look() -> Body:
        world.pods_become("ready")
        record = world.get("modelrollback", name)
        return record if "outcome" in record.get("status", {}) else {}

    return dict(eventually(look, what=f"ModelRollback {name} ends"))


def test_an_annotation_with_a_reason(world: World) -> None:
    serve(world, 0, 1, 2)
    world.annotate("modeldeployment/digits", "rollback", "accuracy has fallen")
    record = world.rollback()

    assert record["spec"]["reason"] == "accuracy has fallen"
    assert record["spec"]["emergency"] is False
    assert record["status"]["verification"] == "Fresh"
    assert world.candidates(record) == {"digits-v0": "NotNeeded", "digits-v1": "Chosen", "digits-v2": "BeingLeft"}
    assert world.model_path() == "/models/digits/1"
    assert world.status()["held"]["snapshot"] == "digits-v2"
    assert world.condition("RolledBack")["status"] == "True"
    assert not world.get("configmap", "lastgood-quarantine"), "only an emergency quarantines"
    assert len(world.writes()) == 4, "three deployments and one rollback"


def test_an_annotation_that_names_a_target(world: World) -> None:
    serve(world, 0, 1, 2)
    world.annotate("modeldeployment/digits", "rollback", "to=digits-v0: v1 was trained on the same data")
    record = world.rollback()

    assert record["spec"]["to"] == "digits-v0"
    assert record["spec"]["reason"] == "v1 was trained on the same data"
    assert world.candidates(record)["digits-v1"] == "NotAskedFor"
    assert world.model_path() == "/models/digits/0"


def test_an_annotation_that_names_a_date(world: World) -> None:
    dates = {0: "2026-01-10T00:00:00Z", 1: "2026-02-10T00:00:00Z", 2: "2026-03-10T00:00:00Z"}
    for version, date in dates.items():
        world.apply(world.snapshot(version, dataCutoff=date), world.workload(), world.deployment(f"digits-v{version}"))
        world.served(f"digits-v{version}")
    world.annotate("modeldeployment/digits", "rollback", "before=2026-02-01T00:00:00Z: the feed was poisoned")
    record = world.rollback()

    assert world.candidates(record) == {"digits-v0": "Chosen", "digits-v1": "NotBeforeDate", "digits-v2": "BeingLeft"}
    assert world.model_path() == "/models/digits/0"


def test_a_request_that_cannot_be_read_is_rejected_with_an_event(world: World) -> None:
    serve(world, 1, 2)
    world.annotate("modeldeployment/digits", "rollback", "before=yesterday: it looks wrong")

    told = world.event("RequestRejected", "before='yesterday' is invalid: must be an RFC 3339 time")
    assert told["type"] == "Warning"
    assert "[to=<snapshot>] [before=<time>]: <reason>" in told["message"]
    assert world.list("modelrollback") == []
    assert world.model_path() == "/models/digits/2"


def test_a_target_that_is_not_there_is_rejected_and_what_serves_is_kept(world: World) -> None:
    serve(world, 1, 2)
    world.request("mine", to="digits-v7")
    record = world.ended("mine")

    assert record["status"]["outcome"] == "Rejected"
    assert record["status"]["outcomeReason"] == "SnapshotNotFound"
    assert world.candidates(record) == {"digits-v1": "NotAskedFor", "digits-v2": "NotAskedFor"}
    assert world.model_path() == "/models/digits/2"


def test_records_of_people_run_one_after_another(world: World) -> None:
    serve_with_a_lame_target(world, PATIENT)
    stuck(world)
    world.request("yours", to="digits-v0")
    eventually(lambda: world.get("modelrollback", "yours"), what="the second is there")
    world.kubectl(
        "patch", "modeldeployment/digits", "--type=merge", "-p", '{"spec": {"rollback": {"historyLimit": 7}}}'
    )
    world.ready("Waiting")

    assert world.status()["activeRollback"]["name"] == "mine"
    assert "outcome" not in world.get("modelrollback", "yours").get("status", {})
    assert world.model_path() == "/models/digits/1"

    assert helped(world, "mine")["status"]["outcome"] == "Succeeded"
    second = world.ended("yours")
    assert second["status"]["outcome"] == "Succeeded"
    assert second["status"]["target"]["snapshot"] == "digits-v0"
    assert world.model_path() == "/models/digits/0"


def test_an_emergency_takes_over_what_runs(world: World) -> None:
    serve_with_a_lame_target(world, PATIENT)
    stuck(world)
    world.annotate("deployment/digits-server", "emergency-rollback", "INC-7: v1 does not even start")

    emergency = world.rollback(number=2)
    first = world.get("modelrollback", "mine")
    assert first["status"]["outcome"] == "Superseded"
    assert emergency["metadata"]["name"] in first["status"]["message"]
    assert emergency["spec"]["incident"] == "INC-7"
    assert emergency["status"]["outcome"] == "Succeeded"
    assert world.model_path() == "/models/digits/0"


def test_a_record_that_is_deleted_midway_is_written_again_and_finished(world: World) -> None:
    serve_with_a_lame_target(world, PATIENT)
    stuck(world)
    uid = world.get("modelrollback", "mine")["metadata"]["uid"]
    before = world.generation()
    world.kubectl("delete", "modelrollback", "mine")

    eventually(
        lambda: world.get("modelrollback", "mine").get("metadata", {}).get("uid", uid) != uid,
        what="it is written again",
    )
    record = helped(world, "mine")
    assert record["status"]["outcome"] == "Succeeded"
    assert record["spec"]["to"] == "digits-v1"
    assert record["spec"]["reason"] == "it looks wrong"
    assert world.generation() == before, "the workload is not switched twice"


def test_a_target_that_does_not_become_available_is_left_for_the_next(world: World) -> None:
    serve_with_a_lame_target(world, FAST)
    world.request("mine", to="digits-v1", incident="INC-9")
    record = world.rollback(number=2)

    first = world.get("modelrollback", "mine")
    assert first["status"]["outcome"] == "Failed"
    assert first["status"]["outcomeReason"] == "ProgressDeadlineExceeded"
    assert record["spec"]["continues"] == "mine"
    assert record["spec"]["incident"] == "INC-9"
    assert record["status"]["target"]["snapshot"] == "digits-v0"
    assert record["status"]["outcome"] == "Succeeded"
    assert {item["snapshot"] for item in world.status()["left"]} == {"digits-v1", "digits-v2"}


def test_a_target_that_passes_its_checks_succeeds(world: World, endpoint: Metrics) -> None:
    endpoint.says({"accuracy": 0.96})
    serve(world, 1, 2, validation={"checks": [check(endpoint)]})
    assert endpoint.asked == {}, "only a rollback is validated"
    world.request("mine")
    record = world.ended("mine")

    assert record["status"]["outcome"] == "Succeeded"
    assert record["status"]["checks"] == [
        {"name": "accuracy", "verdict": "Healthy", "value": "result.accuracy=0.96", "error": ""}
    ]
    assert record["status"]["availableAt"] <= record["status"]["outcomeAt"]


def test_a_target_that_fails_its_checks_is_left_for_the_next(world: World, endpoint: Metrics) -> None:
    endpoint.says({"accuracy": 0.5})
    serve(world, 0, 1, 2, validation={"checks": [check(endpoint)]})
    world.request("mine")
    first = world.ended("mine")
    asked = endpoint.asked["metrics.json"]
    endpoint.says({"accuracy": 0.95})
    second = world.rollback(number=2)

    assert first["status"]["outcome"] == "Failed"
    assert first["status"]["outcomeReason"] == "ValidationFailed"
    assert first["status"]["checks"][0]["verdict"] == "Breached"
    assert first["status"]["checks"][0]["value"] == "result.accuracy=0.5"
    assert asked >= 3, "one failing look is not enough"
    assert second["spec"]["continues"] == "mine"
    assert second["spec"]["from"]["snapshot"] == "digits-v1"
    assert second["status"]["target"]["snapshot"] == "digits-v0"
    assert second["status"]["outcome"] == "Succeeded"
    assert world.candidates(second)["digits-v2"] == "LeftBefore"
    assert world.model_path() == "/models/digits/0"


def test_on_failure_alert_stays_with_the_target(world: World, endpoint: Metrics) -> None:
    endpoint.says({"accuracy": 0.5})
    serve(world, 0, 1, 2, validation={"checks": [check(endpoint)], "onFailure": "Alert"})
    world.request("mine")

    assert world.ended("mine")["status"]["outcomeReason"] == "ValidationFailed"
    assert world.event("ValidationFailed", "digits-v1 failed accuracy (result.accuracy=0.5)")["type"] == "Warning"
    eventually(lambda: "activeRollback" not in world.status(), what="the lock is free")
    world.ready("Held")
    assert len(world.list("modelrollback")) == 1
    assert world.model_path() == "/models/digits/1"


def test_a_check_that_does_not_answer_ends_unvalidated_with_an_alert(world: World, endpoint: Metrics) -> None:
    endpoint.raw(b"down for maintenance", status=503)
    serve(world, 0, 1, 2, validation={"checks": [check(endpoint)]})
    world.request("mine")
    record = world.ended("mine")

    assert record["status"]["outcome"] == "Unvalidated"
    assert record["status"]["checks"][0]["verdict"] == "Inconclusive"
    assert "status 503" in record["status"]["checks"][0]["error"]
    assert world.event("Unvalidated", "could not be validated")["type"] == "Warning"
    assert world.model_path() == "/models/digits/1", "silence is no reason to move on"
    world.ready("Held")
    assert len(world.list("modelrollback")) == 1


def test_a_hold_ends_when_another_snapshot_is_named_but_the_digest_stays_left(world: World) -> None:
    serve(world, 1, 2)
    world.request("mine")
    world.ended("mine")
    world.ready("Held")

    again = world.snapshot("2-again", source={"store": {"path": "digits/2"}}, digest=world.weights(2))
    world.apply(again, world.deployment("digits-v2-again"))
    assert "digest rejected by an earlier rollback" in world.ready("Held")["message"]
    assert world.model_path() == "/models/digits/1"

    world.apply(world.snapshot(3), world.deployment("digits-v3"))
    world.served("digits-v3")
    assert "held" not in world.status()

    world.apply(world.deployment("digits-v2"))
    assert "digest rejected by an earlier rollback" in world.ready("Held")["message"], "until a person says otherwise"
    assert world.model_path() == "/models/digits/3"

    world.annotate("modeldeployment/digits", "resume", "v2 was innocent")
    world.served("digits-v2")
    assert world.status().get("left", []) == []
    assert world.event("Resumed", "v2 was innocent")


def test_records_past_the_history_limit_go_and_the_newest_stay(world: World) -> None:
    serve(world, 0, 1, 2, rollback=FAST | {"historyLimit": 1})
    world.request("first")
    world.ended("first")
    world.request("second", to="digits-v0")
    world.ended("second")

    eventually(lambda: len(world.list("modelrollback")) == 1, what="one record is left")
    assert world.get("modelrollback", "second")["status"]["outcome"] == "Succeeded"
    assert [item["name"] for item in world.status()["rollbacks"]] == ["first", "second"], "the status remembers both"


def test_a_record_for_a_deployment_of_the_past_is_superseded(world: World) -> None:
    serve(world, 1, 2)
    world.request("mine", deployment={"name": "digits", "uid": "11111111-2222-3333-4444-555555555555"})

    assert world.ended("mine")["status"]["outcome"] == "Superseded"
    assert world.model_path() == "/models/digits/2"
