"""External scanners on a real API server: nothing is deployed on a word that nobody gave, and the record says why."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.kubelet import Kubelet
from tests.integration.signing import looked, policy, says, told
from tests.integration.world import World, eventually

PAGE = Path(__file__).resolve().parents[3] / "docs" / "scanning.md"
ACME = "registry.example/no-pickles:1.0"
V1, V2 = "digits-v1", "digits-v2"


@pytest.fixture
def kubelet(still_world: World) -> Iterator[Kubelet]:
    """A claim, a kubelet, an operator with scanners: the one of the docs, and two that break."""
    world = still_world
    folder = world.store.parent / "claim"
    folder.mkdir()
    scanner = world.store.parent / "scan.py"
    (text,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    scanner.write_text(text)
    world.operator.environment["LASTGOOD_IMAGE"] = "lastgood:1"
    world.operator.arguments = [
        *("--scanner", f"acme={ACME}", "--scanner", "garbage=garbage:1", "--scanner", "stolen=stolen:1"),
        *("--scanner", "long=long:1", "--scanner", "killed=killed:1", "--reverify-interval", "3s"),
    ]
    programs: dict[str, Sequence[str]] = {
        ACME: [sys.executable, str(scanner)],
        "garbage:1": ["sh", "-c", "echo all is well > $LASTGOOD_SCAN_RESULT"],
        "stolen:1": ["env", f"LASTGOOD_SCAN_NONCE={'0' * 32}", sys.executable, str(scanner)],
        "long:1": ["sh", "-c", f"{sys.executable} {scanner}; printf '%5000s' ' ' >> $LASTGOOD_SCAN_RESULT"],
        "killed:1": ["sh", "-c", f"{sys.executable} {scanner}; kill -9 $$"],
    }
    with Kubelet(world=world, folder=folder, programs=programs) as made:
        world.operator.start()
        yield made


def asking(world: World, *scanners: str, name: str = "scanned", **spec: Any) -> dict[str, Any]:
    """Return a policy that asks for external scanners, and for nothing of our own."""
    return policy(world, name=name, scan={"required": False, "external": list(scanners)}, **spec)


def scans(world: World, version: int | str) -> dict[str, dict[str, Any]]:
    """Return what a status has of external scanners, by their names."""
    status = world.get("modelsnapshot", f"digits-v{version}").get("status", {})
    return {row["scanner"]: row for row in status.get("externalScans", [])}


def test_nothing_is_deployed_until_the_scanner_has_answered_and_it_is_asked_once(kubelet: Kubelet) -> None:
    world = kubelet.world
    program = kubelet.programs.pop(ACME)
    world.apply(asking(world, "acme"), kubelet.snapshot(1), kubelet.workload(), world.deployment(V1))
    assert "has no result yet" in world.ready("NotScanned")["message"]
    world.becomes("Verified", "True", kind="modelsnapshot", name=V1)
    condition = says(world, 1, "Scanned", "NotScanned")
    assert (condition["status"], "'acme'" in condition["message"]) == ("False", True)
    assert world.generation() == 1
    kubelet.programs[ACME] = program
    world.served(V1)
    row = scans(world, 1)["acme"]
    assert (row["verdict"], row["complete"], row["version"], row["image"]) == ("NoFinding", True, "1.0", ACME)
    assert row["digest"] == world.get("modelsnapshot", V1)["spec"]["digest"]
    assert says(world, 1, "Scanned", "Scanned")["status"] == "True"
    read_again(world)
    read_again(world)
    assert kubelet.ran.count(ACME) == 1
    assert [
        job for job in json.loads(world.kubectl("get", "jobs", "-o", "json"))["items"] if "-scan-" in str(job)
    ] == []


def read_again(world: World) -> None:
    """Wait until v1 has been verified once more."""
    before = looked(world, 1)
    eventually(lambda: looked(world, 1) != before, what="another verification")


def test_finding_is_refused_and_named_in_the_record(kubelet: Kubelet) -> None:
    world = kubelet.world
    world.apply(asking(world, "acme"))
    world.apply(kubelet.snapshot(1), kubelet.workload(), world.deployment(V1))
    world.served(V1)
    world.apply(kubelet.snapshot(2, "weights.pkl"), world.deployment(V2))
    assert "weights.pkl" in world.ready("ScanFinding")["message"]
    assert world.model_path() == "/models/digits/1"
    world.event("ScanFinding", "no-pickles/pickle", about=V2)
    world.apply(kubelet.snapshot(3), world.deployment("digits-v3"))
    world.served("digits-v3")
    world.annotate("modeldeployment/digits", "rollback", "it looks wrong")
    record = world.rollback()
    assert record["status"]["outcome"] == "Succeeded"
    assert world.candidates(record) == {V1: "Chosen", V2: "ScanFinding", "digits-v3": "BeingLeft"}
    assert "no-pickles/pickle (high) in 'weights.pkl'" in told(record, 2)
    assert world.model_path() == "/models/digits/1"


def test_what_gives_no_result_that_counts_is_refused_with_the_reason(kubelet: Kubelet) -> None:
    world = kubelet.world
    expected = {
        "garbage": ("NotScanned", "is not JSON"),
        "stolen": ("NotScanned", "nonce"),
        "long": ("NotScanned", "cannot be used"),
        "killed": ("NotScanned", "exit code"),
        "nobody": ("ScannerUnknown", "--scanner nobody=IMAGE"),
    }
    for name in expected:
        world.apply(asking(world, name, name=name, models=[name]), kubelet.snapshot(name, model=name))
    world.apply(asking(world, "acme", name="stored", models=["stored"]), world.snapshot("stored", model="stored"))
    for name, (reason, sentence) in {**expected, "stored": ("NotOnClaim", "PersistentVolumeClaims only")}.items():
        eventually(partial(refused, world, name, sentence), what=f"{name}: {sentence}")
        assert says(world, name, "Ready", reason)["status"] == "False"
        assert says(world, name, "Scanned", reason)["status"] == "False"
        world.becomes("Verified", "True", kind="modelsnapshot", name=f"digits-v{name}")
    assert set(kubelet.ran) == {"verify", "garbage:1", "stolen:1", "long:1", "killed:1"}
    assert world.operator.process is not None
    assert world.operator.process.poll() is None


def refused(world: World, version: str, sentence: str) -> bool:
    """Tell whether a snapshot is not scanned, for a reason."""
    condition = world.condition("Scanned", kind="modelsnapshot", name=f"digits-v{version}")
    return condition.get("status") == "False" and sentence in condition["message"]


def test_unknown_scanner_keeps_a_model_from_being_deployed(kubelet: Kubelet) -> None:
    world = kubelet.world
    world.apply(asking(world, "nobody"), kubelet.snapshot(1), kubelet.workload(), world.deployment(V1))
    assert "an administrator installs it" in world.ready("ScannerUnknown")["message"]
    assert world.generation() == 1


def test_bytes_that_are_swapped_while_they_are_scanned_are_not_scanned(kubelet: Kubelet) -> None:
    world = kubelet.world

    def swap(what: str) -> None:
        if what == ACME:
            (kubelet.folder / "digits/1/model.bin").write_text("harmless")

    kubelet.before = swap
    world.apply(asking(world, "acme"), kubelet.snapshot(1), kubelet.workload(), world.deployment(V1))
    eventually(lambda: scans(world, 1), what="the scanner was asked")
    row = scans(world, 1)["acme"]
    assert (row["verdict"], row["complete"]) == ("Unreadable", False)
    assert "is discarded" in row["message"]
    says(world, 1, "Verified", "DigestMismatch", within=20)
    assert world.generation() == 1


def test_forged_status_gets_nothing_deployed_by_an_operator_that_was_not_told(kubelet: Kubelet) -> None:
    world = kubelet.world
    world.apply(asking(world, "acme"), kubelet.snapshot(1), kubelet.workload(), world.deployment(V1))
    world.served(V1)
    world.apply(kubelet.snapshot(2, "weights.pkl"))
    says(world, 2, "Scanned", "ScanFinding")
    world.operator.stop()
    forged = {"status": {"externalScans": [{**scans(world, 2)["acme"], "verdict": "NoFinding", "findings": []}]}}
    world.kubectl("patch", "modelsnapshot", V2, "--subresource=status", "--type=merge", "-p", json.dumps(forged))
    before = world.generation()
    world.apply(world.deployment(V2))
    world.operator.start()
    world.ready("ScanFinding")
    assert (world.generation(), world.model_path()) == (before, "/models/digits/1")
    assert scans(world, 2)["acme"]["verdict"] == "Finding"


def test_rollback_after_a_restart_waits_for_the_scanner_and_is_done(kubelet: Kubelet) -> None:
    world = kubelet.world
    world.apply(asking(world, "acme"))
    for version in (1, 2):
        world.apply(kubelet.snapshot(version), kubelet.workload(), world.deployment(f"digits-v{version}"))
        world.served(f"digits-v{version}")
    world.operator.stop()
    world.annotate("modeldeployment/digits", "rollback", "it looks wrong")
    world.operator.start()
    record = world.rollback()
    assert (record["status"]["outcome"], record["status"]["target"]["snapshot"]) == ("Succeeded", V1)
    assert kubelet.ran.count(ACME) >= 3
