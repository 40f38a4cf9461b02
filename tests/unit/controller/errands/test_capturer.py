"""A capture as the operator runs it: once at a time, stopped with its object, and a sentence for what goes wrong."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.api.facts.evidence import Capture
from lastgood.api.meta import Meta
from lastgood.api.names import Digest, Reason
from lastgood.api.specs.snapshot import ModelSnapshot, SnapshotStatus, Verification
from lastgood.api.specs.sources import PvcSource, S3Source, StoreSource
from lastgood.controller.errands.capturer import Capturer
from lastgood.controller.errands.errands import Means
from lastgood.errors import TransientError
from lastgood.kube.api.resources import PODS
from lastgood.kube.cache import Key, Kind
from lastgood.kube.calm import Calm
from lastgood.kube.jobs import jobs
from lastgood.kube.memory import Memory
from lastgood.settings import Settings
from lastgood.verify import Budget, digest
from lastgood.verify.store import path_of
from tests.unit.controller.waiting import until
from tests.unit.kube.world import Server

if TYPE_CHECKING:
    from pathlib import Path

    from lastgood.api.specs.sources import Source

KEY = Key(Kind.SNAPSHOT, "ml", "v1")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
STORE = StoreSource(path="digits/1")
CLAIM = PvcSource(claim="models", path="digits/1")


class Bench:
    """A capturer with a store on a disk, and an API server of plain values."""

    def __init__(self, store: Path | None, *, claim: str = "", rate: float | None = None) -> None:
        self.server, self.memory, self.woken = Server(), Memory(), list[Key]()
        settings = Settings(
            namespaces=None,
            operator_namespace="ops",
            identity="x",
            image="lastgood:1",
            store=store,
            capture_claim=claim,
        )
        means = Means(
            actor=None,  # type: ignore[arg-type]  # a capture tells nobody
            client=self.server,  # type: ignore[arg-type]  # simulated
            settings=settings,
            memory=self.memory,
            wake=self.woken.append,
            calm=Calm(),
            pace=Budget(rate) if rate else None,
        )
        self.capturer = Capturer(means)

    async def ended(self, snapshot: ModelSnapshot) -> Capture | None:
        """Capture, and return what is known of it afterwards."""
        self.capturer.start(snapshot, KEY)
        await until(lambda: not self.memory.capturing(KEY))
        return self.memory.captured(KEY)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    (folder / "digits/1").mkdir(parents=True)
    (folder / "digits/1/model.bin").write_bytes(b"weights" * 100_000)
    return folder


def work(store: Path) -> list[Path]:
    """Return what is under way, or was left behind."""
    return list(store.glob(".partial/*"))


def copies(store: Path) -> list[Path]:
    return list(store.glob("sha256/*/*"))


def snapshot(store: Path, source: Source = STORE, **changes: Any) -> ModelSnapshot:
    found = digest(store / "digits/1")
    meta = Meta.from_body({"metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": "u1"}})
    status = SnapshotStatus(size_bytes=found.size_bytes, verification=Verification(reason="Verified", copy="source"))
    made = ModelSnapshot(
        meta=meta, model="digits", version="1", source=source, digest=Digest(found.digest), status=status
    )
    return replace(made, **changes)


async def test_what_was_captured_is_said_with_its_path(store: Path) -> None:
    bench, of = Bench(store), snapshot(store)
    said = await bench.ended(of)
    assert said is not None
    assert (said.reason, said.path, said.claim, said.bytes_done) == ("Captured", path_of(of.digest), "", 700_000)
    assert digest(store / said.path).digest == of.digest
    assert KEY in bench.woken


async def test_a_second_start_while_one_runs_is_the_same_capture(store: Path) -> None:
    bench, of = Bench(store, rate=500_000), snapshot(store)
    bench.capturer.start(of, KEY)
    bench.capturer.start(of, KEY)
    await until(lambda: work(store))
    assert len(work(store)) == 1
    await until(lambda: not bench.memory.capturing(KEY))


async def test_a_capture_ends_with_its_object_and_leaves_nothing(store: Path) -> None:
    bench = Bench(store, rate=1000)
    bench.capturer.start(snapshot(store), KEY)
    await until(lambda: work(store))
    bench.capturer.forget(KEY)
    bench.memory.forget(KEY)
    await until(lambda: not bench.memory.capturing(KEY))
    assert bench.memory.captured(KEY) is None
    assert (work(store), copies(store)) == ([], [])


async def test_an_operator_that_ends_leaves_nothing_and_notes_nothing(store: Path) -> None:
    bench = Bench(store, rate=1000)
    bench.capturer.start(snapshot(store), KEY)
    await until(lambda: work(store))
    await bench.capturer.close()
    await until(lambda: not work(store))
    said = bench.memory.captured(KEY)
    assert said is not None
    assert said.reason == Reason.CAPTURING


async def test_changed_bytes_are_not_captured(store: Path) -> None:
    of = snapshot(store)
    (store / "digits/1/model.bin").write_bytes(b"evil")
    said = await Bench(store).ended(of)
    assert said is not None
    assert (said.reason, said.path) == ("CaptureFailed", "")
    assert of.digest in said.message
    assert copies(store) == []


async def test_without_a_store_the_setting_is_named(store: Path) -> None:
    said = await Bench(None).ended(snapshot(store))
    assert said is not None
    assert (said.reason, "--store" in said.message) == ("CaptureFailed", True)


async def test_an_api_server_that_is_away_is_no_failed_capture(store: Path) -> None:
    bench = Bench(store)
    bench.server.down = True
    of = snapshot(store, S3Source(bucket="models", prefix="digits/1", secret="keys"))
    said = await bench.ended(of)
    assert said is not None
    assert said.reason == Reason.CAPTURING
    with pytest.raises(TransientError):
        bench.capturer.start(of, KEY)


# On a claim


async def test_without_a_store_claim_a_claim_is_not_captured_and_the_setting_is_named(store: Path) -> None:
    bench = Bench(store)
    said = await bench.ended(snapshot(store, CLAIM))
    assert said is not None
    assert said.reason == "CaptureFailed"
    assert all(name in said.message for name in ("--capture-claim", "store.captureClaim"))
    assert bench.server.objects == {}


async def answered(bench: Bench, of: ModelSnapshot, **answer: Any) -> tuple[dict[str, Any], Capture]:
    """Let the Job's pod answer, and return the Job and what is known then."""
    task = asyncio.create_task(bench.ended(of))
    await until(lambda: any(key[0] == "jobs" for key in bench.server.objects))
    job = next(body for key, body in bench.server.objects.items() if key[0] == "jobs")
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    good = {
        "nonce": arguments[arguments.index("--nonce") + 1],
        "digest": of.digest,
        "reason": "Captured",
        "path": path_of(of.digest),
    }
    message = json.dumps(good | answer)
    metadata = {
        "name": "p",
        "namespace": "ml",
        "labels": {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]},
        "ownerReferences": [{"uid": job["metadata"]["uid"], "controller": True}],
    }
    states = [{"name": "verify", "state": {"terminated": {"exitCode": 0, "message": message}}}]
    bench.server.put(PODS, {"metadata": metadata, "status": {"containerStatuses": states}})
    said = await task
    assert said is not None
    return job, said


@pytest.fixture
def claimed(store: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(jobs, "POLLS", (0.001,))
    return Bench(store, claim="snapshots")


async def test_a_claim_is_captured_by_a_job_that_may_write_to_the_store_claim_only(claimed: Bench, store: Path) -> None:
    of = snapshot(store, CLAIM)
    job, said = await answered(claimed, of)
    assert (said.reason, said.path, said.claim) == ("Captured", path_of(of.digest), "snapshots")
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][0] == "capture-job"
    mounts = {item["mountPath"]: item.get("readOnly", False) for item in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"/data": True, "/store": False, "/tmp": False}  # noqa: S108 - a path in the pod
    claims = {item["name"]: item["persistentVolumeClaim"] for item in pod["volumes"] if "emptyDir" not in item}
    assert claims == {
        "data": {"claimName": "models", "readOnly": True},
        "store": {"claimName": "snapshots"},
    }
    assert not [key for key in claimed.server.objects if key[0] == "jobs"]


async def test_one_claim_for_both_is_mounted_once_and_read_only_where_the_source_is(
    claimed: Bench, store: Path
) -> None:
    job, said = await answered(claimed, snapshot(store, PvcSource(claim="snapshots", path="digits/1")))
    assert said.reason == "Captured"
    pod = job["spec"]["template"]["spec"]
    assert [item["name"] for item in pod["volumes"]] == ["data", "tmp"]
    mounts = {item["mountPath"]: (item["name"], item.get("readOnly")) for item in pod["containers"][0]["volumeMounts"]}
    assert (mounts["/data"], mounts["/store"]) == (("data", True), ("data", None))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param({"nonce": "n2"}, "nonce differs", id="an answer to somebody else's question"),
        pytest.param({"digest": f"sha256:{'0' * 64}"}, "other bytes", id="other bytes"),
        pytest.param({"path": "../../evil"}, "another path", id="a path out of the store"),
        pytest.param({"reason": "Verified"}, "incomplete", id="another word"),
        pytest.param({"reason": "CaptureFailed", "message": "the store is full"}, "the store is full", id="a failure"),
        pytest.param({"reason": "CaptureFailed"}, "without a reason", id="a failure without a word"),
    ],
)
async def test_a_forged_or_failed_answer_is_no_capture(
    claimed: Bench, store: Path, answer: dict[str, Any], told: str
) -> None:
    _, said = await answered(claimed, snapshot(store, CLAIM), **answer)
    assert (said.reason, said.path, told in said.message) == ("CaptureFailed", "", True)
