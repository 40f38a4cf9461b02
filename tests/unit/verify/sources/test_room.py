"""Copies that share a disk: one that takes all of it is refused, and the others go on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lastgood.verify import LimitError, Verdict, digest
from lastgood.verify.inspection import How, Question, inspect_source
from lastgood.verify.scan import Policy
from lastgood.verify.sources import LocalSource, Room, Share

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def looked_at(tmp_path: Path, room: Room) -> tuple[Verdict, str]:
    """Look at a checkpoint that must be copied for it: 10 kB in one file."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "weights.bin").write_bytes(bytes(10_000))
    (tmp_path / "scratch").mkdir(exist_ok=True)
    question = Question(digest=digest(checkpoint).digest, at=datetime.now(UTC), scan=Policy())
    found = inspect_source(LocalSource(root=checkpoint), question, How(scratch=tmp_path / "scratch", room=room)).result
    assert list((tmp_path / "scratch").iterdir()) == []
    return found.verdict, found.message


def test_a_copy_that_fits_is_looked_at_and_gives_its_room_back(tmp_path: Path) -> None:
    room = Room(20_000)
    for _ in range(5):
        assert looked_at(tmp_path, room)[0] is Verdict.VERIFIED


def test_a_snapshot_that_would_fill_the_volume_of_all_is_unreadable(tmp_path: Path) -> None:
    verdict, message = looked_at(tmp_path, Room(12_000))
    assert verdict is Verdict.UNREADABLE
    assert "scratch.sizeLimit" in message


def test_one_that_does_not_fit_takes_no_room_from_the_next(tmp_path: Path) -> None:
    room = Room(15_000)
    with room.share() as other:
        other.write(10_000)
        assert looked_at(tmp_path, room)[0] is Verdict.UNREADABLE
        other.write(5_000)
    assert looked_at(tmp_path, Room(20_000))[0] is Verdict.VERIFIED


class Counted:
    """A pace that lets everything pass, and counts it."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, size: int, _: Callable[[], None]) -> None:
        self.taken += size


def test_routine_keeps_to_its_pace_where_it_copies_too(tmp_path: Path) -> None:
    pace, checkpoint = Counted(), tmp_path / "weights.bin"
    checkpoint.write_bytes(bytes(10_000))
    question = Question(digest=digest(checkpoint).digest, at=datetime.now(UTC), scan=Policy())
    assert inspect_source(LocalSource(root=checkpoint), question, How(budget=pace)).scan
    assert pace.taken == 20_000, "as it came, and once more after the scan"


def swarm(share: Share) -> None:
    for _ in range(1_000):
        share.begin()


def test_a_swarm_of_empty_files_is_counted_too() -> None:
    with Room(1_000_000).share() as share, pytest.raises(LimitError):
        swarm(share)
