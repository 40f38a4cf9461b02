"""The metrics of an operator on a real API server say what the objects say, and asking for them writes nothing."""

from __future__ import annotations

import socket
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from lastgood.api.fields import parse_time
from lastgood.api.names import MetricName
from tests.integration.world import Operator, World, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

Body = dict[str, Any]
READS = ("get", "list", "watch")
STILL = 5.0
"""Seconds without a write, and it has settled: longer than an Event waits."""


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def told(operator: Operator, name: MetricName, **labels: str) -> list[float]:
    """Return the values of a metric that have these labels; nothing while the operator does not answer."""
    url = f"http://{operator.environment['LASTGOOD_METRICS']}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    except OSError:
        return []
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return [sample.value for sample in samples if labels.items() <= sample.labels.items()]


def tells(operator: Operator, wanted: list[float], name: MetricName, **labels: str) -> None:
    def found() -> bool:
        return told(operator, name, **labels) == wanted

    eventually(found, what=f"{name}{labels} is {wanted}")


def verified_at(world: World, name: str) -> float:
    """Wait until a snapshot is verified; return the time in its status, in seconds since 1970."""
    world.becomes("Verified", "True", kind="modelsnapshot", name=name)
    verification = world.get("modelsnapshot", name)["status"]["verification"]
    assert verification["lastTime"] == verification["verifiedAt"]
    return parse_time(verification["verifiedAt"]).timestamp()


@contextmanager
def running(operator: Operator, **environment: str) -> Iterator[Operator]:
    operator.environment = {"LASTGOOD_METRICS": free_address(), **environment}
    operator.start()
    try:
        yield operator
    finally:
        operator.stop()


def test_age_of_the_known_good_is_that_of_its_last_verification(still_world: World) -> None:
    world, operator = still_world, still_world.operator
    with running(operator):
        world.apply(world.snapshot(0))
        at = verified_at(world, "digits-v0")
        due = parse_time(world.get("modelsnapshot", "digits-v0")["status"]["verification"]["nextTime"]).timestamp()
        v0 = {"namespace": world.namespace, "snapshot": "digits-v0"}
        tells(operator, [at], MetricName.SNAPSHOT_VERIFIED, **v0, model="digits")
        tells(operator, [due], MetricName.SNAPSHOT_NEXT, **v0, model="digits")
        tells(operator, [1.0], MetricName.SNAPSHOT_CONDITION, **v0, condition="Restorable")
        tells(operator, [0.0], MetricName.SNAPSHOT_CONDITION, **v0, condition="Quarantined")

        world.serve(0)
        world.serve(1)
        digits = {"namespace": world.namespace, "deployment": "digits"}
        tells(operator, [at], MetricName.KNOWN_GOOD_VERIFIED, **digits, snapshot="digits-v0")
        tells(operator, [1.0], MetricName.DEPLOYMENT_CONDITION, **digits, condition="KnownGoodAvailable")
        assert told(operator, MetricName.VERIFICATIONS, reason="Verified")[0] >= 2.0
        assert told(operator, MetricName.VERIFIED_BYTES)[0] >= len("weights of 0") + len("weights of 1")

        world.kubectl("delete", "modelsnapshot", "digits-v0")
        for name in (MetricName.SNAPSHOT_VERIFIED, MetricName.SNAPSHOT_CREATED, MetricName.SNAPSHOT_CONDITION):
            tells(operator, [], name, **v0)
        tells(operator, [], MetricName.KNOWN_GOOD_VERIFIED, **digits)
        tells(operator, [0.0], MetricName.DEPLOYMENT_CONDITION, **digits, condition="KnownGoodAvailable")


def test_mismatch_ends_the_age_and_the_rollback_is_counted(still_world: World) -> None:
    world, operator = still_world, still_world.operator
    with running(operator, LASTGOOD_REVERIFY_INTERVAL="2s"):
        world.apply(world.snapshot(0))
        verified_at(world, "digits-v0")
        world.serve(0)
        world.serve(1)
        (world.store / "digits" / "1" / "model.bin").write_text("tampered")
        world.rollback()
        v1 = {"namespace": world.namespace, "snapshot": "digits-v1"}
        tells(operator, [], MetricName.SNAPSHOT_VERIFIED, **v1)
        tells(operator, [0.0], MetricName.SNAPSHOT_CONDITION, **v1, condition="Verified")
        tells(operator, [1.0], MetricName.ROLLBACKS, namespace=world.namespace, outcome="Succeeded")
        assert told(operator, MetricName.VERIFICATIONS, reason="DigestMismatch")[0] >= 1.0


def test_replica_that_waits_for_the_lease_answers_too(still_world: World) -> None:
    world, first = still_world, still_world.operator
    second = replace(first, identity="operator-1")
    with running(first):
        world.apply(world.snapshot(1))
        at = verified_at(world, "digits-v1")
        with running(second):
            tells(second, [at], MetricName.SNAPSHOT_VERIFIED, namespace=world.namespace, snapshot="digits-v1")
            assert told(first, MetricName.LEADER) == [1.0]
            assert told(second, MetricName.LEADER) == [0.0]
            first.stop()
            tells(second, [1.0], MetricName.LEADER)


def test_scrape_writes_nothing(still_world: World) -> None:
    world, operator = still_world, still_world.operator
    with running(operator):
        world.apply(world.snapshot(1))
        verified_at(world, "digits-v1")
        before = settled(world)
        for _ in range(30):
            assert told(operator, MetricName.SNAPSHOT_VERIFIED, snapshot="digits-v1")
            time.sleep(0.1)
        assert writes(world) == before


def writes(world: World) -> list[str]:
    """Return every write in the namespace, other than to the Lease."""
    events = [
        event for event in world.cluster.audit() if event.get("objectRef", {}).get("namespace") == world.namespace
    ]
    return [
        f"{event['requestReceivedTimestamp']} {event['verb']} {event['requestURI']}"
        for event in events
        if event["verb"] not in READS and event["objectRef"]["resource"] != "leases"
    ]


def settled(world: World) -> list[str]:
    """Wait until nothing more is written; return what was."""
    known, since = writes(world), time.monotonic()
    while time.monotonic() - since < STILL:
        time.sleep(0.5)
        if (now := writes(world)) != known:
            known, since = now, time.monotonic()
    return known
