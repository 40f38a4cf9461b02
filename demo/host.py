"""The stage where no node can run: a real API server, kwok's pretended pods, and the rest on this host.

The operator is a process of the host. Two players read the paths that the pods of the two servers are given, load what
is there when a pod starts, and answer for the pods on the loopback interface, for the client as for the operator.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubernetes.client.exceptions import ApiException

from demo import client, server, unprotected
from demo.model import Classifier
from demo.stage import SERVICE, begin, connect, digests
from demo.world import DEPLOYMENT, SWITCH_OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.traffic import Traffic
    from demo.world import Folder, World
    from tests.cluster import Cluster

CRDS = Path(__file__).parent.parent / "crds"
NAMES = ("server.yaml", "snapshots.yaml", "model.yaml")
LOOK = 0.1  # seconds between two looks at the workload
GRACE = 15  # seconds that the operator has to stop


@dataclass(kw_only=True)
class Player:
    """Plays the pods of one workload: each serves what was at its path when it started."""

    world: World
    workload: str
    stop: threading.Event
    pods: dict[str, server.Service] = field(default_factory=dict)

    def play(self) -> None:
        """Follow the workload until told to stop."""
        while not self.stop.wait(LOOK):
            try:
                there = self.world.pods(self.workload)
            except ApiException:  # the API server is busy: look again
                continue
            started = {name: self.load(path) for name, path in there.items() if path and name not in self.pods}
            self.pods = {name: each for name, each in (self.pods | started).items() if name in there}

    def load(self, path: str) -> server.Service:
        """Start a pod; it mounts the models at /models."""
        models = self.world.folder.models
        model = Classifier.load(models / path.removeprefix("/models/"))
        golden = json.loads((models / "golden.json").read_text())
        accuracy = server.golden_accuracy(model, golden)
        return server.Service(model=model, test_accuracy=accuracy, metrics_down=self.world.folder.traffic / SWITCH_OFF)

    def get(self, path: str) -> server.Answer:
        """Answer a GET with any of the pods, as a Service does."""
        return self.chosen().get(path)

    def post(self, path: str, body: dict[str, Any]) -> server.Answer:
        """Answer a POST with any of the pods."""
        return self.chosen().post(path, body)

    def chosen(self) -> server.Service:
        """Return one of the pods."""
        pods = list(self.pods.values())
        return random.choice(pods) if pods else server.Service(model=None)  # noqa: S311  a Service is no secret

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Answer on the loopback interface; gives the address."""
        listener = server.Server(("127.0.0.1", 0), partial(server.Handler, self))
        crew = [
            threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}),
            threading.Thread(target=self.play),
        ]
        start(crew)
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}"
        finally:
            self.stop.set()
            listener.shutdown()
            for each in crew:
                each.join()
            listener.server_close()


@contextmanager
def on_host(cluster: Cluster, folder: Folder, say: Callable[[str], None]) -> Iterator[World]:
    """Play on a control plane, with everything else on this host."""
    stop = threading.Event()
    world = connect(cluster, folder)
    players = [Player(world=world, workload=name, stop=stop) for name in (DEPLOYMENT, unprotected.NAME)]
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    with players[0].listening() as url, players[1].listening() as other:
        begin(world, names=NAMES, values=digests(folder), moved={SERVICE: url})
        scoring = [scorer(folder, url, world.traffic, stop), scorer(folder, other, world.unprotected, stop)]
        world.start_traffic = partial(start, scoring)
        with operator(cluster, folder) as process:
            world.operator_alive = lambda: process.poll() is None
            world.operator_log = (folder.root / "operator.log").read_text
            say("the operator runs on this host")
            world.apply()
            try:
                yield world
            finally:
                stop.set()
                for each in scoring:
                    if each.is_alive():
                        each.join()


def start(crew: list[threading.Thread]) -> None:
    """Start threads."""
    for each in crew:
        each.start()


def scorer(folder: Folder, url: str, traffic: Traffic, stop: threading.Event) -> threading.Thread:
    """Return a client of one of the servers, not started."""
    arguments = (f"{url}/predict", folder.traffic / "samples.json", traffic.path, stop)
    return threading.Thread(target=client.run, args=arguments)


@contextmanager
def operator(cluster: Cluster, folder: Folder) -> Iterator[subprocess.Popen[bytes]]:
    """Run the operator as a process of this host, and end it."""
    environment = {
        **cluster.environment(),
        "LASTGOOD_OPERATOR_NAMESPACE": "lastgood-system",
        "LASTGOOD_NAMESPACES": "digits",
        "LASTGOOD_STORE": str(folder.models),
        "LASTGOOD_REVERIFY_INTERVAL": "3s",
        "LASTGOOD_ALLOW_LOOPBACK": "true",  # the player answers there
        "LASTGOOD_LIVENESS": "",
    }
    with (folder.root / "operator.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lastgood", "run"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
