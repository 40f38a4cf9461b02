"""Fixtures: one API server with our CRDs for all tests, and a namespace with an operator of its own for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.integration.audited import History, events
from tests.integration.world import World


@pytest.fixture(scope="session")
def api(control_plane: Cluster) -> Cluster:
    """A control plane with the CRDs installed."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds/")
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
    return control_plane


@pytest.fixture(autouse=True)
def audited(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test on an API server: what was written to it holds to the invariants; see audited.py."""
    cluster = request.getfixturevalue("control_plane") if "control_plane" in request.fixturenames else None
    log = cluster.audit_log if cluster else None
    began = log.stat().st_size if log and log.exists() else 0
    yield
    if log:
        assert History().read(events(log, began)) == []


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
