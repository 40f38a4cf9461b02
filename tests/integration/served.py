"""One served model in a namespace of its own, driven without kubectl: dozens of them run side by side."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import NotFoundError
from lastgood.kube.api.resources import CONFIGMAPS, DEPLOYMENTS, ROLLBACKS, SNAPSHOTS, WORKLOADS, Resource
from tests.integration.world import World

Body = dict[str, Any]
NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace")
NAME, WORKLOAD = "digits", "digits-server"
PODS = Resource(group="", version="v1", plural="pods", kind="Pod")
PAUSE = 0.1
LOG = 4000  # characters of the operator's log, from its end


async def until(
    look: Callable[[], Awaitable[Any]], *, what: str, show: Callable[[], Awaitable[Any]], within: float = 60.0
) -> Any:
    """Return the first truthy answer.

    Raises:
        AssertionError: there is none in time; it shows what there is instead.
    """
    end = time.monotonic() + within
    while not (answer := await look()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what}; there is {await show()}")
        await asyncio.sleep(PAUSE)
    return answer


@dataclass(kw_only=True)
class Served:
    """What a rollback is about: v1 has served, v2 serves; `bad` makes the metrics of v2 bad."""

    client: Client
    world: World
    bad: bool = False
    spec: Body = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Where it all is."""
        return self.world.namespace

    async def make(self) -> None:
        """Make the namespace, and what is in it."""
        await self.client.create(NAMESPACES, None, {"metadata": {"name": self.namespace}})
        await self.fill()

    async def fill(self) -> None:
        """Make all that v1 needs in the namespace, and v2."""
        for body in (self.world.snapshot(1), self.world.snapshot(2)):
            await self.client.create(SNAPSHOTS, self.namespace, body)
        workload = self.world.workload()
        workload["spec"]["replicas"] = 1
        await self.client.create(WORKLOADS, self.namespace, workload)
        await self.client.create(DEPLOYMENTS, self.namespace, self.world.deployment("digits-v1", **self.spec))

    async def remove(self) -> None:
        """Take it away, without waiting for it."""
        await self.client.delete(NAMESPACES, None, self.namespace)

    async def deploy(self, snapshot: str) -> None:
        """Name another snapshot, as a person does."""
        await self.client.patch(DEPLOYMENTS, self.namespace, NAME, {"spec": {"snapshot": snapshot}})

    async def annotate(self, name: str, text: str) -> None:
        """Annotate the ModelDeployment."""
        body = {"metadata": {"annotations": {f"lastgood.dev/{name}": text}}}
        await self.client.patch(DEPLOYMENTS, self.namespace, NAME, body)

    async def serves(self, snapshot: str) -> None:
        """Wait until a snapshot serves, has soaked, and nothing more is to be done."""
        what = f"{self.namespace}: {snapshot} serves and soaked"
        # What a signal says again within a minute is written when that is over (ADR 25), and then the soak begins.
        await until(lambda: self._serves(snapshot), what=what, show=self.shown, within=120.0)

    async def _serves(self, snapshot: str) -> bool:
        status = await self.status()
        last = (status.get("history") or [{}])[-1]
        return last.get("snapshot") == snapshot and bool(last.get("soakedAt")) and condition(status, "Ready") == "True"

    async def shown(self) -> str:
        """Return all that there is, for whoever looks for the reason of a failure: what matters most comes last."""
        found = [await self.client.list(kind, self.namespace) for kind in (SNAPSHOTS, PODS)]
        parts = [await self.status(), await self.records(), *(items for items, _ in found), await self.workload()]
        told = [json.dumps(without_managers(part)) for part in parts]
        log = self.world.operator.logs / f"{self.namespace}.log"
        return "\n".join([*told, log.read_text(errors="replace")[-LOG:] if log.exists() else "no log"])

    async def status(self) -> Body:
        """Return the status of the ModelDeployment."""
        return dict((await self.client.get(DEPLOYMENTS, self.namespace, NAME)).get("status", {}))

    async def records(self) -> list[Body]:
        """Return all records."""
        return (await self.client.list(ROLLBACKS, self.namespace))[0]

    async def workload(self) -> Body:
        """Return the Deployment."""
        return await self.client.get(WORKLOADS, self.namespace, WORKLOAD)

    async def model_path(self) -> str:
        """Return the value that the pods get."""
        container = (await self.workload())["spec"]["template"]["spec"]["containers"][0]
        return str(next((item["value"] for item in container.get("env", []) if item["name"] == "MODEL_PATH"), ""))

    async def quarantined(self) -> tuple[str, ...]:
        """Return the keys of the quarantine ConfigMap."""
        try:
            found = await self.client.get(CONFIGMAPS, self.namespace, "lastgood-quarantine")
        except NotFoundError:
            return ()
        return tuple(found.get("data") or {})

    async def snapshot(self, name: str) -> Body:
        """Return a ModelSnapshot."""
        return await self.client.get(SNAPSHOTS, self.namespace, name)


def condition(status: Body, type_: str) -> str:
    """Return what a condition says."""
    return next((str(item["status"]) for item in status.get("conditions", []) if item["type"] == type_), "")


def without_managers(body: Any) -> Any:
    """Return objects without who wrote which of their fields, which is most of the text and tells nothing here."""
    if isinstance(body, dict):
        return {name: without_managers(value) for name, value in body.items() if name != "managedFields"}
    return [without_managers(item) for item in body] if isinstance(body, list) else body
