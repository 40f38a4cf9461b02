"""External scanners as the operator runs them: between two readings, stopped with the object, and waited for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.api.facts.external import ExternalScan
from lastgood.api.meta import Meta
from lastgood.api.names import Digest
from lastgood.api.specs.snapshot import ModelSnapshot, SnapshotStatus, Verification
from lastgood.api.specs.sources import PvcSource
from lastgood.controller.errands.scanner import ExternalScanners
from lastgood.controller.errands.verifier import Verifier
from lastgood.core.trust.policy import Scanner
from lastgood.errors import TransientError
from lastgood.kube.api.resources import PODS
from lastgood.kube.cache import Key, Kind
from lastgood.kube.jobs import jobs
from lastgood.kube.memory import Memory
from lastgood.kube.shared.trust import TrustPolicies
from lastgood.settings import Settings
from tests.unit.controller.waiting import until
from tests.unit.kube.world import Server

if TYPE_CHECKING:
    from collections.abc import Callable

KEY, WAITER = Key(Kind.SNAPSHOT, "ml", "v1"), Key(Kind.DEPLOYMENT, "ml", "digits")
ACME, BETA = Scanner(name="acme", image="acme:1"), Scanner(name="beta", image="beta:1")
DIGEST, OTHER, MARK = Digest(f"sha256:{'a' * 64}"), f"sha256:{'b' * 64}", f"blake3:{'c' * 64}"
META = Meta.from_body({"metadata": {"name": "v1", "namespace": "ml", "uid": "u1"}})
V1 = ModelSnapshot(
    meta=META,
    model="digits",
    version="1",
    source=PvcSource(claim="models", path="digits/1"),
    digest=DIGEST,
    status=SnapshotStatus(digest=DIGEST, verification=Verification(reason="Verified", copy="source")),
)
SAID = ExternalScan(
    scanner="acme",
    image="acme:1",
    time=datetime(2026, 1, 1, tzinfo=UTC),
    digest=DIGEST,
    verdict="NoFinding",
    complete=True,
)
POLICY = {
    "metadata": {"name": "scanned", "namespace": "ml", "resourceVersion": "1"},
    "spec": {"scan": {"required": False, "external": ["acme"]}},
}


class Bench:
    """Scanners and a verifier, an API server of plain values, and a kubelet whose containers answer at once."""

    def __init__(self) -> None:
        self.server, self.memory, self.woken = Server(), Memory(), list[Key]()
        self.bytes_are, self.ran = str(DIGEST), list[str]()
        self.after_scan: Callable[[], None] = lambda: None
        self.scan: dict[str, Any] = {"complete": True, "findings": []}
        settings = Settings(namespaces=None, operator_namespace="ops", identity="x", image="lastgood:1")
        server: Any = self.server
        self.trust = TrustPolicies(server, namespaces=None, scanners={"acme": "acme:1"})
        common: dict[str, Any] = {"client": server, "settings": settings, "memory": self.memory, "trust": self.trust}
        self.verifier = Verifier(**common, wake=self.woken.append)
        self.scanners = ExternalScanners(**common, verifier=self.verifier, wake=self.woken.append)
        self.verifier.hear = self.scanners.hear
        self.answering, self.silent = True, set[str]()
        self.kubelet = asyncio.create_task(self.answer())

    async def answer(self) -> None:
        done = set[str]()
        while True:
            for (kind, *_), job in list(self.server.objects.items()):
                if kind == "jobs" and self.answering and job["metadata"]["uid"] not in done:
                    done.add(job["metadata"]["uid"])
                    self.end(job)
            await asyncio.sleep(0.001)

    def end(self, job: dict[str, Any]) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        if container["name"] in self.silent:
            return
        given = {item["name"]: item["value"] for item in container.get("env", [])}
        if container["name"] == "scan":
            self.ran.append(container["image"])
            head = {
                "apiVersion": "lastgood.dev/scan/v1",
                "scanner": {"name": "x"},
                "nonce": given["LASTGOOD_SCAN_NONCE"],
            }
            text = json.dumps(head | self.scan)
            self.after_scan()
        else:
            arguments = container["args"]
            self.ran.append("quick" if "--blake3" in arguments else "whole")
            text = json.dumps(self.verdict(arguments[arguments.index("--nonce") + 1]))
        uid = job["metadata"]["uid"]
        metadata = {
            "name": f"p-{uid}",
            "namespace": "ml",
            "labels": {"batch.kubernetes.io/controller-uid": uid},
            "ownerReferences": [{"uid": uid, "controller": True}],
        }
        state = {"terminated": {"exitCode": 0, "message": text}}
        self.server.put(
            PODS, {"metadata": metadata, "status": {"containerStatuses": [{"name": container["name"], "state": state}]}}
        )

    def verdict(self, nonce: str) -> dict[str, Any]:
        good = self.bytes_are == DIGEST
        return {
            "nonce": nonce,
            "verdict": "Verified" if good else "DigestMismatch",
            "actual": self.bytes_are,
            "sizeBytes": 7,
            "fileCount": 1,
            "seconds": 0.5,
            "findings": [],
            "message": "it says",
            "blake3": MARK,
        }

    async def scanned(self, *scanners: Scanner) -> dict[str, ExternalScan]:
        """Let scanners look, and return what is known then."""
        self.scanners.start(V1, scanners or (ACME,), KEY)
        await until(lambda: not self.memory.scanning(KEY))
        return {scan.scanner: scan for scan in self.memory.scans(KEY)}


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(jobs, "POLLS", (0.001,))
    made = Bench()
    yield made
    made.kubelet.cancel()
    await made.scanners.close()
    await made.verifier.close()


async def test_scanners_look_between_two_readings(bench: Bench) -> None:
    known = await bench.scanned(ACME, BETA)
    assert bench.ran == ["whole", "acme:1", "beta:1", "quick"]
    assert [known["acme"].counts, known["beta"].counts] == [True, True]
    assert KEY in bench.woken


async def test_what_this_process_has_read_is_not_read_whole_again(bench: Bench) -> None:
    await bench.verifier.start(V1, KEY)
    await until(lambda: bench.memory.checked(KEY))
    await bench.scanned()
    assert bench.ran == ["whole", "acme:1", "quick"]


async def test_bytes_that_are_swapped_and_left_there_void_the_result_and_are_reported(bench: Bench) -> None:
    bench.after_scan = lambda: setattr(bench, "bytes_are", OTHER)
    known = await bench.scanned()
    assert not known["acme"].counts
    assert "is discarded" in known["acme"].message
    await until(lambda: bench.memory.checked(KEY))
    checked = bench.memory.checked(KEY)
    assert checked is not None
    assert checked.reason == "DigestMismatch", "who serves it hears of it"


async def test_finding_in_swapped_bytes_is_none_of_the_digest(bench: Bench) -> None:
    bench.scan = {"complete": True, "findings": [{"severity": "high", "rule": "r", "file": "f"}]}
    bench.after_scan = lambda: setattr(bench, "bytes_are", OTHER)
    assert not (await bench.scanned())["acme"].found


async def test_bytes_that_are_not_the_digest_are_not_scanned(bench: Bench) -> None:
    bench.bytes_are = OTHER
    known = await bench.scanned()
    assert "acme:1" not in bench.ran
    assert "DigestMismatch" in known["acme"].message


async def test_second_start_is_the_same_scan_and_it_ends_with_its_object(bench: Bench) -> None:
    bench.answering = False
    bench.scanners.start(V1, (ACME,), KEY)
    bench.scanners.start(V1, (ACME,), KEY)
    await until(lambda: bench.server.objects)
    assert len(bench.server.objects) == 1
    bench.memory.forget(KEY)
    bench.scanners.forget(KEY)
    assert not bench.memory.scanning(KEY)
    await until(lambda: not bench.server.objects)
    assert bench.memory.scans(KEY) == ()


async def test_api_server_that_is_away_is_asked_again_and_says_nothing_about_the_scanner(bench: Bench) -> None:
    bench.server.down = True
    assert await bench.scanned() == {}
    with pytest.raises(TransientError):
        bench.scanners.start(V1, (ACME,), KEY)


# What a switch waits for


def restarted(bench: Bench) -> ModelSnapshot:
    """Return a snapshot with a result in its status that this process has not heard, and a policy that asks for one."""
    bench.trust._learn(POLICY)  # noqa: SLF001 - as a watch would
    return replace(V1, status=replace(V1.status, external=(SAID,)))


async def test_switch_waits_for_a_scanner_of_which_only_the_status_knows(bench: Bench) -> None:
    await bench.verifier.start(restarted(bench), WAITER)
    await until(lambda: bench.memory.checked(KEY))
    assert [scan.counts for scan in bench.memory.scans(KEY)] == [True]
    assert bench.ran == ["whole", "acme:1", "quick", "quick"], "what is used is read after that"


async def test_routine_waits_for_no_scanner(bench: Bench) -> None:
    await bench.verifier.start(restarted(bench), KEY)
    await until(lambda: bench.memory.checked(KEY))
    assert bench.ran == ["whole"]


async def test_switch_does_not_wait_for_what_is_refused_anyway(bench: Bench) -> None:
    of = restarted(bench)
    never = replace(of, status=replace(of.status, external=()))
    await bench.verifier.start(never, WAITER)
    await until(lambda: bench.memory.checked(KEY))
    assert bench.ran == ["whole"]


async def test_scanner_that_does_not_answer_keeps_no_switch_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lastgood.controller.errands.scanner.HEARING", 0.05)
    bench.silent = {"scan"}
    await bench.verifier.start(restarted(bench), WAITER)
    await until(lambda: bench.memory.checked(KEY))
    (scan,) = bench.memory.scans(KEY)
    assert (bench.ran, scan.counts) == (["whole", "quick"], False)
    assert "waited" in scan.message
    assert bench.memory.scanning(KEY), "it may still answer, for the next time"
