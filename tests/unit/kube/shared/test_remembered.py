"""What outlives ModelDeployments, as it is kept: not known until it is read, bounded, and for each namespace alone."""

import json
from collections.abc import Collection
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import Held, Left
from lastgood.api.facts.remembered import NOTHING, Proven, Remembered
from lastgood.api.names import Digest, RecordName, SnapshotName
from lastgood.kube.api.problems import ForbiddenError
from lastgood.kube.api.resources import CONFIGMAPS
from lastgood.kube.shared import remembered
from lastgood.kube.shared.remembered import RememberedFacts, name_for, names_for, place_of
from tests.unit.core.builders import NOW, ago, digest
from tests.unit.kube.world import Server

LEFT = Left(digest=digest(3), snapshot=SnapshotName("digits-v3"), reason="wrong answers", at=NOW)
KEPT = Remembered(left=(LEFT,))


class World:
    def __init__(self) -> None:
        self.server, self.changes = Server(), list[tuple[str, Collection[str]]]()
        self.alive: Collection[str] = ()
        self.facts = self.operator()

    def operator(self) -> RememberedFacts:
        return RememberedFacts(
            self.server,  # type: ignore[arg-type]  # the simulated server
            namespace="ops",
            alive=lambda _: self.alive,
            on_change=lambda namespace, names: self.changes.append((namespace, names)),
        )

    def write(self, data: dict[str, str], namespace: str = "ml") -> None:
        for part, name in enumerate(names_for(namespace)):
            its = {key: text for key, text in data.items() if place_of(namespace, key) == (namespace, part)}
            self.server.put(CONFIGMAPS, {"metadata": {"name": name, "namespace": "ops"}, "data": its})

    def data(self, namespace: str = "ml") -> dict[str, str]:
        found = (self.server.objects.get(("configmaps", "ops", name)) or {} for name in names_for(namespace))
        return {key: text for body in found for key, text in body.get("data", {}).items()}


async def read(facts: RememberedFacts, namespace: str = "ml") -> None:
    for part in range(len(names_for(namespace))):
        await facts.read((namespace, part))


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is kept of a namespace is in one ConfigMap."""
    monkeypatch.setattr(remembered, "PARTS", 1)


async def test_nothing_is_known_before_the_first_answer_and_an_outage_is_none() -> None:
    world, place = World(), place_of("ml", "digits")
    world.alive = ("digits", *(name for name in ("letters", "faces") if place_of("ml", name) != place))
    assert world.facts.of("ml", "digits") == (None, "")
    world.server.down = True
    await world.facts.read(place)
    found, problem = world.facts.of("ml", "digits")
    assert found is None
    assert f"cannot read ConfigMap ops/{name_for(place)}" in problem
    world.server.down = False
    await world.facts.read(place)
    assert world.facts.of("ml", "digits") == (NOTHING, "")
    assert world.changes == [("ml", {"digits"}), ("ml", {"digits"})], "whoever waits is woken, and nobody else"


async def test_each_is_in_one_of_a_few_config_maps_and_what_a_write_costs_does_not_grow_with_all_of_them() -> None:
    world = World()
    for number in range(64):
        await world.facts.keep("ml", f"model-{number}", KEPT)
    sizes = [len(world.server.objects["configmaps", "ops", name]["data"]) for name in names_for("ml")]
    assert (sum(sizes), len(sizes)) == (64, 8)
    assert max(sizes) <= 16
    assert not set(names_for("ml")) & set(names_for("ml-1"))


@pytest.mark.usefixtures("together")
async def test_a_change_wakes_those_whose_facts_it_is_and_nobody_else() -> None:
    world = World()
    world.write({"digits": KEPT.as_text(), "other": KEPT.as_text()})
    await read(world.facts)
    world.changes.clear()
    world.write({"digits": KEPT.as_text(), "other": proven(1).as_text(), "new": KEPT.as_text()})
    await read(world.facts)
    assert world.changes == [("ml", {"other", "new"})]
    world.facts.doubt("ml", "digits")
    await read(world.facts)
    assert world.changes[1:] == [("ml", {"digits"})]


async def test_what_is_kept_is_read_by_the_next_operator() -> None:
    world = World()
    await read(world.facts)
    await world.facts.keep("ml", "digits", KEPT)
    assert world.facts.of("ml", "digits") == (KEPT, "")
    other = world.operator()
    await read(other)
    assert other.of("ml", "digits") == (KEPT, "")
    assert other.of("ml", "letters") == (NOTHING, "")


@pytest.mark.usefixtures("together")
async def test_own_write_says_nothing_of_the_others_and_what_they_have_is_known_after_the_next_reading() -> None:
    """An administrator has another one forgotten, by hand, between our reading and our write."""
    world = World()
    world.write({"digits": KEPT.as_text(), "other": KEPT.as_text()})
    await read(world.facts)
    world.write({"digits": KEPT.as_text()})
    await world.facts.keep("ml", "digits", proven(1))
    assert world.facts.of("ml", "digits") == (proven(1), "")
    assert world.facts.of("ml", "other") == (KEPT, "")
    await read(world.facts)
    assert world.facts.of("ml", "other") == (NOTHING, "")
    assert world.facts.of("ml", "digits") == (proven(1), "")


@pytest.mark.usefixtures("together")
async def test_what_was_never_read_is_not_known_by_a_write() -> None:
    world = World()
    world.write({"other": KEPT.as_text()})
    await world.facts.keep("ml", "digits", KEPT)
    assert world.facts.of("ml", "other") == (None, "")
    await read(world.facts)
    assert world.facts.of("ml", "other") == (KEPT, "")


async def test_whoever_asked_before_the_first_write_is_woken_by_it() -> None:
    world = World()
    world.alive = ("digits",)
    assert world.facts.of("ml", "digits") == (None, "")
    await world.facts.keep("ml", "digits", KEPT)
    assert world.facts.of("ml", "digits") == (KEPT, "")
    assert world.changes == [("ml", {"digits"})]


async def test_nothing_is_written_where_there_is_nothing_to_keep() -> None:
    world = World()
    await read(world.facts)
    await world.facts.keep("ml", "digits", NOTHING)
    assert world.server.writes == []
    await world.facts.keep("ml", "digits", KEPT)
    await world.facts.keep("ml", "digits", NOTHING)
    assert world.data() == {}


async def test_object_made_anew_is_looked_up_again() -> None:
    """An administrator may have had the earlier one forgotten."""
    world = World()
    world.write({"digits": KEPT.as_text()})
    assert world.facts.of("ml", "digits", "uid-1") == (None, "")
    await read(world.facts)
    assert world.facts.of("ml", "digits", "uid-1") == (KEPT, "")
    world.write({})
    assert world.facts.of("ml", "digits", "uid-1") == (KEPT, "")
    assert world.facts.of("ml", "digits", "uid-2") == (None, "")
    await read(world.facts)
    assert world.facts.of("ml", "digits", "uid-2") == (NOTHING, "")


async def test_what_was_read_between_the_deletion_and_the_next_object_is_not_believed_for_that_one() -> None:
    world = World()
    world.write({"digits": KEPT.as_text()})
    world.facts.of("ml", "digits", "uid-1")
    await read(world.facts)
    world.facts.doubt("ml", "digits")
    await read(world.facts)
    world.write({})
    assert world.facts.of("ml", "digits", "uid-2") == (None, "")


async def test_deleted_object_is_looked_up_again() -> None:
    world = World()
    world.write({"digits": KEPT.as_text()})
    await read(world.facts)
    world.facts.doubt("ml", "digits")
    assert world.facts.of("ml", "digits") == (None, "")


async def test_entry_that_cannot_be_understood_is_told_and_is_not_nothing() -> None:
    world = World()
    world.write({"digits": "[]", "letters": KEPT.as_text()})
    await read(world.facts)
    found, problem = world.facts.of("ml", "digits")
    assert found is None
    where = name_for(place_of("ml", "digits"))
    assert problem.startswith(f"ConfigMap ops/{where}: digits: must be a JSON object")
    assert world.facts.of("ml", "letters") == (KEPT, "")


async def test_what_another_replica_wrote_is_read_when_the_lease_comes() -> None:
    world = World()
    await read(world.facts)
    world.write({"digits": KEPT.as_text()})
    assert world.facts.of("ml", "digits") == (NOTHING, "")
    world.facts.forget()
    assert world.facts.of("ml", "digits") == (None, "")


def proven(days: int) -> Remembered:
    return Remembered(proven=(Proven(digest=Digest("sha256:x"), runtime="y", at=ago(days=days)),))


HELD = Held(snapshot=SnapshotName("v3"), digest=digest(3), reason="", rollback=RecordName("rb"), since=NOW)


@pytest.mark.usefixtures("together")
async def test_room_is_made_by_what_is_gone_and_held_nothing_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.alive = ("alive",)
    kept = {
        "alive": proven(900),
        "gone-long-ago": proven(800),
        "gone": proven(2),
        "gone-and-left": Remembered(left=(LEFT,), held=HELD),
    }
    world.write({name: facts.as_text() for name, facts in kept.items()})
    await read(world.facts)
    size = sum(len(name) + len(text) for name, text in world.data().items())
    monkeypatch.setattr(remembered, "MOST_BYTES", size + 20)
    await world.facts.keep("ml", "new", proven(1))
    assert set(world.data()) == {"alive", "gone", "gone-and-left", "new"}
    monkeypatch.setattr(remembered, "MOST_BYTES", len(json.dumps(world.data())) // 3)
    with pytest.raises(ForbiddenError, match="is full"):
        await world.facts.keep("ml", "more", Remembered(left=(LEFT,) * 9))
    assert "alive" in world.data()


async def test_another_namespace_has_config_maps_of_its_own() -> None:
    world = World()
    for namespace in ("ml", "vision"):
        await read(world.facts, namespace)
        await world.facts.keep(namespace, "digits", KEPT if namespace == "ml" else proven(1))
    assert (set(world.data("ml")), set(world.data("vision"))) == ({"digits"}, {"digits"})
    assert world.facts.of("vision", "digits") == (proven(1), "")


@pytest.mark.usefixtures("together")
async def test_two_who_make_the_config_map_at_once_lose_nothing() -> None:
    world = World()
    await read(world.facts)

    def faster(what: str) -> None:
        if what == "create":
            world.server.before = lambda _: None
            world.write({"letters": KEPT.as_text()})

    world.server.before = faster
    await world.facts.keep("ml", "digits", KEPT)
    assert set(world.data()) == {"digits", "letters"}


async def test_reading_on_its_way_when_all_is_forgotten_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Lease comes back while a read is on its way: another replica may have written since it was asked."""
    world = World()
    world.write({"digits": KEPT.as_text()})
    get = world.server.get

    async def slow(*asked: Any) -> Any:
        answer = await get(*asked)
        world.facts.forget()
        return answer

    monkeypatch.setattr(world.server, "get", slow)
    world.facts.of("ml", "digits")
    await read(world.facts)
    assert world.facts.of("ml", "digits") == (None, "")
    monkeypatch.setattr(world.server, "get", get)
    await read(world.facts)
    assert world.facts.of("ml", "digits") == (KEPT, "")
