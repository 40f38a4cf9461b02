"""What both stages have in common: a folder with trained models, the manifests, a world to look at."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from demo.traffic import Traffic
from demo.train import train
from demo.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from demo.train import Trained
    from demo.world import Folder
    from tests.cluster import Cluster

SERVICE = "http://digits-server.digits.svc"
VERSIONS = ("0", "1", "2", "3")


def train_into(folder: Folder) -> list[Trained]:
    """Make the demo's folder and train every version into it."""
    folder.prepare()
    trained = train(folder.models)
    shutil.move(folder.models / "samples.json", folder.traffic / "samples.json")
    return trained


def digests(folder: Folder) -> dict[str, str]:
    """Return what a person would copy from `lastgood digest` into the manifests."""
    return {f"digest_{version}": digest(folder, version) for version in VERSIONS}


def digest(folder: Folder, version: str) -> str:
    """Return the digest of one version, as the command line prints it."""
    command = [sys.executable, "-m", "lastgood", "digest", str(folder.checkpoint(version))]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return next(word for word in printed.split() if word.startswith("sha256:"))


def connect(cluster: Cluster, folder: Folder) -> World:
    """Return the world as anybody with this kubeconfig sees it."""
    logs = (Traffic(path=folder.traffic / name) for name in ("requests.jsonl", "unprotected.jsonl"))
    protected, unprotected = logs
    return World(cluster=cluster, folder=folder, traffic=protected, unprotected=unprotected)


def begin(
    world: World, *, names: tuple[str, ...], values: Mapping[str, str], moved: Mapping[str, str] | None = None
) -> None:
    """Prepare the platform's part, and put the team's manifests into its repository."""
    world.render(("platform.yaml",), {"folder": str(world.folder.root)}, {})
    world.cluster.kubectl("apply", "-f", str(world.folder.git / "platform.yaml"))
    (world.folder.git / "platform.yaml").unlink()  # not the team's: it is not applied again
    world.render(names, values, moved or {})
