"""The operator with the rights that the chart gives it, and no others: real users, and only RBAC decides."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from deploy import sync
from tests.integration.world import World

Body = dict[str, Any]
RIGHTS = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@contextmanager
def with_rights_of_the_chart(
    world: World, *values: str, keep: Callable[[Body], bool] = lambda _: True
) -> Iterator[None]:
    """Let the operator of a world have what the chart gives for some values, less what is not kept."""
    world.apply(*(rights := [body for body in rendered(world, *values) if keep(body)]))
    world.operator.kubeconfig = world.cluster.kubeconfig_for(
        f"system:serviceaccount:{world.namespace}:{world.namespace}"
    )
    try:
        yield
    finally:
        world.operator.stop()
        wide = [body for body in rights if body["kind"].startswith("Cluster")]
        world.cluster.kubectl("delete", "-f", "-", stdin=json.dumps(listed(wide)), check=False)


def rendered(world: World, *values: str) -> list[Body]:
    """Return the roles and bindings of the chart, named after the namespace."""
    settings = (f"fullnameOverride={world.namespace}", *values)
    arguments = ["template", "lastgood", str(sync.CHART), "--namespace", world.namespace]
    done = world.cluster.helm(*arguments, *(part for value in settings for part in ("--set", value)))
    bodies = [body for body in yaml.safe_load_all(done.stdout) if body and body["kind"] in RIGHTS]
    return [body for body in bodies if body["metadata"]["name"].startswith(world.namespace)]


def listed(bodies: list[Body]) -> Body:
    """Return bodies as one object for kubectl."""
    return {"apiVersion": "v1", "kind": "List", "items": bodies}
