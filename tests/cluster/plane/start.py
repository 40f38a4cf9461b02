"""Starts the parts of a cluster in order, and waits until each can be used."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.cluster.errors import ClusterError
from tests.cluster.plane import control_plane
from tests.cluster.plane.api import Api
from tests.cluster.process import spawn, tail
from tests.cluster.spec import NODE_NAME, STATE, Spec, write_json

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.cluster.plane.control_plane import Component

SECONDS = 60
FAKE_NODES = ("kwok-0", "kwok-1")
# The heap of an API server with few objects is small, so that Go collects garbage every few dozen requests, which took
# a fifth of its time; a production one has a hundred times the heap. This is four times fewer collections.
GARBAGE = {"GOGC": "400"}


class Start:
    """The processes of one cluster while it comes up. Use it from one thread: they die with the one that made them."""

    def __init__(self, spec: Spec) -> None:
        """Start nothing yet."""
        self.spec = spec
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.api = Api(spec.at.url, control_plane.keys(spec))
        self._began = time.monotonic()

    def run(self, *components: Component) -> None:
        """Start components side by side."""
        for component in components:
            log = self.spec.path("logs", f"{component.name}.log")
            self.processes[component.name] = spawn(component.argv, log, self._environment())
        self._report("starting")

    def _environment(self) -> dict[str, str]:
        return {"HOME": str(self.spec.directory), **GARBAGE}

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        """Wait until something is so.

        Raises:
            ClusterError: a component died, or it takes too long.
        """
        deadline = time.monotonic() + SECONDS
        while not done():
            self._require_all_alive(what)
            if time.monotonic() > deadline:
                raise ClusterError(f"{what} did not come within {SECONDS} s\n{self._logs()}")
            time.sleep(0.05)
        self.say(f"{what} after {time.monotonic() - self._began:.1f} s")

    def say(self, sentence: str) -> None:
        """Leave a line in the supervisor's log, where the starter reads it."""
        print(sentence, flush=True)  # noqa: T201  # standard output is the log

    def ready(self) -> None:
        """Tell the starter that the cluster can be used."""
        self._report("ready")

    def kill(self) -> None:
        """End all of it at once: the data goes too, so nothing is worth a graceful end."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    def _report(self, phase: str) -> None:
        report(self.spec, phase, pids={name: process.pid for name, process in self.processes.items()})

    def _require_all_alive(self, what: str) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                log = tail(self.spec.path("logs", f"{name}.log"))
                raise ClusterError(f"{name} ended with {process.returncode} before: {what}\n{log}")

    def _logs(self) -> str:
        return "\n".join(f"--- {name}\n{tail(self.spec.path('logs', f'{name}.log'), 5)}" for name in self.processes)


def report(spec: Spec, phase: str, *, message: str = "", pids: dict[str, int] | None = None) -> None:
    """Write the state that the starter polls."""
    write_json(spec.path(STATE), {"phase": phase, "message": message, "pids": pids or {}, "reporter": os.getpid()})


def start_control_plane(start: Start) -> None:
    """Start etcd, API server and controllers; with pods, a scheduler and kwok too."""
    spec = start.spec
    start.run(control_plane.etcd(spec), control_plane.apiserver(spec, "--endpoint-reconciler-type=none"))
    start.wait("API server", start.api.ready)
    start.run(control_plane.controller_manager(spec))
    if spec.pods:
        _start_pods(start)
    wait_for_namespaces(start)


def _start_pods(start: Start) -> None:
    start.run(control_plane.scheduler(start.spec), control_plane.kwok(start.spec))
    for name in FAKE_NODES:
        start.api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}})
    for name in FAKE_NODES:
        wait_for_node(start, name)


def wait_for_namespaces(start: Start) -> None:
    """Wait until pods can be created: until the controllers have given `default` its service account."""
    path = "/api/v1/namespaces/default/serviceaccounts/default"
    start.wait("controllers", lambda: start.api.get(path) is not None)


def wait_for_node(start: Start, name: str = NODE_NAME) -> None:
    """Wait until a node is Ready and the scheduler may use it."""
    start.wait(f"node {name}", lambda: _usable(start.api, name))


def _usable(api: Api, name: str) -> bool:
    node = api.get(f"/api/v1/nodes/{name}") or {}
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and not node["spec"].get("taints")
