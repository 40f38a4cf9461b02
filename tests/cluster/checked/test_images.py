"""Images: what a build sees, and that it works without a registry or an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.made import dockerignore, images

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

DOCKERFILE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
COPY greeting.txt /greeting.txt
RUN python3 -c "assert open('/greeting.txt').read() == 'hello' and open('/wheels/a.whl')"
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A folder to build from."""
    folder = tmp_path / "context"
    for name in ("greeting.txt", "docs/a.md", "docs/deep/b.md", "src/keep.py", "src/drop.pyc", ".git/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("hello")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        pytest.param("*\n!src", {"src/keep.py", "src/drop.pyc"}, id="everything but one folder"),
        pytest.param(
            "docs\n**/*.pyc\nDockerfile\n.dockerignore", {"greeting.txt", "src/keep.py"}, id="folder, pattern"
        ),
        pytest.param("*\n!docs/*.md", {"docs/a.md"}, id="a star does not cross folders"),
    ],
)
def test_a_build_sees_what_dockerignore_lets_through(context: Path, rules: str, seen: set[str]) -> None:
    (context / ".dockerignore").write_text(rules)
    found = {path.relative_to(context).as_posix() for path in dockerignore.files(context, context / "Dockerfile")}
    assert found == seen


def test_an_ignored_file_does_not_change_the_image(context: Path) -> None:
    (context / ".dockerignore").write_text("docs")
    before = images.context_digest(context, context / "Dockerfile")
    (context / "docs/a.md").write_text("other")
    assert images.context_digest(context, context / "Dockerfile") == before
    (context / "greeting.txt").write_text("other")
    assert images.context_digest(context, context / "Dockerfile") != before


@pytest.mark.node
def test_a_dockerfile_builds_on_the_base_image_with_a_folder_of_wheels(context: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "a.whl").write_text("")
    arguments = images.wheel_arguments(wheels)
    tag = "localhost/lastgood-self-test:1"
    archive = images.build(context, context / "Dockerfile", tag, arguments.build_args, arguments.volumes)
    try:
        assert archive.stat().st_size > images.base_image().archive.stat().st_size
        assert images.build(context, context / "Dockerfile", tag, arguments.build_args, arguments.volumes) == archive
    finally:
        archive.unlink()
