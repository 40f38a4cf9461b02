"""What Jobs do on a real node beside verifying: an external scanner looks, a capture copies, evidence is kept."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lastgood.verify import digest
from lastgood.verify.store import path_of
from tests.cluster.made import images
from tests.e2e.team import SCANNER, SLOW, Team, team
from tests.integration.signing import says
from tests.integration.snapshots.test_capture import capture
from tests.integration.snapshots.test_forensics import forensics
from tests.integration.world import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Cluster
    from tests.integration.world import Body

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]  # the first test may build a cluster and images

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scanning.md"
SERVED = ("PersistentVolumeClaim", "Deployment", "Service", "ModelDeployment")
OPERATOR_USER = 65532


@pytest.fixture(scope="module")
def scanned(operated: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team whose policy asks for the scanner of the page; digits-v1 serves from a claim that Jobs may write to."""
    operated.load_image(scanner_image(tmp_path_factory.mktemp("scanner")))
    with team(operated, "jobs", tmp_path_factory.mktemp("jobs")) as there:
        os.chown(there.store, OPERATOR_USER, OPERATOR_USER)
        there.apply(
            there.body("ModelTrustPolicy", "scanned", {"scan": {"required": False, "external": ["no-pickles"]}})
        )
        there.apply(on_claim(there, 1), on_claim(there, 2, "weights.pkl"), on_claim(there, 3, capture=True))
        there.bring("verify-init.yaml", kinds=SERVED)
        there.served("digits-v1", within=SLOW)
        yield there


def scanner_image(folder: Path) -> Path:
    """Build the scanner of the page with the page's Dockerfile; only its base image is ours."""
    page = PAGE.read_text()
    (program,) = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (recipe,) = re.findall(r"^```dockerfile\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (folder / "scan.py").write_text(program)
    based, count = re.subn(r"^FROM .*$", "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}", recipe, flags=re.MULTILINE)
    assert count == 1
    (folder / "Dockerfile").write_text(based)
    return images.build(folder, folder / "Dockerfile", SCANNER)


def content(version: int) -> str:
    return f'{{"accuracy": 0.9{version}}}\n'


def on_claim(there: Team, version: int, *files: str, **more: object) -> Body:
    """Write a checkpoint onto the claim, one file or a directory of some, and return its snapshot."""
    path = f"digits/{version}" if files else f"digits/{version}.json"
    for name in files or (".",):
        there.write(str(Path(path, name)), content(version))
    source = {"pvc": {"claimName": "models", "path": path}}
    return there.snapshot(version, source=source, digest=digest(there.store / path).digest, **more)


def scans(there: Team, version: int) -> dict[str, Body]:
    """Return what a status has of external scanners, by their names."""
    rows = there.get("modelsnapshot", f"digits-v{version}").get("status", {}).get("externalScans", [])
    return {row["scanner"]: row for row in rows}


def test_the_scanner_of_the_page_looked_before_anything_was_deployed(scanned: Team) -> None:
    row = scans(scanned, 1)["no-pickles"]
    assert (row["verdict"], row["complete"], row["version"], row["image"]) == ("NoFinding", True, "1.0", SCANNER)
    assert row["digest"] == scanned.get("modelsnapshot", "digits-v1")["spec"]["digest"]
    assert row["time"] <= scanned.status()["history"][0]["since"]
    assert says(scanned, 1, "Scanned", "Scanned")["status"] == "True"
    assert scanned.says(content(1))


def test_what_the_scanner_found_is_not_deployed(scanned: Team) -> None:
    generation = scanned.generation()
    scanned.desire("digits-v2")
    condition = scanned.ready("ScanFinding", within=SLOW)
    assert "no-pickles/pickle (high) in 'weights.pkl'" in condition["message"]
    assert scanned.generation() == generation
    assert scanned.says(content(1))


def test_a_capture_by_a_job_is_gone_back_to_when_the_source_is_gone(scanned: Team) -> None:
    path = capture(scanned, "Captured", name="digits-v3", within=SLOW)["path"]
    wanted = scanned.get("modelsnapshot", "digits-v3")["spec"]["digest"]
    copy = scanned.store / path
    assert (path, digest(copy).digest, copy.stat().st_uid) == (path_of(wanted), wanted, OPERATOR_USER)
    scanned.deploy("digits-v3")
    scanned.deploy("digits-v1")
    (scanned.store / "digits/3.json").unlink()
    record = scanned.go_back("digits-v3")
    assert record["status"]["outcome"] == "Succeeded", record["status"]
    assert scanned.environment("verify")["MODEL_PATH"] == f"/models/{path}"
    assert scanned.says(content(3))
    found = scanned.get("modelsnapshot", "digits-v3")["status"]["verification"]
    assert (found["copy"], [item["copy"] for item in found["passedOver"]]) == ("capture@models", ["source"])


def test_what_is_there_when_it_is_quarantined_is_kept_by_a_job(scanned: Team) -> None:
    scanned.write("digits/2/weights.pkl", "changed after all\n")
    scanned.annotate("modelsnapshot/digits-v2", "quarantine", 'INC-2041: it\'s a pickle of "nobody" $(HOME)')
    said = forensics(scanned, "EvidenceKept", within=SLOW)
    kept = scanned.store / said["path"]
    assert "not the declared one" in said["message"]
    assert kept.name.startswith("INC-2041-")
    assert (kept / "content/weights.pkl").read_text() == "changed after all\n"
    assert 'it\'s a pickle of "nobody" $(HOME)' in json.loads((kept / "note.json").read_text())["reason"]
    assert (kept.stat().st_mode & 0o077, kept.stat().st_uid) == (0, OPERATOR_USER)


def test_no_job_stays_behind(scanned: Team) -> None:
    left = ("get", "jobs,pods", "-l", "app.kubernetes.io/managed-by=lastgood", "-o", "name")
    eventually(lambda: not scanned.kubectl(*left), what="the Jobs are gone", within=SLOW)
