"""The stage with a real node: the operator's image installed by its Helm chart, and real pods that serve."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from demo.stage import begin, connect, digests
from tests.cluster.made import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.world import Folder, World
    from tests.cluster import Cluster

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent
OPERATOR, SERVER = "localhost/lastgood:demo", "localhost/digits-server:demo"
OPERATOR_NAMESPACE = "lastgood-system"
VOLUMES = ("lastgood-store", "digits-models", "digits-traffic")
NAMES = ("server.yaml", "snapshots.yaml", "model.yaml")


def build_images(say: Callable[[str], None]) -> list[Path]:
    """Build the operator's image and the model server's; what did not change comes from the cache."""
    needed = [ROOT / "requirements" / "runtime.txt", ROOT / "deploy" / "build-requirements.txt"]
    return [
        build_image(ROOT, ROOT / "Dockerfile", OPERATOR, needed, say),
        build_image(HERE, HERE / "Dockerfile", SERVER, [HERE / "requirements.txt"], say),
    ]


def build_image(
    context: Path, dockerfile: Path, tag: str, requirements: list[Path], say: Callable[[str], None]
) -> Path:
    """Build one image with the wheels of its requirements, all in one folder."""
    with TemporaryDirectory() as folder:
        together = Path(folder) / f"requirements of {tag.partition('/')[2].partition(':')[0]}"
        together.write_text("".join(path.read_text() for path in requirements))
        wheels = images.wheel_arguments(images.wheelhouse(together, progress=say))
    return images.build(context, dockerfile, tag, build_args=wheels.build_args, volumes=wheels.volumes, progress=say)


@contextmanager
def on_node(cluster: Cluster, folder: Folder, say: Callable[[str], None]) -> Iterator[World]:
    """Play on a node; what runs there goes away with the block, or with the cluster."""
    for archive in build_images(say):
        cluster.load_image(archive)
    say("the node has the operator's image and the model server's")
    world = connect(cluster, folder)
    world.operator_log = lambda: logs(cluster)
    world.start_traffic = lambda: start_client(world)
    begin(world, names=NAMES, values=digests(folder))
    try:
        install(cluster)
        say("the operator is installed by its Helm chart, and ready")
        world.apply()
        yield world
    finally:
        clear(cluster)


def install(cluster: Cluster) -> None:
    """Install the chart, as its README says."""
    cluster.helm(
        "upgrade",
        "--install",
        "lastgood",
        str(ROOT / "charts" / "lastgood"),
        f"--namespace={OPERATOR_NAMESPACE}",
        f"--values={HERE / 'values.yaml'}",
        "--wait",
        "--timeout=3m",
    )


def start_client(world: World) -> None:
    """Add the scoring client to the repository, and apply."""
    world.render(("client.yaml",), {}, {})
    world.apply()


def logs(cluster: Cluster) -> str:
    """Return the operator's log, which is its security log too."""
    shown = cluster.kubectl("logs", "deployment/lastgood", "-n", OPERATOR_NAMESPACE, "--tail=-1", check=False)
    return shown.stdout or shown.stderr


def clear(cluster: Cluster) -> None:
    """Stop every pod before the folder that they mount goes away; the rest may go in its own time."""
    later = ("--ignore-not-found", "--wait=false")
    cluster.kubectl("delete", "deployment", "--all", "-n", "digits", *later, check=False)
    cluster.helm("uninstall", "lastgood", f"--namespace={OPERATOR_NAMESPACE}", check=False)
    for namespace in ("digits", OPERATOR_NAMESPACE):
        cluster.kubectl("wait", "--for=delete", "pod", "--all", "-n", namespace, "--timeout=45s", check=False)
    cluster.kubectl("delete", "namespace", "digits", OPERATOR_NAMESPACE, *later, check=False)
    cluster.kubectl("delete", "persistentvolume", *VOLUMES, *later, check=False)
