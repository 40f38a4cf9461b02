"""A full disk is a typed error, and leaves nothing."""

from pathlib import Path

import pytest

from lastgood.verify.store import StoreFullError, capture, capture_path, keep_evidence
from tests.unit.verify.store.helpers import Memory, everything, needs_root

DIGEST = "sha256:" + "0" * 64
pytestmark = needs_root


def test_what_cannot_fit_is_refused_before_its_first_byte(volume: Path, small_disk: Path) -> None:
    seen: list[int] = []
    with pytest.raises(StoreFullError, match=r"2\.bin needs 3000000 bytes"):
        capture_path(volume, "digits/2", small_disk, progress=seen.append)
    assert max(seen) < 6000
    assert not everything(small_disk)


def test_sparse_terabyte_is_refused_at_once(tmp_path: Path, small_disk: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(StoreFullError):
        capture_path(tmp_path, "sparse", small_disk)


def test_disk_that_is_full_in_the_middle(small_disk: Path) -> None:
    source = Memory(contents=tuple((f"{count}.bin", b"x" * 5000) for count in range(200)))
    with pytest.raises(StoreFullError, match="store is full"):
        capture(source, small_disk)
    assert not everything(small_disk)
    assert capture(Memory(contents=(("a", b"x" * 500_000),)), small_disk).size_bytes == 500_000


def test_disk_without_room_for_another_name(small_disk: Path) -> None:
    with pytest.raises(StoreFullError):
        capture(Memory(contents=tuple((f"{count}/{count}.bin", b"") for count in range(300))), small_disk)
    assert not everything(small_disk)


def test_evidence_that_cannot_fit_leaves_nothing(volume: Path, small_disk: Path) -> None:
    with pytest.raises(StoreFullError):
        keep_evidence(volume, "digits/2", small_disk, digest=DIGEST, reason="a finding")
    assert not everything(small_disk)
