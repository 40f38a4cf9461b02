"""Whoever is killed in the middle leaves a whole snapshot or none, and a name that a sweep removes."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lastgood.verify import digest, verify
from lastgood.verify.store import HeldCheckpoint, apply, capture_path, listing, path_of, plan, repair, sweep
from tests.unit.verify.store.helpers import everything, in_child

KILLED = -signal.SIGKILL
NOW = datetime.now(UTC) + timedelta(days=1)


def killed_everywhere(
    prepare: Callable[[int], Path], action: Callable[[Path], object], check: Callable[[Path], None]
) -> int:
    """Kill an action at its first change of the disk, its second, and so on; return how many there are."""
    for count in range(1, 500):
        store = prepare(count)
        code = in_child(lambda store=store: action(store), kill_at=count)  # type: ignore[misc]  # mypy infers no default
        check(store)
        if code != KILLED:
            assert code == 0
            return count - 1
    raise AssertionError("the action never ended")


def fresh(tmp_path: Path) -> Callable[[int], Path]:
    def prepare(count: int) -> Path:
        store = tmp_path / f"store-{count}"
        store.mkdir()
        return store

    return prepare


def copies(made: Path) -> Callable[[int], Path]:
    return lambda count: Path(shutil.copytree(made, made.with_name(f"copy-{count}")))


def assert_swept_and_whole(store: Path, expected: str) -> None:
    if (store / path_of(expected)).exists():
        assert verify(store, path_of(expected), expected).verdict == "Verified"
    sweep(store, older_than=-1)
    assert not list(store.glob(".partial/*"))


def test_capture_killed_at_every_change_of_the_disk(tmp_path: Path, volume: Path, checkpoint: Path) -> None:
    expected = digest(checkpoint).digest

    def check(store: Path) -> None:
        assert_swept_and_whole(store, expected)
        assert capture_path(volume, "digits/2", store, expected).digest == expected

    points = killed_everywhere(fresh(tmp_path), lambda store: capture_path(volume, "digits/2", store), check)
    assert points > 25


def test_capture_killed_at_any_time(tmp_path: Path, store: Path) -> None:
    (tmp_path / "model.bin").write_bytes(os.urandom(20_000_000))
    expected = digest(tmp_path / "model.bin").digest
    chance = random.Random(4)  # noqa: S311 - moments to kill at, and the same ones each time
    codes = set()
    for _ in range(25):
        child = os.fork()
        if child == 0:
            try:
                capture_path(tmp_path, "model.bin", store, expected)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        assert_swept_and_whole(store, expected)
        (store / path_of(expected)).unlink(missing_ok=True)
    assert KILLED in codes


def test_deletion_killed_at_every_change_of_the_disk(tmp_path: Path, volume: Path) -> None:
    made = fresh(tmp_path)(0)
    capture_path(volume, "digits/2", made)
    (tmp_path / "new").write_bytes(b"new")
    capture_path(tmp_path, "new", made)
    expected = digest(volume / "digits" / "2").digest

    def delete(store: Path) -> None:
        os.utime(store / path_of(expected), (1000, 1000))
        held = listing(store, model="digits").held
        protected = {"pins": (), "serving": (), "last_known_good": (), "evidence": ()}
        decided = plan(held, keep_last=1, complete=True, now=NOW, **protected)  # type: ignore[arg-type]  # empty, each
        assert apply(decided, store).deleted == (expected,)

    assert killed_everywhere(copies(made), delete, lambda store: assert_swept_and_whole(store, expected)) > 10


def test_repair_killed_at_every_change_of_the_disk_keeps_the_evidence(tmp_path: Path, volume: Path) -> None:
    expected = digest(volume / "digits" / "2").digest

    made = fresh(tmp_path)(0)
    capture_path(volume, "digits/2", made)
    bad = made / path_of(expected) / "config.json"
    bad.chmod(0o644)
    bad.write_text("poison")

    def mend(store: Path) -> object:
        with HeldCheckpoint(volume, "digits/2") as mirror:
            return repair(store, expected, [mirror], incident="INC-1")

    def check(store: Path) -> None:
        sweep(store, older_than=-1)
        assert "poison" in {path.read_text() for path in store.rglob("config.json")}
        mend(store)
        assert verify(store, path_of(expected), expected).verdict == "Verified"
        (evidence,) = store.glob("evidence/*/content")
        assert (evidence / "config.json").read_text() == "poison"
        assert not [name for name in everything(store) if name.startswith(".partial")]

    assert killed_everywhere(copies(made), mend, check) > 25
