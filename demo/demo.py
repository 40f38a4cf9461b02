"""`make demo`: a served model goes bad three times, and comes back to its last known-good snapshot each time.

Beside it, the same model is served without lastgood, for the same requests: what differs is the harm. It starts a
cluster of its own, tells the story in the terminal while it happens, writes a report, and takes everything down again,
also when it is interrupted. It exits 0 only if all of it went as told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from demo import host, node, scenes
from demo.stage import train_into
from demo.told.report import PARTS, Report
from demo.told.screen import Screen
from demo.train import describe
from demo.world import NAMESPACE, Folder, StoryError
from tests.cluster import ClusterError, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.story import Scene
    from demo.train import Trained
    from demo.world import World

STORY = """A classifier of handwritten digits is served twice, to the same client: once with lastgood, once without.
Three honest versions have served, v0 to v2. Then three things go wrong, as they do:"""
SCENES = (
    (scenes.poisoned, "The labels of v3's training data were swapped. Its files are exactly what its digest says."),
    (scenes.tampered, "Somebody with access to the volume changes the weights of v2, which serves."),
    (scenes.emergency, "Security says that v1 must go, now, while monitoring is down and can confirm nothing."),
)
NODE, HOST = "a real node", "a control plane with kwok's pods"
INTERRUPTED = 130


def main() -> int:
    """Play the demo as the command line says; return the exit code."""
    arguments = parse()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    screen = Screen()
    try:
        with own_folder() as folder:
            report = play(arguments, screen, folder)
    except (ClusterError, StoryError) as problem:
        screen.title(f"It did not get that far: {problem}")
        return 1
    except KeyboardInterrupt:
        screen.title("Interrupted. Everything that was started is gone.")
        return INTERRUPTED
    return 0 if report.ok else 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="demo", description="Three rollbacks of a served model, live.")
    parser.add_argument("--report", type=Path, default=Path("report"), help="where the report goes (default: report)")
    parser.add_argument(
        "--stage", choices=("auto", "node", "host"), default="auto", help="a real node, or the host (default: auto)"
    )
    return parser.parse_args()


def interrupt(*_: object) -> None:
    """End the story once; what follows is the clean-up, which nothing interrupts."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def own_folder() -> Iterator[Folder]:
    """Make a folder for the models, the traffic and the manifests, and remove it."""
    root = Path(tempfile.mkdtemp(prefix="lastgood-demo-"))
    try:
        yield Folder(root=root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def play(arguments: argparse.Namespace, screen: Screen, folder: Folder) -> Report:
    """Set the stage, play the scenes, write the report."""
    prologue(screen)
    trained = train_into(folder)
    for each in trained:
        screen.line(describe(each))
    stage = choose_stage(arguments.stage, screen)
    screen.title("The stage")
    with ExitStack() as stack:
        world = set_up(stack, screen, stage, folder)
        report = perform(world, screen, stage, trained)
        report.write(arguments.report)
        (arguments.report / "operator.log").write_text(world.operator_log())
        summary(report, screen, arguments.report)
        screen.title("Taking everything down")
    return report


def prologue(screen: Screen) -> None:
    """Tell the story before anything is built for it."""
    screen.title("A served model goes bad three times")
    for line in STORY.splitlines():
        screen.line(line)
    for number, (_, story) in enumerate(SCENES, start=1):
        screen.line(f"{number}. {story}")
    screen.title("The versions")


def set_up(stack: ExitStack, screen: Screen, stage: str, folder: Folder) -> World:
    """Start the cluster and what plays in it; the stack takes it down."""
    real = stage == NODE
    what = "building (from an empty cache about 12 minutes)"
    with screen.working(what, f"{stage}, the operator, and two servers without a model") as say:
        profile = "node" if real else "control-plane"
        cluster = stack.enter_context(running(profile=profile, pods=not real, progress=say))
        return stack.enter_context((node.on_node if real else host.on_host)(cluster, folder, say))


def choose_stage(wanted: str, screen: Screen) -> str:
    """Return where to play; where no node can run, say so."""
    if wanted == "host":
        return HOST
    problem = node_problem() if os.environ.get("LASTGOOD_CLUSTER", "local") == "local" else ""
    if problem and wanted == "node":
        raise ClusterError(f"a node cannot run here: {problem}")
    if problem:
        screen.title(f"A node cannot run here: {problem}. The same story, with pods that only pretend:")
    return HOST if problem else NODE


def node_problem() -> str:
    """Return why a node cannot run on this machine, empty if nothing speaks against it."""
    if sys.platform != "linux":
        return f"it needs Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "it needs root, for containers and their networks"
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, text=True, check=False)
    return f"unshare is refused here ({tried.stderr.strip()})" if tried.returncode else ""


def perform(world: World, screen: Screen, stage: str, trained: list[Trained]) -> Report:
    """Bring the honest versions up, then play every scene, up to the first that stops the story."""
    played: list[Scene] = []
    with screen.watching(world.traffic, world.unprotected):
        try:
            screen.title("Three honest versions, one after another")
            scenes.bring_up(world, screen.step)
            for number, (scene, story) in enumerate(SCENES, start=1):
                screen.scene(number, story)
                played.append(scene(world, screen.moment))
                screen.result(played[-1])
        except StoryError as problem:
            screen.title(f"The story ends here: {problem}")
    return Report(
        stage=stage,
        trained=trained,
        scenes=played,
        outcomes=world.traffic.read(),
        unprotected=world.unprotected.read(),
        tables=tables(world),
        seconds=time.time() - screen.began,
    )


def tables(world: World) -> str:
    """Return what a person on call would look at."""
    kinds = ("modelsnapshots", "modeldeployments", "modelrollbacks")
    oldest_first = "--sort-by=.metadata.creationTimestamp"
    shown = (world.cluster.kubectl("get", kind, "-n", NAMESPACE, oldest_first, check=False).stdout for kind in kinds)
    return "\n".join(shown)


def summary(report: Report, screen: Screen, folder: Path) -> None:
    """Show the report's table, and where the rest of it is."""
    screen.title("Report")
    shown: Any = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    times = [name for _, name in PARTS]
    for head in ("", "back to", "outcome", *times, "requests", "failed", "harm", "with", "without"):
        shown.add_column(head, style="cyan" if head else None)
    for scene in report.scenes:
        took = scene.seconds()
        parts = (f"{took[key]:.2f}s" if took[key] is not None else "-" for key, _ in PARTS)
        outcome = str(scene.status.get("outcome", "none"))
        counts = (str(scene.tally.requests), str(scene.tally.failed))
        harm = (scene.harm.what, f"{scene.harm.protected:,}", f"{scene.harm.unprotected:,}")
        shown.add_row(f"Scene {scene.number}", f"v{scene.to_version}", outcome, *parts, *counts, *harm)
    screen.console.print(shown)
    word = "[green]everything went as told[/]" if report.ok else "[bold red]NOT everything went as told[/]"
    screen.console.print(f"\n{word} in {report.seconds:.0f} s; the report is {folder / 'report.md'}")


if __name__ == "__main__":
    sys.exit(main())
