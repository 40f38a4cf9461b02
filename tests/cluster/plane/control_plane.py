"""The command lines of etcd, API server, controller manager, scheduler and kwok."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from tests.cluster.paths import HERE, made
from tests.cluster.plane import credentials

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.spec import Spec

MASTERS = "system:masters"
USERS = {  # file: (user, groups)
    "admin": ("lastgood-test:admin", (MASTERS,)),
    "kwok": ("lastgood-test:kwok", (MASTERS,)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
}
# The limits of a big shared cluster would make a small one slow to start and slow to measure.
UNLIMITED = ("--kube-api-qps=1000", "--kube-api-burst=2000")
_SERVICE = "kubernetes.default.svc.cluster.local"
SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", _SERVICE)


@dataclass(frozen=True, kw_only=True)
class Component:
    """A program of the cluster and how it is called."""

    name: str
    argv: tuple[str, ...]


def keys(spec: Spec) -> Path:
    """Return the folder of certificates and keys."""
    return spec.path("pki")


def kubeconfig(spec: Spec, file: str) -> str:
    """Return the path of a component's kubeconfig."""
    return str(spec.path(f"{file}.kubeconfig"))


def prepare(spec: Spec) -> None:
    """Write certificates, kubeconfigs and configuration."""
    folder = made(keys(spec))
    credentials.make_authority(folder)
    hosts = (*SERVER_NAMES, "127.0.0.1", spec.at.server, spec.at.first_service)
    credentials.issue(folder, "apiserver", "kube-apiserver", hosts=hosts)
    for file, (user, groups) in USERS.items():
        credentials.issue(folder, file, user, groups)
        credentials.write_kubeconfig(folder, file, spec.at.url, spec.path(f"{file}.kubeconfig"))
    shutil.copy(HERE / "files" / "audit-policy.yaml", spec.path("audit-policy.yaml"))
    stages = yaml.safe_load((HERE / "files" / "stages.yaml").read_text())
    spec.path("stages.yaml").write_text(yaml.safe_dump_all(stages))
    made(spec.path("logs"))


def etcd(spec: Spec) -> Component:
    """A store that does not wait for the disk: it lives for a test."""
    client, peer = f"http://127.0.0.1:{spec.at.etcd}", f"http://127.0.0.1:{spec.at.etcd_peer}"
    return _component(
        spec,
        "etcd",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--data-dir={spec.path('etcd')}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--quota-backend-bytes={8 << 30}",
    )


def apiserver(spec: Spec, *more: str) -> Component:
    """The API server, with RBAC and all default admission plugins."""
    folder, at = keys(spec), spec.at
    return _component(
        spec,
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{at.etcd}",
        f"--bind-address={at.bind}",
        f"--advertise-address={at.server}",
        f"--secure-port={at.api}",
        f"--service-cluster-ip-range={at.services}",
        f"--tls-cert-file={folder}/apiserver.crt",
        f"--tls-private-key-file={folder}/apiserver.key",
        f"--client-ca-file={folder}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={folder}/service-accounts.key",
        f"--service-account-signing-key-file={folder}/service-accounts.key",
        *(audit(spec) if spec.audit else ()),
        f"--cert-dir={spec.path('generated')}",
        *more,
    )


def audit(spec: Spec) -> tuple[str, ...]:
    """Write each request that the policy names before it is answered."""
    return (
        f"--audit-policy-file={spec.path('audit-policy.yaml')}",
        f"--audit-log-path={spec.path('audit.log')}",
        "--audit-log-mode=blocking",
        "--audit-log-maxsize=100000",  # MB: one file, so that a reader never meets a rotation
    )


def controller_manager(spec: Spec, *more: str) -> Component:
    """All controllers, under their own service accounts."""
    folder, config = keys(spec), kubeconfig(spec, "controller-manager")
    return _component(
        spec,
        "kube-controller-manager",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={spec.at.controller_manager}",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        *UNLIMITED,
        f"--root-ca-file={folder}/ca.crt",
        f"--service-account-private-key-file={folder}/service-accounts.key",
        f"--cluster-signing-cert-file={folder}/ca.crt",
        f"--cluster-signing-key-file={folder}/ca.key",
        f"--cert-dir={spec.path('generated')}",
        *more,
    )


def scheduler(spec: Spec) -> Component:
    """The scheduler; kwok binds nothing by itself."""
    config = kubeconfig(spec, "scheduler")
    return _component(
        spec,
        "kube-scheduler",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={spec.at.scheduler}",
        "--leader-elect=false",
        *UNLIMITED,
    )


def kwok(spec: Spec) -> Component:
    """A kubelet that only pretends."""
    return _component(
        spec,
        "kwok",
        f"--kubeconfig={kubeconfig(spec, 'kwok')}",
        f"--config={spec.path('stages.yaml')}",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        "--cidr=198.18.0.1/15",  # for benchmarks (RFC 2544): many, and they lead nowhere
    )


def _component(spec: Spec, name: str, *arguments: str) -> Component:
    return Component(name=name, argv=(spec.program(name), *arguments))
