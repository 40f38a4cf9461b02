"""Fixtures: one API server with our CRDs for all tests, and a namespace with an operator of its own for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.integration.world import World


@pytest.fixture(scope="session")
def api(control_plane: Cluster) -> Cluster:
    """A control plane with the CRDs installed."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds/")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
    return control_plane


@pytest.fixture
def world(api: Cluster, tmp_path: Path) -> Iterator[World]:
    """A namespace, a snapshot store and a running operator; all of it ends with the test."""
    with World.make(api, tmp_path) as made:
        made.operator.start()
        yield made


@pytest.fixture
def still_world(api: Cluster, tmp_path: Path) -> Iterator[World]:
    """The same with an operator that the test starts itself."""
    with World.make(api, tmp_path) as made:
        yield made
