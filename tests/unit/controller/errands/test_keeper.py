"""Forensics copies as the operator makes them: from each kind of source, to their end, and a sentence where not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.api.facts.evidence import Forensics
from lastgood.api.meta import Meta
from lastgood.api.names import Digest, Reason
from lastgood.api.specs.snapshot import ModelSnapshot, QuarantineMark, SnapshotStatus, Verification
from lastgood.api.specs.sources import PvcSource, S3Source, StoreSource
from lastgood.controller.errands.errands import How, Means
from lastgood.controller.errands.keeper import Keeper, candidates, case_of, keep_near
from lastgood.errors import TransientError
from lastgood.kube.api.resources import PODS
from lastgood.kube.cache import Key, Kind
from lastgood.kube.calm import Calm
from lastgood.kube.jobs import jobs
from lastgood.kube.jobs.capture_claims import NotPossibleError
from lastgood.kube.jobs.evidence_claims import arguments
from lastgood.kube.memory import Memory
from lastgood.settings import Settings
from lastgood.verify import Budget, digest
from lastgood.verify.store import Case
from tests.unit.controller.waiting import until
from tests.unit.kube.world import Server

if TYPE_CHECKING:
    from pathlib import Path

    from lastgood.api.specs.sources import Source
    from lastgood.core.state import Decision

KEY = Key(Kind.SNAPSHOT, "ml", "v1")
STORE = StoreSource(path="digits/1")
CLAIM = PvcSource(claim="models", path="digits/1")
MARK = QuarantineMark(scope="Namespace", reason="INC-7: backdoor", incident="INC-7", since=datetime.now(UTC))


class Told:
    """What was said in the security log."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    async def tell(self, _meta: Meta, _kind: str, decision: Decision, **_: object) -> None:
        self.decisions.append(decision)


class Bench:
    """A keeper with a store on a disk, and an API server of plain values."""

    def __init__(self, store: Path | None, *, claim: str = "", image: str | None = "i:1", rate: int = 0) -> None:
        self.server, self.memory, self.told, self.calm = Server(), Memory(), Told(), Calm()
        settings = Settings(
            namespaces=None,
            operator_namespace="ops",
            identity="x",
            image=image,
            store=store,
            capture_claim=claim,
            allow_loopback=True,
        )
        means = Means(
            actor=self.told,  # type: ignore[arg-type]  # it only listens
            client=self.server,  # type: ignore[arg-type]  # simulated
            settings=settings,
            memory=self.memory,
            wake=lambda _: None,
            calm=self.calm,
            pace=Budget(rate) if rate else None,
        )
        self.keeper = Keeper(means)

    async def kept(self, snapshot: ModelSnapshot) -> Forensics:
        """Keep it, and return what is known of it afterwards."""
        self.keeper.start(snapshot, KEY)
        await until(lambda: not self.memory.capturing(KEY))
        found = self.memory.forensics(KEY, snapshot.meta.uid)
        assert found is not None
        return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    (folder / "digits/1").mkdir(parents=True)
    (folder / "digits/1/model.bin").write_bytes(b"weights" * 100_000)
    return folder


def evidence(store: Path) -> list[Path]:
    return list(store.glob("evidence/*"))


def snapshot(store: Path, source: Source = STORE, *mirrors: Source, mark: QuarantineMark = MARK) -> ModelSnapshot:
    meta = Meta.from_body({"metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": "u1"}})
    verification = Verification(reason="Verified", copy="source")
    return ModelSnapshot(
        meta=meta,
        model="digits",
        version="1",
        source=source,
        digest=Digest(digest(store / "digits/1").digest),
        mirrors=mirrors,
        status=SnapshotStatus(verification=verification, quarantine=mark),
    )


async def test_what_is_in_the_store_is_kept_with_reason_and_incident(store: Path) -> None:
    of = snapshot(store)
    said = await Bench(store).kept(of)
    assert (said.reason, said.attempts, said.next_time) == ("EvidenceKept", 0, None)
    assert said.path.startswith("evidence/INC-7-")
    assert "its digest matches" in said.message
    assert digest(store / said.path / "content").digest == of.digest
    note = json.loads((store / said.path / "note.json").read_text())
    assert ("INC-7: backdoor" in note["reason"], note["incident"]) == (True, "INC-7")
    assert note["subject"] == "ModelSnapshot ml/v1 u1"


async def test_a_copy_begins_when_no_rollback_waits_for_its_switch(store: Path) -> None:
    bench, of = Bench(store), snapshot(store)
    bench.calm.press("another model")
    bench.keeper.start(of, KEY)
    await asyncio.sleep(0.2)  # a copy of so little takes a tenth of that
    assert evidence(store) == []
    bench.calm.relax("another model")
    assert (await bench.kept(of)).reason == "EvidenceKept"


async def test_what_is_not_its_digest_any_more_is_kept_and_said(store: Path) -> None:
    of = snapshot(store)
    (store / "digits/1/model.bin").write_bytes(b"evil")
    said = await Bench(store).kept(of)
    assert said.reason == "EvidenceKept"
    assert f"its digest is {digest(store / 'digits/1').digest}, not the declared one" in said.message


async def test_a_second_operator_finds_the_copy_of_the_first(store: Path) -> None:
    first, second = await Bench(store).kept(snapshot(store)), await Bench(store).kept(snapshot(store))
    assert (second.path, "kept before" in second.message) == (first.path, True)
    assert len(evidence(store)) == 1


async def test_where_the_source_is_gone_a_mirror_is_kept(store: Path) -> None:
    of = snapshot(store, StoreSource(path="gone"), STORE)
    said = await Bench(store).kept(of)
    assert (said.reason, said.message.startswith("mirrors[0] is kept")) == ("EvidenceKept", True)


def test_the_copy_that_was_used_comes_first(store: Path) -> None:
    of = snapshot(store, StoreSource(path="bad"), STORE)
    used = replace(of.status, verification=Verification(reason="Verified", copy="mirrors[0]"))
    assert [name for name, _ in candidates(replace(of, status=used))] == ["mirrors[0]", "source"]
    assert [name for name, _ in candidates(of)] == ["source", "mirrors[0]"]


async def test_what_cannot_be_read_is_tried_again_later(store: Path) -> None:
    said = await Bench(store).kept(snapshot(store, StoreSource(path="gone")))
    assert (said.reason, said.path, said.attempts) == ("EvidenceFailed", "", 1)
    assert said.next_time is not None
    again = snapshot(store, StoreSource(path="gone"), mark=replace(MARK, forensics=said))
    assert (await Bench(store).kept(again)).attempts == 2


async def test_without_a_store_nothing_is_tried_again_and_the_setting_is_named(store: Path) -> None:
    said = await Bench(None).kept(snapshot(store))
    assert (said.reason, said.next_time, "--store" in said.message) == ("EvidenceFailed", None, True)


async def test_an_api_server_that_is_away_is_no_failure(store: Path) -> None:
    bench = Bench(store)
    bench.server.down = True
    of = snapshot(store, S3Source(bucket="models", prefix="digits/1", secret="keys"))
    bench.keeper.start(of, KEY)
    await until(lambda: not bench.memory.capturing(KEY))
    assert bench.memory.forensics(KEY, "u1") is None
    with pytest.raises(TransientError):
        bench.keeper.start(of, KEY)


async def test_whoever_deletes_the_snapshot_does_not_end_the_copy(store: Path) -> None:
    bench = Bench(store, rate=1_000_000)
    bench.keeper.start(snapshot(store), KEY)
    await until(lambda: list(store.glob(".partial/evidence-*")))
    bench.keeper.forget(KEY)
    bench.memory.forget(KEY)
    await until(lambda: not bench.memory.capturing(KEY))
    (kept,) = evidence(store)
    (told,) = bench.told.decisions
    assert (told.reason, kept.name in told.message) == (Reason.EVIDENCE_KEPT, True)
    assert bench.memory.forensics(KEY, "u1") is None


async def test_an_operator_that_ends_leaves_nothing_and_notes_nothing(store: Path) -> None:
    bench = Bench(store, rate=1000)
    bench.keeper.start(snapshot(store), KEY)
    await until(lambda: list(store.glob(".partial/evidence-*")))
    await bench.keeper.close()
    await until(lambda: not list(store.glob(".partial/*")))
    assert bench.memory.forensics(KEY, "u1") is None


async def test_a_snapshot_of_the_same_name_inherits_no_copy(store: Path) -> None:
    bench = Bench(store)
    await bench.kept(snapshot(store))
    assert bench.memory.forensics(KEY, "u2") is None


@pytest.mark.parametrize("incident", ["", "../../up", "x" * 100])
def test_an_incident_that_can_name_nothing_is_in_the_reason_alone(store: Path, incident: str) -> None:
    mark = replace(MARK, incident=incident, reason=f"{incident}: backdoor")
    case = case_of(snapshot(store, mark=mark), "source")
    assert (case.incident, incident in case.reason) == (None, True)


# On a claim


async def test_without_a_store_claim_it_says_what_to_do_by_hand(store: Path) -> None:
    bench = Bench(store)
    said = await bench.kept(snapshot(store, CLAIM))
    assert (said.reason, said.next_time) == ("EvidenceFailed", None)
    assert all(words in said.message for words in ("manually", "--capture-claim", "store.captureClaim"))
    assert bench.server.objects == {}


async def answered(bench: Bench, of: ModelSnapshot, **answer: Any) -> tuple[dict[str, Any], Forensics]:
    """Let the Job's pod answer, and return the Job and what is known then."""
    task = asyncio.create_task(bench.kept(of))
    await until(lambda: any(key[0] == "jobs" for key in bench.server.objects))
    job = next(body for key, body in bench.server.objects.items() if key[0] == "jobs")
    given = job["spec"]["template"]["spec"]["containers"][0]["args"]
    good = {
        "nonce": given[given.index("--nonce") + 1],
        "digest": of.digest,
        "reason": "EvidenceKept",
        "path": f"evidence/INC-7{case_of(of, 'source').about}",
        "found": of.digest,
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
    return job, await task


@pytest.fixture
def claimed(store: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(jobs, "POLLS", (0.001,))
    return Bench(store, claim="snapshots")


async def test_a_claim_is_kept_by_a_job_that_may_write_to_the_store_claim_only(claimed: Bench, store: Path) -> None:
    job, said = await answered(claimed, snapshot(store, CLAIM))
    assert (said.reason, said.claim, "its digest matches" in said.message) == ("EvidenceKept", "snapshots", True)
    pod = job["spec"]["template"]["spec"]
    given = pod["containers"][0]["args"]
    assert given[0] == "evidence-job"
    assert "--incident=INC-7" in given
    assert any(text.startswith("--reason=") and "backdoor" in text for text in given)
    mounts = {item["mountPath"]: item.get("readOnly", False) for item in pod["containers"][0]["volumeMounts"]}
    assert mounts == {"/data": True, "/store": False, "/tmp": False}  # noqa: S108 - a path in the pod


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param({"nonce": "n2"}, "nonce differs", id="an answer to somebody else's question"),
        pytest.param({"digest": f"sha256:{'0' * 64}"}, "another digest", id="another digest"),
        pytest.param({"path": "../../evil"}, "another path", id="a path out of the store"),
        pytest.param({"path": f"evidence/INC-7-{'0' * 64}"}, "another path", id="somebody else's evidence"),
        pytest.param({"reason": "Captured"}, "incomplete", id="another word"),
        pytest.param({"reason": "EvidenceFailed", "message": "no room"}, "no room", id="a failure"),
        pytest.param({"reason": "EvidenceFailed"}, "without a reason", id="a failure without a word"),
    ],
)
async def test_a_forged_or_failed_answer_keeps_nothing(
    claimed: Bench, store: Path, answer: dict[str, Any], told: str
) -> None:
    _, said = await answered(claimed, snapshot(store, CLAIM), **answer)
    assert (said.reason, said.path, told in said.message) == ("EvidenceFailed", "", True)


def test_a_reason_is_no_variable_and_no_option_of_the_job() -> None:
    case = Case(digest=f"sha256:{'0' * 64}", reason="$(HOME) --store /data", incident="INC-7", subject="s")
    given = arguments(case)
    assert "--reason=$$(HOME) --store /data" in given
    assert given.count("--store") == 1


def test_a_room_of_the_store_is_not_copied_into_itself(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    case = Case(digest=f"sha256:{'a' * 64}", reason="why", incident=None, subject="x")
    with pytest.raises(NotPossibleError, match="evidence is part of the store itself"):
        keep_near(tmp_path, "evidence", case, How(progress=lambda _: None, cancelled=lambda: False))
    assert list((tmp_path / "evidence").iterdir()) == []
