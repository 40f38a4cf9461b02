"""The one door to the Kubernetes client, which reads kubeconfig files. It is an extra: a pod does without it."""

from typing import Any, Final

from lastgood.errors import TerminalError

MISSING: Final = (
    "a kubeconfig is read by the Kubernetes client, which is not installed: in a checkout of lastgood, "
    "`pip install --no-deps --require-hashes -r requirements/plugin.txt` brings it"
)


def library() -> Any:  # noqa: ANN401  # the package has types for its generated part only
    """Return the package `kubernetes` with its parts `client` and `config`. It takes 0.3 s that others need not spend.

    Raises:
        TerminalError: it is not installed.
    """
    try:
        import kubernetes  # noqa: PLC0415 - see above
        import kubernetes.client  # noqa: PLC0415 - the same
        import kubernetes.config  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise TerminalError(MISSING) from error
    return kubernetes
