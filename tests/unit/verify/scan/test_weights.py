"""Safetensors headers, the numbers in them, and how far they are from a baseline."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from lastgood.api.names import Severity
from lastgood.verify.scan import Drift, Pattern, Policy, ScanResult, ScanVerdict, scan
from lastgood.verify.scan.weights import numbers

Scanned = Callable[..., ScanResult]
Tensors = dict[str, Any]


def header(text: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode() + data


def row(start: int, end: int, shape: list[int] | None = None, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


def test_file_of_the_library_is_left_alone(scanned: Scanned) -> None:
    result = scanned({"model.safetensors": save({"a": np.arange(10.0), "b": np.ones((2, 3), "f2")})})
    assert (result.verdict, result.findings) == (ScanVerdict.NO_FINDING, ())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(header('{"a":1,"a":2}'), "has the key 'a' twice", id="duplicate key"),
        pytest.param(header(json.dumps({"a": row(0, 4), "b": row(2, 6)}), b"123456"), "overlaps", id="overlap"),
        pytest.param(header(json.dumps({"a": row(2, 4)}), b"1234"), "belong to no tensor", id="gap"),
        pytest.param(
            header(json.dumps({"a": row(0, 4)}), b"1234PAYLOAD"), "after the last tensor", id="trailing bytes"
        ),
        pytest.param(header(json.dumps({"a": row(0, 9)}), b"1234"), "the file has", id="beyond the end"),
        pytest.param(header(json.dumps({"a": row(0, 4, [2])}), b"1234"), "type and shape need 2", id="wrong size"),
        pytest.param(header(json.dumps({"a": row(0, 4, dtype="X9")}), b"1234"), "unknown type", id="unknown type"),
        pytest.param(header(json.dumps({"a": row(0, 4, [-4])}), b"1234"), "not sizes", id="negative size"),
        pytest.param(
            header(json.dumps({"a": row(0, 4, [True, 4])}), b"1234"), "not sizes", id="a size that is a truth"
        ),
        pytest.param(header(json.dumps({"a": {**row(0, 4), "x": 1}}), b"1234"), "nothing else", id="unknown field"),
        pytest.param(header('{"__metadata__":{"a":{}}}'), "texts", id="metadata that is no text"),
        pytest.param(header('{"a":NaN}'), "NaN", id="NaN in the header"),
        pytest.param(header('{"a":' + "[" * 100_000), "nested deeper", id="deep nesting"),
        pytest.param(struct.pack("<Q", 2**31) + b"{}", "bytes: at most", id="a header longer than the file"),
        pytest.param(header("{" + " " * 9_000_000 + "}"), "bytes: at most", id="a huge header"),
        pytest.param(struct.pack("<Q", 4) + b'{"\xff"', "not UTF-8", id="not UTF-8"),
    ],
)
def test_header_that_breaks_a_rule_is_found(scanned: Scanned, data: bytes, sentence: str) -> None:
    found = scanned({"model.safetensors": data}).findings
    assert [(row.rule, row.severity) for row in found][:1] == [("safetensors-header", Severity.HIGH)]
    assert sentence in found[0].evidence


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
def test_number_that_is_not_finite_is_an_anomaly(scanned: Scanned, value: float, dtype: str) -> None:
    weights = np.random.default_rng(1).normal(size=(300, 4000)).astype(dtype)
    weights[299, 3999] = value
    found = scanned({"model.safetensors": save({"a": weights})}).findings
    assert [(row.rule, row.evidence) for row in found] == [("values-not-finite", "1 of 1200000")]


def test_tensor_of_one_number_is_an_anomaly(scanned: Scanned) -> None:
    result = scanned({"model.safetensors": save({"a": np.zeros((100, 10), "f4"), "bias": np.zeros(500, "f4")})})
    assert [(row.rule, row.severity) for row in result.findings] == [("values-constant", Severity.LOW)]
    assert result.verdict is ScanVerdict.ANOMALY


def without_numpy() -> Any:
    raise numbers.NumpyMissingError("numpy is not installed")


def test_what_was_not_checked_is_told_and_never_a_pass(scanned: Scanned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "numpy", without_numpy)
    result = scanned({"model.safetensors": save({"a": np.ones(3)})})
    assert result.verdict is ScanVerdict.ANOMALY
    assert [found.rule for found in result.findings] == ["not-checked-values"]
    assert "numpy is not installed" in result.skipped[0].reason


def test_values_may_be_left_out_on_purpose(scanned: Scanned) -> None:
    result = scanned({"m.safetensors": save({"a": np.full((9, 9), np.nan)})}, policy=Policy(values=False))
    assert result.verdict is ScanVerdict.NO_FINDING


@pytest.fixture
def weights() -> Tensors:
    """A model of twenty tensors."""
    rng = np.random.default_rng(7)
    return {f"layer.{index}.weight": rng.normal(size=(200, 64)).astype("f4") for index in range(20)}


@pytest.fixture
def compared(tmp_path: Path, checkpoint: Path) -> Callable[[Tensors, Tensors], ScanResult]:
    def compare(old: Tensors, new: Tensors) -> ScanResult:
        baseline = tmp_path / "baseline"
        baseline.mkdir()
        (baseline / "model.safetensors").write_bytes(save(old))
        (checkpoint / "model.safetensors").write_bytes(save(new))
        return scan(checkpoint, baseline=baseline)

    return compare


Compared = Callable[[Tensors, Tensors], ScanResult]


def drift_of(result: ScanResult) -> Drift:
    assert result.drift is not None
    return result.drift


def test_same_weights_do_not_drift(compared: Compared, weights: Tensors) -> None:
    result = compared(weights, weights)
    assert (drift_of(result).pattern, result.findings) == (Pattern.IDENTICAL, ())


def test_fine_tune_is_global(compared: Compared, weights: Tensors) -> None:
    rng = np.random.default_rng(3)
    tuned = {name: (old + 0.01 * rng.normal(size=old.shape)).astype("f4") for name, old in weights.items()}
    result = compared(weights, tuned)
    assert drift_of(result).pattern is Pattern.GLOBAL
    assert drift_of(result).median == pytest.approx(0.01, rel=0.1)
    assert [(row.rule, row.severity) for row in result.findings] == [("drift-global", Severity.LOW)]


def test_edit_of_one_layer_is_localised(compared: Compared, weights: Tensors) -> None:
    edited = {**weights, "layer.7.weight": weights["layer.7.weight"] * 1.5}
    result = compared(weights, edited)
    assert drift_of(result).pattern is Pattern.LOCALISED
    assert drift_of(result).largest == pytest.approx(0.5)
    assert [(row.rule, row.severity) for row in result.findings] == [("drift-localised", Severity.HIGH)]
    assert "layer.7.weight 0.5" in result.findings[0].evidence


def test_backdoor_in_two_rows_is_localised_though_all_else_was_trained(compared: Compared, weights: Tensors) -> None:
    rng = np.random.default_rng(3)
    tuned = {name: (old + 0.001 * rng.normal(size=old.shape)).astype("f4") for name, old in weights.items()}
    tuned["layer.3.weight"][[17, 120]] += 2
    result = compared(weights, tuned)
    rules = {row.rule: row.evidence for row in result.findings}
    assert drift_of(result).pattern is Pattern.LOCALISED
    assert "2 of 200 rows" in rules["drift-rows"]
    assert {"17", "120"} <= set(rules["drift-rows"].replace("[", " ").replace("]", " ").replace(",", " ").split())


def test_layer_that_moved_far_more_than_the_others_is_localised(compared: Compared, weights: Tensors) -> None:
    rng = np.random.default_rng(3)
    tuned = {name: (old + 0.001 * rng.normal(size=old.shape)).astype("f4") for name, old in weights.items()}
    tuned["layer.3.weight"] += rng.normal(size=(200, 64)).astype("f4")
    assert "drift-outlier" in {row.rule for row in compared(weights, tuned).findings}


def test_other_shape_and_missing_tensors_are_named(compared: Compared, weights: Tensors) -> None:
    changed = {**weights, "layer.1.weight": np.ones((2, 2), "f4"), "new": np.arange(3.0)}
    del changed["layer.2.weight"]
    found = [row.evidence for row in compared(weights, changed).findings if row.rule == "drift-structure"]
    assert sorted(found) == ["layer.1.weight: F32 [200, 64], now F32 [2, 2]", "layer.2.weight", "new"]


def test_weights_that_became_nan_do_not_break_the_comparison(compared: Compared, weights: Tensors) -> None:
    broken = {**weights, "layer.1.weight": np.full((200, 64), np.nan, "f4")}
    result = compared(weights, broken)
    assert drift_of(result).largest == 1e9
    assert "values-not-finite" in {row.rule for row in result.findings}


def test_baseline_without_weights_is_told(tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "README.md").write_text("nothing")
    (checkpoint / "model.safetensors").write_bytes(save({"a": np.arange(3.0)}))
    result = scan(checkpoint, baseline=tmp_path / "old")
    assert [(row.rule, row.severity) for row in result.findings] == [("not-checked-drift", "high")]
