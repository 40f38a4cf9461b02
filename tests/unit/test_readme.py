"""The README's part without a cluster: the Python example and every command that needs no network, as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.test_docs import COMMAND, FENCE, ROOT

SECTION = (ROOT / "README.md").read_text().partition("## Without a cluster\n")[2].partition("\n## ")[0]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "config.json").write_text('{"classes": 10}')
    return tmp_path


def blocks(language: str) -> list[str]:
    return [body for found, body in FENCE.findall(SECTION) if found == language]


def test_python_example_runs(place: Path) -> None:
    (example,) = blocks("python")
    subprocess.run([sys.executable, "-c", example], cwd=place, check=True)


def test_commands_succeed_in_their_order(place: Path) -> None:
    *installing, using = blocks("console")
    assert [len(COMMAND.findall(block)) for block in installing] == [3]  # from an index; see test_locks.py
    commands = COMMAND.findall(using)
    assert [re.sub(r"^lastgood (\w+).*", r"\1", command, flags=re.DOTALL) for command in commands] == [
        "keygen", "sign", "verify", "scan", "fetch",
    ]  # fmt: skip
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands[:-1]:
        done = subprocess.run(
            ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
