"""pytest fixtures: `pytest_plugins = ["tests.cluster.fixture"]` in the conftest at the root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.cluster import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.cluster import Cluster


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """One API server for all tests of the session; kwok makes the pods of Deployments Ready."""
    with running(profile="control-plane", pods=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def node() -> Iterator[Cluster]:
    """One real node for all tests of the session: containerd, runc, Services and DNS."""
    with running(profile="node") as cluster:
        yield cluster
