"""Retention as the operator does it: told first, deleted later, and each doubt keeps everything."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.controller.errands import retainer
from lastgood.controller.errands.retainer import Retainer
from lastgood.kube.api.problems import UnavailableError
from lastgood.kube.api.resources import DEPLOYMENTS, SNAPSHOTS
from lastgood.kube.notices.notice import Notice
from lastgood.kube.shared.quarantine import Quarantine
from lastgood.settings import Settings
from lastgood.verify.store import apply, capture_path, path_of
from tests.unit.kube.world import Server

if TYPE_CHECKING:
    from pathlib import Path

Body = dict[str, Any]
OLD = 30 * 86400.0


class Trusting:
    """No policy, all of them read."""

    synced = True

    def of(self, _: str) -> tuple[()]:
        return ()


class Log:
    """What was said in the security log, and in Events."""

    def __init__(self) -> None:
        self.lines: list[Body] = []
        self.events: list[str] = []

    def tell(self, notice: Notice) -> None:
        self.lines.append({"reason": notice.reason, "message": notice.message, **notice.facts})
        if notice.event:
            self.events.append(f"{notice.event} {notice.reason}: {notice.message}")

    def of(self, reason: str) -> list[Body]:
        return [line for line in self.lines if line["reason"] == reason]


class Bench:
    """A retainer of a store with five snapshots of one model, the first of which is the oldest."""

    def __init__(self, store: Path, **settings: Any) -> None:
        self.server, self.log, self.mine = Server(), Log(), True
        given: Body = {"namespaces": None, "retain_last": 2, "retain_apply": True} | settings
        self.store = store
        self.digests = [self._captured(number) for number in range(1, 6)]
        for number, digest in enumerate(self.digests, 1):
            self.declare(number, digest)
        quarantine = Quarantine(self.server, namespace="ops")  # type: ignore[arg-type]  # simulated
        self.quarantine = quarantine
        self.retainer = Retainer(
            client=self.server,  # type: ignore[arg-type]  # simulated
            settings=Settings(operator_namespace="ops", identity="x", store=store, **given),
            quarantine=quarantine,
            trust=Trusting(),  # type: ignore[arg-type]  # it says nothing
            notices=self.log,  # type: ignore[arg-type]  # it only listens
            mine=lambda: self.mine,
        )

    def _captured(self, number: int) -> str:
        (self.store.parent / f"{number}").write_text(f"weights of {number}")
        found = capture_path(self.store.parent, f"{number}", self.store)
        at = time.time() - OLD + number
        os.utime(self.store / found.path, (at, at))
        return found.digest

    def declare(self, number: int, digest: str, **metadata: Any) -> None:
        spec = {"model": "digits", "version": str(number), "source": {"store": {"path": "x"}}, "digest": digest}
        named = {"name": f"digits-v{number}", "namespace": "ml", "uid": f"u{number}"} | metadata
        self.server.put(SNAPSHOTS, {"metadata": named, "spec": spec})

    def deploy(self, **status: Any) -> None:
        binding = {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "$(path)"}
        spec = {"model": "digits", "snapshot": "digits-v5", "targetRef": {"name": "s"}, "bindings": [binding]}
        metadata = {"name": "digits", "namespace": "ml", "uid": "d"}
        self.server.put(DEPLOYMENTS, {"metadata": metadata, "spec": spec, "status": status})

    async def turns(self, *at: float) -> list[int]:
        """Make plans at these times, and return which of the five are left."""
        await self.quarantine.refresh()
        for moment in at:
            CLOCK.now = moment
            await self.retainer.turn()
        return self.left

    @property
    def left(self) -> list[int]:
        return [number for number, digest in enumerate(self.digests, 1) if (self.store / path_of(digest)).exists()]


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


CLOCK = Clock()
LATER = retainer.EVERY
ALL = [1, 2, 3, 4, 5]
FIRST = "the digest of the first"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retainer, "time", CLOCK)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


async def test_it_is_told_first_and_done_later(store: Path) -> None:
    bench = Bench(store)
    assert await bench.turns(0.0) == ALL
    (planned,) = bench.log.of("RetentionPlanned")
    assert [item["digest"] for item in planned["delete"]] == bench.digests[:3]
    assert all(item["sizeBytes"] == 12 for item in planned["delete"])
    assert (planned["deleteBytes"], planned["heldBytes"]) == (36, 60)
    assert await bench.turns(LATER - 1) == ALL
    assert await bench.turns(LATER) == [4, 5]
    done = bench.log.of("RetentionApplied")
    assert [(line["digest"], line["sizeBytes"]) for line in done if "digest" in line] == [
        (each, 12) for each in bench.digests[:3]
    ]
    assert len([event for event in bench.log.events if "RetentionApplied" in event]) == 1


async def test_unless_it_is_asked_for_nothing_is_deleted(store: Path) -> None:
    bench = Bench(store, retain_apply=False)
    assert await bench.turns(0.0, LATER, 9 * LATER) == ALL
    assert len(bench.log.of("RetentionPlanned")) == 1
    assert len(bench.log.events) == 1


async def test_a_restart_announces_anew(store: Path) -> None:
    await Bench(store).turns(0.0)
    assert await Bench(store).turns(9 * LATER) == ALL


async def test_who_lost_the_lease_does_nothing_and_announces_anew(store: Path) -> None:
    bench = Bench(store)
    await bench.turns(0.0)
    bench.mine = False
    assert await bench.turns(LATER) == ALL
    bench.mine = True
    assert await bench.turns(LATER + 1) == ALL
    assert len(bench.log.of("RetentionPlanned")) == 2


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"digest": FIRST}, id="serves"),
        pytest.param({"lastKnownGood": "digits-v1"}, id="last known good"),
        pytest.param({"desired": "digits-v1"}, id="desired"),
        pytest.param({"left": [{"digest": FIRST, "snapshot": "digits-v1", "reason": "bad"}]}, id="left"),
        pytest.param({"activeRollback": {"name": "rb"}}, id="a rollback is in progress"),
    ],
)
async def test_what_became_needed_after_it_was_announced_stays(store: Path, status: Body) -> None:
    bench = Bench(store)
    await bench.turns(0.0)
    bench.deploy(**json.loads(json.dumps(status).replace(FIRST, bench.digests[0])))
    assert 1 in await bench.turns(LATER, 2 * LATER, 4 * LATER)


async def test_what_is_pinned_stays(store: Path) -> None:
    bench = Bench(store)
    await bench.turns(0.0)
    bench.declare(1, bench.digests[0], annotations={"lastgood.dev/pin": "for the audit"})
    assert await bench.turns(LATER) == [1, 4, 5]


async def test_what_is_quarantined_stays(store: Path) -> None:
    bench = Bench(store)
    await bench.turns(0.0)
    await bench.quarantine.add("ml", bench.digests[0], {"reason": "backdoor"})
    assert await bench.turns(LATER) == [1, 4, 5]


async def test_what_became_needed_while_others_were_deleted_stays(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting a large snapshot takes a while; what is needed is read again before the next one."""
    bench = Bench(store)
    await bench.turns(0.0)

    def slowly(*arguments: Any) -> Any:
        bench.declare(2, bench.digests[1], annotations={"lastgood.dev/pin": "now"})
        CLOCK.now += retainer.FRESH + 1
        return real(*arguments)

    real = apply
    monkeypatch.setattr(retainer, "apply", slowly)
    assert await bench.turns(LATER) == [2, 4, 5]
    assert bench.log.of("RetentionBlocked")[-1]["message"].endswith("it is pinned")


async def test_what_is_of_no_known_model_stays(store: Path) -> None:
    bench = Bench(store)
    for number in (1, 2, 3):
        del bench.server.objects["modelsnapshots", "ml", f"digits-v{number}"]
    assert await bench.turns(0.0, LATER) == ALL


@pytest.mark.parametrize("doubt", ["one namespace", "strange", "unsynced", "not understood"])
async def test_each_doubt_keeps_everything_and_is_told_once(store: Path, doubt: str) -> None:
    bench = Bench(store, namespaces=("ml",) if doubt == "one namespace" else None)
    if doubt == "strange":
        (store / f"sha256/00/{'0' * 64}").parent.mkdir(exist_ok=True)
        (store / f"sha256/00/{'0' * 64}").symlink_to("/etc")
    if doubt == "not understood":
        bench.declare(9, "sha256:nonsense")
    if doubt == "unsynced":
        bench.retainer._trust.synced = False  # type: ignore[misc]  # noqa: SLF001 - a policy that is not read yet
    assert await bench.turns(0.0, LATER, 2 * LATER) == ALL
    (said,) = bench.log.of("RetentionBlocked")
    assert said["doubts"]
    assert len(bench.log.events) == 1


async def test_a_list_that_cannot_be_read_deletes_nothing(store: Path) -> None:
    bench = Bench(store)
    await bench.turns(0.0)
    bench.server.down = True
    with pytest.raises(UnavailableError):
        await bench.retainer.turn()
    assert bench.left == ALL


async def test_bytes_are_a_limit_too(store: Path) -> None:
    bench = Bench(store, retain_last=0, retain_bytes=30)
    assert await bench.turns(0.0, LATER) == [4, 5]


async def test_other_paths_of_the_store_are_not_touched(store: Path) -> None:
    bench = Bench(store)
    for path in ("digits/1/model.bin", "evidence/INC-1/note.json", "notes.txt"):
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        (store / path).write_text("mine")
        os.utime(store / path, (0, 0))
    await bench.turns(0.0, LATER)
    assert all((store / path).exists() for path in ("digits/1/model.bin", "evidence/INC-1/note.json", "notes.txt"))
