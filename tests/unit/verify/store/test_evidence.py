"""Evidence is complete and verified before anything may happen to the original, and a repair keeps it first."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from lastgood.verify import RefusedEntryError, StoppedError, UnreadableError, digest, verify
from lastgood.verify.store import (
    HeldCheckpoint,
    MismatchError,
    NoGoodCopyError,
    StoreError,
    capture_path,
    keep_evidence,
    listing,
    path_of,
    repair,
)
from tests.unit.verify.store.helpers import Memory, everything

DIGEST = "sha256:" + "0" * 64
WHY = "shards/1.bin is changed"


def test_a_forensics_copy_is_the_same_and_has_a_note(volume: Path, checkpoint: Path, store: Path) -> None:
    found = keep_evidence(volume, "digits/2", store, digest=DIGEST, reason=WHY, incident="INC-7")
    assert found.path == f"evidence/INC-7-{'0' * 64}"
    assert (found.file_count, found.size_bytes) == (3, 3_005_015)
    assert digest(store / found.path / "content").digest == digest(checkpoint).digest
    note = json.loads((store / found.path / "note.json").read_text())
    assert (note["digest"], note["incident"], note["reason"], note["copiedFrom"]) == (DIGEST, "INC-7", WHY, "digits/2")
    assert {entry["path"]: entry.get("sha256", "")[:4] for entry in note["entries"]}["config.json"]
    assert not list((store / ".partial").iterdir())


def test_evidence_of_a_single_file(tmp_path: Path, store: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"poison")
    found = keep_evidence(tmp_path, "model.bin", store, digest=DIGEST, reason=WHY)
    assert (store / found.path / "content").read_bytes() == b"poison"


def test_a_second_piece_of_evidence_does_not_replace_the_first(volume: Path, checkpoint: Path, store: Path) -> None:
    paths = []
    for content in ("one", "two", "three"):
        (checkpoint / "config.json").write_text(content)
        paths.append(keep_evidence(volume, "digits/2", store, digest=DIGEST, reason=WHY, incident="INC-7").path)
    assert [path.rpartition("-")[2][64:] for path in paths] == ["", ".2", ".3"]
    assert [(store / path / "content" / "config.json").read_text() for path in paths] == ["one", "two", "three"]


def test_payload_hidden_behind_links_and_broken_names_is_kept_as_evidence(
    volume: Path, checkpoint: Path, store: Path
) -> None:
    (checkpoint / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(checkpoint / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(checkpoint / "socket"))
    (checkpoint / "empty").mkdir()
    Path(os.fsdecode(os.fsencode(checkpoint) + b"/bad\xff\n")).write_bytes(b"payload")
    found = keep_evidence(volume, "digits/2", store, digest=DIGEST, reason=WHY)
    assert found.not_copied == ("fifo", "passwd", "socket")
    note = json.loads((store / found.path / "note.json").read_text())
    links = [(entry["path"], entry["target"]) for entry in note["entries"] if entry["kind"] == "link"]
    assert links == [("passwd", "/etc/passwd")]
    assert (os.fsencode(store / found.path / "content") + b"/bad\xff\n") in {
        os.fsencode(path) for path in (store / found.path / "content").iterdir()
    }


def test_evidence_is_read_only(volume: Path, store: Path) -> None:
    found = keep_evidence(volume, "digits/2", store, digest=DIGEST, reason=WHY)
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o222 for path in (store / found.path / "content").rglob("*")}
    assert modes == {0}


def test_evidence_that_changes_while_it_is_copied_is_not_kept(volume: Path, checkpoint: Path, store: Path) -> None:
    with pytest.raises(UnreadableError, match=r"changed|replaced"):
        keep_evidence(
            volume,
            "digits/2",
            store,
            digest=DIGEST,
            reason=WHY,
            progress=lambda _: (checkpoint / "extra").touch(),
        )
    assert not everything(store)


def test_copy_of_evidence_that_the_disk_does_not_give_back_is_noticed(tmp_path: Path, store: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x00" * 1000)

    def flip(count: int) -> None:
        if count == 1000:
            (target,) = store.glob(".partial/*/content")
            with target.open("r+b") as file:
                file.write(b"\xff")

    with pytest.raises(StoreError, match="not what was written"):
        keep_evidence(tmp_path, "model.bin", store, digest=DIGEST, reason=WHY, progress=flip)
    assert not everything(store)


@pytest.mark.parametrize("incident", ["", "../up", "a/b", ".hidden", "x" * 64, "new\nline"])
def test_incident_that_is_no_name_is_refused(volume: Path, store: Path, incident: str) -> None:
    with pytest.raises(ValueError, match="incident"):
        keep_evidence(volume, "digits/2", store, digest=DIGEST, reason=WHY, incident=incident)
    with pytest.raises(ValueError, match="incident"):
        repair(store, DIGEST, [], incident=incident)


@pytest.mark.parametrize("relative", ["..", "digits/../../etc", "/etc", ""])
def test_path_out_of_the_root_is_no_evidence(volume: Path, store: Path, relative: str) -> None:
    with pytest.raises(ValueError, match="path"):
        keep_evidence(volume, relative, store, digest=DIGEST, reason=WHY)


def test_link_in_place_of_the_evidence_is_refused(volume: Path, store: Path) -> None:
    (volume / "link").symlink_to("/etc")
    with pytest.raises(RefusedEntryError):
        keep_evidence(volume, "link", store, digest=DIGEST, reason=WHY)


@pytest.fixture
def bad(volume: Path, store: Path) -> str:
    """A snapshot in the store that somebody poisoned there."""
    found = capture_path(volume, "digits/2", store)
    config = store / found.path / "config.json"
    config.chmod(0o644)
    config.write_text("poison")
    return found.digest


def test_a_repair_keeps_the_bad_copy_and_puts_a_good_one_in_its_place(volume: Path, store: Path, bad: str) -> None:
    others = [Memory(contents=(("a", b"wrong"),), name="first"), Memory(contents=(), name="second")]
    with HeldCheckpoint(volume, "digits/2") as good:
        done = repair(store, bad, [*others, good], incident="INC-7")
    assert (done.source, len(done.passed_over)) == (2, 2)
    assert verify(store, path_of(bad), bad).verdict == "Verified"
    assert done.evidence is not None
    assert (store / done.evidence.path / "content" / "config.json").read_text() == "poison"
    assert bad in json.loads((store / done.evidence.path / "note.json").read_text())["reason"]
    assert [item.digest for item in listing(store).held] == [bad]
    assert not list((store / ".partial").iterdir())


def test_without_a_good_copy_nothing_is_moved(store: Path, bad: str) -> None:
    with pytest.raises(NoGoodCopyError, match=r"first: .*second: ") as caught:
        repair(store, bad, [Memory(contents=(("a", b"x"),), name="first"), Memory(contents=(), name="second")])
    assert len(caught.value.passed_over) == 2
    assert (store / path_of(bad) / "config.json").read_text() == "poison"
    assert not (store / "evidence").exists()


def test_a_good_copy_is_left_alone(volume: Path, store: Path) -> None:
    found = capture_path(volume, "digits/2", store)
    done = repair(store, found.digest, [])
    assert (done.copy.existed, done.evidence, done.source) == (True, None, None)


def test_a_missing_copy_is_filled_without_evidence(volume: Path, checkpoint: Path, store: Path) -> None:
    with HeldCheckpoint(volume, "digits/2") as good:
        done = repair(store, digest(checkpoint).digest, [good])
    assert done.evidence is None
    assert not done.copy.existed


def test_a_place_of_another_name_is_repaired(volume: Path, checkpoint: Path, store: Path) -> None:
    expected = digest(checkpoint).digest
    (store / "digits" / "2").mkdir(parents=True)
    (store / "digits" / "2" / "config.json").write_text("poison")
    with HeldCheckpoint(volume, "digits/2") as good:
        done = repair(store, expected, [good], path="digits/2")
    assert done.copy.path == "digits/2"
    assert done.evidence is not None
    assert verify(store, "digits/2", expected).verdict == "Verified"


def test_link_in_place_of_the_snapshot_becomes_evidence_unfollowed(volume: Path, checkpoint: Path, store: Path) -> None:
    expected = digest(checkpoint).digest
    (store / path_of(expected)).parent.mkdir(parents=True)
    (store / path_of(expected)).symlink_to("/etc")
    with HeldCheckpoint(volume, "digits/2") as good:
        done = repair(store, expected, [good])
    assert done.evidence is not None
    assert (store / done.evidence.path / "content").readlink() == Path("/etc")


def test_a_cancelled_repair_does_not_try_the_next_source(store: Path, bad: str) -> None:
    calls = iter(range(10_000))
    with pytest.raises(StoppedError):
        repair(store, bad, [Memory(contents=(("a", b"x" * 5000),))] * 2, cancelled=lambda: next(calls) > 25)
    assert (store / path_of(bad) / "config.json").read_text() == "poison"


def test_a_mismatch_tells_both_digests() -> None:
    assert "expected sha256:2" in str(MismatchError("it", "sha256:2", "sha256:1"))
