"""The feed on a real API server: what the watch says, what it misses, and what it never writes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lastgood.api.names import OPT_IN_LABEL
from lastgood.controller.feed import Feed
from lastgood.controller.queue import Queue
from lastgood.kube.api.client import DEPLOYMENTS, SNAPSHOTS, WORKLOADS, Body
from lastgood.kube.cache import Cache, Key, Kind
from tests.cluster import Cluster
from tests.integration.edge import Edge, edge, model_deployment, model_snapshot, replica, until

QUIET_SECONDS = 8


@pytest.fixture
async def here(api: Cluster) -> AsyncIterator[Edge]:
    async with edge(api) as found:
        yield found


class Asked(Queue):
    """Only remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[Key] = []

    def add(self, key: Key, *, delay: float = 0.0) -> None:
        assert delay == 0
        self.keys.append(key)

    def taken(self) -> set[str]:
        names = {f"{key.kind}/{key.name}" for key in self.keys}
        self.keys.clear()
        return names


async def fed(here: Edge) -> tuple[Feed, Cache, Asked]:
    cache, queue = Cache(), Asked()
    feed = Feed(here.client, cache, queue, namespaces=(here.namespace,))
    await feed.fill()
    return feed, cache, queue


def workload(label: str | None) -> Body:
    labels = {OPT_IN_LABEL: label} if label else {}
    template = {
        "metadata": {"labels": {"app": "server"}},
        "spec": {"containers": [{"name": "server", "image": "server:1"}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "server"}}, "template": template}
    return {"metadata": {"name": "server", "labels": labels}, "spec": spec}


async def test_everything_is_known_before_the_first_pass(here: Edge) -> None:
    await here.client.create(SNAPSHOTS, here.namespace, model_snapshot("digits-v1"))
    await here.client.create(DEPLOYMENTS, here.namespace, model_deployment("digits"))
    await here.client.create(WORKLOADS, here.namespace, workload("digits"))
    _, cache, queue = await fed(here)
    assert cache.complete
    assert queue.taken() == {"ModelSnapshot/digits-v1", "ModelDeployment/digits"}
    assert len(cache.related(Kind.WORKLOAD, here.namespace, "digits")) == 1


async def test_a_cache_that_is_true_needs_no_repair(here: Edge) -> None:
    await here.client.create(SNAPSHOTS, here.namespace, model_snapshot("digits-v1"))
    feed, _, _ = await fed(here)
    assert await feed.sweep(settle=0) == 0


async def test_ghosts_and_dropped_events_are_found(here: Edge) -> None:
    for name in ("gone", "changed"):
        await here.client.create(SNAPSHOTS, here.namespace, model_snapshot(name))
    await here.client.create(DEPLOYMENTS, here.namespace, model_deployment("digits"))
    feed, cache, queue = await fed(here)
    queue.taken()

    await here.client.delete(SNAPSHOTS, here.namespace, "gone")
    await here.client.patch(SNAPSHOTS, here.namespace, "changed", {"metadata": {"labels": {"a": "b"}}})
    await here.client.create(SNAPSHOTS, here.namespace, model_snapshot("new"))

    assert await feed.sweep(settle=0) == 3
    assert {body["metadata"]["name"] for body in cache.list(Kind.SNAPSHOT, here.namespace)} == {"changed", "new"}
    assert queue.taken() >= {"ModelSnapshot/gone", "ModelSnapshot/new", "ModelDeployment/digits"}
    assert await feed.sweep(settle=0) == 0


async def test_a_workload_that_takes_back_its_label_is_forgotten(here: Edge) -> None:
    await here.client.create(WORKLOADS, here.namespace, workload("digits"))
    feed, cache, queue = await fed(here)
    queue.taken()
    await here.client.patch(WORKLOADS, here.namespace, "server", {"metadata": {"labels": {OPT_IN_LABEL: None}}})
    assert await feed.sweep(settle=0) == 1
    assert cache.related(Kind.WORKLOAD, here.namespace, "digits") == []
    assert queue.taken() == {"ModelDeployment/digits"}


async def test_what_the_watch_brings_meanwhile_is_not_fetched_again(here: Edge) -> None:
    feed, _, _ = await fed(here)
    created = await here.client.create(SNAPSHOTS, here.namespace, model_snapshot("new"))
    sweep = asyncio.create_task(feed.sweep(settle=0.3))
    await asyncio.sleep(0.15)
    feed.see(Kind.SNAPSHOT, "ADDED", created)
    assert await sweep == 0


async def test_events_reach_whom_they_concern(here: Edge, tmp_path: Path) -> None:
    await here.client.create(DEPLOYMENTS, here.namespace, model_deployment("digits"))
    with replica(here, tmp_path, "only") as operator:

        async def wakes(act: object, expected: set[str]) -> None:
            before = len(operator.told())
            await act  # type: ignore[misc]  # a call of the client
            await until(
                lambda: {f"{it['kind']}/{it['name']}" for it in operator.told()[before:]} == expected,
                what=f"a pass of {expected}",
            )

        await until(operator.told, what="the operator works")
        await asyncio.sleep(1)
        snapshot, label = model_snapshot("digits-v1"), {"metadata": {"labels": {OPT_IN_LABEL: None}}}
        own = {"ModelDeployment/digits"}
        await wakes(here.client.create(SNAPSHOTS, here.namespace, snapshot), own | {"ModelSnapshot/digits-v1"})
        await wakes(here.client.create(WORKLOADS, here.namespace, workload("digits")), own)
        await wakes(here.client.patch(WORKLOADS, here.namespace, "server", label), own)
        await here.client.delete(DEPLOYMENTS, here.namespace, "digits")
        await until(lambda: operator.told()[-1]["known"] is False, what="it is known to be gone")


async def test_a_quiet_operator_writes_nothing_but_its_lease(here: Edge, tmp_path: Path) -> None:
    for number in range(10):
        await here.client.create(DEPLOYMENTS, here.namespace, model_deployment(f"d{number}"))
        await here.client.create(SNAPSHOTS, here.namespace, model_snapshot(f"s{number}"))
    with replica(here, tmp_path, "only") as operator:
        await until(lambda: len(operator.told()) >= 20, what="everything was passed over once")
        await asyncio.sleep(QUIET_SECONDS)
        assert len(operator.told()) == 20  # and nothing twice: the second list of kopf is no news
    written = [
        event
        for event in here.cluster.audit()
        if event["verb"] not in ("get", "list", "watch")
        and event.get("objectRef", {}).get("namespace") == here.namespace
        and event.get("userAgent") == "lastgood"
        and event["objectRef"]["resource"] != "leases"
    ]
    assert {event["verb"] for event in written} <= {"create"}  # this test's own client made the objects
    assert len(written) == 20


async def test_an_outage_at_the_start_and_one_in_the_middle_are_survived(here: Edge, tmp_path: Path) -> None:
    await here.client.create(DEPLOYMENTS, here.namespace, model_deployment("digits"))
    here.cluster.pause("kube-apiserver")
    try:
        with replica(here, tmp_path, "only") as operator:
            await asyncio.sleep(4)
            assert operator.process.poll() is None
            here.cluster.resume("kube-apiserver")
            await until(operator.told, seconds=40, what="the operator works")
            here.cluster.pause("kube-apiserver")
            await asyncio.sleep(8)  # longer than the Lease
            here.cluster.resume("kube-apiserver")
            before = len(operator.told())
            await here.client.create(SNAPSHOTS, here.namespace, model_snapshot("digits-v1"))
            await until(lambda: len(operator.told()) > before, seconds=40, what="the operator works on")
            assert operator.end() < 5
    finally:
        here.cluster.resume("kube-apiserver")
