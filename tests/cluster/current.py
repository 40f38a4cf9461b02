"""The cluster that the user's kubeconfig points to: only when asked for by name."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class CurrentCluster(Cluster):
    """Somebody's cluster: we neither start nor stop nor pause it."""

    def load_image(self, archive: Path) -> None:
        """Refuse: we do not know its nodes."""
        raise ClusterError(f"push the image of {archive.name} to a registry that your cluster pulls from")


@contextmanager
def running_current(
    *,
    profile: str,
    name: str | None,
    pods: bool,
    audit: bool,  # noqa: ARG001  # this way to a cluster has no audit log to leave out
    progress: Callable[[str], None],
) -> Iterator[Cluster]:
    """Use the cluster of the current kubeconfig; it is still there afterwards, with what the tests left in it."""
    if os.environ.get("LASTGOOD_CLUSTER") != "current":
        raise ClusterError("tests write to the current cluster only with LASTGOOD_CLUSTER=current")
    kubeconfig = Path((os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")).split(os.pathsep)[0])
    if not kubeconfig.exists():
        raise ClusterError(f"LASTGOOD_CLUSTER=current needs a kubeconfig, and there is no {kubeconfig}")
    server = server_of(kubeconfig)
    progress(f"using the current cluster {server}{'; its pods are real' if pods else ''}")
    with tempfile.TemporaryDirectory(prefix="lastgood-current-") as folder:
        yield CurrentCluster(
            name=name or "current",
            profile=profile,
            directory=Path(folder),
            kubeconfig=kubeconfig,
            server=server,
            audit_log=None,
        )


def server_of(kubeconfig: Path) -> str:
    """Return the URL of the API server of the current context.

    Raises:
        ClusterError: there is no current context, or it names no cluster.
    """
    config = yaml.safe_load(kubeconfig.read_text()) or {}
    contexts = {entry["name"]: entry["context"]["cluster"] for entry in config.get("contexts") or []}
    servers = {entry["name"]: entry["cluster"]["server"] for entry in config.get("clusters") or []}
    server: str | None = servers.get(contexts.get(config.get("current-context")))
    if server is None:
        raise ClusterError(f"{kubeconfig} has no current context with a cluster")
    return server
