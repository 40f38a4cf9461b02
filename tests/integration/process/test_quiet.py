"""Between re-verifications a quiet cluster sees no write of the operator but its Lease.

LASTGOOD_QUIET_SECONDS says for how long it is looked at: 60 unless told; 300 is what we promise.
"""

import asyncio
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lastgood.kube.api.client import Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.resources import DEPLOYMENTS, SNAPSHOTS, WORKLOADS
from lastgood.verify import digest
from tests.cluster import Cluster
from tests.integration.lives import Life
from tests.integration.proxy import serving
from tests.integration.served import NAMESPACES, condition, until

Body = dict[str, Any]
COUNT = 100
SECONDS = float(os.environ.get("LASTGOOD_QUIET_SECONDS", "60"))
STILL = 8.0
"""So long without a write, and it has settled: longer than an Event or a first sweep waits."""
SETTLED = 150.0  # what a signal says a second time within a minute is written when that is over: ADR 25
USER = "lastgood-operator"


@pytest.mark.timeout(360 + SECONDS)
async def test_a_quiet_cluster_sees_no_write_but_the_lease(api: Cluster, client: Client, tmp_path: Path) -> None:
    namespace = f"quiet-{secrets.token_hex(4)}"
    await client.create(NAMESPACES, None, {"metadata": {"name": namespace}})
    async with serving(metrics()) as url:
        await make(client, namespace, tmp_path, url)
        life = start(api, namespace, tmp_path)
        try:
            await until(
                lambda: settled(client, namespace),
                what="all serve",
                show=lambda: shown(client, namespace),
                within=SETTLED,
            )
            log = Log(api)
            await still(log)
            noticed = await watch(log)
        finally:
            life.gone()
            await client.delete(NAMESPACES, None, namespace)
    assert noticed == []


@pytest.fixture
async def client(api: Cluster) -> AsyncIterator[Client]:
    connection = await Connection.open(str(api.kubeconfig))
    yield Client(connection)
    await connection.close()


def metrics() -> web.Application:
    """An accuracy that is never twice the same, and always good."""

    async def accuracy(_: web.Request) -> web.Response:
        return web.json_response({"accuracy": 0.95 + secrets.randbelow(100) / 10_000})

    app = web.Application()
    app.router.add_get("/metrics.json", accuracy)
    return app


async def make(client: Client, namespace: str, store: Path, url: str) -> None:
    """Make a hundred models with two snapshots each, of which one serves."""
    for number in range(COUNT):
        name = f"model-{number}"
        for version in (1, 2):
            await client.create(SNAPSHOTS, namespace, snapshot(store, name, version))
        await client.create(WORKLOADS, namespace, workload(name))
        await client.create(DEPLOYMENTS, namespace, deployment(name, url))


def snapshot(store: Path, name: str, version: int) -> Body:
    """Write a checkpoint and return its ModelSnapshot."""
    path = f"{name}/{version}"
    file = store / path / "model.bin"
    file.parent.mkdir(parents=True)
    file.write_text(path)
    found = digest(file.parent).digest
    spec = {"model": name, "version": str(version), "source": {"store": {"path": path}}, "digest": found}
    return {"metadata": {"name": f"{name}-v{version}"}, "spec": spec}


def workload(name: str) -> Body:
    """Return a Deployment with one pod."""
    container = {"name": "server", "image": "localhost/none:1"}
    return {
        "metadata": {
            "name": name,
            "labels": {"lastgood.dev/model-deployment": name},
            "annotations": {"lastgood.dev/bindable": "env:server/MODEL_PATH=/models/$(path)"},
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def deployment(name: str, url: str) -> Body:
    """Return a ModelDeployment with both kinds of triggers."""
    spec = {
        "model": name,
        "snapshot": f"{name}-v1",
        "targetRef": {"name": name},
        "bindings": [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}],
        "triggers": [
            {"name": "pods", "workload": {}, "interval": "10s"},
            {
                "name": "accuracy",
                "http": {"url": f"{url}/metrics.json"},
                "failureCondition": "result.accuracy < 0.9",
                "interval": "10s",
            },
        ],
        "rollback": {"knownGood": {"soak": "5s"}},
    }
    return {"metadata": {"name": name}, "spec": spec}


def start(api: Cluster, namespace: str, store: Path) -> Life:
    """Start the operator as a user of its own, so that the audit log tells what it wrote."""
    kubeconfig = api.kubeconfig_for(USER, ["system:masters"])
    here = ("--namespace", namespace, "--operator-namespace", namespace, "--kubeconfig", str(kubeconfig))
    environment = {"POD_NAME": "operator-0", "LASTGOOD_LIVENESS": ""}
    arguments = (*here, "--store", str(store), "--allow-loopback")
    return Life.start(arguments, log=store / "operator.log", environment=environment)


async def settled(client: Client, namespace: str) -> bool:
    """Tell whether every model serves and has soaked."""
    found = [body.get("status", {}) for body in (await client.list(DEPLOYMENTS, namespace))[0]]
    soaked = [status for status in found if (status.get("history") or [{}])[-1].get("soakedAt")]
    return len([status for status in soaked if condition(status, "Ready") == "True"]) == COUNT


async def shown(client: Client, namespace: str) -> str:
    """Return how far all of them are."""
    found = [body.get("status", {}) for body in (await client.list(DEPLOYMENTS, namespace))[0]]
    kinds = ("Ready", "Healthy")
    said = [item for status in found for item in status.get("conditions", []) if item["type"] in kinds]
    return str(Counter((item["type"], item["status"], item["message"]) for item in said))


class Log:
    """The audit log, read on from where it was left."""

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.audit_log is not None
        self._path = cluster.audit_log
        self._place = self._path.stat().st_size

    def writes(self) -> list[str]:
        """Return what the operator has written since the last call, other than its Lease; a question is no write."""
        with self._path.open("rb") as lines:
            lines.seek(self._place)
            text = lines.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._place += len(whole)
        return list(_writes(whole))


NO_WRITES = ("leases", "selfsubjectaccessreviews")
"""The Lease is renewed; and what may be done is asked by a POST that stores nothing (ADR 23)."""


def _writes(text: bytes) -> Iterator[str]:
    for line in text.splitlines():
        event = json.loads(line)
        target = event["objectRef"]
        if event["user"]["username"] == USER and target["resource"] not in NO_WRITES:
            place = "/".join(target[part] for part in ("resource", "name", "subresource") if part in target)
            yield f"{event['requestReceivedTimestamp']} {event['verb']} {place}: {event.get('requestObject')}"


async def still(log: Log) -> None:
    """Wait until nothing more is written for a while."""
    began = last = time.monotonic()
    while time.monotonic() - last < STILL:
        await asyncio.sleep(0.5)
        if written := log.writes():
            last = time.monotonic()
        assert time.monotonic() - began < 60, f"it does not settle: {written}"


async def watch(log: Log) -> list[str]:
    """Look for as long as was asked for; return what the operator has written."""
    end = time.monotonic() + SECONDS
    noticed: list[str] = []
    while time.monotonic() < end and not noticed:
        await asyncio.sleep(min(5.0, SECONDS))
        noticed += log.writes()
    return noticed
