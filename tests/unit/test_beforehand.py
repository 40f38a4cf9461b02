"""The minutes of a build are no test's time: tests/beforehand.py."""

from __future__ import annotations

import pytest

from tests import beforehand


def test_what_tests_need_is_built_before_the_first_of_them(request: pytest.FixtureRequest) -> None:
    def needed_by(*fixtures: str, mark: str = "asyncio") -> list[beforehand.Build]:
        item = pytest.Function.from_parent(request.node.parent, name="made_up", callobj=lambda: None)
        item.fixturenames = list(fixtures)
        item.add_marker(mark)
        return beforehand.needed([item])

    assert needed_by("tmp_path") == []
    assert needed_by("control_plane", "node") == [beforehand.BUILDS["node"]]
    assert needed_by("s3", "registry", "api") == [beforehand.BUILDS["s3"], beforehand.BUILDS["registry"]]
    assert needed_by(mark="cluster") == [beforehand.BUILDS["cluster"]]


@pytest.mark.parametrize("node", [1])
def test_parameter_of_that_name_is_none(request: pytest.FixtureRequest, node: int) -> None:
    assert node
    assert beforehand.needed([request.node]) == []
