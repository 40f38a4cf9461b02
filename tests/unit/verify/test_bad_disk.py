"""A disk that errs is not tampered with, and does not hang us: on a real file system that does err (FUSE)."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lastgood.verify import Limits, Result, StalledError, Verdict, digest, verify
from tests.skips import NEEDS_FUSE
from tests.unit.verify import badfs
from tests.unit.verify.processes import children

pytestmark = pytest.mark.skipif(not badfs.usable(), reason=NEEDS_FUSE)

READ_ONCE = ["eio", "eio-list", "eio-open", "eio-stat", "grows", "shrinks", "shrinks-in-reading"]
READ_TWICE = ["changing", "changing-in-memory"]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with badfs.mounted(tmp_path_factory.mktemp("disk")) as folder:
        yield folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What the files are, read from a disk that does not err."""
    folder = tmp_path_factory.mktemp("good")
    for name, content in badfs.FILES.items():
        (folder / name).write_bytes(content)
    return verify(folder, ".", digest(folder).digest)


@pytest.fixture(params=["first", "again", "first, isolated", "again, isolated"])
def read(request: pytest.FixtureRequest, disk: Path, good: Result) -> Callable[[str], Result]:
    """Verify a directory of the disk, in each way that there is."""
    way, _, isolated = str(request.param).partition(", ")
    blake3 = good.blake3 if way == "again" else None
    return lambda fault: verify(disk, fault, good.expected, blake3=blake3, isolated=bool(isolated))


@pytest.mark.parametrize("fault", ["good", "slow"])
def test_disk_that_gives_the_right_bytes_is_verified(read: Callable[[str], Result], fault: str) -> None:
    assert read(fault).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("fault", [*READ_ONCE, *READ_TWICE])
def test_disk_that_errs_is_unreadable_and_never_tampered(read: Callable[[str], Result], fault: str) -> None:
    result = read(fault)
    assert (result.verdict, result.actual, result.findings, result.blake3) == (Verdict.UNREADABLE, None, (), "")


@pytest.mark.parametrize("fault", ["short", "short-direct"])
def test_disk_that_reads_short_is_never_tampered(read: Callable[[str], Result], fault: str) -> None:
    assert read(fault).verdict is not Verdict.MISMATCH


def test_tampering_is_found_on_a_disk_that_does_not_err(read: Callable[[str], Result]) -> None:
    assert read("tampered").verdict is Verdict.MISMATCH


@pytest.mark.parametrize("fault", ["eio", "eio-open", "eio-stat", "shrinks-in-reading"])
def test_file_that_cannot_be_read_is_named(read: Callable[[str], Result], fault: str) -> None:
    assert "b.bin" in read(fault).message


@pytest.mark.parametrize("fault", ["glitch", "glitch-in-memory"])
def test_disk_that_errs_once_is_unreadable_and_then_verified(tmp_path: Path, good: Result, fault: str) -> None:
    with badfs.mounted(tmp_path) as disk:
        once = verify(disk, fault, good.expected)
        assert (once.verdict, "different bytes" in once.message) == (Verdict.UNREADABLE, True)
        assert verify(disk, fault, good.expected).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("fault", ["glitch", "glitch-in-memory"])
def test_disk_that_errs_once_in_the_fast_way_is_verified_by_sha256(tmp_path: Path, good: Result, fault: str) -> None:
    with badfs.mounted(tmp_path) as disk:
        assert verify(disk, fault, good.expected, blake3=good.blake3).verdict is Verdict.VERIFIED


def assert_gone(before: set[int]) -> None:
    """Make sure that no process of ours is left, once the kernel has let go of it."""
    end = time.monotonic() + 10
    while children() - before:
        assert time.monotonic() < end, "a reader is left"
        time.sleep(0.05)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("way", ["first", "again"])
@pytest.mark.parametrize("fault", ["stall", "stall-in-memory", "stall-list", "stall-open"])
class TestStall:
    """A call that never returns from the kernel, until the disk is gone."""

    def test_is_ended_by_cancelling(self, tmp_path: Path, good: Result, fault: str, way: str) -> None:
        before, blake3 = children(), good.blake3 if way == "again" else None
        with badfs.mounted(tmp_path) as disk:
            end = time.monotonic() + 1
            result = verify(
                disk, fault, good.expected, blake3=blake3, cancelled=lambda: time.monotonic() > end, isolated=True
            )
            assert (result.verdict, "stopped" in result.message) == (Verdict.UNREADABLE, True)
            assert result.seconds < 5
        assert_gone(before)

    def test_is_ended_by_a_limit_of_silence(self, tmp_path: Path, good: Result, fault: str, way: str) -> None:
        before, blake3 = children(), good.blake3 if way == "again" else None
        with badfs.mounted(tmp_path) as disk:
            limits = Limits(max_stall_seconds=1)
            result = verify(disk, fault, good.expected, blake3=blake3, limits=limits, isolated=True)
            assert (result.verdict, "nothing could be read for 1 s" in result.message) == (Verdict.UNREADABLE, True)
            assert result.seconds < 5
        assert_gone(before)


@pytest.mark.timeout(30)
def test_stall_is_ended_by_a_limit_of_time(tmp_path: Path, good: Result) -> None:
    with badfs.mounted(tmp_path) as disk:
        result = verify(disk, "stall", good.expected, limits=Limits(max_seconds=1), isolated=True)
    assert (result.verdict, "longer than the limit of 1 s" in result.message) == (Verdict.UNREADABLE, True)


@pytest.mark.timeout(30)
def test_stalled_digest_says_so_and_leaves_nothing_open(tmp_path: Path) -> None:
    with badfs.mounted(tmp_path) as disk:
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(StalledError, match="nothing could be read"):
            digest(disk / "stall", limits=Limits(max_stall_seconds=0.5), isolated=True)
        assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
