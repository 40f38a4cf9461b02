"""What is built before the first test that needs it: the minutes of a build are no test's time.

The time limit of a test counts its fixtures as well, and what a fixture builds from source, it builds once for all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from tests.cluster.cluster import chosen
from tests.cluster.plane import build
from tests.servers.build import REGISTRY, VERSITYGW, built

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pytest

    Build = Callable[[Callable[[str], None]], object]


def _programs(progress: Callable[[str], None]) -> None:
    if chosen() == "local":
        build.programs(progress)


def _s3(progress: Callable[[str], None]) -> None:
    built(VERSITYGW, progress)


def _registry(progress: Callable[[str], None]) -> None:
    built(REGISTRY, progress)


BUILDS: Final[Mapping[str, Build]] = {
    "control_plane": _programs,
    "node": _programs,
    "cluster": _programs,
    "s3": _s3,
    "registry": _registry,
    "private_registry": _registry,
}
"""By the name of a fixture, or of a mark."""


def needed(items: Iterable[pytest.Item]) -> list[Build]:
    """Return what the tests need, each once."""
    names = {name for item in items for name in (*_fixtures(item), *(mark.name for mark in item.iter_markers()))}
    return list(dict.fromkeys(make for name, make in BUILDS.items() if name in names))


def _fixtures(item: pytest.Item) -> set[str]:
    """Return the fixtures of a test; a parameter may have the name of one."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return set(getattr(item, "fixturenames", ())) - set(parameters)


def say(sentence: str) -> None:
    """Show progress past what pytest keeps from the terminal, also in a worker."""
    os.write(2, f"before the tests: {sentence}\n".encode())
