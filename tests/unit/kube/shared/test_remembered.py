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
from lastgood.kube.shared.remembered import RememberedFacts, name_for
from tests.unit.core.builders import NOW, ago, digest
from tests.unit.kube.world import Server

LEFT = Left(digest=digest(3), snapshot=SnapshotName("digits-v3"), reason="wrong answers", at=NOW)
KEPT = Remembered(left=(LEFT,))


class World:
    def __init__(self) -> None:
        self.server, self.changes = Server(), list[tuple[str, Collection[str] | None]]()
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
        self.server.put(CONFIGMAPS, {"metadata": {"name": name_for(namespace), "namespace": "ops"}, "data": data})

    def data(self, namespace: str = "ml") -> dict[str, str]:
        found: dict[str, str] = self.server.objects["configmaps", "ops", name_for(namespace)]["data"]
        return found


async def test_nothing_is_known_before_the_first_answer_and_an_outage_is_none() -> None:
    world = World()
    assert world.facts.of("ml", "digits") == (None, "")
    world.server.down = True
    await world.facts.read("ml")
    found, problem = world.facts.of("ml", "digits")
    assert found is None
    assert "cannot read ConfigMap ops/lastgood-remembered-ml" in problem
    world.server.down = False
    await world.facts.read("ml")
    assert world.facts.of("ml", "digits") == (NOTHING, "")
    assert world.changes == [("ml", None), ("ml", None)], "whoever waits is woken"


async def test_a_change_wakes_those_whose_facts_it_is_and_nobody_else() -> None:
    world = World()
    world.write({"digits": KEPT.as_text(), "other": KEPT.as_text()})
    await world.facts.read("ml")
    world.changes.clear()
    world.write({"digits": KEPT.as_text(), "other": proven(1).as_text(), "new": KEPT.as_text()})
    await world.facts.read("ml")
    assert world.changes == [("ml", {"other", "new"})]
    world.facts.doubt("ml", "digits")
    await world.facts.read("ml")
    assert world.changes[1:] == [("ml", {"digits"})]


async def test_what_is_kept_is_read_by_the_next_operator() -> None:
    world = World()
    await world.facts.read("ml")
    await world.facts.keep("ml", "digits", KEPT)
    assert world.facts.of("ml", "digits") == (KEPT, "")
    other = world.operator()
    await other.read("ml")
    assert other.of("ml", "digits") == (KEPT, "")
    assert other.of("ml", "letters") == (NOTHING, "")


async def test_own_write_says_nothing_of_the_others_and_what_they_have_is_known_after_the_next_reading() -> None:
    """An administrator has another one forgotten, by hand, between our reading and our write."""
    world = World()
    world.write({"digits": KEPT.as_text(), "other": KEPT.as_text()})
    await world.facts.read("ml")
    world.write({"digits": KEPT.as_text()})
    await world.facts.keep("ml", "digits", proven(1))
    assert world.facts.of("ml", "digits") == (proven(1), "")
    assert world.facts.of("ml", "other") == (KEPT, "")
    await world.facts.read("ml")
    assert world.facts.of("ml", "other") == (NOTHING, "")
    assert world.facts.of("ml", "digits") == (proven(1), "")


async def test_what_was_never_read_is_not_known_by_a_write() -> None:
    world = World()
    world.write({"other": KEPT.as_text()})
    await world.facts.keep("ml", "digits", KEPT)
    assert world.facts.of("ml", "other") == (None, "")
    await world.facts.read("ml")
    assert world.facts.of("ml", "other") == (KEPT, "")


async def test_nothing_is_written_where_there_is_nothing_to_keep() -> None:
    world = World()
    await world.facts.read("ml")
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
    await world.facts.read("ml")
    assert world.facts.of("ml", "digits", "uid-1") == (KEPT, "")
    world.write({})
    assert world.facts.of("ml", "digits", "uid-1") == (KEPT, "")
    assert world.facts.of("ml", "digits", "uid-2") == (None, "")
    await world.facts.read("ml")
    assert world.facts.of("ml", "digits", "uid-2") == (NOTHING, "")


async def test_what_was_read_between_the_deletion_and_the_next_object_is_not_believed_for_that_one() -> None:
    world = World()
    world.write({"digits": KEPT.as_text()})
    world.facts.of("ml", "digits", "uid-1")
    await world.facts.read("ml")
    world.facts.doubt("ml", "digits")
    await world.facts.read("ml")
    world.write({})
    assert world.facts.of("ml", "digits", "uid-2") == (None, "")


async def test_deleted_object_is_looked_up_again() -> None:
    world = World()
    world.write({"digits": KEPT.as_text()})
    await world.facts.read("ml")
    world.facts.doubt("ml", "digits")
    assert world.facts.of("ml", "digits") == (None, "")


async def test_entry_that_cannot_be_understood_is_told_and_is_not_nothing() -> None:
    world = World()
    world.write({"digits": "[]", "letters": KEPT.as_text()})
    await world.facts.read("ml")
    found, problem = world.facts.of("ml", "digits")
    assert found is None
    assert problem.startswith("ConfigMap ops/lastgood-remembered-ml: digits: must be a JSON object")
    assert world.facts.of("ml", "letters") == (KEPT, "")


async def test_what_another_replica_wrote_is_read_when_the_lease_comes() -> None:
    world = World()
    await world.facts.read("ml")
    world.write({"digits": KEPT.as_text()})
    assert world.facts.of("ml", "digits") == (NOTHING, "")
    world.facts.forget()
    assert world.facts.of("ml", "digits") == (None, "")


def proven(days: int) -> Remembered:
    return Remembered(proven=(Proven(digest=Digest("sha256:x"), runtime="y", at=ago(days=days)),))


HELD = Held(snapshot=SnapshotName("v3"), digest=digest(3), reason="", rollback=RecordName("rb"), since=NOW)


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
    await world.facts.read("ml")
    size = sum(len(name) + len(text) for name, text in world.data().items())
    monkeypatch.setattr(remembered, "MOST_BYTES", size + 20)
    await world.facts.keep("ml", "new", proven(1))
    assert set(world.data()) == {"alive", "gone", "gone-and-left", "new"}
    monkeypatch.setattr(remembered, "MOST_BYTES", len(json.dumps(world.data())) // 3)
    with pytest.raises(ForbiddenError, match="is full"):
        await world.facts.keep("ml", "more", Remembered(left=(LEFT,) * 9))
    assert "alive" in world.data()


async def test_another_namespace_has_a_config_map_of_its_own() -> None:
    world = World()
    for namespace in ("ml", "vision"):
        await world.facts.read(namespace)
        await world.facts.keep(namespace, "digits", KEPT if namespace == "ml" else proven(1))
    assert (set(world.data("ml")), set(world.data("vision"))) == ({"digits"}, {"digits"})
    assert world.facts.of("vision", "digits") == (proven(1), "")


async def test_two_who_make_the_config_map_at_once_lose_nothing() -> None:
    world = World()
    await world.facts.read("ml")

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
    await world.facts.read("ml")
    assert world.facts.of("ml", "digits") == (None, "")
    monkeypatch.setattr(world.server, "get", get)
    await world.facts.read("ml")
    assert world.facts.of("ml", "digits") == (KEPT, "")
