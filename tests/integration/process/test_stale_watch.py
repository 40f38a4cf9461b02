"""Nothing is switched on the word of a watch alone: it may have been silent for long."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lastgood.kube.api.client import Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.credentials import load
from lastgood.kube.api.resources import CONFIGMAPS, DEPLOYMENTS, ROLLBACKS
from tests.cluster import Cluster
from tests.integration.proxy import Proxy, proxied, write_kubeconfig
from tests.integration.served import NAME, Served, until
from tests.integration.world import World

INCIDENT = "INC-2041: backdoor"
MORE = 2.0  # seconds in which an operator that has decided wrongly would show it


@pytest.fixture
async def proxy(api: Cluster, tmp_path: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    way_in = await load(str(api.kubeconfig))
    async with proxied(way_in, lambda: None) as (proxy, url):
        kubeconfig = tmp_path / "proxy.kubeconfig"
        write_kubeconfig(kubeconfig, url)
        yield proxy, kubeconfig


@pytest.fixture
async def served(still_world: World, proxy: tuple[Proxy, Path]) -> AsyncIterator[Served]:
    """Serve v2, after v1, by an operator behind a proxy."""
    still_world.operator.kubeconfig = proxy[1]
    still_world.operator.start()
    connection = await Connection.open(str(still_world.cluster.kubeconfig))
    served = Served(client=Client(connection), world=still_world)
    await served.fill()
    await served.serves("digits-v1")
    await served.deploy("digits-v2")
    await served.serves("digits-v2")
    yield served
    await connection.close()
    await asyncio.to_thread(still_world.operator.stop)  # before its way to the API server goes


async def ask(served: Served, proxy: Proxy, then: Coroutine[Any, Any, Any], seen: bytes) -> None:
    """Ask for an emergency rollback; the operator hears of it after something else was done, of which it does not."""
    proxy.stalled = "modeldeployments"
    await served.annotate("emergency-rollback", INCIDENT)
    await until(lambda: held(proxy, INCIDENT.encode()), what="the annotation is held", show=served.shown)
    await then
    await until(lambda: held(proxy, seen), what="what was done then is held too", show=served.shown)
    await proxy.let_through(INCIDENT.encode())
    await until(served.records, what="the record of the emergency", show=served.shown)


async def held(proxy: Proxy, text: bytes) -> bool:
    """Tell whether the proxy holds an event with this text."""
    return proxy.holds(text)


async def test_model_deployment_that_is_gone_switches_nothing(served: Served, proxy: tuple[Proxy, Path]) -> None:
    await ask(served, proxy[0], served.client.delete(DEPLOYMENTS, served.namespace, NAME), b'"DELETED"')

    await asyncio.sleep(MORE)
    assert await served.model_path() == "/models/digits/2"


async def test_only_the_binding_that_is_asked_for_now_is_written(served: Served, proxy: tuple[Proxy, Path]) -> None:
    before = (await served.workload())["metadata"]["generation"]
    changed = {"spec": {"bindings": [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "$(uri)"}]}}
    await ask(served, proxy[0], served.client.patch(DEPLOYMENTS, served.namespace, NAME, changed), b"$(uri)")

    await until(lambda: ended(served), what="the end of the rollback", show=served.shown)
    assert await served.model_path() == "store://digits/1"
    assert (await served.workload())["metadata"]["generation"] == before + 1


async def test_digest_that_was_quarantined_just_now_is_not_written(served: Served, proxy: tuple[Proxy, Path]) -> None:
    proxy[0].stalled = "configmaps"
    key = str((await served.snapshot("digits-v1"))["spec"]["digest"]).replace(":", "-")
    quarantine = {"metadata": {"name": "lastgood-quarantine"}, "data": {key: "INC-7: as bad"}}
    await served.client.create(CONFIGMAPS, served.namespace, quarantine)
    await until(lambda: held(proxy[0], key.encode()), what="the quarantine is held", show=served.shown)

    await served.annotate("emergency-rollback", INCIDENT)

    await until(lambda: ended(served), what="the end of the rollback", show=served.shown)
    assert [record["status"]["outcomeReason"] for record in await served.records()] == ["NoKnownGood"]
    assert await served.model_path() == "/models/digits/2"


async def test_record_that_is_over_is_not_taken_up_again(served: Served, proxy: tuple[Proxy, Path]) -> None:
    """Another operator has ended it, say, and has lost the Lease to this one."""
    before = (await served.workload())["metadata"]["generation"]
    proxy[0].stalled = "modelrollbacks"
    spec = {"deployment": {"name": NAME}, "reason": "over and done with", "emergency": True}
    await served.client.create(ROLLBACKS, served.namespace, {"metadata": {"name": "by-hand"}, "spec": spec})
    await until(lambda: held(proxy[0], b"over and done with"), what="the record is held", show=served.shown)
    over = {"status": {"outcome": "Superseded"}}
    await served.client.patch(ROLLBACKS, served.namespace, "by-hand", over, subresource="status")
    await until(lambda: held(proxy[0], b"Superseded"), what="its outcome is held", show=served.shown)

    await proxy[0].let_through(b"over and done with")

    await asyncio.sleep(MORE)
    assert (await served.workload())["metadata"]["generation"] == before


async def ended(served: Served) -> bool:
    """Tell whether the rollback has an outcome."""
    records = await served.records()
    return bool(records) and all(record.get("status", {}).get("outcome") for record in records)
