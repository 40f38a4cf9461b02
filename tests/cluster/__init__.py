"""A real Kubernetes cluster for tests: `local` (default), `kind` or `current`, chosen by LASTGOOD_CLUSTER."""

from tests.cluster.cluster import Cluster, running
from tests.cluster.errors import ClusterError

__all__ = ["Cluster", "ClusterError", "running"]
