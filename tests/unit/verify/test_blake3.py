"""The recorded BLAKE3: what it is, that it finds what sha256 finds, and what it is bound to."""

import json
import os
from pathlib import Path

import pytest
from blake3 import blake3 as independent
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.verify import Hasher, Result, Verdict, Way, digest, manifest, recorded_blake3, verify
from lastgood.verify.hashing import SEGMENT

ZEROS = "sha256:" + "0" * 64
WRONG = "blake3:" + "0" * 64


def first(path: Path) -> Result:
    return verify(path, ".", digest(path).digest)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    (tmp_path / "model" / "shards").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "shards" / "1.bin").write_bytes(os.urandom(3_000_000))
    return tmp_path / "model"


def test_anyone_can_compute_it(checkpoint: Path) -> None:
    rows = [
        {
            "blake3": [independent((checkpoint / path).read_bytes()).hexdigest()],
            "path": path,
            "size": (checkpoint / path).stat().st_size,
        }
        for path in ("config.json", "shards/1.bin")
    ]
    content = independent(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()
    bound = f'{{"content":"{content}","digest":"{digest(checkpoint).digest}"}}'
    assert first(checkpoint).blake3 == f"blake3:{independent(bound.encode()).hexdigest()}"


def test_digest_records_the_same_as_verify(checkpoint: Path) -> None:
    for path in (checkpoint, checkpoint / "shards" / "1.bin"):
        assert digest(path, record_blake3=True).blake3 == first(path).blake3
        assert digest(path).blake3 == ""


def test_recording_is_a_choice(checkpoint: Path) -> None:
    result = verify(checkpoint, ".", digest(checkpoint).digest, record_blake3=False)
    assert (result.verdict, result.blake3) == (Verdict.VERIFIED, "")


@pytest.mark.parametrize("isolated", [False, True])
def test_known_blake3_is_enough(checkpoint: Path, isolated: bool) -> None:  # noqa: FBT001 - a parameter of the test
    before = first(checkpoint)
    again = verify(
        checkpoint, ".", before.expected, blake3=before.blake3, known=manifest(checkpoint), isolated=isolated
    )
    assert (again.verdict, again.actual, again.blake3) == (Verdict.VERIFIED, before.expected, before.blake3)
    assert (again.size_bytes, again.file_count, again.files) == (before.size_bytes, before.file_count, before.files)


def test_sha256_decides_where_the_blake3_differs(checkpoint: Path) -> None:
    before = first(checkpoint)
    again = verify(checkpoint, ".", before.expected, blake3=WRONG)
    assert (again.verdict, again.actual, again.blake3) == (Verdict.VERIFIED, before.expected, before.blake3)


def test_blake3_of_another_digest_verifies_nothing(checkpoint: Path) -> None:
    # Mixed up, or put there by somebody who may name a snapshot but not forge a record.
    result = verify(checkpoint, ".", ZEROS, blake3=first(checkpoint).blake3)
    assert (result.verdict, result.actual) == (Verdict.MISMATCH, digest(checkpoint).digest)


def test_wrong_bytes_leave_no_blake3_behind(checkpoint: Path) -> None:
    assert verify(checkpoint, ".", ZEROS).blake3 == ""


def test_forged_record_is_believed_and_must_be_kept_safe(checkpoint: Path) -> None:
    # Why docs/verification.md says where to keep it: whoever can write it decides.
    hasher = {path: Hasher(Way.BLAKE3) for path in ("config.json", "shards/1.bin")}
    for path, one in hasher.items():
        one.update(memoryview((checkpoint / path).read_bytes()))
    rows = [(path, (checkpoint / path).stat().st_size, one.blake3) for path, one in hasher.items()]
    assert verify(checkpoint, ".", ZEROS, blake3=recorded_blake3(ZEROS, rows)).verdict is Verdict.VERIFIED


def test_directory_with_one_file_is_not_the_file() -> None:
    assert recorded_blake3(ZEROS, [("", 1, ["0"])]) != recorded_blake3(ZEROS, [("a", 1, ["0"])])


def test_record_does_not_depend_on_the_order_of_files() -> None:
    rows = [("b", 1, ("0",)), ("a", 2, ("1",)), ("\U0001f600", 3, ("2",)), ("\uffff", 4, ("3",))]
    assert recorded_blake3(ZEROS, rows) == recorded_blake3(ZEROS, rows[::-1])


@pytest.mark.parametrize("text", ["", "0" * 64, ZEROS, WRONG.upper(), WRONG + "\n", WRONG[:-1]])
def test_blake3_that_is_none_is_never_compared(checkpoint: Path, text: str) -> None:
    with pytest.raises(ValueError, match="blake3: must be blake3:"):
        verify(checkpoint, ".", ZEROS, blake3=text)


@pytest.mark.parametrize("size", [0, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 2 * SEGMENT + 5])
def test_both_ways_agree_at_the_border_of_a_segment(tmp_path: Path, size: int) -> None:
    (tmp_path / "model.bin").touch()
    os.truncate(tmp_path / "model.bin", size)
    for path in (tmp_path, tmp_path / "model.bin"):
        before = first(path)
        again = verify(path, ".", before.expected, blake3=before.blake3)
        assert (again.verdict, again.size_bytes, again.files) == (Verdict.VERIFIED, size, ())


@pytest.mark.parametrize("offset", [0, SEGMENT - 1, SEGMENT, 2 * SEGMENT])
def test_flipped_byte_is_found_in_any_segment(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "model.bin"
    path.touch()
    os.truncate(path, 2 * SEGMENT + 1)
    before = first(path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\1")
    assert verify(path, ".", before.expected, blake3=before.blake3).verdict is Verdict.MISMATCH


def test_segments_in_another_order_are_another_file(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"\1" * SEGMENT + b"\2" * SEGMENT)
    before = first(path)
    path.write_bytes(b"\2" * SEGMENT + b"\1" * SEGMENT)
    assert verify(path, ".", before.expected, blake3=before.blake3).verdict is Verdict.MISMATCH


@settings(deadline=None, max_examples=50)
@given(content=st.binary(min_size=1, max_size=3000), data=st.data())
def test_any_single_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("model") / "weights.bin"
    path.write_bytes(content)
    before = first(path.parent)
    changed = bytearray(content)
    changed[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    assert verify(path.parent, ".", before.expected, blake3=before.blake3).verdict is Verdict.MISMATCH
    path.write_bytes(content)
    assert verify(path.parent, ".", before.expected, blake3=before.blake3).verdict is Verdict.VERIFIED


@given(pieces=st.lists(st.binary(max_size=200), max_size=8), way=st.sampled_from(Way))
def test_hashes_do_not_depend_on_the_pieces_that_were_read(pieces: list[bytes], way: Way) -> None:
    one, many = Hasher(way), Hasher(way)
    one.update(memoryview(b"".join(pieces)))
    for piece in pieces:
        many.update(memoryview(piece))
    assert (one.sha256, one.blake3) == (many.sha256, many.blake3)
    assert (bool(one.sha256), bool(one.blake3)) == (way is not Way.BLAKE3, way is not Way.SHA256)
