"""Objects beside workloads: read once a minute, or when a pass needs them, and written on the version that was seen."""

from typing import Any

import pytest

from lastgood.api.workload.companion import ObjectRef
from lastgood.kube.api.problems import ConflictError
from lastgood.kube.api.resources import CONFIGMAPS, Resource
from lastgood.kube.shared.companions import READ_AGAIN, Companions
from tests.unit.kube.world import Server

REF = ObjectRef("ConfigMap", "paths")


class Applying(Server):
    """The simulated server, with an apply."""

    async def apply(
        self, resource: Resource, namespace: str | None, name: str, body: dict[str, Any], *, force: bool
    ) -> dict[str, Any]:
        assert force
        return await self.patch(resource, namespace, name, body)


class World:
    def __init__(self) -> None:
        self.now, self.server = 1000.0, Applying()
        self.companions = Companions(
            self.server,  # type: ignore[arg-type]  # the simulated server
            clock=lambda: self.now,
        )

    def write(self, value: str) -> None:
        metadata = {"name": "paths", "namespace": "ml", "uid": "1"}
        self.server.put(CONFIGMAPS, {"metadata": metadata, "data": {"model": value}})

    async def value(self) -> str | None:
        found = (await self.companions.of("ml", [REF]))[REF]
        return str(found.body["data"]["model"]) if found else None


async def test_it_is_read_again_after_a_minute_and_whenever_a_pass_needs_it() -> None:
    world = World()
    assert await world.value() is None
    world.write("a")
    assert await world.value() is None
    world.now += READ_AGAIN
    assert await world.value() == "a"
    world.write("b")
    assert await world.value() == "a"
    await world.companions.read("ml", [REF])
    assert await world.value() == "b"


async def test_it_is_written_on_the_version_that_was_seen() -> None:
    world = World()
    world.write("a")
    seen = (await world.companions.of("ml", [REF]))[REF]
    assert seen is not None
    await world.companions.apply(seen, REF, {"data": {"model": "b"}})
    assert await world.value() == "b"
    with pytest.raises(ConflictError):
        await world.companions.apply(seen, REF, {"data": {"model": "c"}})
