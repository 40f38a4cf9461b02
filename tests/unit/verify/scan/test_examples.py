"""What docs/scanning.md shows is run, and what it tells of exists."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lastgood.verify import scan
from lastgood.verify.scan import ScanVerdict, external

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "scanning.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_example_in_python_runs() -> None:
    examples = [text for language, text in FENCE.findall(PAGE) if language == "python"]
    assert examples
    for text in examples:
        exec(compile(text, "docs/scanning.md", "exec"), {})  # noqa: S102 - our own page


def test_example_of_an_external_result_is_accepted() -> None:
    (text,) = [text for language, text in FENCE.findall(PAGE) if language == "json"]
    assert external.parse(text.encode(), nonce=json.loads(text)["nonce"]).findings[0].rule == "acme/trigger"


@pytest.mark.parametrize(
    ("files", "verdict", "complete"),
    [
        pytest.param(["model.safetensors", "config.json"], ScanVerdict.NO_FINDING, True, id="nothing to find"),
        pytest.param(["a.pkl", "deep/b.pt"], ScanVerdict.FINDING, True, id="pickles"),
        pytest.param(
            [f"{'é🥒' * 40}{number}.pkl" for number in range(200)], ScanVerdict.FINDING, True, id="very long names"
        ),
        pytest.param(
            [chr(1) * 200 + f"{number}.PKL" for number in range(8)],
            ScanVerdict.FINDING,
            True,
            id="names that JSON doubles",
        ),
        pytest.param([], ScanVerdict.ANOMALY, False, id="nothing there is no pass"),
    ],
)
def test_example_of_a_scanner_writes_what_the_operator_reads(
    tmp_path: Path,
    files: list[str],
    verdict: ScanVerdict,
    complete: bool,  # noqa: FBT001 - a column of the table
) -> None:
    for name in files:
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).touch()
    result = scanned(tmp_path / "model", tmp_path / "log")
    assert (result.verdict, result.complete) == (verdict, complete)


@pytest.mark.parametrize(
    ("name", "content", "bad"),
    [
        pytest.param("digits.json", b"{}", False, id="json"),
        pytest.param("digits.pkl", b"{}", True, id="named like a pickle"),
        pytest.param("2d2d", pickle.dumps({}), True, id="a pickle, as it is named once it is captured"),
        pytest.param("2d2d", b"PK\x03\x04", True, id="a zip archive"),
    ],
)
def test_example_of_a_scanner_looks_at_a_checkpoint_of_one_file(
    tmp_path: Path,
    name: str,
    content: bytes,
    bad: bool,  # noqa: FBT001 - a column of the table
) -> None:
    (tmp_path / name).write_bytes(content)
    result = scanned(tmp_path / name, tmp_path / "log")
    assert ([finding.file for finding in result.findings], result.complete) == ([name] if bad else [], True)


def test_example_of_a_scanner_does_not_wait_at_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "pipe")
    result = scanned(tmp_path / "model", tmp_path / "log")
    assert (result.findings, result.complete) == ((), False)


def scanned(path: Path, log: Path) -> external.ExternalResult:
    """Let the scanner of the page look at a path, and read what it says as the operator does."""
    (text,) = [text for language, text in FENCE.findall(PAGE) if language == "py"]
    given = {"PATH": path, "NONCE": "n1", "DIGEST": "", "RESULT": log}
    environment = {f"LASTGOOD_SCAN_{name}": str(value) for name, value in given.items()}
    subprocess.run([sys.executable, "-c", text], env=environment, check=True)
    assert log.stat().st_size <= 4096
    return external.parse(log.read_bytes(), nonce="n1")


def test_every_rule_is_on_the_page() -> None:
    package = Path(scan.__file__).parent
    sources = "".join(path.read_text() for path in sorted(package.rglob("*.py")))
    rules = set(re.findall(r"\"((?:[a-z]+-)+[a-z]+)\", (?:part\.name|shown|file|archive|\"\.\"|inner\.name)", sources))
    assert len(rules) > 30
    families = {name.removesuffix("*") for name in re.findall(r"`([a-z]+-\*)`", PAGE)}
    names = set(re.findall(r"`([a-z-]+)`", PAGE))
    own = {"refused-entry", "nothing-to-scan"}
    assert {rule for rule in rules - names - own if not rule.startswith(tuple(families))} == set()
