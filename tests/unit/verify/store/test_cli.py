"""`lastgood store`: what it prints, and its exit codes."""

import json
import os
from pathlib import Path

import pytest
import yaml

from lastgood.cli.app import main
from lastgood.verify import digest
from lastgood.verify.store import path_of

OTHER = "sha256:" + "0" * 64


@pytest.fixture
def captured(checkpoint: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["store", "capture", str(checkpoint), "--store", str(store)]) == 0
    capsys.readouterr()
    return digest(checkpoint).digest


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_a_capture_prints_where_it_is(
    checkpoint: Path, store: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    expected = digest(checkpoint).digest
    command = ["store", "capture", str(checkpoint), "--store", str(store), "--digest", expected, "--output", output]
    assert main(command) == 0
    body = yaml.safe_load(capsys.readouterr().out)
    assert (body["digest"], body["path"], body["existed"]) == (expected, path_of(expected), False)


def test_exit_codes(checkpoint: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ["--store", str(store)]
    assert main(["store", "capture", str(checkpoint), *there, "--digest", OTHER]) == 1
    assert f"expected {OTHER}" in capsys.readouterr().err
    assert main(["store", "capture", str(checkpoint), "--store", str(store / "missing")]) == 2
    assert main(["store", "capture", str(checkpoint / "missing"), *there]) == 3
    os.mkfifo(checkpoint / "fifo")
    assert main(["store", "capture", str(checkpoint), *there]) == 1
    (store / "sha256").symlink_to("/")
    assert main(["store", "list", *there, "--output", "json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"] == "StoreError"


def test_a_list_has_each_snapshot(store: Path, captured: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "list", "--store", str(store)]) == 0
    assert captured in capsys.readouterr().out


def test_a_sweep_says_what_it_removed(store: Path, captured: str, capsys: pytest.CaptureFixture[str]) -> None:
    leftover = store / ".partial" / ("capture-" + "0" * 32)
    leftover.mkdir()
    os.utime(leftover, (1000, 1000))
    assert main(["store", "sweep", "--store", str(store)]) == 0
    assert f"removed {leftover.name}" in capsys.readouterr().out
    assert (store / path_of(captured)).exists()


def test_retain_only_says_what_it_would_do_until_it_is_told_to(
    tmp_path: Path, store: Path, captured: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(store / path_of(captured), (1000, 1000))
    (tmp_path / "new").write_text("new")
    assert main(["store", "capture", str(tmp_path / "new"), "--store", str(store)]) == 0
    retain = ["store", "retain", "--store", str(store), "--keep-last", "1"]
    capsys.readouterr()
    assert main(retain) == 0
    said = capsys.readouterr().out
    assert f"would delete {captured}" in said
    assert "nothing changed" in said
    assert main([*retain, "--pin", captured, "--apply"]) == 0
    assert (store / path_of(captured)).exists()
    assert main([*retain, "--apply", "--output", "json"]) == 0
    assert not (store / path_of(captured)).exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        pytest.param(["--store", ""], "--store: must not be empty", id="a variable that is not set is no directory"),
        pytest.param(["--store", "STORE", "--apply"], "requires a limit", id="no limit, and so nothing beyond it"),
        pytest.param(["--store", "STORE", "--keep-last", "1", "--pin", OTHER, "--apply"], OTHER, id="a pin of nothing"),
    ],
)
def test_what_would_delete_by_mistake_is_refused(
    *,
    store: Path,
    captured: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    os.utime(store / path_of(captured), (1000, 1000))
    monkeypatch.chdir(store)
    assert code_of(["store", "retain", *(str(store) if each == "STORE" else each for each in more)]) == 2
    assert said in capsys.readouterr().err
    assert (store / path_of(captured)).exists()


def code_of(command: list[str]) -> int:
    try:
        return main(command)
    except SystemExit as end:
        return int(str(end.code))


def test_a_bad_copy_is_refused_and_is_no_disk_that_cannot_be_read(
    checkpoint: Path, store: Path, captured: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(each for each in (store / path_of(captured)).rglob("*") if each.is_file())
    file.chmod(0o644)
    file.write_bytes(b"tampered")
    assert main(["store", "capture", str(checkpoint), "--store", str(store), "--digest", captured]) == 1
    assert "the store's copy is bad" in capsys.readouterr().err


def test_a_store_inside_what_is_captured_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "store").mkdir()
    assert main(["store", "capture", str(checkpoint), "--store", str(checkpoint / "store")]) == 2
    assert "--store: lies inside PATH" in capsys.readouterr().err
