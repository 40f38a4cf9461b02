"""The figures of a benchmark."""

import json

import pytest

from bench.common import percentile, show


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], share) == value


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    show({"p50_ms": 1.5, "count": 3}, as_json=True, title="Latency", meaning={})
    assert json.loads(capsys.readouterr().out) == {"p50_ms": 1.5, "count": 3}


def test_a_table_says_what_each_figure_means(capsys: pytest.CaptureFixture[str]) -> None:
    show({"p50_ms": 1.25}, as_json=False, title="Latency", meaning={"p50_ms": "median"})
    assert capsys.readouterr().out == "Latency\n  p50_ms        1.2  median\n"
