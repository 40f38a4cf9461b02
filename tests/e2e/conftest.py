"""The demo's world, once for all tests of the session: the operator by its chart, the model server, its traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo import node as stage
from demo import scenes
from demo.stage import train_into
from demo.world import Folder
from tests.e2e.team import operating

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.world import World
    from tests.cluster import Cluster


@pytest.fixture(scope="session")
def world(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A served model with three known-good versions, scored all the time."""
    folder = Folder(root=tmp_path_factory.mktemp("demo"))
    train_into(folder)
    with stage.on_node(node, folder, print) as world:
        scenes.bring_up(world, print)
        yield world
        (folder.root / "operator.log").write_text(world.operator_log())


@pytest.fixture(scope="session")
def operated(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node with an operator of its own beside the demo's; it looks again at what it verified after an hour only."""
    with operating(node, tmp_path_factory.mktemp("operator")) as cluster:
        yield cluster
