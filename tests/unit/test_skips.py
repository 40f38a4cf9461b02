"""A test that is skipped in silence is one that nobody runs: the run fails, and README.md names what may be skipped."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.sync import ROOT
from tests import skips

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PASSES = "def test_passes():\n    pass\n"
SKIPPED = {
    "by a mark": "import pytest\n@pytest.mark.skip(reason='not here')\ndef test_it(): pass\n",
    "by a condition": "import pytest\n@pytest.mark.skipif(True, reason='not here')\ndef test_it(): pass\n",
    "in the middle": "import pytest\ndef test_it(): pytest.skip('not here')\n",
    "a whole file": "import pytest\npytest.skip('not here', allow_module_level=True)\n",
    "an import": "import pytest\npytest.importorskip('no_such_module', reason='not here')\n",
    "an expected failure": "import pytest\n@pytest.mark.xfail(reason='not here')\ndef test_it(): assert False\n",
}


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests of its own in a pytest of its own, with the conftest of this project."""
    (folder / "test_passes.py").write_text(PASSES)
    (folder / "test_other.py").write_text(text)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        str(folder / "none.ini"),
    ]
    (folder / "none.ini").write_text("[pytest]\n")
    return subprocess.run([*argv, *options, str(folder)], cwd=ROOT, check=False, capture_output=True, text=True)


needs_everything = pytest.mark.skipif(not skips.complete(), reason=skips.NEEDS_ROOT)


BY_A_WORKER = [("a whole file", "-n", "1"), ("by a condition", "-n", "1")]


@needs_everything
@pytest.mark.parametrize(
    ("way", "options"), [*((way, ()) for way in SKIPPED), *((way, rest) for way, *rest in BY_A_WORKER)]
)
def test_skip_that_nobody_named_fails_the_run(tmp_path: Path, way: str, options: Sequence[str]) -> None:
    done = run(tmp_path, SKIPPED[way], *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "skipped, and README.md does not say so" in done.stdout
    assert "not here" in done.stdout


def test_run_without_skips_passes(tmp_path: Path) -> None:
    done = run(tmp_path, PASSES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("reason", skips.ELSEWHERE)
def test_what_readme_names_may_be_skipped_elsewhere_and_never_as_root_on_linux(reason: str) -> None:
    assert skips.allowed(f"Skipped: {reason}", everything=False)
    assert not skips.allowed(f"Skipped: {reason}", everything=True)
    assert not skips.allowed("Skipped: no time", everything=False)


def test_readme_names_what_may_be_skipped() -> None:
    listed = (ROOT / "README.md").read_text().partition("fails the\nrun:\n\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^- (.*)$", listed, re.MULTILINE)) == sorted(skips.ELSEWHERE)
