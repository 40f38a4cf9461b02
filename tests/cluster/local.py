"""Clusters of processes on this machine, each held up by a supervisor."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.machine import node
from tests.cluster.paths import clusters, locked, made
from tests.cluster.plane import build, credentials
from tests.cluster.process import Process, clean_environment, python_path, tail, wait_stopped
from tests.cluster.spec import STARTER, STATE, SUPERVISOR, Spec, read_json, read_process, write_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CLAIM = ".claim.lock"
PROFILES = ("control-plane", "node")
PAUSABLE = ("etcd", "kube-apiserver")
START_SECONDS = 180
STOP_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class LocalCluster(Cluster):
    """A cluster of processes, which can be stopped, listened to and entered."""

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return the kubeconfig of a user with a client certificate of this cluster."""
        identity = hashlib.sha256(repr((user, tuple(groups))).encode()).hexdigest()[:8]
        file = f"{re.sub(r'[^a-zA-Z0-9.-]', '-', user)}-{identity}"
        target = self.directory / "users" / f"{file}.kubeconfig"
        with locked(made(target.parent) / ".lock"):
            if not target.exists():
                credentials.issue(self.directory / "pki", file, user, groups)
                credentials.write_kubeconfig(self.directory / "pki", file, self.server, target)
        return target

    @property
    def gateway(self) -> str:
        """The host's end of the cable to a node; without a node, the loopback interface."""
        return Spec.load(self.directory).at.gateway

    def pause(self, component: str) -> None:
        """Stop a component with SIGSTOP."""
        self._signal(component, signal.SIGSTOP)
        if self.profile != "node":  # there, processes have other ids
            wait_stopped(self._pid(component))

    def resume(self, component: str) -> None:
        """Let a component go on with SIGCONT."""
        self._signal(component, signal.SIGCONT)

    def load_image(self, archive: Path) -> None:
        """Import an image into the node's containerd."""
        if self.profile != "node":
            super().load_image(archive)
        node.load_image(self.directory, archive)

    def exec_in_network(self, argv: Sequence[str]) -> list[str]:
        """Prefix a command so that it runs in the node's network."""
        return [*node.enter(self.directory, "--net"), *argv] if self.profile == "node" else list(argv)

    def _pid(self, component: str) -> int:
        pid = read_json(self.directory / STATE)["pids"].get(component)
        if component not in PAUSABLE or pid is None:
            raise ClusterError(f"there is no {component!r} to pause; there are {', '.join(PAUSABLE)}")
        return int(pid)

    def _signal(self, component: str, number: signal.Signals) -> None:
        pid = self._pid(component)
        if self.profile == "node":
            node.send(self.directory, pid, number)
        else:
            os.kill(pid, number)


@contextmanager
def running_local(
    *,
    profile: str,
    name: str | None,
    pods: bool,
    audit: bool,
    progress: Callable[[str], None],
) -> Iterator[Cluster]:
    """Run a cluster that ends with the block, or with this process."""
    owner = Process.of(os.getpid())
    name = name or f"{profile}-{uuid4().hex[:6]}"
    cluster = up(name=name, profile=profile, pods=pods, audit=audit, owner=owner, progress=progress)
    try:
        yield cluster
    finally:
        down(name)


def up(  # what to start, whose it is, and who is told
    *,
    name: str,
    profile: str,
    pods: bool,
    owner: Process | None,
    progress: Callable[[str], None],
    audit: bool = True,
) -> Cluster:
    """Start a cluster and wait until it can be used; without an owner it lives until `down`."""
    if profile not in PROFILES:
        raise ClusterError(f"profile {profile!r} is unknown; there are {', '.join(PROFILES)}")
    sweep()
    if profile == "node":
        node.install(progress)
    programs = build.programs(progress)
    directory = _claim(name)
    spec = Spec(name=name, profile=profile, directory=directory, programs=programs, pods=pods, audit=audit, owner=owner)
    spec.save()
    progress(f"starting {name} ({profile})")
    began = time.monotonic()
    _wait(_start_supervisor(directory), directory, progress)
    progress(f"{name} is ready after {time.monotonic() - began:.1f} s")
    return find(name)


def find(name: str) -> Cluster:
    """Return the running cluster of this name.

    Raises:
        ClusterError: there is none.
    """
    directory = _folder(name)
    if read_json(directory / STATE).get("phase") != "ready":
        raise ClusterError(f"there is no cluster {name!r}; there are: {', '.join(names()) or 'none'}")
    spec = Spec.load(directory)
    return LocalCluster(
        name=name,
        profile=spec.profile,
        directory=directory,
        kubeconfig=directory / "admin.kubeconfig",
        server=spec.at.url,
        audit_log=directory / "audit.log" if spec.audit else None,
        programs=spec.programs,
    )


def names() -> list[str]:
    """Return the names of all clusters that were started and not taken down."""
    return sorted(path.name for path in clusters().iterdir() if path.is_dir())


def down(name: str) -> None:
    """Take a cluster down, whatever state it is in; a cluster that is not there is down already."""
    supervisor = read_process(_folder(name) / SUPERVISOR)
    if supervisor:
        supervisor.send(signal.SIGTERM)
        if not supervisor.gone_within(STOP_SECONDS):
            supervisor.send(signal.SIGKILL)
            supervisor.gone_within(STOP_SECONDS)
    _remove(name)


def sweep() -> list[str]:
    """Remove what clusters left behind whose supervisor was killed; return their names."""
    with locked(clusters() / CLAIM):  # a folder that is being claimed has no holder yet
        dead = [name for name in names() if not _held(clusters() / name)]
        for name in dead:
            _remove(name)
    return dead


def _held(directory: Path) -> bool:
    """Tell whether someone will take it down: its supervisor, or else the one who is about to start that."""
    keeper = read_process(directory / SUPERVISOR) or read_process(directory / STARTER)
    return keeper is not None and keeper.alive()


def _remove(name: str) -> None:
    node.kill(clusters() / name)
    node.remove_traces(name)
    shutil.rmtree(clusters() / name, ignore_errors=True)


def _claim(name: str) -> Path:
    """Make the cluster's folder, with a note of who is about to start it."""
    directory = _folder(name)
    with locked(clusters() / CLAIM):
        if directory.exists():
            raise ClusterError(f"a cluster {name!r} exists; end it with: python -m tests.cluster down --name {name}")
        made(directory / "logs")
        write_process(directory / STARTER, os.getpid())
    return directory


def _folder(name: str) -> Path:
    """Return the folder of the cluster with this name, which must not lead anywhere else: `down` deletes it."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", name):
        raise ClusterError(f"{name!r} is no name for a cluster: at most 42 of a-z, 0-9 and -")
    return clusters() / name


def _start_supervisor(directory: Path) -> subprocess.Popen[bytes]:
    """Start it in a session of its own: Ctrl-C is for us, and we tell it."""
    with (directory / "logs" / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.plane.supervisor", str(directory)],
            cwd="/",
            env=clean_environment(python_path()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(supervisor: subprocess.Popen[bytes], directory: Path, progress: Callable[[str], None]) -> None:
    try:
        _until_ready(supervisor, directory, progress)
    except BaseException:
        down(directory.name)
        supervisor.wait()
        raise
    # It outlives us or is ended by pid: either way nobody asks this object again.
    supervisor.returncode = 0


def _until_ready(supervisor: subprocess.Popen[bytes], directory: Path, progress: Callable[[str], None]) -> None:
    began, told = time.monotonic(), 0
    while (state := read_json(directory / STATE)).get("phase") != "ready":
        waited = time.monotonic() - began
        if state.get("phase") == "failed":
            raise ClusterError(f"cluster {directory.name} did not start: {state['message']}")
        if supervisor.poll() is not None or waited > START_SECONDS:
            log = tail(directory / "logs" / "supervisor.log")
            raise ClusterError(f"cluster {directory.name} did not start; its supervisor says:\n{log}")
        if waited > told + build.PROGRESS_SECONDS:
            told += build.PROGRESS_SECONDS
            progress(f"starting {directory.name}: {told} s; {tail(directory / 'logs' / 'supervisor.log', 1)}")
        time.sleep(0.05)
