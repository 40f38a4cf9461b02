"""The benchmark of scans: what it measures is honest, and it fails when it should."""

import json

import pytest

from bench import scan as bench


def test_a_run_prints_every_figure_that_it_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--json", "--members", "60", "--rounds", "1"]) in {
        0,
        1,
    }  # by the ratio, which is the machine's
    figures = json.loads(capsys.readouterr().out)
    assert (figures["members"], figures["findings"]) == (60, 0)
    assert figures.keys() >= bench.MEANING.keys()


@pytest.mark.parametrize(
    ("ratio", "findings", "code"), [(0.05, 0.0, 0), (0.11, 0.0, 1), (0.05, 1.0, 1)], ids=["good", "slow", "found"]
)
def test_the_exit_code_says_whether_it_held(
    monkeypatch: pytest.MonkeyPatch, ratio: float, findings: float, code: int
) -> None:
    figures = {"child_each_s": 1.0, "scan_s": ratio, "ratio": ratio, "findings": findings}
    monkeypatch.setattr(bench, "measure", lambda *_: figures)
    assert bench.main(["--json", "--members", "1"]) == code
