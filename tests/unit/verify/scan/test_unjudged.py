"""What could not be judged is no pass at any severity: nobody knows how grave it is."""

import bz2
import functools
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save

from lastgood.api.names import Severity
from lastgood.api.specs.scan_rules import LONGEST_RULE, UNJUDGED
from lastgood.cli.app import main
from lastgood.verify import scan as package
from lastgood.verify.scan import Policy, ScanLimits, ScanResult, external, scan
from lastgood.verify.scan.kept import Kept
from lastgood.verify.scan.values import finding
from lastgood.verify.scan.weights import numbers
from tests.unit.verify.scan import samples
from tests.unit.verify.scan.test_weights import without_numpy

ROOT = Path(__file__).resolve().parents[4]
Scanned = Callable[..., ScanResult]
HARMLESS = b"\x80\x04N."
NESTED = functools.reduce(lambda inner, name: samples.zipped({f"{name}.zip": inner}), "abcde", b"x")

UNKNOWN = {
    "a format that is not looked into": ({"model.7z": b"7z\xbc\xaf\x27\x1c" + b"\0" * 20}, ScanLimits()),
    "a stream that is not looked into": ({"model.bz2": bz2.compress(b"x")}, ScanLimits()),
    "too large, packed": ({"a.zip": samples.zipped({"b.gguf": b"GGUF" + b"\0" * 4000}, 8)}, ScanLimits(inflated=100)),
    "settings that are too large": ({"config.json": b'{"a": "' + b"x" * 2**23 + b'"}'}, ScanLimits()),
    "more parts than the limit": ({"a.zip": samples.zipped({str(n): b"x" for n in range(9)})}, ScanLimits(parts=5)),
    "archives without end": ({"a.zip": NESTED}, ScanLimits()),
    "a bomb": ({"a.zip": samples.zipped({"a": b"\0" * 250_000_000}, 8)}, ScanLimits()),
    "a broken archive": ({"a.zip": b"PK\x03\x04" + b"\0" * 40}, ScanLimits()),
    "a broken tar": ({"a.tar": samples.tarred({"x": b"x"})[:512] + b"\1" * 600}, ScanLimits()),
    "a pickle that takes too much": ({"a.pkl": HARMLESS}, ScanLimits(pickle_failures=0)),
    "a broken pickle": ({"a.pkl": b"\x80\x04\xff"}, ScanLimits()),
    "raw bytes": ({"weights.bin": b"\x81\xff\0" * 20}, ScanLimits()),
    "a header that is broken": ({"a.safetensors": struct.pack("<Q", 8) + b'{"a":1} '}, ScanLimits()),
    "metadata without end": ({"a.gguf": b"GGUF" + struct.pack("<LQQ", 3, 0, 2**40)}, ScanLimits()),
    "an encrypted member": ({"a.zip": samples.encrypted(samples.zipped({"a.txt": b"x"}))}, ScanLimits()),
    "no file": ({}, ScanLimits()),
}


@pytest.mark.parametrize("name", sorted(UNKNOWN))
def test_what_could_not_be_judged_is_no_pass_where_only_the_critical_refuses(scanned: Scanned, name: str) -> None:
    files, limits = UNKNOWN[name]
    result = scanned(files, limits=limits)
    assert result.refusing(Severity.CRITICAL), result.findings
    assert not result.refusing(Severity.CRITICAL, unjudged=True) or result.findings[0].severity == Severity.CRITICAL


def test_what_no_checkpoint_holds_is_no_pass_either(checkpoint: Path) -> None:
    (checkpoint / "a.json").write_text("{}")
    (checkpoint / "link").symlink_to("/etc/passwd")
    assert scan(checkpoint).refusing(Severity.CRITICAL)


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("config.json", b'{"auto_map": {"AutoModel": "m.X"}}'),
        ("handler.py", b"x = 1\n"),
        ("a.pkl", samples.named("acme.models", "Net", "x")),
        ("model.gguf", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_what_was_judged_counts_by_its_severity(checkpoint: Path, file: str, data: bytes) -> None:
    (checkpoint / file).write_bytes(data)
    result = scan(checkpoint)
    rules = {found.rule for found in result.at_least(Severity.HIGH)} - UNJUDGED
    assert rules
    assert not {found.rule for found in result.refusing(Severity.CRITICAL)} & rules


def test_command_says_so_and_has_a_word_for_it(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkpoint / "model.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 20)
    assert main(["scan", str(checkpoint), "--fail-on", "critical"]) == 1
    assert "could not be judged" in capsys.readouterr().out
    assert main(["scan", str(checkpoint), "--fail-on", "critical", "--allow-unjudged"]) == 0
    assert main(["scan", str(checkpoint), "--allow-unjudged"]) == 1


def test_format_unknown_still_allows_files_that_nobody_claims(scanned: Scanned) -> None:
    allowed = Policy(formats=frozenset({"unknown"}))
    assert not scanned({"weights.bin": b"\xff\0\xff" * 20}, policy=allowed).refusing(Severity.CRITICAL)


def test_own_output_is_not_complete_where_something_could_not_be_judged(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "model.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 20)
    main(["scan", str(checkpoint), "--output", "json"])
    text = capsys.readouterr().out
    assert json.loads(text)["complete"] is external.parse(text.encode()).complete is False


def test_what_could_not_be_judged_is_kept_before_what_is_as_grave() -> None:
    kept = Kept(most=3, each=2)
    for number in range(50):
        kept.add(finding(Severity.HIGH, "config-code", f"{number}.json", "x"), f"{number}.json")
    kept.add(finding(Severity.HIGH, "zip-broken", "z.zip", "x"), "z.zip")
    assert [found.rule for found in kept.findings] == ["zip-broken", "config-code", "config-code"]
    kept.add(finding(Severity.CRITICAL, "pickle-import", "z.pkl", "x"), "z.pkl")
    assert [found.rule for found in kept.findings] == ["pickle-import", "zip-broken", "config-code"]


def test_numbers_that_numpy_is_missing_for_are_told_and_refuse_nothing(
    scanned: Scanned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "numpy", without_numpy)
    result = scanned({"model.safetensors": save({})})
    assert ([found.rule for found in result.findings], result.refusing(Severity.CRITICAL)) == (
        ["not-checked-values"],
        (),
    )


def test_comparison_that_was_asked_for_and_not_made_is_no_pass(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint / "a.json").write_text("{}")
    assert scan(checkpoint, baseline=checkpoint).refusing(Severity.CRITICAL)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "link").symlink_to("/etc/passwd")
    assert scan(checkpoint, baseline=tmp_path / "old").refusing(Severity.CRITICAL)
    monkeypatch.setattr(numbers, "numpy", without_numpy)
    assert scan(checkpoint, baseline=checkpoint).refusing(Severity.CRITICAL)


# A rule is either about something that was looked at, or it is in the list: each new one has to be decided.
JUDGED = {
    "archive-path", "code-file", "config-code", "config-trust-remote-code", "executable", "format-mismatch",
    "format-not-allowed", "keras-import", "keras-lambda", "onnx-external-path", "pickle-build", "pickle-escape",
    "pickle-import", "pickle-memory", "tensorflow-op", "template-address", "template-escapes", "template-hidden-text",
    "template-injection", "torch-code", "values-constant", "values-not-finite", "yaml-code", "zip-crc", "zip-duplicate",
    "drift-global", "drift-localised", "drift-outlier", "drift-rows", "drift-structure",
    "not-checked-values",  # of numbers alone, with a severity that says so
}  # fmt: skip


def test_every_rule_is_decided() -> None:
    text = "".join(path.read_text() for path in sorted(Path(package.__file__).parent.rglob("*.py")))
    made = set(
        re.findall(r"\"((?:[a-z]+-)+[a-z]+)\", (?:part\.name|shown|file|archive|\"\.\"|inner\.name|name|new\[)", text)
    )
    named = set(re.findall(r"\b(?:finding|anomaly)\([^\"()]*\"([a-z]+(?:-[a-z]+)*)\"", text))
    assert len(made | named) > 40
    assert made | named <= JUDGED | UNJUDGED
    assert not JUDGED & UNJUDGED


def test_page_lists_what_could_not_be_judged() -> None:
    page = (ROOT / "docs" / "scanning.md").read_text()
    section = page.split("### What could not be judged")[1].split("\n### ")[0]
    families = tuple(name.removesuffix("*") for name in re.findall(r"`([a-z]+-\*)`", section))
    told = {rule for rule in JUDGED | UNJUDGED if f"`{rule}`" in section or rule.startswith(families)}
    assert told - {"archive-path", "zip-crc", "zip-duplicate"} == UNJUDGED


def test_name_of_no_rule_is_cut_in_an_answer() -> None:
    assert max(map(len, JUDGED | UNJUDGED)) <= LONGEST_RULE
