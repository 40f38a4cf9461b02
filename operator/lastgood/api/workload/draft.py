"""What is to be written to a pod template, and to objects beside the workload, field by field, until it is whole."""

from collections.abc import Mapping
from typing import Any

from lastgood.api.workload.companion import ObjectRef
from lastgood.api.workload.workload import Container, container_list


class Draft:
    """Apply configurations of a pod template, and of `companions`: nothing but the fields that were put into them."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self.annotations = dict(annotations)
        self.companions: dict[ObjectRef, dict[str, Any]] = {}
        self._containers: dict[str, dict[str, Any]] = {}

    def container(self, name: str) -> dict[str, Any]:
        """Return what is written of a container so far."""
        return self._containers.setdefault(name, {"name": name})

    def companion(self, ref: ObjectRef) -> dict[str, Any]:
        """Return what is written of an object beside the workload so far."""
        return self.companions.setdefault(ref, {})

    def template(self, among: Mapping[str, Container]) -> dict[str, Any]:
        """Return it as a pod template.

        `among` are the workload's containers, which say which of them are init containers, and the order: an apply in
        another order would change that of init containers, which run one after another.
        """
        order = {name: place for place, name in enumerate(among)}
        pod: dict[str, list[dict[str, Any]]] = {}
        for name in sorted(self._containers, key=lambda name: order.get(name, len(order))):
            pod.setdefault(container_list(among, name), []).append(self._containers[name])
        return {"metadata": {"annotations": self.annotations}, **({"spec": pod} if pod else {})}
