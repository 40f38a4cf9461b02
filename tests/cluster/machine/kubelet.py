"""The configuration and command lines of what makes a node: containerd, kubelet, kube-proxy, DNS."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import yaml

from tests.cluster.machine import cgroups
from tests.cluster.made import archive
from tests.cluster.paths import made
from tests.cluster.plane import control_plane, credentials
from tests.cluster.plane.control_plane import Component
from tests.cluster.spec import NODE_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.spec import Spec

SOCKET = "/run/containerd/containerd.sock"
CTR = ("ctr", "--address", SOCKET, "--namespace", "k8s.io")
CNI_PLUGINS = "/usr/lib/cni"
USERS = {
    "kubelet": (f"system:node:{NODE_NAME}", ("system:nodes",)),
    "proxy": ("system:kube-proxy", ()),
    "dns": ("lastgood-test:dns", (control_plane.MASTERS,)),
    "apiserver-kubelet": ("kube-apiserver", (control_plane.MASTERS,)),
}
CONTAINERD = """
version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE every sandbox would fail with "can't get final child's PID".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{cni}"
"""
COREFILE = """
.:53 {{
    bind {address}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
}}
"""


def prepare(spec: Spec) -> None:
    """Write everything that the node's programs read."""
    folder = control_plane.keys(spec)
    for file, (user, groups) in USERS.items():
        credentials.issue(folder, file, user, groups)
        credentials.write_kubeconfig(folder, file, spec.at.url, spec.path(f"{file}.kubeconfig"))
    credentials.issue(folder, "kubelet-server", NODE_NAME, hosts=(NODE_NAME, spec.at.server))
    archive.write_pause(spec.programs / "pause", spec.path("pause.tar"))
    made(spec.path("cni")).joinpath("10-lastgood.conflist").write_text(json.dumps(_network(spec)))
    spec.path("resolv.conf").write_text("")
    spec.path("Corefile").write_text(COREFILE.format(address=spec.at.server, kubeconfig=spec.path("dns.kubeconfig")))
    spec.path("kubelet.yaml").write_text(yaml.safe_dump(_kubelet(spec)))
    spec.path("containerd.toml").write_text(_containerd(spec))
    cgroups.make(spec.name)


def _containerd(spec: Spec) -> str:
    return CONTAINERD.format(
        root=made(spec.path("containerd")),
        socket=SOCKET,
        pause=archive.PAUSE,
        snapshotter="overlayfs" if _overlay_works(made(spec.path("probe"))) else "native",
        cni_plugins=CNI_PLUGINS,
        cni=spec.path("cni"),
    )


def _overlay_works(folder: Path) -> bool:
    """Try it in a mount namespace of its own: on top of another overlay it fails, and copying has to do."""
    lower, upper, work, target = (made(folder / name) for name in ("lower", "upper", "work", "target"))
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    argv = ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, str(target)]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def _network(spec: Spec) -> dict[str, object]:
    """Return the CNI configuration: `ptp`, for on one bridge Services are not reached without br_netfilter."""
    address = {"type": "host-local", "ranges": [[{"subnet": spec.at.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    plugins = [{"type": "ptp", "ipam": address}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    return {"cniVersion": "0.4.0", "name": "lastgood", "plugins": plugins}


def _kubelet(spec: Spec) -> dict[str, object]:
    folder = control_plane.keys(spec)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": f"{folder}/ca.crt"}},
        "tlsCertFile": f"{folder}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{folder}/kubelet-server.key",
        "clusterDomain": "cluster.local",
        "clusterDNS": [spec.at.server],
        "resolvConf": str(spec.path("resolv.conf")),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.path(spec.name),
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "enforceNodeAllocatable": [],
        # A full disk of the machine is no reason to throw out pods of a test.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "maxPods": 110,
        "readOnlyPort": 0,
        "kubeAPIQPS": 500,
        "kubeAPIBurst": 1000,
    }


def containerd(spec: Spec) -> Component:
    """The container runtime."""
    return Component(name="containerd", argv=("containerd", f"--config={spec.path('containerd.toml')}"))


def kubelet(spec: Spec) -> Component:
    """The kubelet."""
    argv = (
        spec.program("kubelet"),
        f"--config={spec.path('kubelet.yaml')}",
        f"--kubeconfig={control_plane.kubeconfig(spec, 'kubelet')}",
        "--root-dir=/var/lib/kubelet",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={spec.at.server}",
    )
    return Component(name="kubelet", argv=argv)


def proxy(spec: Spec) -> Component:
    """Services, as iptables rules of the node's own network namespace."""
    argv = (
        spec.program("kube-proxy"),
        f"--kubeconfig={control_plane.kubeconfig(spec, 'proxy')}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={spec.at.pods}",
        f"--hostname-override={NODE_NAME}",
        "--iptables-min-sync-period=100ms",
        # These limits are the machine's, not the namespace's.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    )
    return Component(name="kube-proxy", argv=argv)


def dns(spec: Spec) -> Component:
    """The cluster's DNS, a process of the node that pods ask by the node's address."""
    return Component(name="coredns", argv=(spec.program("coredns"), f"-conf={spec.path('Corefile')}"))


def apiserver_flags(spec: Spec) -> tuple[str, ...]:
    """Return what lets the API server reach the kubelet, for `kubectl logs` and `exec`."""
    folder = control_plane.keys(spec)
    return (
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={folder}/ca.crt",
        f"--kubelet-client-certificate={folder}/apiserver-kubelet.crt",
        f"--kubelet-client-key={folder}/apiserver-kubelet.key",
    )
