"""docs/signing.md works as it stands: every command, in order, and the Python example."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.verify.signing.makers import Wish, authority, make

PAGE = Path(__file__).resolve().parents[4] / "docs" / "signing.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*?(?:\\\n.*?)*)$", re.MULTILINE)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "config.json").write_text('{"classes": 10}')
    (tmp_path / "digits" / "model.bin").write_bytes(b"\x01" * 5000)
    root = authority()
    middle = authority("middle", root)
    for name, holder in (("root", root), ("middle", middle), ("signer", make(Wish(issuer=middle)))):
        holder.write(tmp_path, name)
    return tmp_path


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(PAGE.read_text()) if found == language]


def test_every_command_succeeds_in_its_order(place: Path) -> None:
    commands = [command for block in blocks("console") for command in COMMAND.findall(block)]
    assert len(commands) > 10
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_python_example_runs(place: Path) -> None:
    (example,) = blocks("python")
    subprocess.run([sys.executable, "-c", example], cwd=place, check=True)
