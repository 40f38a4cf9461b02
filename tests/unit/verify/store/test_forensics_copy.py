"""A forensics copy is made once for each subject, whatever the source gives, and leaves room for everybody else."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lastgood.verify import Limits, RefusedEntryError, UnreadableError, digest, manifest_digest
from lastgood.verify.errors import LimitError, NothingToCheckError
from lastgood.verify.store import (
    Case,
    Evidence,
    StoreError,
    StoreFullError,
    can_name,
    forbidden,
    is_room,
    keep_evidence,
    keep_evidence_of,
    sweep,
)
from lastgood.verify.store.evidence import finish, kept_before
from tests.unit.verify.store.helpers import Memory, as_nobody, everything, full_disk, in_child, needs_root
from tests.unit.verify.store.test_crash import KILLED

DIGEST = "sha256:" + "0" * 64
CASE = Case(digest=DIGEST, reason="backdoor", incident="INC-7", subject="ModelSnapshot ml/v1 uid-1")
MORE_THAN_HALF = b"x" * (5 * 2**20)
POISON = Memory(contents=(("config.json", b"{}"), ("shards/1.bin", b"poison" * 1000)), name="s3://models/digits")


def keep(volume: Path, store: Path, subject: str = "uid-1") -> Evidence:
    return keep_evidence(volume, "digits/2", store, digest=DIGEST, reason="why", incident="INC-7", subject=subject)


def test_what_is_kept_already_is_not_read_again(volume: Path, store: Path) -> None:
    read: list[int] = []
    for _ in range(2):
        keep_evidence(volume, "digits/2", store, digest=DIGEST, reason="why", subject="uid-1", progress=read.append)
    assert read.count(max(read)) == 1


def test_it_is_kept_once_for_a_subject_and_a_digest(volume: Path, store: Path) -> None:
    first, again, other = keep(volume, store), keep(volume, store), keep(volume, store, "uid-2")
    assert (first.existed, again.existed, again.path) == (False, True, first.path)
    assert (other.existed, other.path != first.path) == (False, True)
    assert len(list(store.glob("evidence/*"))) == 2
    assert json.loads((store / first.path / "note.json").read_text())["subject"] == "uid-1"


def test_it_says_which_digest_the_bytes_have(volume: Path, checkpoint: Path, store: Path) -> None:
    found = keep(volume, store)
    assert found.found == digest(checkpoint).digest
    assert json.loads((store / found.path / "note.json").read_text())["found"] == found.found
    (checkpoint / "link").symlink_to("config.json")
    assert keep(volume, store, "with a link").found is None
    (checkpoint / "link").unlink()
    Path(os.fsdecode(os.fsencode(checkpoint) + b"/bad\xff")).write_bytes(b"payload")
    assert keep(volume, store, "with a broken name").found is None


def test_a_name_without_content_is_no_evidence(volume: Path, store: Path) -> None:
    """What a crash between two steps leaves must not pass for a copy."""
    (store / "evidence" / f"INC-7{CASE.about}").mkdir(parents=True)
    assert kept_before(store, CASE) is None
    subject = str(CASE.subject)
    found = keep_evidence(volume, "digits/2", store, digest=DIGEST, reason="why", incident="INC-7", subject=subject)
    assert not found.existed
    assert kept_before(store, CASE) is not None


def test_what_another_replica_kept_meanwhile_is_not_kept_again(
    volume: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*arguments: object) -> Evidence:
        monkeypatch.undo()
        keep(volume, store)
        return finish(*arguments)  # type: ignore[arg-type]  # as they were given

    monkeypatch.setattr("lastgood.verify.store.evidence.finish", slowly)
    assert keep(volume, store).existed
    assert len(list(store.glob("evidence/*"))) == 1


@pytest.mark.parametrize(
    "action",
    [
        lambda volume, store: keep_evidence(volume, "digits/2", store, digest=DIGEST, reason="why", subject="uid-1"),
        lambda _, store: keep_evidence_of(POISON, store, Case(digest=DIGEST, reason="why", subject="uid-1")),
    ],
    ids=["from a disk", "from a network"],
)
def test_killed_at_every_change_of_the_disk_it_is_kept_once(
    tmp_path: Path, volume: Path, action: Callable[[Path, Path], object]
) -> None:
    for count in range(1, 300):
        store = tmp_path / f"store-{count}"
        store.mkdir()
        code = in_child(lambda store=store: action(volume, store), kill_at=count)  # type: ignore[misc]  # no default
        action(volume, store)
        assert len(list(store.glob("evidence/*/note.json"))) == 1
        sweep(store, older_than=-1)
        assert not list(store.glob(".partial/*"))
        if code != KILLED:
            break
    assert count > 20


# From a network


def test_what_a_remote_source_gives_is_kept_whatever_it_is(store: Path) -> None:
    found = keep_evidence_of(POISON, store, CASE)
    assert found.path == f"evidence/INC-7{CASE.about}"
    assert (found.file_count, found.size_bytes) == (2, 6002)
    assert (store / found.path / "content/shards/1.bin").read_bytes() == b"poison" * 1000
    note = json.loads((store / found.path / "note.json").read_text())
    assert (note["copiedFrom"], note["incident"], note["found"]) == ("s3://models/digits", "INC-7", found.found)
    assert found.found == digest(store / found.path / "content").digest
    assert keep_evidence_of(POISON, store, CASE).existed


def test_a_remote_file_is_kept_also_if_it_pretends_to_be_a_manifest(store: Path) -> None:
    fake = Memory(contents=(("", b'[{"path":"a"}]'),))
    found = keep_evidence_of(fake, store, CASE)
    assert (store / found.path / "content").read_bytes() == b'[{"path":"a"}]'
    assert found.found != manifest_digest(())


@pytest.mark.parametrize(
    ("source", "error"),
    [
        pytest.param(Memory(contents=(("../up", b"x"),)), RefusedEntryError, id="a path that leads elsewhere"),
        pytest.param(Memory(contents=(("a", b"x"),), announced=2), UnreadableError, id="less than was said"),
        pytest.param(Memory(contents=()), NothingToCheckError, id="nothing"),
    ],
)
def test_what_cannot_be_read_is_not_kept_by_halves(store: Path, source: Memory, error: type[Exception]) -> None:
    with pytest.raises(error):
        keep_evidence_of(source, store, CASE)
    assert not everything(store)


def test_a_source_that_never_ends_is_given_up(store: Path) -> None:
    with pytest.raises(LimitError, match="longer than"):
        keep_evidence_of(POISON, store, CASE, limits=Limits(max_seconds=0.0))
    assert not everything(store)


def test_a_copy_that_the_disk_does_not_give_back_is_noticed(store: Path) -> None:
    def flip(count: int) -> None:
        if count == 6002:
            (target,) = store.glob(".partial/*/content/config.json")
            target.chmod(0o644)
            target.write_bytes(b"[]")

    with pytest.raises(StoreError, match="not what was written"):
        keep_evidence_of(POISON, store, CASE, progress=flip)
    assert not everything(store)


# Room


def test_evidence_leaves_room_for_everybody_else(tmp_path: Path) -> None:
    """Only a person deletes it: whoever may quarantine must not be able to fill the store with it."""
    with full_disk(tmp_path / "disk", "10m") as store:
        (store / "it").write_bytes(MORE_THAN_HALF)
        with pytest.raises(StoreFullError, match="to spare"):
            keep_evidence(store, "it", store, digest=DIGEST, reason="why")
        far = Memory(contents=(("a", MORE_THAN_HALF),))
        with pytest.raises(StoreFullError, match="to spare"):
            keep_evidence_of(far, store, CASE)
        assert not list(store.glob("evidence/*"))
        (store / "it").write_bytes(b"x" * (4 * 2**20))
        assert keep_evidence(store, "it", store, digest=DIGEST, reason="why").size_bytes == 4 * 2**20


@needs_root
def test_a_store_that_is_not_ours_to_write_costs_no_reading(tmp_path: Path, volume: Path, store: Path) -> None:
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)

    def read(_: int) -> None:
        raise AssertionError("it was read")

    def attempt() -> None:
        with pytest.raises(StoreError) as caught:
            keep_evidence(volume, "digits/2", store, digest=DIGEST, reason="why", progress=read)
        assert forbidden(caught.value)

    assert as_nobody(attempt) == 0


@pytest.mark.parametrize(("incident", "can"), [("INC-7", True), ("", False), ("../up", False), ("x" * 64, False)])
def test_which_incidents_can_name_a_directory(incident: str, can: bool) -> None:  # noqa: FBT001 - a column
    assert can_name(incident) == can


def test_another_teams_files_are_not_shown_to_those_who_mount_the_store(store: Path, tmp_path: Path) -> None:
    secret = tmp_path / "teamb"
    secret.mkdir(mode=0o700)
    (secret / "w").write_text("weights")
    (secret / "w").chmod(0o600)
    kept = keep_evidence(tmp_path, "teamb", store, digest=f"sha256:{'a' * 64}", reason="INC-1")
    assert (store / kept.path).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("path", "room"),
    [
        ("evidence", True),
        ("evidence/INC-1", True),
        (".partial/x", True),
        ("sha256", True),
        ("sha256/ab", True),
        (f"sha256/ab/{'ab' * 32}", False),
        ("digits/2", False),
        ("evidences", False),
    ],
)
def test_rooms_of_the_store_are_no_checkpoints(path: str, room: bool) -> None:  # noqa: FBT001  # pytest's
    assert is_room(path) is room
