"""A verification as the operator runs it: who gets to read, and that nobody reads for an object that is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.api.meta import Meta
from lastgood.api.names import Digest
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import StoreSource
from lastgood.controller.errands.copies import Copies
from lastgood.controller.errands.verifier import EACH, PLACES, URGENT, Verifier
from lastgood.kube.cache import Key, Kind
from lastgood.kube.memory import Memory
from lastgood.kube.shared.trust import TrustPolicies
from lastgood.settings import Settings
from lastgood.verify import digest
from lastgood.verify.inspection import Inspection, unreadable
from tests.unit.controller.waiting import until
from tests.unit.kube.world import Server

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 8 * 2**20
SLOW = 2**20  # bytes per second: 8 s for all of it
SOON = 5.0  # seconds; by far not 8, also on a busy machine


class Bench:
    """A verifier with a store on a disk, and an API server of plain values."""

    def __init__(self, store: Path, rate: int = 0) -> None:
        self.memory, self.woken = Memory(), list[Key]()
        settings = Settings(namespaces=None, operator_namespace="ops", identity="x", store=store, verify_rate=rate)
        server: Any = Server()
        self.verifier = Verifier(
            client=server,
            settings=settings,
            memory=self.memory,
            trust=TrustPolicies(server, namespaces=None),
            wake=self.woken.append,
        )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "digits/1").mkdir(parents=True)
    (tmp_path / "digits/1/model.bin").write_bytes(bytes(SIZE))
    return tmp_path


def snapshot(store: Path, name: str = "v1", namespace: str = "ml") -> ModelSnapshot:
    meta = Meta.from_body({"metadata": {"name": name, "namespace": namespace, "uid": f"{namespace}-{name}"}})
    found = Digest(digest(store / "digits/1").digest)
    return ModelSnapshot(meta=meta, model="digits", version="1", source=StoreSource(path="digits/1"), digest=found)


def key_of(of: ModelSnapshot) -> Key:
    return Key(Kind.SNAPSHOT, of.meta.namespace, of.meta.name)


def rollback(namespace: str) -> Key:
    """Return who waits in a rollback."""
    return Key(Kind.DEPLOYMENT, namespace, "digits")


async def test_reading_ends_with_the_snapshot_that_it_is_for(store: Path) -> None:
    bench, of = Bench(store, SLOW), snapshot(store)
    await bench.verifier.start(of, key_of(of))
    assert bench.memory.verifying(key_of(of))
    bench.verifier.forget(key_of(of))
    await until(lambda: not bench.memory.verifying(key_of(of)), within=SOON)
    checked = bench.memory.checked(key_of(of))
    assert checked is not None
    assert checked.reason == "Unreadable"  # what was cut off says nothing about the bytes
    await bench.verifier.close()


async def test_forgetting_one_snapshot_stops_no_other(store: Path) -> None:
    bench, of = Bench(store, 4 * SLOW), snapshot(store)
    await bench.verifier.start(of, key_of(of))
    assert bench.memory.verifying(key_of(of))
    bench.verifier.forget(key_of(replace(of, meta=replace(of.meta, name="v0"))))
    await until(lambda: bench.memory.checked(key_of(of)), within=SOON)
    checked = bench.memory.checked(key_of(of))
    assert checked is not None
    assert checked.reason == "Verified"
    await bench.verifier.close()


@pytest.mark.parametrize(
    ("places", "of_a_rollback"), [pytest.param(PLACES, False, id="routine"), pytest.param(URGENT, True, id="rollbacks")]
)
async def test_so_many_are_looked_at_at_once(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    places: int,
    of_a_rollback: bool,  # noqa: FBT001  # pytest's
) -> None:
    """A rollback waits for a network or a Job most of the time: few places for all would let one outage stop all."""
    bench, looking, go_on = Bench(store), list[str](), asyncio.Event()

    async def look(_: Copies, of: ModelSnapshot, *__: object) -> Inspection:
        looking.append(of.meta.uid)
        await go_on.wait()
        return Inspection(result=unreadable(of.digest, "enough"))

    monkeypatch.setattr(Copies, "inspect", look)
    monkeypatch.setattr("lastgood.controller.errands.verifier.PATIENCE", 0.0)
    base = snapshot(store)
    spaces = ["greedy"] * 3 * EACH + [f"ns-{number // EACH}" for number in range(places)]
    asked = [
        replace(base, meta=replace(base.meta, namespace=space, name=f"v{number}", uid=f"{space}-{number}"))
        for number, space in enumerate(spaces)
    ]
    for of in asked:
        waiter = rollback(of.meta.namespace) if of_a_rollback else key_of(of)
        await bench.verifier.start(of, waiter)
    await until(lambda: len(looking) >= places, within=SOON)
    await asyncio.sleep(0.05)
    assert (len(looking), sum(uid.startswith("greedy-") for uid in looking)) == (places, EACH)
    go_on.set()
    await until(lambda: len(looking) == len(asked), within=SOON)
    await bench.verifier.close()
