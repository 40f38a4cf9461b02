"""`lastgood evidence-job` on real directories: it keeps what is there, whatever it is, and says where."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.cli.app import main
from lastgood.verify import digest
from tests.unit.verify.store.helpers import as_nobody, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = f"sha256:{'0' * 64}"


@pytest.fixture
def claim() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:  # pytest's own directories are closed to everybody else
        folder = Path(path) / "data"
        (folder / "digits/1").mkdir(parents=True)
        (folder / "digits/1/model.bin").write_bytes(b"poison")
        (Path(path) / "store").mkdir()
        Path(path).chmod(0o755)
        yield folder


def kept(claim: Path, *more: str) -> dict[str, Any]:
    log = claim.parent / "log"
    where = ["--root", str(claim), "--path", "digits/1", "--digest", WANTED, "--nonce", "n" * 32]
    store = ["--store", str(claim.parent / "store"), "--subject=ModelSnapshot ml/v1 u1"]
    assert main(["evidence-job", *where, *store, *more, "--termination-log", str(log)]) == 0
    answer: dict[str, Any] = json.loads(log.read_text())
    assert (answer.pop("nonce"), answer.pop("digest")) == ("n" * 32, WANTED)
    return answer


def test_what_is_there_is_kept_once_with_its_note(claim: Path) -> None:
    first = kept(claim, "--reason=--help me", "--incident=INC-7")
    again = kept(claim, "--reason=--help me", "--incident=INC-7")
    assert (first["reason"], first["existed"], first["sizeBytes"]) == ("EvidenceKept", False, 6)
    assert first["found"] == digest(claim / "digits/1").digest
    assert (again["existed"], again["path"]) == (True, first["path"])
    place = claim.parent / "store" / first["path"]
    assert (place / "content/model.bin").read_bytes() == b"poison"
    note = json.loads((place / "note.json").read_text())
    assert (note["reason"], note["incident"]) == ("--help me", "INC-7")


@pytest.mark.parametrize("incident", ["--incident=", "--incident=../up"])
def test_without_an_incident_the_time_names_it_and_one_that_is_no_name_is_refused(claim: Path, incident: str) -> None:
    answer = kept(claim, incident)
    if incident.endswith("="):
        assert answer["path"].startswith("evidence/20")
    else:
        assert (answer["reason"], "incident" in answer["message"]) == ("EvidenceFailed", True)


@needs_root
def test_a_store_that_is_not_ours_to_write_is_told_with_whose_it_must_be(claim: Path) -> None:
    (claim.parent / "log").touch()
    (claim.parent / "log").chmod(0o666)
    assert as_nobody(lambda: kept(claim)) == 0
    answer = json.loads((claim.parent / "log").read_text())
    assert answer["reason"] == "EvidenceFailed"
    assert "user 65532" in answer["message"]
