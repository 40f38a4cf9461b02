"""What cannot be read is not tampered with: each of these is Unreadable, and says which file and why."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lastgood.verify import (
    LimitError,
    Limits,
    NothingToCheckError,
    RefusedEntryError,
    Result,
    StoppedError,
    UnreadableError,
    Verdict,
    digest,
    manifest,
    verify,
)

ZEROS = "sha256:" + "0" * 64
both_ways = pytest.mark.parametrize("blake3", [None, "blake3:" + "0" * 64], ids=["first", "again"])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    checkpoint = tmp_path / "model"
    checkpoint.mkdir()
    (checkpoint / "a.bin").write_bytes(b"a" * 3_000_000)
    (checkpoint / "b.bin").write_bytes(b"b" * 10)
    return checkpoint


@contextmanager
def at_first_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> Iterator[None]:
    """Do something right after the first bytes were read, and only then."""
    real, done = os.preadv, threading.Event()

    def preadv(descriptor: int, buffers: Any, offset: int) -> int:
        count = real(descriptor, buffers, offset)
        if not done.is_set():
            done.set()
            act()
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", preadv)
        yield
    assert done.is_set()


def assert_unreadable(result: Result, *words: str) -> None:
    assert (result.verdict, result.actual, result.findings) == (Verdict.UNREADABLE, None, ())
    assert [word for word in words if word not in result.message] == []


@both_ways
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT])
def test_failing_read_is_not_tampering(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, number: int, blake3: str | None
) -> None:
    def preadv(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "preadv", preadv)
    assert_unreadable(verify(checkpoint.parent, "model", ZEROS, blake3=blake3), ".bin: ", errno.errorcode[number])


@pytest.mark.parametrize("call", ["open", "stat", "scandir", "fstat", "dup", "pread"])
def test_failing_system_call_is_not_tampering(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    path = "model/b.bin" if call == "pread" else "model"
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        result = verify(checkpoint.parent, path, ZEROS)
    assert_unreadable(result, "EIO")


@pytest.mark.parametrize("path", ["absent", "absent/deeper", "model/absent", "model/b.bin/below"])
def test_missing_checkpoint_is_not_tampering(checkpoint: Path, path: str) -> None:
    result = verify(checkpoint.parent, path, ZEROS)
    assert_unreadable(result, path, "ENO")


def test_missing_root_is_not_tampering(tmp_path: Path) -> None:
    assert_unreadable(verify(tmp_path / "absent", "model", ZEROS), "ENOENT")


@both_ways
def test_file_growing_while_read_is_not_tampering(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, blake3: str | None
) -> None:
    def grow() -> None:
        with (checkpoint / "a.bin").open("ab") as file:
            file.write(b"more")

    with at_first_read(monkeypatch, grow):
        assert_unreadable(
            verify(checkpoint.parent, "model/a.bin", ZEROS, blake3=blake3), "the file grew while it was read"
        )


@both_ways
def test_file_truncated_while_read_is_not_tampering(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, blake3: str | None
) -> None:
    with at_first_read(monkeypatch, lambda: os.truncate(checkpoint / "a.bin", 2_000_000)):
        result = verify(checkpoint.parent, "model/a.bin", ZEROS, blake3=blake3)
    assert_unreadable(result, "ended 1000000 bytes before its size of 3000000")


@both_ways
def test_file_rewritten_while_read_is_not_tampering(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, blake3: str | None
) -> None:
    def rewrite() -> None:
        with (checkpoint / "a.bin").open("r+b") as file:
            file.write(b"x" * 10)
        os.utime(checkpoint / "a.bin", ns=(1, 1))

    with at_first_read(monkeypatch, rewrite):
        result = verify(checkpoint.parent, "model/a.bin", ZEROS, blake3=blake3)
    assert_unreadable(result, "the file changed while it was read")


@both_ways
def test_file_added_while_read_is_not_missed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, blake3: str | None
) -> None:
    expected = digest(checkpoint).digest
    with at_first_read(monkeypatch, (checkpoint / "late.py").touch):
        result = verify(checkpoint.parent, "model", expected, blake3=blake3)
    assert_unreadable(result, "changed while the checkpoint was read")


@both_ways
def test_parent_directory_swapped_while_read_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blake3: str | None
) -> None:
    for name, content in (("digits", b"right"), ("poisoned", b"wrong")):
        (tmp_path / name / "2").mkdir(parents=True)
        (tmp_path / name / "2" / "model.bin").write_bytes(content)
    expected = digest(tmp_path / "digits" / "2").digest

    def swap() -> None:
        (tmp_path / "digits").rename(tmp_path / "aside")
        (tmp_path / "poisoned").rename(tmp_path / "digits")

    with at_first_read(monkeypatch, swap):
        result = verify(tmp_path, "digits/2", expected, blake3=blake3)
    assert_unreadable(result, "replaced while it was read")


@both_ways
def test_file_changed_after_it_was_hashed_is_not_missed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, blake3: str | None
) -> None:
    expected = digest(checkpoint).digest
    real = os.scandir
    listed = threading.Event()

    def scandir(directory: int) -> Any:
        if listed.is_set():  # the second listing: all is hashed
            (checkpoint / "b.bin").write_bytes(b"B" * 10)
        listed.set()
        return real(directory)

    monkeypatch.setattr(os, "scandir", scandir)
    result = verify(checkpoint.parent, "model", expected, blake3=blake3)
    assert_unreadable(result, "b.bin changed while the checkpoint was read")


def test_file_replaced_between_looking_and_opening_is_not_read(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    (checkpoint / "other").write_bytes(b"b" * 10)

    def open_(path: Any, flags: int, **options: Any) -> int:
        if path == b"b.bin":
            (checkpoint / "other").rename(checkpoint / "b.bin")
        return real(path, flags, **options)

    monkeypatch.setattr(os, "open", open_)
    assert_unreadable(verify(checkpoint.parent, "model/b.bin", ZEROS), "was replaced while it was opened")


@pytest.mark.timeout(10)
def test_fifo_that_takes_a_files_place_does_not_hang(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def open_(path: Any, flags: int, **options: Any) -> int:
        if path == b"b.bin":
            (checkpoint / "b.bin").unlink()
            os.mkfifo(checkpoint / "b.bin")
        return real(path, flags, **options)

    monkeypatch.setattr(os, "open", open_)
    assert_unreadable(verify(checkpoint.parent, "model/b.bin", ZEROS), "was replaced while it was opened")


def test_link_that_takes_a_files_place_is_not_followed(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def open_(path: Any, flags: int, **options: Any) -> int:
        if path == b"b.bin":
            (checkpoint / "b.bin").rename(checkpoint / "same")
            (checkpoint / "b.bin").symlink_to("same")
        return real(path, flags, **options)

    monkeypatch.setattr(os, "open", open_)
    assert_unreadable(verify(checkpoint.parent, "model/b.bin", ZEROS), "ELOOP")


def test_short_reads_are_read_on(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = digest(checkpoint).digest
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda descriptor, buffers, offset: real(descriptor, [buffers[0][:4097]], offset))
    assert verify(checkpoint.parent, "model", expected).verdict is Verdict.VERIFIED


@both_ways
def test_disk_that_hides_the_end_of_a_file_is_not_believed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, blake3: str | None
) -> None:
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    assert_unreadable(verify(checkpoint.parent, "model", ZEROS, blake3=blake3), "before its size of")


@both_ways
@pytest.mark.timeout(10)
def test_sparse_huge_file_is_refused_before_it_is_read(checkpoint: Path, blake3: str | None) -> None:
    os.truncate(checkpoint / "a.bin", 2**42)
    limits = Limits(max_bytes=10**9)
    for path in ("model", "model/a.bin"):
        assert_unreadable(
            verify(checkpoint.parent, path, ZEROS, limits=limits, blake3=blake3), "max_bytes allows 1000000000"
        )


def test_limit_on_bytes_counts_all_files_together(checkpoint: Path) -> None:
    with pytest.raises(LimitError, match="max_bytes allows 3000009"):
        digest(checkpoint, limits=Limits(max_bytes=3_000_009))
    assert digest(checkpoint, limits=Limits(max_bytes=3_000_010)).size_bytes == 3_000_010


def test_limit_on_files_counts_empty_directories_too(checkpoint: Path) -> None:
    for number in range(8):
        (checkpoint / str(number)).mkdir()
    assert digest(checkpoint, limits=Limits(max_files=10)).file_count == 2
    with pytest.raises(LimitError, match="more files than max_files allows, 9"):
        digest(checkpoint, limits=Limits(max_files=9))


def test_limit_on_depth(checkpoint: Path) -> None:
    (checkpoint / "1" / "2").mkdir(parents=True)
    assert digest(checkpoint, limits=Limits(max_depth=2)).file_count == 2
    with pytest.raises(LimitError, match="1/2 is deeper than the limit of 1"):
        digest(checkpoint, limits=Limits(max_depth=1))


def test_empty_directory_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "empty" / "emptier").mkdir(parents=True)
    with pytest.raises(NothingToCheckError, match="there is nothing to verify"):
        digest(tmp_path / "empty")


def test_device_has_no_digest() -> None:
    with pytest.raises(RefusedEntryError, match="is a character device"):
        digest(Path("/dev/zero"))


def test_manifest_of_a_file_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UnreadableError, match="ENOTDIR"):
        manifest(checkpoint / "b.bin")


@both_ways
def test_cancelling_stops_between_two_reads(checkpoint: Path, blake3: str | None) -> None:
    read: list[int] = []
    result = verify(
        checkpoint.parent, "model/a.bin", ZEROS, progress=read.append, cancelled=lambda: bool(read), blake3=blake3
    )
    assert_unreadable(result, "stopped before its end")
    assert len(read) == 1


def test_an_error_in_one_thread_stops_the_others_and_is_the_one_reported(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (checkpoint / str(number)).write_bytes(b"x")
    real = os.preadv
    calls: list[int] = []

    def preadv(descriptor: int, buffers: Any, offset: int) -> int:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        time.sleep(0.2)  # long enough for the others to hear of it
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(UnreadableError, match="EIO") as caught:
        digest(checkpoint, threads=4)
    assert not isinstance(caught.value, StoppedError)
    assert len(calls) <= 4


@pytest.mark.timeout(10)
def test_file_that_grows_after_the_limits_were_checked_is_not_read(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        at_first_read(monkeypatch, lambda: os.truncate(checkpoint / "b.bin", 2**42)),
        pytest.raises(UnreadableError, match=r"b\.bin changed between listing and reading"),
    ):
        digest(checkpoint, threads=1, limits=Limits(max_bytes=10**7))


def test_no_descriptor_is_left_open(checkpoint: Path) -> None:
    (checkpoint / "deep" / "deeper").mkdir(parents=True)
    (checkpoint / "deep" / "deeper" / "c.bin").write_bytes(b"c")
    before = len(list(Path("/proc/self/fd").iterdir()))
    digest(checkpoint)
    verify(checkpoint.parent, "model/absent", ZEROS)
    (checkpoint / "link").symlink_to("a.bin")
    verify(checkpoint.parent, "model", ZEROS)
    verify(checkpoint.parent, "model/link/below", ZEROS)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
