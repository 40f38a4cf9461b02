"""The host's side of a node: its namespaces, the cable to it, and what its end leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.cluster.errors import ClusterError
from tests.cluster.machine import addresses, cgroups, kubelet
from tests.cluster.made import packages
from tests.cluster.paths import clusters, locked
from tests.cluster.plane import control_plane
from tests.cluster.process import children, clean_environment, die_with_parent, python_path, tail
from tests.cluster.spec import NODE, STATE, Spec, read_json, read_process, write_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 120
END_SECONDS = 20
COVERED = ("/var/lib", "/var/log", "/run")
# Its own network, processes, mounts, IPC and host name; all of it dies with its first process.
UNSHARE = (
    *("unshare", "--net", "--pid", "--mount", "--ipc", "--uts"),
    *("--fork", "--kill-child", "--mount-proc", "--propagation", "slave"),
)


class Node:
    """A node in namespaces of its own. Use it from one thread: the node dies with the one that made it."""

    def __init__(self, spec: Spec) -> None:
        """Start nothing yet."""
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it can be used.

        Raises:
            ClusterError: it did not start.
        """
        _require_uncovered(self.spec)
        with locked(clusters() / addresses.LOCK):
            self.spec = replace(self.spec, addresses=addresses.on_own_network())
            self.spec.save()
            process = self._enter_namespaces()
            _connect(self.spec, _first_process(process))
        control_plane.prepare(self.spec)
        kubelet.prepare(self.spec)
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
        self._wait(process)

    def kill(self) -> None:
        """End its first process, and so all of them."""
        kill(self.spec.directory)
        if self._process:
            self._process.kill()
            self._process.wait()

    def _enter_namespaces(self) -> subprocess.Popen[bytes]:
        argv = [*UNSHARE, sys.executable, "-m", "tests.cluster.machine.node_init", str(self.spec.directory)]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            env=clean_environment(python_path()),
            preexec_fn=die_with_parent,  # noqa: PLW1509  # we spawn from a single thread
        )
        write_process(self.spec.path(NODE), _first_process(self._process))
        return self._process

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SECONDS
        while read_json(self.spec.path(STATE)).get("phase") not in ("ready", "failed"):
            if process.poll() is not None or time.monotonic() > deadline:
                log = tail(self.spec.path("logs", "supervisor.log"))
                raise ClusterError(f"the node's first process ended, or takes too long\n{log}")
            time.sleep(0.05)


def _require_uncovered(spec: Spec) -> None:
    if any(str(spec.directory.resolve()).startswith(f"{folder}/") for folder in COVERED):
        raise ClusterError(f"set LASTGOOD_CACHE to a folder outside {', '.join(COVERED)}: a node has its own there")


def _first_process(unshare: subprocess.Popen[bytes]) -> int:
    """Return the pid of the node's first process, as the host sees it."""
    while unshare.poll() is None:
        if found := children(unshare.pid):
            return found[0]
        time.sleep(0.01)
    raise ClusterError(f"unshare failed with {unshare.returncode}: a node needs root and its own namespaces")


def _connect(spec: Spec, pid: int) -> None:
    """Lay a cable into the node's network; it goes away with that network."""
    host = f"lastgood-{spec.at.gateway.split('.')[1]}"
    _ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("addr", "add", f"{spec.at.gateway}/30", "dev", host)
    _ip("link", "set", host, "up")
    for network in (spec.at.pods, spec.at.services):
        _ip("route", "add", network, "via", spec.at.server, "dev", host)


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if result.returncode:
        raise ClusterError(f"ip {' '.join(arguments)} failed: {result.stderr.strip()}")


def install(progress: Callable[[str], None]) -> None:
    """Install the Debian packages that a node needs."""
    packages.require(packages.NODE, progress)


def enter(directory: Path, *namespaces: str) -> list[str]:
    """Return the command that enters namespaces of the node.

    Raises:
        ClusterError: the node is gone.
    """
    first = read_process(directory / NODE)
    if first is None or not first.alive():
        raise ClusterError(f"the node of cluster {directory.name} does not run")
    return ["nsenter", "--target", str(first.pid), *namespaces, "--"]


def load_image(directory: Path, archive: Path) -> None:
    """Import an OCI or Docker archive into the node's containerd."""
    with archive.open("rb") as content:
        argv = [*enter(directory, "--mount", "--net", "--pid", "--ipc"), *kubelet.CTR, "images", "import", "-"]
        result = subprocess.run(argv, stdin=content, check=False, capture_output=True, text=True)
    if result.returncode:
        raise ClusterError(f"containerd does not take {archive}: {result.stderr.strip()}")


def send(directory: Path, pid: int, number: signal.Signals) -> None:
    """Send a signal to a process by its pid inside the node."""
    subprocess.run([*enter(directory, "--pid", "--mount"), "kill", f"-{number.value}", str(pid)], check=True)


def kill(directory: Path) -> None:
    """End the node's first process, if it runs."""
    first = read_process(directory / NODE)
    if first:
        first.send(signal.SIGKILL)
        first.gone_within(END_SECONDS)


def remove_traces(name: str) -> None:
    """Remove what the kernel keeps after a node's end."""
    if os.geteuid() == 0:
        cgroups.remove(name)
