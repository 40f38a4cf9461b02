"""The operator's image: how big it is, what is in it, and that its build installs the lock and nothing newer."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from demo import node as stage
from tests.cluster.clean.newer import newer_releases, pins
from tests.cluster.made import images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.node, pytest.mark.timeout(900)]

MEGABYTE = 1_000_000
LIMIT = 150 * MEGABYTE
RUNTIME = stage.ROOT / "requirements" / "runtime.txt"
SITE = "/site-packages/"
# What an image that only runs the operator has no use for; each of these was in it once.
UNWANTED = (
    "bin/sh",
    "bin/bash",
    "bin/apt",
    "bin/dpkg",
    "bin/perl",
    "bin/pip",
    "bin/pip3",
    "bin/kubectl-lastgood",
    "site-packages/kubernetes",
    "site-packages/numpy",
    "site-packages/pip",
    "site-packages/pytest",
    "site-packages/setuptools",
    "python3.11/ensurepip",
    "python3.11/test",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/python-wheels",
    "src",
    "root-of-image",
)


@dataclass(frozen=True, kw_only=True)
class Built:
    """An image: its bytes as a node unpacks them, the names in it, and what dpkg knew."""

    size: int
    names: frozenset[str]
    status: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The image as the tests build it, from a folder that has a newer release of everything as well."""
    wheels = tmp_path_factory.mktemp("wheels")
    locks = [RUNTIME, stage.ROOT / "deploy" / "build-requirements.txt"]
    together = wheels / "lock.txt"
    together.write_text("".join(path.read_text() for path in locks))
    shutil.copytree(images.wheelhouse(together), wheels, dirs_exist_ok=True)
    newer_releases(wheels, locks)
    given = images.wheel_arguments(wheels)
    tag = "localhost/lastgood-image-test:1"
    archive = images.build(stage.ROOT, stage.ROOT / "Dockerfile", tag, given.build_args, given.volumes)
    try:
        yield unpacked(archive)
    finally:
        archive.unlink()


def unpacked(archive: Path) -> Built:
    """Read every layer; the last one to have a name decides, and names that a later layer takes away still weigh."""
    names: set[str] = set()
    size, status = 0, b""
    with tarfile.open(archive) as image:
        (manifest,) = json.load(image.extractfile("manifest.json") or pytest.fail("no manifest"))
        for layer in manifest["Layers"]:
            size += image.getmember(layer).size
            with tarfile.open(fileobj=image.extractfile(layer)) as content:
                for member in content:
                    names.add(member.name.removeprefix("./").rstrip("/"))
                    if member.name.removeprefix("./") == "var/lib/dpkg/status" and (
                        file := content.extractfile(member)
                    ):
                        status = file.read()
    return Built(size=size, names=frozenset(names), status=status.decode())


def test_the_image_is_below_150_megabytes(built: Built) -> None:
    assert built.size < LIMIT, f"{built.size / MEGABYTE:.0f} MB"


def test_the_image_has_the_lock_although_everything_has_a_newer_release(built: Built) -> None:
    found = {name.rpartition(SITE)[2] for name in built.names if name.endswith(".dist-info") and SITE in name}
    installed = dict(name.removesuffix(".dist-info").rsplit("-", 1) for name in found)
    assert {name.lower().replace("_", "-"): version for name, version in installed.items()} == {
        **pins(RUNTIME),
        "lastgood": "0.1.0",
    }


@pytest.mark.parametrize("name", UNWANTED)
def test_the_image_has_nothing_to_install_or_to_look_around_with(built: Built, name: str) -> None:
    assert [found for found in built.names if f"/{found}".endswith(f"/{name}")] == []


def test_scanners_for_known_holes_see_the_versions_of_libraries(built: Built) -> None:
    packages = {line.removeprefix("Package: ") for line in built.status.splitlines() if line.startswith("Package: ")}
    assert packages >= {"libc6", "libssl3", "libexpat1", "zlib1g", "python3.11-minimal"}
