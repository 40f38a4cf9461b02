"""The first process in a node's namespaces: when it ends, the kernel ends everything else in there.

Run by node.py as `unshare ... python -m tests.cluster.machine.node_init FOLDER`; a line on standard input says that the
cable to the host is there.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.machine import kubelet
from tests.cluster.paths import made
from tests.cluster.plane import control_plane
from tests.cluster.plane.start import Start, report, wait_for_namespaces, wait_for_node
from tests.cluster.process import clean_environment
from tests.cluster.spec import NODE_NAME, Spec

INTERFACE = "eth0"
# The kubelet sets these for the whole machine unless it finds them so. It shall find them so, and only it.
KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main(directory: Path) -> None:
    """Start the node and then do what a first process does: bury the dead."""
    sys.stdin.readline()
    spec = Spec.load(directory)
    try:
        _connect(spec)
        _hide_host(spec)
        _start(spec)
    except (ClusterError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        traceback.print_exc()
        report(spec, "failed", message=str(error))
    _reap()


def _connect(spec: Spec) -> None:
    """Give our end of the cable an address."""
    socket.sethostname(NODE_NAME)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "addr", "add", f"{spec.at.server}/30", "dev", INTERFACE)
    _run("ip", "link", "set", INTERFACE, "up")
    _run("ip", "route", "add", "default", "via", spec.at.gateway)


def _hide_host(spec: Spec) -> None:
    """Cover the host's folders that containerd, kubelet and CNI plugins write to."""
    # Mounts of the host arrive here, ours stay here, and pods may share ours.
    _run("mount", "--make-rshared", "/")
    for folder in ("/var/lib", "/var/log"):
        own = made(spec.path("node", folder.strip("/").replace("/", "-")))
        _run("mount", "--bind", str(own), folder)
    for name in ("kubelet", "cni"):
        made(Path("/var/lib") / name)
    for name in ("pods", "containers"):
        made(Path("/var/log") / name)
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for number, (name, value) in enumerate(KERNEL.items()):
        copy = Path(f"/run/kernel-{number}")
        copy.write_text(value)
        _run("mount", "--bind", str(copy), f"/proc/sys/{name}")


def _start(spec: Spec) -> None:
    """Start everything, as far as possible side by side."""
    start = Start(spec)
    start.run(
        kubelet.containerd(spec),
        control_plane.etcd(spec),
        control_plane.apiserver(spec, *kubelet.apiserver_flags(spec)),
    )
    start.wait("containerd", lambda: _images(spec))
    start.wait("API server", start.api.ready)
    start.run(control_plane.controller_manager(spec), control_plane.scheduler(spec), kubelet.kubelet(spec))
    start.run(kubelet.proxy(spec), kubelet.dns(spec))
    wait_for_namespaces(start)
    wait_for_node(start)
    start.wait("DNS", lambda: _answers(8181, "/ready"))
    start.wait("kube-proxy", lambda: _answers(10256, "/livez"))
    start.ready()


def _images(spec: Spec) -> bool:
    """Import the pause image: that it can be done is the sign that containerd is there."""
    argv = [*kubelet.CTR, "images", "import", str(spec.path("pause.tar"))]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def _answers(port: int, path: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def _run(*argv: str) -> None:
    result = subprocess.run(argv, check=False, capture_output=True, text=True, env=clean_environment({}))
    if result.returncode:
        raise ClusterError(f"{' '.join(argv)} failed: {result.stderr.strip()}")


def _reap() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
