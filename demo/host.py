"""The stage where no node can run: a real API server, kwok's pretended pods, and the rest on this host.

The operator is a process of the host. A player reads the path that the live workload's pods are given, loads that
checkpoint, and answers for the pods on the loopback interface, for the client as for the operator's triggers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kubernetes.client.exceptions import ApiException

from demo import client, server
from demo.model import Classifier
from demo.stage import SERVICE, begin, connect, digests
from demo.world import SWITCH_OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.world import Folder, World
    from tests.cluster import Cluster

CRDS = Path(__file__).parent.parent / "crds"
NAMES = ("server.yaml", "snapshots.yaml", "model.yaml")
LOOK = 0.1  # seconds between two looks at the workload
GRACE = 15  # seconds that the operator has to stop


@dataclass(kw_only=True)
class Player:
    """Plays every pod of the workload: it serves what they would have loaded."""

    world: World
    stop: threading.Event
    service: server.Service = field(init=False)
    path: str = ""

    def __post_init__(self) -> None:
        """Begin without a model, as the pods do."""
        down = self.world.folder.traffic / SWITCH_OFF
        self.service = server.Service(model=None, metrics_down=down)

    def play(self) -> None:
        """Follow the workload until told to stop."""
        while not self.stop.wait(LOOK):
            try:
                path = self.world.served()
            except ApiException:  # the workload is not there yet, or the API server is busy: look again
                continue
            if path and path != self.path:
                self.load(path)

    def load(self, path: str) -> None:
        """Serve another checkpoint; a pod mounts the models at /models."""
        models = self.world.folder.models
        model = Classifier.load(models / path.removeprefix("/models/"))
        golden = json.loads((models / "golden.json").read_text())
        self.service.test_accuracy = server.golden_accuracy(model, golden)
        self.service.scores = server.Scores()
        self.service.model = model
        self.path = path


@contextmanager
def on_host(cluster: Cluster, folder: Folder, say: Callable[[str], None]) -> Iterator[World]:
    """Play on a control plane, with everything else on this host."""
    stop = threading.Event()
    world = connect(cluster, folder)
    player = Player(world=world, stop=stop)
    listener = server.Server(("127.0.0.1", 0), partial(server.Handler, player.service))
    url = f"http://127.0.0.1:{listener.server_address[1]}"
    begin(world, names=NAMES, values=digests(folder), moved={SERVICE: url})
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    scoring = threading.Thread(target=client.run, args=(f"{url}/predict", *files(folder), stop))
    serving = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
    playing = threading.Thread(target=player.play)
    world.start_traffic = scoring.start
    with operator(cluster, folder) as process:
        world.operator_alive = lambda: process.poll() is None
        world.operator_log = (folder.root / "operator.log").read_text
        say("the operator runs on this host")
        world.apply()
        serving.start()
        playing.start()
        try:
            yield world
        finally:
            stop.set()
            listener.shutdown()
            for thread in (scoring, serving, playing):
                if thread.is_alive():
                    thread.join()
            listener.server_close()


def files(folder: Folder) -> tuple[Path, Path]:
    """Return the client's samples and its log."""
    return folder.traffic / "samples.json", folder.traffic / "requests.jsonl"


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
