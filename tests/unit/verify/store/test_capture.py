"""A capture: what is in the store afterwards, and that nothing is if anything went wrong."""

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lastgood.verify import (
    LimitError,
    Limits,
    NothingToCheckError,
    RefusedEntryError,
    StoppedError,
    UnreadableError,
    VerifyError,
    digest,
    verify,
)
from lastgood.verify.sources.values import Check, Chunk, Entry, Source, go_on
from lastgood.verify.store import BadCopyError, Captured, MismatchError, StoreError, capture, capture_path, path_of
from tests.unit.verify.store.helpers import Memory, as_nobody, everything, in_child, needs_root

OTHER = "sha256:" + "0" * 64


def test_a_directory_is_in_the_store_under_its_digest(volume: Path, checkpoint: Path, store: Path) -> None:
    expected = digest(checkpoint).digest
    found = capture_path(volume, "digits/2", store, expected)
    assert (found.digest, found.path, found.existed) == (expected, path_of(expected), False)
    assert (found.file_count, found.size_bytes) == (3, 3_005_015)
    assert verify(store, found.path, expected).verdict == "Verified"
    assert found.blake3 == verify(checkpoint, ".", expected).blake3
    assert not list((store / ".partial").iterdir())


def test_a_file_is_in_the_store_under_what_sha256sum_prints(tmp_path: Path, store: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    found = capture_path(tmp_path, "model.bin", store)
    assert found.path == "sha256/{0:.2}/{0}".format(hashlib.sha256(b"weights").hexdigest())
    assert (store / found.path).read_bytes() == b"weights"


def test_an_empty_file_is_a_file(tmp_path: Path, store: Path) -> None:
    (tmp_path / "empty").touch()
    assert capture_path(tmp_path, "empty", store).size_bytes == 0


def test_everything_is_read_only_afterwards(volume: Path, store: Path) -> None:
    top = store / capture_path(volume, "digits/2", store).path
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [top, *top.rglob("*")] if path.is_dir()}
    assert modes == {0o555}
    assert {stat.S_IMODE(path.stat().st_mode) for path in top.rglob("*") if path.is_file()} == {0o444}


@needs_root
def test_who_is_not_root_can_capture_too(volume: Path, store: Path) -> None:
    for path in (store, store.parent):
        path.chmod(0o755)
    os.chown(store, 65534, 65534)
    assert as_nobody(lambda: capture_path(volume, "digits/2", store)) == 0
    assert as_nobody(lambda: capture_path(volume, "digits/2", store)) == 0
    assert len([name for name in everything(store) if name.count("/") == 2]) == 1


def test_a_second_capture_verifies_the_first_and_writes_nothing(volume: Path, checkpoint: Path, store: Path) -> None:
    expected = capture_path(volume, "digits/2", store).digest
    before = (store / path_of(expected) / "config.json").stat()
    for known in (expected, None):
        again = capture_path(volume, "digits/2", store, known)
        assert again.existed
        assert again.digest == expected
    assert (store / path_of(expected) / "config.json").stat() == before
    checkpoint.joinpath("config.json").unlink()
    assert capture_path(volume, "digits/2", store, expected).existed  # the source is not needed any more


def test_a_snapshot_that_a_crash_left_writable_is_made_read_only(volume: Path, store: Path) -> None:
    found = capture_path(volume, "digits/2", store)
    (store / found.path).chmod(0o755)
    capture_path(volume, "digits/2", store, found.digest)
    assert stat.S_IMODE((store / found.path).stat().st_mode) == 0o555


def test_what_is_not_what_it_should_be_is_not_captured(volume: Path, store: Path) -> None:
    with pytest.raises(MismatchError, match=f"digits/2 is sha256:.*, expected {OTHER}"):
        capture_path(volume, "digits/2", store, OTHER)
    assert not everything(store)


def test_a_bad_copy_under_the_digest_is_told_and_not_overwritten(volume: Path, store: Path) -> None:
    found = capture_path(volume, "digits/2", store)
    (store / found.path / "config.json").chmod(0o644)
    (store / found.path / "config.json").write_text("poison")
    for expected in (found.digest, None):
        with pytest.raises(BadCopyError, match="repair it"):
            capture_path(volume, "digits/2", store, expected)
    assert (store / found.path / "config.json").read_text() == "poison"
    assert not list((store / ".partial").iterdir())


@pytest.mark.parametrize("kind", ["link", "fifo", "nothing", "manifest"])
def test_what_no_checkpoint_may_hold_is_refused(tmp_path: Path, store: Path, kind: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    if kind == "link":
        (source / "passwd").symlink_to("/etc/passwd")
    if kind == "fifo":
        os.mkfifo(source / "fifo")
    if kind == "manifest":
        source = tmp_path / "manifest.json"
        source.write_bytes(b'[{"path":"a","sha256":"00","size":1}]')
    with pytest.raises(RefusedEntryError):
        capture_path(source, ".", store)
    assert not everything(store)


def test_more_than_the_limits_is_not_captured(volume: Path, store: Path) -> None:
    for limits in (Limits(max_bytes=3_000_000), Limits(max_files=4), Limits(max_depth=1)):
        with pytest.raises(LimitError):
            capture_path(volume, "digits/2", store, limits=limits)
    assert not everything(store)


@pytest.mark.parametrize("store_path", ["missing", "a file"])
def test_a_store_that_is_not_there_is_a_store_error(volume: Path, tmp_path: Path, store_path: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(StoreError, match=store_path):
        capture_path(volume, "digits/2", tmp_path / store_path)


@pytest.mark.parametrize("planted", ["sha256", ".partial"])
def test_link_out_of_the_store_is_not_followed(volume: Path, store: Path, tmp_path: Path, planted: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (store / planted).symlink_to(outside)
    with pytest.raises(StoreError):
        capture_path(volume, "digits/2", store)
    assert not list(outside.iterdir())


def test_link_in_place_of_the_snapshot_is_not_followed(volume: Path, checkpoint: Path, store: Path) -> None:
    expected = digest(checkpoint).digest
    (store / path_of(expected)).parent.mkdir(parents=True)
    (store / path_of(expected)).symlink_to(checkpoint)
    for known in (expected, None):
        with pytest.raises(StoreError, match="lastgood did not create it"):
            capture_path(volume, "digits/2", store, known)


class Changing:
    """A progress that changes the checkpoint after its first bytes were read."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content
        self._done = False

    def __call__(self, _: int) -> None:
        if not self._done:
            self._done = True
            self._path.write_bytes(self._content)


@pytest.mark.parametrize("name", ["config.json", "shards/1.bin", "extra.bin"])
def test_file_changed_while_it_is_captured_is_noticed(volume: Path, checkpoint: Path, store: Path, name: str) -> None:
    with pytest.raises(UnreadableError, match="changed"):
        capture_path(volume, "digits/2", store, progress=Changing(checkpoint / name, b"poison"))
    assert not everything(store)


class Flipping:
    """A progress that flips a bit of the copy between its writing and its second reading: a disk that lies."""

    def __init__(self, store: Path, size: int) -> None:
        self._store = store
        self._size = size

    def __call__(self, count: int) -> None:
        if count == self._size:
            (target,) = self._store.glob(".partial/*/content")
            with target.open("r+b") as file:
                file.write(b"\xff")


def test_disk_that_does_not_give_back_what_was_written_is_noticed(tmp_path: Path, store: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x00" * 1000)
    with pytest.raises(StoreError, match="does not give back"):
        capture_path(tmp_path, "model.bin", store, progress=Flipping(store, 1000))
    assert not everything(store)


def test_progress_counts_the_bytes_of_both_readings(volume: Path, store: Path) -> None:
    seen: list[int] = []
    found = capture_path(volume, "digits/2", store, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 2 * found.size_bytes


def test_cancelled_capture_leaves_nothing(volume: Path, store: Path) -> None:
    calls = iter(range(1000))
    with pytest.raises(StoppedError):
        capture_path(volume, "digits/2", store, cancelled=lambda: next(calls) > 6)
    assert not everything(store)


def test_captures_of_one_digest_at_once_end_with_one_copy(volume: Path, store: Path) -> None:
    start = threading.Barrier(8)

    def one() -> Captured:
        start.wait()
        return capture_path(volume, "digits/2", store)

    with ThreadPoolExecutor(8) as pool:
        found = [future.result() for future in [pool.submit(one) for _ in range(8)]]
    assert len({item.path for item in found}) == 1
    assert sum(not item.existed for item in found) == 1
    assert not list((store / ".partial").iterdir())
    assert verify(store, found[0].path, found[0].digest).verdict == "Verified"


def test_processes_that_capture_one_file_end_with_one_copy(tmp_path: Path, store: Path) -> None:
    (tmp_path / "model.bin").write_bytes(os.urandom(2_000_000))

    def one() -> None:
        assert in_child(lambda: capture_path(tmp_path, "model.bin", store)) == 0

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(one) for _ in range(4)]:
            future.result()
    assert len([path for path in (store / "sha256").rglob("*") if path.is_file()]) == 1


def test_a_source_is_captured_as_a_disk_is(checkpoint: Path, store: Path) -> None:
    files = [
        (path.relative_to(checkpoint).as_posix(), path.read_bytes()) for path in checkpoint.rglob("*") if path.is_file()
    ]
    for order in (files, files[::-1]):
        source: Source = Memory(contents=tuple(order))
        assert capture(source, store, digest(checkpoint).digest).digest == digest(checkpoint).digest


@pytest.mark.parametrize(
    ("contents", "error"),
    [
        pytest.param((), NothingToCheckError, id="nothing at all"),
        pytest.param((("../outside", b"x"),), RefusedEntryError, id="a path that leaves the checkpoint"),
        pytest.param((("/etc/passwd", b"x"),), RefusedEntryError, id="an absolute path"),
        pytest.param((("a//b", b"x"),), RefusedEntryError, id="an empty segment"),
        pytest.param(((".", b"x"),), RefusedEntryError, id="the directory itself"),
        pytest.param((("a\0b", b"x"),), RefusedEntryError, id="a NUL"),
        pytest.param((("a\udc80", b"x"),), RefusedEntryError, id="no UTF-8"),
        pytest.param((("n" * 256, b"x"),), RefusedEntryError, id="a name too long"),
        pytest.param((("a", b"x"), ("a", b"y")), RefusedEntryError, id="a path twice"),
        pytest.param((("a", b"x"), ("a/b", b"y")), RefusedEntryError, id="a file and then a directory"),
        pytest.param((("a/b", b"x"), ("a", b"y")), RefusedEntryError, id="a directory and then a file"),
        pytest.param((("", b"x"), ("a", b"y")), RefusedEntryError, id="a checkpoint of one file, and another"),
        pytest.param((("a", b"x"), ("", b"y")), RefusedEntryError, id="a file, and a checkpoint of one file"),
        pytest.param((("d/" * 40 + "a", b"x"),), LimitError, id="deeper than the limit"),
    ],
)
def test_hostile_name_from_a_source_is_refused(
    contents: tuple[tuple[str, bytes], ...], error: type[VerifyError], store: Path
) -> None:
    with pytest.raises(error):
        capture(Memory(contents=contents), store)
    assert not everything(store)
    assert {path.name for path in store.parent.iterdir()} <= {"store", "volume"}


@pytest.mark.parametrize("announced", [999, 1001, -1])
def test_source_with_other_bytes_than_announced_is_refused(store: Path, announced: int) -> None:
    with pytest.raises(VerifyError):
        capture(Memory(contents=(("a", b"x" * 1000),), announced=announced), store)
    assert not everything(store)


class Failing(Memory):
    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        yield from super().read(entry, check=check)
        raise OSError(5, "Input/output error")


def test_source_that_fails_at_its_end_is_unreadable_and_no_store_error(store: Path) -> None:
    with pytest.raises(UnreadableError, match="EIO"):
        capture(Failing(contents=(("a", b"x" * 1000),)), store)
    assert not everything(store)
