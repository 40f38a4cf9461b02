"""A signal that changes its mind every second: the status follows once a minute, and no rollback waits for that."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.integration.process.metrics import Metrics, metrics
from tests.integration.rollback.test_triggers import BAD, GOOD, trigger
from tests.integration.world import FOLLOWED, World, eventually

FLAPS = (200, json.dumps(GOOD).encode()), (200, json.dumps(BAD).encode())
ERRORS = (503, b""), (200, b"not JSON")
LOOKS = 75  # one a second


@pytest.fixture
def endpoint() -> Iterator[Metrics]:
    """A metrics endpoint that says that all is well, on each of its paths."""
    with metrics() as found:
        for path in ("acts", "tells", "errs"):
            found.says(GOOD, path)
        yield found


def quick(endpoint: Metrics, name: str, **changes: str) -> dict[str, object]:
    return trigger(endpoint, name=name, path=name, failureThreshold=1, **changes)


def writes(world: World) -> int:
    """Return how often the status of the ModelDeployment was written."""
    written = [event for event in world.cluster.audit() if _is_status(event.get("objectRef", {}), world.namespace)]
    return len([event for event in written if event["responseStatus"]["code"] == 200])


def _is_status(about: dict[str, str], namespace: str) -> bool:
    found = about.get("namespace"), about.get("resource"), about.get("subresource")
    return found == (namespace, "modeldeployments", "status")


def said(world: World) -> tuple[int, int]:
    """Return how many Events and lines of the security log there are."""
    return sum(int(item.get("count") or 1) for item in world.list("event") if _ours(item)), len(
        world.operator.security_log()
    )


def _ours(event: dict[str, dict[str, str]]) -> bool:
    return event["involvedObject"]["kind"] == "ModelDeployment"


def mended(world: World) -> bool:
    verdicts = {item["verdict"] for item in world.status()["triggers"]}
    return verdicts == {"Healthy"} and world.condition("Healthy")["status"] == "True"


@pytest.mark.timeout(400)
def test_what_flaps_is_written_once_a_minute_and_true_in_the_end(world: World, endpoint: Metrics) -> None:
    triggers = [quick(endpoint, "acts"), quick(endpoint, "tells", severity="medium"), quick(endpoint, "errs")]
    world.serve(1)
    world.serve(2)
    world.apply(world.deployment("digits-v2", triggers=triggers, suspend=True))
    eventually(lambda: mended(world), what="all triggers are heard")

    before, told, began = writes(world), said(world), time.monotonic()
    endpoint.alternates(*FLAPS, path="acts")
    endpoint.alternates(*FLAPS[::-1], path="tells")
    endpoint.alternates(*ERRORS, path="errs")
    world.event("Suspended", "a trigger fired, but spec.suspend is true: acts (high)")
    world.event("TriggerFired", "tells (medium)")
    endpoint.looked(LOOKS, "acts", within=250)
    most = 3 + int((time.monotonic() - began) // 60)  # what each trigger says for the first time
    now = said(world)
    assert 1 <= writes(world) - before <= most
    assert now[0] - told[0] <= most + 1, "Events"
    assert now[1] - told[1] <= most + 1, "the security log"
    assert world.list("modelrollback") == []

    for path in ("acts", "tells", "errs"):
        endpoint.says(GOOD, path)
    eventually(lambda: mended(world), what="the status says that all is well again", within=FOLLOWED)
    assert [alert["about"] for alert in world.status()["alerts"]] == ["protection"]
    assert {alert["reason"] for alert in world.status()["resolvedAlerts"]} >= {"Suspended", "TriggerFired"}


def test_a_breach_rolls_back_at_once_while_another_trigger_flaps(world: World, endpoint: Metrics) -> None:
    world.serve(1)
    triggers = [quick(endpoint, "acts"), quick(endpoint, "tells", severity="medium")]
    world.apply(world.snapshot(2), world.deployment("digits-v2", triggers=triggers))
    world.served("digits-v2")
    endpoint.alternates(*FLAPS, path="tells")
    world.event("TriggerFired", "tells (medium)")

    asked = endpoint.asked["acts"]
    endpoint.says(BAD, "acts")
    eventually(lambda: world.list("modelrollback"), what="a record")
    assert endpoint.asked["acts"] - asked <= 5, "the first look is enough; a machine that is busy may be late"
    assert world.rollback()["spec"]["trigger"]["name"] == "acts"
