"""What a trigger sees: a breach rolls back, a blip does not, and no answer is neither good nor bad."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.process.metrics import Metrics, metrics
from tests.integration.world import FOLLOWED, Body, World, eventually

GOOD, BAD = {"accuracy": 0.97}, {"accuracy": 0.41}
MANY = 1 << 21


@pytest.fixture
def endpoint() -> Iterator[Metrics]:
    """A metrics endpoint that says that all is well."""
    with metrics() as found:
        found.says(GOOD)
        yield found


def trigger(endpoint: Metrics, name: str = "accuracy", path: str = "metrics.json", **changes: Any) -> Body:
    return {
        "name": name,
        "http": {"url": endpoint.url(path)},
        "failureCondition": "result.accuracy < 0.9",
        "interval": "1s",
        "failureThreshold": 3,
    } | changes


def workload(on: str, threshold: int = 2) -> Body:
    return {"name": "pods", "workload": {"on": [on]}, "interval": "1s", "failureThreshold": threshold}


def serve_two(world: World, *triggers: Body, **spec: Any) -> None:
    """Serve v1, then v2 with triggers, both soaked."""
    world.serve(1)
    world.apply(world.snapshot(2), world.deployment("digits-v2", triggers=list(triggers), **spec))
    world.served("digits-v2")


def policy(**changes: Any) -> Body:
    return {"cooldown": "0s", "maxPerHour": 60, "knownGood": {"soak": "0s"}} | changes


def test_a_breach_that_lasts_rolls_back_and_the_record_holds_what_was_seen(world: World, endpoint: Metrics) -> None:
    serve_two(world, trigger(endpoint))
    assert world.trigger("accuracy")["verdict"] == "Healthy"

    endpoint.says(BAD)
    asked = endpoint.asked["metrics.json"]
    record = world.rollback()

    assert endpoint.asked["metrics.json"] - asked >= 3, "three looks in a row"
    spec, status = record["spec"], record["status"]
    assert spec["trigger"] == {
        "name": "accuracy",
        "severity": "high",
        "value": "result.accuracy=0.41",
        "condition": "result.accuracy < 0.9",
    }
    assert spec["automatic"] is True
    assert spec["requestedBy"] == "lastgood"
    assert (spec["from"]["snapshot"], status["target"]["snapshot"]) == ("digits-v2", "digits-v1")
    assert status["outcome"] == "Succeeded"
    assert status["verification"] == "Fresh"
    assert world.model_path() == "/models/digits/1"


def test_a_blip_is_no_reason(world: World, endpoint: Metrics) -> None:
    serve_two(world, trigger(endpoint))

    for _ in range(2):  # two breaches of three, twice
        endpoint.says(BAD)
        endpoint.looked(1)
        endpoint.says(GOOD)
        endpoint.looked(2)

    assert world.list("modelrollback") == []
    assert world.condition("Healthy")["status"] == "True"
    assert world.status()["snapshot"] == "digits-v2"


ANSWERS: dict[str, tuple[tuple[int, bytes, dict[str, str]] | None, str]] = {
    "slow": (None, "no complete answer within 0.5 s"),
    "huge": ((200, b" " * MANY + b"{}", {}), "more than 1048576 bytes"),
    "text": ((200, b"accuracy 0.41", {}), "the body is not JSON"),
    "nan": ((200, b'{"accuracy": NaN}', {}), "NaN"),
    "error": ((500, b'{"accuracy": 0.41}', {}), "status 500"),
    "redirect": ((302, b"", {"Location": "/metrics.json"}), "redirect (302)"),
    "another-field": ((200, b'{"acuracy": 0.41}', {}), "the condition cannot be evaluated"),
}


def test_no_answer_is_no_vote(world: World, endpoint: Metrics) -> None:
    endpoint.says(BAD)  # where a redirect would lead to
    endpoint.answers |= {path: answer for path, (answer, _) in ANSWERS.items() if answer}
    common = {"failureThreshold": 2, "severity": "critical"}
    timeouts = {path: "500ms" if path == "slow" else "10s" for path in ANSWERS}  # only that one is about the time
    serve_one(world, *(trigger(endpoint, name=path, path=path, timeout=timeouts[path], **common) for path in ANSWERS))

    for path, (_, sentence) in ANSWERS.items():
        found = eventually(lambda: world.trigger(path).get("lastError"), what=f"{path}: the status says why")  # noqa: B023  # it is called in this turn
        assert sentence in found, path
        assert world.trigger(path)["verdict"] == "Inconclusive"
    for path in ANSWERS:
        endpoint.looked(1, path)
    assert world.condition("Healthy")["status"] == "Unknown"
    assert world.list("modelrollback") == []
    assert world.status()["snapshot"] == "digits-v1"


def serve_one(world: World, *triggers: Body) -> None:
    """Serve v2 after v0, so that there is something to go back to, and v1 with triggers that never let it soak."""
    world.serve(0)
    world.apply(world.snapshot(1), world.deployment("digits-v1", triggers=list(triggers)))
    eventually(lambda: world.status().get("snapshot") == "digits-v1", what="digits-v1 serves")


def test_an_endpoint_that_is_down_is_no_vote_and_its_return_counts_at_once(world: World, endpoint: Metrics) -> None:
    with metrics() as other:
        down = trigger(other, failureThreshold=2)
    serve_one(world, down)

    found = eventually(lambda: world.trigger("accuracy").get("lastError"), what="the status says why")
    assert "cannot be reached" in found
    assert world.trigger("accuracy")["verdict"] == "Inconclusive"

    world.apply(world.deployment("digits-v1", triggers=[trigger(endpoint)]))
    world.served("digits-v1", within=FOLLOWED)
    assert world.condition("Healthy")["status"] == "True"
    assert not world.trigger("accuracy").get("lastError")
    assert world.list("modelrollback") == []


def test_an_expression_that_does_not_compile_is_said_and_the_other_triggers_go_on(
    world: World, endpoint: Metrics
) -> None:
    broken = trigger(endpoint, name="broken", failureCondition="result.accuracy << 0.9", failureThreshold=100)
    serve_one(world, broken, trigger(endpoint))

    told = eventually(lambda: world.trigger("broken").get("lastError"), what="the status says what is wrong")
    assert told.startswith("spec.triggers[0].failureCondition: ")
    world.event("InvalidSpec", "spec.triggers[0].failureCondition")

    endpoint.says(BAD)
    assert world.rollback()["spec"]["trigger"]["name"] == "accuracy"


def test_medium_severity_only_tells(world: World, endpoint: Metrics) -> None:
    serve_two(world, trigger(endpoint, severity="medium"))

    endpoint.says(BAD)
    told = world.becomes("Healthy", "False")
    assert told["reason"] == "TriggerFired"
    assert "accuracy" in told["message"]
    assert world.event("TriggerFired", "accuracy (medium)")["type"] == "Warning"
    assert world.trigger("accuracy")["verdict"] == "Breached"
    endpoint.looked(3)
    assert world.list("modelrollback") == []
    assert world.model_path() == "/models/digits/2"

    endpoint.says(GOOD)
    world.becomes("Healthy", "True")


def test_a_restart_does_not_make_healthy_what_was_not(world: World, endpoint: Metrics) -> None:
    world.serve(1)
    endpoint.says(BAD)
    watch = trigger(endpoint, severity="medium", failureThreshold=3)
    world.apply(world.snapshot(2), world.deployment("digits-v2", triggers=[watch]))
    world.becomes("Healthy", "False")
    world.operator.kill()
    endpoint.raw(b"", status=503)
    world.operator.start()
    endpoint.looked(2)  # the second look comes after what was made of the first

    assert world.condition("Healthy")["status"] == "False"
    assert "soakedAt" not in world.status()["history"][-1], "it has not stayed healthy for a moment"
    assert world.status()["lastKnownGood"] == "digits-v1"


def test_silence_alerts_where_it_is_asked_for(world: World, endpoint: Metrics) -> None:
    serve_two(world, trigger(endpoint, onNoData="Alert"))

    endpoint.raw(b"", status=503)
    assert world.event("NoData", "accuracy")["type"] == "Warning"
    assert world.list("modelrollback") == []


def test_a_crash_loop_rolls_back_once(world: World) -> None:
    world.serve(0)
    world.serve(1)
    crashes(world, workload("CrashLoop", 1), "crash")

    record = world.rollback()
    assert record["spec"]["trigger"]["name"] == "pods"
    assert "CrashLoopBackOff (5 restarts)" in record["spec"]["trigger"]["value"]
    assert record["status"]["target"]["snapshot"] == "digits-v1"
    assert record["status"]["outcome"] == "Succeeded"
    world.becomes("Healthy", "True")
    assert len(world.list("modelrollback")) == 1, "the last pods of v2 say nothing about v1"
    assert world.status()["snapshot"] == "digits-v1"


def crashes(world: World, watch: Body, fate: str) -> None:
    """Deploy v2, whose pods fare so; those of v1 are well."""
    bindings = [
        *world.deployment("digits-v1")["spec"]["bindings"],
        {"annotation": {"name": "lastgood-test/ready"}, "value": "$(version)"},
    ]
    world.apply(world.deployment("digits-v1", bindings=bindings))
    eventually(
        lambda: world.template()["metadata"]["annotations"].get("lastgood-test/ready") == "1", what="v1 is bound anew"
    )
    world.ready("Serving")
    spec = world.snapshot(2)
    spec["spec"]["version"] = fate
    world.apply(spec, world.deployment("digits-v2", bindings=bindings, triggers=[watch]))


def test_pods_that_stop_being_available_roll_back(world: World) -> None:
    serve_two(world, workload("Unavailable"))

    world.pods_become("never")
    record = world.rollback()

    assert record["spec"]["trigger"]["value"] == "0 of 2 pods available"
    assert record["status"]["outcome"] == "Succeeded"
    assert world.model_path() == "/models/digits/1"


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_rollout_past_its_deadline_rolls_back(world: World, replicas: int) -> None:
    world.serve(1)
    patch = {"spec": {"progressDeadlineSeconds": 2, "replicas": replicas}}
    world.kubectl("patch", "deployment/digits-server", "-p", json.dumps(patch))
    crashes(world, workload("ProgressDeadlineExceeded", 1), "never")

    record = world.rollback()
    assert "progress deadline" in record["spec"]["trigger"]["value"]
    assert record["status"]["target"]["snapshot"] == "digits-v1"
    assert record["status"]["outcome"] == "Succeeded", "what was said of v2 is not said of v1"
    assert len(world.list("modelrollback")) == 1


def test_cooldown_keeps_automatic_rollbacks_apart(world: World, endpoint: Metrics) -> None:
    world.serve(0)
    serve_two(world, trigger(endpoint), rollback=policy(cooldown="10m"))
    endpoint.says(BAD)
    world.rollback()

    world.ready("Cooldown")
    assert world.event("Cooldown", "spec.rollback.cooldown")["type"] == "Warning"
    assert len(world.list("modelrollback")) == 1
    assert world.status()["snapshot"] == "digits-v1"

    world.annotate("modeldeployment/digits", "rollback", "a person does not wait")
    assert world.rollback(number=2)["status"]["target"]["snapshot"] == "digits-v0"


def test_too_many_in_an_hour_freeze_and_page(world: World, endpoint: Metrics) -> None:
    world.serve(0)
    serve_two(world, trigger(endpoint), rollback=policy(maxPerHour=1))
    endpoint.says(BAD)
    world.rollback()

    told = world.ready("TooManyRollbacks")
    assert "manual intervention required" in told["message"]
    assert world.condition("Stalled")["status"] == "True"
    assert world.event("TooManyRollbacks")["type"] == "Warning"
    pages = [entry for entry in world.operator.security_log() if entry["reason"] == "TooManyRollbacks"]
    assert [entry["severity"] for entry in pages] == ["alert"]
    assert world.status()["snapshot"] == "digits-v1"
    assert len(world.list("modelrollback")) == 1


def test_suspend_binds_triggers_and_never_a_person(world: World, endpoint: Metrics) -> None:
    world.serve(1)
    world.serve(2)
    world.apply(world.deployment("digits-v2", triggers=[trigger(endpoint)], suspend=True))
    endpoint.says(BAD)

    world.ready("Suspended")
    world.event("Suspended", "a trigger fired")
    assert world.list("modelrollback") == []

    world.annotate("modeldeployment/digits", "rollback", "I have seen enough")
    assert world.rollback()["status"]["outcome"] == "Succeeded"
    assert world.model_path() == "/models/digits/1"
