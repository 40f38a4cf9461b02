"""What another scanner says, and what our own command says: one format, parsed strictly."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood.cli.app import main
from lastgood.verify.scan import ExternalResultError, ScanVerdict, external
from tests.unit.verify.scan import samples

GOOD: dict[str, Any] = {
    "apiVersion": "lastgood.dev/scan/v1",
    "scanner": {"name": "acme", "version": "2.1"},
    "nonce": "n1",
    "findings": [{"severity": "high", "rule": "trigger", "file": "m.safetensors", "evidence": "x\x1b[2J"}],
    "skipped": [{"file": "big.bin", "reason": "too large"}],
    "complete": True,
}


def body(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_result_is_read_and_its_rules_carry_its_name() -> None:
    result = external.parse(body(), nonce="n1")
    assert (result.verdict, result.findings[0].rule) == (ScanVerdict.FINDING, "acme/trigger")
    assert result.findings[0].evidence == "x\\x1b[2J"


def test_scanner_that_did_not_finish_is_no_pass() -> None:
    assert external.parse(body(findings=[], complete=False)).verdict is ScanVerdict.ANOMALY
    assert external.parse(body(findings=[])).verdict is ScanVerdict.NO_FINDING


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is not JSON"),
        (b"[]", "must be an object"),
        (body(apiVersion="v2"), "apiVersion: must be"),
        (body(nonce="n2"), "nonce: must be"),
        (body(extra=1), "extra is unknown"),
        (body(complete="yes"), "complete: must be"),
        (body(scanner={"name": "../lastgood"}), r"scanner.name: must match"),
        (body(findings=[{"severity": "huge", "rule": "a", "file": "b"}]), r"findings\[0\].severity: must be"),
        (body(findings=[{"severity": "low", "file": "b"}]), "rule is missing"),
        (body(findings=[{"severity": "low", "rule": "a b", "file": "b"}]), r"findings\[0\].rule: must match"),
        (body(findings=[{"severity": "low", "rule": "a", "file": "b", "kind": "fine"}]), "kind: must be"),
        (body(findings=[GOOD["findings"][0]] * 1001), "findings: must be a list of at most"),
        (body(skipped={}), "skipped: must be a list"),
        (body() * 2, "is not JSON"),
        (b'{"apiVersion":1,"apiVersion":2}', "twice"),
        (b"[" * 10_000, "nested deeper"),
        (b" " * 2**21, "more than"),
    ],
)
def test_result_of_another_form_is_refused(text: bytes, sentence: str) -> None:
    with pytest.raises(ExternalResultError, match=sentence):
        external.parse(text, nonce="n1")


@pytest.fixture
def bad(checkpoint: Path) -> Path:
    (checkpoint / "a.pkl").write_bytes(samples.named("os", "system", "x"))
    (checkpoint / "tokenizer_config.json").write_text('{"chat_template": "x\u202e"}')
    return checkpoint


def test_exit_code_says_how_grave_it_is(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(bad)]) == 1
    assert "critical finding pickle-import a.pkl" in capsys.readouterr().out
    (bad / "a.pkl").unlink()
    assert main(["scan", str(bad)]) == 0
    assert main(["scan", str(bad), "--fail-on", "medium"]) == 1


def test_command_takes_its_policy(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(bad), "--allow-import", "os.system"]) == 0
    assert main(["scan", str(bad), "--allow-import", "os.system", "--allow-format", "safetensors"]) == 1
    assert "format-not-allowed" in capsys.readouterr().out


def test_wrong_usage_and_what_cannot_be_read_have_codes_of_their_own(bad: Path) -> None:
    assert main(["scan", str(bad / "gone")]) == 3
    for wrong in (
        ["--allow-format", "word"],
        ["--allow-import", "os"],
        ["--allow-import", "os.*"],
        ["--fail-on", "always"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(["scan", str(bad), *wrong])
        assert ended.value.code == 2


def test_our_own_output_is_what_an_external_scanner_writes(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["scan", str(bad), "--output", "json"])
    text = capsys.readouterr().out
    result = external.parse(text.encode())
    assert (result.scanner, result.verdict, result.findings[0].rule) == (
        "lastgood",
        ScanVerdict.FINDING,
        "lastgood/pickle-import",
    )
    main(["scan", str(bad), "--output", "yaml"])
    assert yaml.safe_load(capsys.readouterr().out)["findings"] == json.loads(text)["findings"]
