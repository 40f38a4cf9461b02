"""A sweep removes what crashes left, and nothing else."""

import os
import time
from pathlib import Path

import pytest

from lastgood.verify.store import StoreError, capture_path, sweep
from lastgood.verify.store.partial import work
from tests.unit.verify.store.helpers import in_child

LEFT = "capture-" + "0" * 32
DAY = 24 * 3600


@pytest.fixture
def partial(store: Path) -> Path:
    path = store / ".partial"
    path.mkdir()
    return path


def leave(partial: Path, name: str = LEFT, age: float = 2 * DAY) -> Path:
    path = partial / name
    (path / "content" / "deep").mkdir(parents=True)
    (path / "content" / "deep" / "1.bin").write_bytes(b"half")
    (path / "content" / "deep").chmod(0o555)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_what_a_crash_left_is_removed(store: Path, partial: Path) -> None:
    leave(partial)
    leave(partial, "delete-" + "1" * 32)
    assert len(sweep(store).removed) == 2
    assert not list(partial.iterdir())


def test_nothing_to_sweep_in_a_new_store(store: Path) -> None:
    assert sweep(store).removed == ()


def test_what_is_young_stays(store: Path, partial: Path) -> None:
    leave(partial, age=DAY / 2)
    assert sweep(store).left == ((LEFT, "it changed too recently (--older-than)"),)


@pytest.mark.parametrize("name", ["notes", "capture-1", "capture-" + "0" * 33, "evidence", "capture-" + "A" * 32])
def test_what_is_not_ours_stays(store: Path, partial: Path, name: str) -> None:
    leave(partial, name)
    assert sweep(store, older_than=-1).left == ((name, "lastgood did not create it"),)
    assert (partial / name / "content" / "deep" / "1.bin").exists()


def test_what_somebody_works_on_stays_however_old_it_looks(store: Path) -> None:
    with work(store, "capture") as room:
        os.utime(store / room.path, (1000, 1000))
        assert sweep(store).left == ((room.name, "another process is using it"),)
    assert sweep(store).left == ()


def test_what_another_process_works_on_stays(store: Path) -> None:
    with work(store, "capture") as room:
        os.utime(store / room.path, (1000, 1000))
        assert in_child(lambda: [sweep(store).removed[0]]) == 1  # there is none
        assert (store / room.path).exists()


def test_link_in_place_of_a_leftover_is_not_followed(store: Path, partial: Path, tmp_path: Path) -> None:
    target = leave(tmp_path, "target")
    (partial / LEFT).symlink_to(target)
    assert sweep(store, older_than=-1).left == ((LEFT, "lastgood did not create it"),)
    assert (target / "content" / "deep" / "1.bin").exists()


def test_link_inside_a_leftover_is_removed_and_not_followed(store: Path, partial: Path, tmp_path: Path) -> None:
    target = leave(tmp_path, "target")
    target.chmod(0o500)
    (leave(partial) / "content" / "way-out").symlink_to(target)
    assert sweep(store, older_than=-1).removed == (LEFT,)
    assert (target / "content" / "deep" / "1.bin").exists()
    assert target.stat().st_mode & 0o777 == 0o500


def test_link_in_place_of_the_partial_directory_is_not_followed(store: Path, tmp_path: Path) -> None:
    leave(tmp_path / "elsewhere")
    (store / ".partial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        sweep(store, older_than=-1)
    assert (tmp_path / "elsewhere" / LEFT).exists()


def test_a_sweep_touches_neither_snapshots_nor_evidence(volume: Path, store: Path) -> None:
    found = capture_path(volume, "digits/2", store)
    leave(store / "evidence")
    assert sweep(store, older_than=-1).removed == ()
    assert (store / found.path).exists()
    assert (store / "evidence" / LEFT).exists()
