"""A namespace and a client in this process, and the idle operator as a process of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lastgood.kube.api.client import Client
from lastgood.kube.api.connection import Connection
from tests.cluster import Cluster

Body = dict[str, Any]
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A client of the administrator, and a namespace that nobody else uses."""

    cluster: Cluster
    client: Client
    namespace: str


@asynccontextmanager
async def edge(cluster: Cluster) -> AsyncIterator[Edge]:
    """Make a namespace, and take it away afterwards without waiting for it."""
    namespace = f"edge-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    connection = await Connection.open(str(cluster.kubeconfig))
    try:
        yield Edge(cluster=cluster, client=Client(connection), namespace=namespace)
    finally:
        await connection.close()
        cluster.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One idle operator; what it tells is in a file, one JSON object a line."""

    process: subprocess.Popen[bytes]
    output: Path

    def told(self) -> list[Body]:
        """Return what it has told so far."""
        return [json.loads(line) for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def end(self, number: int = signal.SIGTERM) -> float:
        """Send a signal, and return after how many seconds the process was gone."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=20)
        return time.monotonic() - started


@contextmanager
def replica(found: Edge, folder: Path, identity: str) -> Iterator[Replica]:
    """Start an idle operator; it ends with the block at the latest."""
    output = folder / f"{identity}.out"
    environment = {
        **os.environ,
        "KUBECONFIG": str(found.cluster.kubeconfig),
        "POD_NAME": identity,
        "LASTGOOD_NAMESPACES": found.namespace,
        "LASTGOOD_OPERATOR_NAMESPACE": found.namespace,
        "LASTGOOD_LIVENESS": "",
    }
    with output.open("wb") as out, (folder / f"{identity}.err").open("wb") as errors:
        argv = [sys.executable, "-m", "tests.integration.process.idle_operator"]
        process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=out, stderr=errors)
    try:
        yield Replica(process=process, output=output)
    finally:
        process.kill()
        process.wait()


async def until(true: Callable[[], Any], *, seconds: float = 20, what: str) -> float:
    """Wait until it is true, and return for how many seconds."""
    started = time.monotonic()
    while not true():  # what is waited for happens in other processes
        if time.monotonic() - started > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.02)
    return time.monotonic() - started


def model_deployment(name: str, **annotations: str) -> Body:
    """Return a small valid ModelDeployment."""
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "model": "digits",
            "snapshot": "digits-v1",
            "targetRef": {"name": "server"},
            "bindings": [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}],
        },
    }


def model_snapshot(name: str, model: str = "digits") -> Body:
    """Return a small valid ModelSnapshot."""
    digest = f"sha256:{'0' * 64}"
    return {
        "metadata": {"name": name},
        "spec": {"model": model, "version": "1", "source": {"store": {"path": "digits/1"}}, "digest": digest},
    }
