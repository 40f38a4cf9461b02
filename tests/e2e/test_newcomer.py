"""The README's way from nothing to a first protected model, word by word, on a node that nobody prepared."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo import node as stage
from tests.cluster import running
from tests.cluster.made import archive, images
from tests.unit.test_docs import COMMAND, FENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Cluster

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]  # the first test may build a cluster and images

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text().partition("## Your first protected model\n")[2].partition("\n## ")[0]
# What the commands and the manifest name, and what the node is given under these names. Nothing else is replaced.
OPERATOR, PYTHON = "registry.example/lastgood:0.1.0", "docker.io/library/python:3.12-slim-bookworm"
BY_HAND = ("docker build", "docker push")  # in the place of them: `provided`
NAMESPACE = "lastgood-example"
CHANGING = re.compile(r"-\d{5}[a-z]-[0-9a-f]{10}\b|\b\d+[smh]\S*")  # names of records, and ages


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command of the README, and what came of it."""

    command: str
    shown: str  # in the README
    printed: str
    code: int
    seconds: float


def steps() -> Iterator[tuple[str, str]]:
    """Yield each command with what the README shows of its output."""
    for language, block in FENCE.findall(SECTION):
        if language == "console":
            for found in re.split(r"^(?=\$ )", block, flags=re.MULTILINE)[1:]:
                command = COMMAND.match(found)
                assert command
                yield command[1], found[command.end() :].strip()


@pytest.fixture(scope="module")
def fresh() -> Iterator[Cluster]:
    """A node of its own: the definitions belong to the whole cluster, and here there is nothing yet."""
    with running(profile="node") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def provided(fresh: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The node has the images, under the names that the README and the manifest say."""
    operator, _ = stage.build_images(print)
    for source, name in ((operator, OPERATOR), (images.base_image(print).archive, PYTHON)):
        renamed = tmp_path_factory.mktemp("images") / "image.tar"
        archive.rename(source, name, renamed)
        fresh.load_image(renamed)
        renamed.unlink()
    return fresh


@pytest.fixture(scope="module")
def walked(provided: Cluster) -> list[Done]:
    """Every command in its order, each begun when the one before has ended well."""
    walked: list[Done] = []
    for command, shown in steps():
        if command.startswith(BY_HAND):
            continue
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=provided.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.monotonic() - began
        sys.stdout.write(f"{took:6.1f} s  $ {command}\n{done.stdout}{done.stderr}\n")
        walked.append(Done(command=command, shown=shown, printed=done.stdout, code=done.returncode, seconds=took))
        if done.returncode:
            sys.stdout.write(provided.kubectl("get", "all,pvc,pv,mdep,msnap", "-n", NAMESPACE, check=False).stdout)
            sys.stdout.write(provided.kubectl("get", "events", "-n", NAMESPACE, check=False).stdout)
            break
    return walked


def test_there_is_no_storage_class(provided: Cluster) -> None:
    assert not provided.kubectl("get", "storageclasses", "-o", "name").stdout


def test_every_command_ends_well(walked: list[Done]) -> None:
    assert [done.command for done in walked if done.code] == []
    by_hand = [command for command, _ in steps() if command.startswith(BY_HAND)]
    assert [command.split()[:2] for command in by_hand] == [text.split() for text in BY_HAND]
    assert len(walked) == len(list(steps())) - len(by_hand)


def test_what_is_shown_is_what_is_printed(walked: list[Done]) -> None:
    shown = [done for done in walked if done.shown]
    assert any("Succeeded" in done.shown for done in shown)
    for done in shown:
        assert words(done.printed) == words(done.shown), done.command


def words(table: str) -> list[list[str]]:
    """Return a table without what differs each time."""
    return [CHANGING.sub("", line).split() for line in table.splitlines() if line.strip()]


def test_nothing_stays_in_the_cluster_but_the_definitions(walked: list[Done], provided: Cluster) -> None:
    assert walked[-1].code == 0
    assert not provided.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found").stdout
    assert not provided.kubectl("get", "persistentvolumes", "-o", "name").stdout
    assert not provided.kubectl("get", "nodes", "-l", "lastgood-example", "-o", "name").stdout
