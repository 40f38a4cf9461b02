"""The example of docs/verification.md runs as it stands there."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "verification.md"


def test_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "weights.bin").write_bytes(b"weights")
    (tmp_path / "digits" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102 - our own page
    assert capsys.readouterr().out == "weights.bin is changed (it had 7 bytes and has 8)\n"
    assert "# weights.bin is changed (it had 7 bytes and has 8)" in code
