"""What bindings of a field of a container have in common."""

from lastgood.api.names import Reason
from lastgood.api.workload.workload import Workload, container_list


def missing(workload: Workload, container: str) -> tuple[Reason, str] | None:
    """Return that the workload does not have a container, if so."""
    if container in workload.containers:
        return None
    names = ", ".join(sorted(workload.containers)) or "none"
    return Reason.CONTAINER_NOT_FOUND, f"spec.bindings: there is no container {container!r} (there are: {names})"


def owned_at(workload: Workload, container: str) -> tuple[str, ...]:
    """Return the way to a container in `managedFields`, from the pod template."""
    return "f:spec", f"f:{container_list(workload.containers, container)}", f'k:{{"name":"{container}"}}'
