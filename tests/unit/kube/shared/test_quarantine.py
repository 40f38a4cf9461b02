"""The quarantine: unknown until it is read, and then what the ConfigMap says."""

import json
from typing import Any

import pytest

from lastgood.api.names import QUARANTINE_CONFIG_MAP
from lastgood.kube.api.problems import ApiError, ForbiddenError
from lastgood.kube.api.resources import CONFIGMAPS
from lastgood.kube.shared.quarantine import PER_NAMESPACE, STALE_SECONDS, WARNINGS, Quarantine
from tests.unit.kube.world import Server

BAD, WORSE = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


class World:
    def __init__(self, **data: str) -> None:
        self.now = 1000.0
        self.server = Server()
        self.changes: list[frozenset[str] | None] = []
        if data:
            self.write(data)
        self.quarantine = Quarantine(
            self.server,  # type: ignore[arg-type]  # the simulated server
            namespace="ops",
            on_change=self.changed,
            clock=lambda: self.now,
        )

    def changed(self, digests: frozenset[str] | None) -> None:
        self.changes.append(digests)

    def write(self, data: dict[str, str]) -> None:
        body = {"metadata": {"name": QUARANTINE_CONFIG_MAP, "namespace": "ops"}, "data": data}
        self.server.put(CONFIGMAPS, body)

    def data(self) -> dict[str, str]:
        found: dict[str, str] = self.server.objects["configmaps", "ops", QUARANTINE_CONFIG_MAP]["data"]
        return found


def key(digest: str, namespace: str = "") -> str:
    return f"{namespace}{'.' if namespace else ''}{digest.replace(':', '-')}"


def test_nothing_is_known_before_the_first_answer() -> None:
    assert not World().quarantine.synced


async def test_no_config_map_is_an_answer() -> None:
    world = World()
    await world.quarantine.refresh()
    assert world.quarantine.synced
    assert world.quarantine.entries("ml") == {}


async def test_an_outage_is_no_answer() -> None:
    world = World()
    world.server.down = True
    with pytest.raises(ApiError):
        await world.quarantine.refresh()
    assert not world.quarantine.synced


async def test_what_is_known_already_is_not_read_again_and_what_is_not_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emergency waits for this reading; the ConfigMap may have 900 KB."""
    world, asked, get = World(**{key(BAD): "INC-1"}), list[bool](), Server.get

    async def counted(server: Server, *args: Any, metadata_only: bool = False) -> Any:
        asked.append(metadata_only)
        return await get(server, *args, metadata_only=metadata_only)

    monkeypatch.setattr(Server, "get", counted)
    await world.quarantine.refresh()
    world.now += STALE_SECONDS - 1
    await world.quarantine.refresh()
    assert asked == [False, True]
    world.now += STALE_SECONDS - 1
    assert world.quarantine.synced, "it was asked, and is as it was"
    world.write({key(WORSE): "INC-2"})
    await world.quarantine.refresh()
    assert asked == [False, True, True, False]
    assert world.quarantine.entries("ml") == {WORSE: "INC-2"}


async def test_everybody_is_woken_when_it_is_heard_again_though_nothing_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, get = World(**{key(BAD): "INC-1"}), Server.get
    await world.quarantine.refresh()
    world.changes.clear()

    async def slow(server: Server, *args: Any, metadata_only: bool = False) -> Any:
        world.now += STALE_SECONDS
        return await get(server, *args, metadata_only=metadata_only)

    monkeypatch.setattr(Server, "get", slow)
    await world.quarantine.refresh()
    assert world.quarantine.synced
    assert world.changes == [None]


async def test_silence_for_too_long_is_not_knowing() -> None:
    world = World()
    await world.quarantine.refresh()
    world.now += STALE_SECONDS
    assert not world.quarantine.synced


async def test_a_key_reaches_everywhere_or_one_namespace() -> None:
    world = World(**{key(BAD): "INC-1", key(WORSE, "ml"): "INC-2"})
    await world.quarantine.refresh()
    assert world.quarantine.entries("ml") == {BAD: "INC-1", WORSE: "INC-2"}
    assert world.quarantine.entries("other") == {BAD: "INC-1"}
    scopes = [world.quarantine.scope("ml", digest) for digest in (BAD, WORSE, "sha256:c")]
    assert scopes == ["All", "Namespace", None]


async def test_mistyped_keys_are_told_once_and_leave_the_others_in_force(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = ["sha256-abc", f"sha256-{'A' * 64}", f"sha256-{'a' * 65}", f"a.b.{key(BAD)}", f".{key(BAD)}", "note"]
    world = World(**dict.fromkeys(bad, "x"), **{key(BAD): "INC-1"})
    await world.quarantine.refresh()
    await world.quarantine.refresh()
    assert world.quarantine.entries("ml") == {BAD: "INC-1"}
    assert len(caplog.records) == len(bad)


async def test_a_flood_of_bad_keys_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    world = World(**{f"key-{number}": "x" for number in range(1000)})
    await world.quarantine.refresh()
    assert len(caplog.records) == WARNINGS


@pytest.mark.parametrize(("value", "why"), [("", "no reason given"), ("a\nb", "a b"), ("x" * 9999, "x" * 1023 + "…")])
async def test_a_reason_is_one_bounded_line(value: str, why: str) -> None:
    world = World(**{key(BAD): value})
    await world.quarantine.refresh()
    assert world.quarantine.entries("ml") == {BAD: why}


async def test_adding_creates_the_config_map_and_then_adds_to_it() -> None:
    world = World()
    await world.quarantine.add(None, BAD, {"by": "ana", "incident": "INC-1"})
    await world.quarantine.add("ml", WORSE, {"by": "ben"})
    assert json.loads(world.data()[key(BAD)]) == {"by": "ana", "incident": "INC-1"}
    assert set(world.data()) == {key(BAD), key(WORSE, "ml")}
    assert set(world.quarantine.entries("ml")) == {BAD, WORSE}
    assert world.changes == [None, frozenset({WORSE})]


async def test_adding_again_keeps_the_first_reason_and_writes_nothing() -> None:
    world = World(**{key(BAD): "INC-1"})
    await world.quarantine.refresh()
    await world.quarantine.add(None, BAD, {"incident": "INC-2"})
    assert world.server.writes == []
    assert world.quarantine.entries("ml") == {BAD: "INC-1"}


async def test_adding_does_not_remove_what_somebody_else_added_meanwhile() -> None:
    world = World(**{key(BAD): "INC-1"})
    await world.quarantine.refresh()
    world.write({key(BAD): "INC-1", "elsewhere": "x"})
    await world.quarantine.add(None, WORSE, {})
    assert set(world.data()) == {key(BAD), key(WORSE), "elsewhere"}


async def test_one_namespace_cannot_fill_the_quarantine_of_all() -> None:
    many = {key(f"sha256:{number:064x}", "greedy"): "x" for number in range(PER_NAMESPACE)}
    world = World(**many)
    await world.quarantine.refresh()
    with pytest.raises(ForbiddenError, match="greedy already has 256 quarantined digests"):
        await world.quarantine.add("greedy", BAD, {"reason": "one more"})
    await world.quarantine.add("other", BAD, {"reason": "theirs"})
    assert key(BAD, "other") in world.data()


async def test_a_change_is_told_and_a_repetition_is_not() -> None:
    world = World(**{key(BAD): "INC-1"})
    events: list[dict[str, Any]] = []
    for _ in range(3):
        await world.quarantine.refresh()
        events.append({})
    assert world.changes == [None]


async def test_a_change_names_the_digests_that_it_is_about() -> None:
    world = World(**{key(BAD): "INC-1", key(WORSE, "ml"): "INC-2"})
    await world.quarantine.refresh()
    world.write({key(BAD): "INC-1"})
    await world.quarantine.refresh()
    assert world.changes == [None, frozenset({WORSE})]


async def test_each_reading_is_what_the_config_map_says_whatever_was_read_before() -> None:
    world = World(**{key(BAD): "INC-1", key(WORSE, "ml"): "INC-2", "mistyped": "x"})
    await world.quarantine.refresh()
    for data, entries in (
        ({key(BAD): "INC-3", key(WORSE, "ml"): "INC-2"}, {BAD: "INC-3", WORSE: "INC-2"}),
        ({key(BAD, "ml"): "INC-4"}, {BAD: "INC-4"}),
        ({key(BAD, "other"): "INC-4", "mistyped": "y"}, {}),
        ({key(BAD): "INC-5", key(BAD, "ml"): "INC-6"}, {BAD: "INC-5"}),
        ({}, {}),
    ):
        world.write(data)
        await world.quarantine.refresh()
        assert world.quarantine.entries("ml") == entries


async def test_an_old_event_that_comes_late_takes_nothing_back() -> None:
    world = World(**{key(BAD): "INC-1"})
    await world.quarantine.refresh()
    late = json.loads(json.dumps(world.server.objects["configmaps", "ops", QUARANTINE_CONFIG_MAP]))
    await world.quarantine.add("ml", WORSE, {"by": "ben"})
    world.quarantine._see({"type": "MODIFIED", "object": late})  # noqa: SLF001  # as the watch does
    assert set(world.quarantine.entries("ml")) == {BAD, WORSE}
