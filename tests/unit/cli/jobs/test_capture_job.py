"""`lastgood capture-job` on real directories: it says what it did, in 4 KiB at most, and what to do if it could not."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.cli.app import main
from lastgood.cli.jobs.capture_job import message
from lastgood.verify import digest
from lastgood.verify.store import path_of
from tests.unit.verify.store.helpers import as_nobody, needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def claim() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:  # pytest's own directories are closed to everybody else
        folder = Path(path) / "data"
        (folder / "digits/1").mkdir(parents=True)
        (folder / "digits/1/model.bin").write_bytes(b"weights")
        (Path(path) / "store").mkdir()
        Path(path).chmod(0o755)
        yield folder


def captured(claim: Path, wanted: str) -> dict[str, Any]:
    log = claim.parent / "log"
    arguments = ["--root", str(claim), "--path", "digits/1", "--digest", wanted, "--nonce", "n" * 32]
    code = main(["capture-job", *arguments, "--store", str(claim.parent / "store"), "--termination-log", str(log)])
    assert code == 0
    answer: dict[str, Any] = json.loads(log.read_text())
    assert (answer.pop("nonce"), answer.pop("digest")) == ("n" * 32, wanted)
    return answer


def test_a_checkpoint_is_captured_once(claim: Path) -> None:
    wanted = digest(claim / "digits/1").digest
    first, again = captured(claim, wanted), captured(claim, wanted)
    assert first == {"reason": "Captured", "path": path_of(wanted), "sizeBytes": 7, "existed": False}
    assert again == {**first, "existed": True}
    assert digest(claim.parent / "store" / path_of(wanted)).digest == wanted


def test_other_bytes_are_not_captured(claim: Path) -> None:
    wanted = f"sha256:{'0' * 64}"
    answer = captured(claim, wanted)
    assert (answer["reason"], wanted in answer["message"]) == ("CaptureFailed", True)
    assert not list(claim.parent.glob("store/sha256/*/*"))


@needs_root
def test_a_store_that_is_not_ours_to_write_is_told_with_whose_it_must_be(claim: Path) -> None:
    wanted = digest(claim / "digits/1").digest
    (claim.parent / "log").touch()
    (claim.parent / "log").chmod(0o666)
    assert as_nobody(lambda: captured(claim, wanted)) == 0
    answer = json.loads((claim.parent / "log").read_text())
    assert answer["reason"] == "CaptureFailed"
    assert "EACCES" in answer["message"]
    assert "user 65532" in answer["message"]


def test_a_long_sentence_fits_the_termination_message() -> None:
    for text in ("\u00fc" * 5000, "\x01" * 5000, "a" * 5000, "\U0001f600" * 5000):
        body = message("n", "d", {"reason": "CaptureFailed", "message": text})
        assert len(body.encode()) <= 4096
        assert json.loads(body)["reason"] == "CaptureFailed"
