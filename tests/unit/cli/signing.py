"""Calling the commands: ours in this process, and those of `model-signing` as a process of their own."""

import json
import subprocess
import sys
from typing import Any

import pytest

from lastgood.cli.app import main

ZEROS = "sha256:" + "0" * 64
Capture = pytest.CaptureFixture[str]


def call(*arguments: object) -> int:
    """Run the command as a shell would; argparse leaves by SystemExit."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as left:
        return int(left.code or 0)


def body(capsys: Capture, *arguments: object) -> tuple[int, Any]:
    """Run `verify` and return its exit code and JSON."""
    capsys.readouterr()
    code = call("verify", *arguments, "--output", "json")
    return code, json.loads(capsys.readouterr().out)


def theirs(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real `model_signing` command."""
    command = [sys.executable, "-W", "ignore", "-m", "model_signing", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
