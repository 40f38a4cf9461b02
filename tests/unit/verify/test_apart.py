"""Reading in a process of its own: the same answers, and nothing is left of it, whoever dies first."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lastgood.verify import Budget, Limits, RefusedEntryError, Verdict, digest, verify
from tests.unit.verify.processes import children

FOREVER = 1  # byte a second
SLOW = 500_000
PARENT = """
import sys
from pathlib import Path
from lastgood.verify import Budget, digest
digest(Path(sys.argv[1]), isolated=True, budget=Budget(1))
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for name in ("a\nb.bin", "é.bin", "c.bin"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_bytes(name.encode() * 500_000)
    return tmp_path / "model"


def the_reader(of: int | str = "self") -> int:
    end = time.monotonic() + 20
    while True:
        for pid in children(of):
            # It has told us that it reads: then it waits for leave.
            if b"lastgood.verify.reading.reader" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        assert time.monotonic() < end, "no reader was started"
        time.sleep(0.02)


def test_answers_are_the_same(checkpoint: Path) -> None:
    for path in (checkpoint, checkpoint / "c.bin"):
        assert digest(path, isolated=True, record_blake3=True) == digest(path, record_blake3=True)


def test_refusals_are_the_same(checkpoint: Path) -> None:
    (checkpoint / "link").symlink_to("c.bin")
    (checkpoint / "fifo").symlink_to("c.bin")
    with pytest.raises(RefusedEntryError) as here:
        digest(checkpoint)
    with pytest.raises(RefusedEntryError) as apart:
        digest(checkpoint, isolated=True)
    assert sorted(apart.value.findings) == sorted(here.value.findings)


def test_root_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    root.mkdir()
    (root / "a").write_bytes(b"a")
    assert digest(root, isolated=True) == digest(root)


def test_progress_counts_every_byte(checkpoint: Path) -> None:
    seen: list[int] = []
    found = digest(checkpoint, isolated=True, progress=seen.append)
    assert (seen == sorted(seen), seen[-1]) == (True, found.size_bytes)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGKILL, signal.SIGTERM])
def test_killed_reader_is_not_tampering(checkpoint: Path, number: int) -> None:
    def kill() -> None:
        pid = the_reader()
        time.sleep(0.5)
        os.kill(pid, number)

    thread = threading.Thread(target=kill)
    thread.start()
    result = verify(checkpoint, ".", "sha256:" + "0" * 64, isolated=True, budget=Budget(SLOW))
    thread.join()
    assert (result.verdict, "without an answer" in result.message) == (Verdict.UNREADABLE, True)


@pytest.mark.timeout(60)
def test_reader_ends_with_its_parent(checkpoint: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(checkpoint)], env={**os.environ, "TOKEN": "secret"})
    try:
        reader = the_reader(parent.pid)
        assert b"secret" not in Path(f"/proc/{reader}/environ").read_bytes()
        time.sleep(0.5)
    finally:
        parent.kill()
        parent.wait()
    end = time.monotonic() + 20
    while Path(f"/proc/{reader}/cmdline").exists() and Path(f"/proc/{reader}/cmdline").read_bytes():
        assert time.monotonic() < end, "the reader is left"
        time.sleep(0.05)


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("blake3", [None, "blake3:" + "0" * 64])
def test_budget_is_kept(checkpoint: Path, isolated: bool, blake3: str | None) -> None:  # noqa: FBT001 - a parameter of the test
    expected = digest(checkpoint).digest
    result = verify(checkpoint, ".", expected, isolated=isolated, blake3=blake3, budget=Budget(8_000_000))
    readings = 1 if blake3 is None else 2
    assert result.verdict is Verdict.VERIFIED
    assert result.seconds > readings * result.size_bytes / 8_000_000 * 0.9


def test_budget_is_shared_by_threads() -> None:
    budget, began = Budget(1_000_000), time.monotonic()

    def take() -> None:
        for _ in range(10):
            budget.take(10_000)

    threads = [threading.Thread(target=take) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.45 < time.monotonic() - began < 10


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_budget_that_never_ends_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="bytes_per_second: must be more than 0"):
        Budget(rate)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("isolated", [False, True])
def test_waiting_for_the_budget_can_be_cancelled(checkpoint: Path, isolated: bool) -> None:  # noqa: FBT001 - a parameter of the test
    limits = Limits(max_seconds=1)
    result = verify(checkpoint, ".", "sha256:" + "0" * 64, isolated=isolated, budget=Budget(FOREVER), limits=limits)
    assert (result.verdict, "longer than the limit" in result.message) == (Verdict.UNREADABLE, True)
    assert result.seconds < 10
