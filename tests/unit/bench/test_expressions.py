"""The benchmark of conditions: each is one that may be written, and it fails when it should."""

import json

import pytest

from bench import expressions as bench
from lastgood.signals.answers import doubles
from lastgood.signals.expression import Expression


def test_a_run_prints_every_figure_that_it_explains(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "HOSTILE", {name: bench.HOSTILE[name] for name in ("search", "joined text")})
    assert bench.main(["--json", "--rounds", "1"]) in {0, 1}  # by the ratio, which is the machine's
    figures = json.loads(capsys.readouterr().out)
    assert figures["conditions"] == 2
    assert figures.keys() >= bench.MEANING.keys()


@pytest.mark.parametrize("name", bench.HOSTILE)
def test_what_is_measured_is_within_the_limits(name: str) -> None:
    text, result = bench.HOSTILE[name]
    assert Expression.compile(text).reads is not None
    assert doubles(result) == result


@pytest.mark.parametrize(("ratio", "kept", "code"), [(9.0, 7.0, 0), (11.0, 7.0, 1), (9.0, 9.0, 1)])
def test_the_exit_code_says_whether_it_held(
    monkeypatch: pytest.MonkeyPatch, ratio: float, kept: float, code: int
) -> None:
    monkeypatch.setattr(bench, "measure", lambda *_, **__: {"ratio": ratio, "most_mb": kept})
    assert bench.main(["--json"]) == code
