"""What can go wrong with a cluster, said in sentences."""


class ClusterError(RuntimeError):
    """The cluster could not be had; the message says why and what helps."""
