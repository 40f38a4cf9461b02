"""Clusters by kind, for machines with a Docker engine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.cluster.cluster import Cluster
from tests.cluster.current import server_of
from tests.cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

START_SECONDS = 600


class KindCluster(Cluster):
    """A cluster whose node is a Docker container."""

    def load_image(self, archive: Path) -> None:
        """Give the node an image."""
        _kind("load", "image-archive", str(archive), "--name", self.name)

    def exec_in_network(self, argv: Sequence[str]) -> list[str]:
        """Prefix a command so that it runs in the node's container, with the programs that are there."""
        return ["docker", "exec", f"{self.name}-control-plane", *argv]


@contextmanager
def running_kind(
    *,
    profile: str,
    name: str | None,
    pods: bool,
    audit: bool,  # noqa: ARG001  # this way to a cluster has no audit log to leave out
    progress: Callable[[str], None],
) -> Iterator[Cluster]:
    """Run a cluster in Docker; its pods are real whatever `pods` says.

    A SIGKILL of this process leaves it running, as nothing in Docker watches us: `kind delete cluster`.
    """
    _require()
    name = name or f"lastgood-{uuid4().hex[:6]}"
    progress(f"kind creates {name}; pods are {'real instead of pretended' if pods else 'real'}")
    with tempfile.TemporaryDirectory(prefix="lastgood-kind-") as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        try:
            _kind("create", "cluster", "--name", name, "--kubeconfig", str(kubeconfig), "--wait", "120s")
            yield KindCluster(
                name=name,
                profile=profile,
                directory=Path(folder),
                kubeconfig=kubeconfig,
                server=server_of(kubeconfig),
                audit_log=None,
            )
        finally:
            _kind("delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig))


def _require() -> None:
    if missing := [program for program in ("kind", "docker", "kubectl") if not shutil.which(program)]:
        raise ClusterError(
            f"LASTGOOD_CLUSTER=kind needs {' and '.join(missing)} on PATH; unset it to go without Docker"
        )
    if subprocess.run(["docker", "info"], check=False, capture_output=True).returncode:
        raise ClusterError("LASTGOOD_CLUSTER=kind needs a Docker engine, and `docker info` finds none; or unset it")


def _kind(*arguments: str) -> None:
    result = subprocess.run(
        ["kind", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    if result.returncode:
        raise ClusterError(f"kind {' '.join(arguments)} failed: {result.stderr.strip()}")
