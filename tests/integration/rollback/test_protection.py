"""Protection that is off is said on the ModelDeployment, in an Event and in the security log, and is never silent."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.process.metrics import Metrics, metrics
from tests.integration.rollback.test_integrity import tamper
from tests.integration.rollback.test_triggers import BAD, GOOD, serve_two, trigger
from tests.integration.world import Body, World, eventually


@pytest.fixture
def endpoint() -> Iterator[Metrics]:
    """A metrics endpoint that says that all is well."""
    with metrics() as found:
        found.says(GOOD)
        yield found


@pytest.fixture
def watchful(still_world: World) -> World:
    """A world whose operator hashes every snapshot again each second or two."""
    still_world.operator.environment = {"LASTGOOD_REVERIFY_INTERVAL": "2s"}
    still_world.operator.start()
    return still_world


def alerts(world: World, reason: str) -> list[str]:
    """Return the messages of the security log's alerts of a reason."""
    log = world.operator.security_log()
    return [entry["message"] for entry in log if (entry["reason"], entry["severity"]) == (reason, "alert")]


def http(url: str, **changes: Any) -> Body:
    return {"name": "accuracy", "http": {"url": url}, "failureCondition": "result.accuracy < 0.9"} | changes


def unprotected(world: World, reason: str) -> Body:
    """Wait until Protected is False for a reason, which it may be for another one before, and return it."""

    def found() -> Body:
        condition = world.condition("Protected")
        return condition if (condition.get("status"), condition.get("reason")) == ("False", reason) else {}

    return dict(eventually(found, what=f"Protected is False: {reason}"))


def test_a_wrong_url_from_the_start_is_told(world: World) -> None:
    """Field case 22."""
    with metrics() as gone:
        wrong = trigger(gone)
    world.serve(0)
    world.apply(world.snapshot(1), world.deployment("digits-v1", triggers=[wrong]))

    assert "accuracy" in unprotected(world, "NoData")["message"]
    assert world.event("NoData", "not protected: no data for 10 intervals from trigger: accuracy")["type"] == "Warning"
    assert world.condition("Ready")["status"] == "True", "what serves, serves"
    report = world.trigger("accuracy")
    assert report["lastErrorReason"] == "ConnectionRefused"
    assert report["lastErrorTime"]
    assert len(alerts(world, "NoData")) == 1


def test_protection_comes_back(world: World, endpoint: Metrics) -> None:
    serve_two(world, trigger(endpoint))
    world.becomes("Protected", "True")
    endpoint.raw(b"", status=503)
    unprotected(world, "NoData")
    endpoint.says(GOOD)
    world.becomes("Protected", "True")
    report = world.trigger("accuracy")
    assert (report["verdict"], report["value"]) == ("Healthy", "result.accuracy=0.97")
    assert report["valueTime"]
    assert not report.get("lastError")


@pytest.mark.parametrize(
    "url",
    [
        "http://10.96.0.1/api",
        "http://kubernetes.default.svc/api",
        "http://169.254.169.254/latest",
        "http://grafana.example/",
    ],
)
def test_reading_back_another_host_is_told_when_it_is_written(world: World, url: str) -> None:
    check = {"name": "smoke", "http": {"url": url}, "successCondition": "result.ok"}
    world.serve(0)
    world.apply(world.deployment("digits-v0", triggers=[http(url)], validation={"checks": [check]}))

    told = world.ready("InvalidSpec")
    assert "spec.triggers[0].http.url: host" in told["message"]
    assert "spec.validation.checks[0].http.url: host" in told["message"]
    assert "--trigger-host" in told["message"]
    report = world.trigger("accuracy")
    assert (report["verdict"], report["lastErrorReason"]) == ("Inconclusive", "HostNotAllowed")
    assert report["lastError"].startswith("spec.triggers[0].http.url: ")
    unprotected(world, "InvalidSpec")
    assert world.event("InvalidSpec", "spec.triggers[0].http.url")["type"] == "Warning"


def test_a_host_of_the_administrators_list_is_asked(still_world: World) -> None:
    world = still_world
    world.operator.environment = {"LASTGOOD_TRIGGER_HOSTS": "127.0.0.0/8,*.nowhere.invalid:81"}
    world.operator.start()
    world.serve(0)
    world.apply(world.deployment("digits-v0", triggers=[http("http://a.nowhere.invalid:81/", interval="1s")]))

    found = eventually(lambda: world.trigger("accuracy").get("lastErrorReason"), what="it was asked")
    assert found == "NameNotFound"


def test_suspended_is_not_protected(world: World, endpoint: Metrics) -> None:
    world.serve(1)
    world.apply(world.deployment("digits-v1", triggers=[trigger(endpoint)], suspend=True))
    unprotected(world, "Suspended")
    assert world.event("Suspended", "not protected")["type"] == "Warning"


def test_suspended_with_a_deployment_pending_alerts_on_tampered_bytes(watchful: World) -> None:
    """Field case 24."""
    world = watchful
    world.serve(1)
    world.serve(2)
    world.apply(world.snapshot(3), world.deployment("digits-v3", suspend=True))
    world.ready("Suspended")

    tamper(world, 2)
    told = "a trigger fired, but spec.suspend is true: snapshot-integrity (critical)"
    assert world.event("Suspended", told)["type"] == "Warning"
    assert told in alerts(world, "Suspended")
    assert world.status()["snapshot"] == "digits-v2"
    assert world.status()["alerts"][0]["about"] == "snapshot-integrity"


def test_a_hold_does_not_swallow_what_only_tells(world: World, endpoint: Metrics) -> None:
    """After a rollback `Ready` says Held until somebody acts: a second trigger must be heard all the same."""
    only_tells = trigger(endpoint, name="slow", severity="medium", failureCondition="result.p99 > 1.0")
    endpoint.says({**GOOD, "p99": 0.1})
    serve_two(world, trigger(endpoint), only_tells)
    endpoint.says({**BAD, "p99": 0.1})
    world.rollback()
    endpoint.says({**GOOD, "p99": 0.1})
    world.ready("Held")

    endpoint.says({**GOOD, "p99": 2})
    assert world.event("TriggerFired", "slow (medium)")["type"] == "Warning"
    assert world.condition("Ready")["reason"] == "Held"
