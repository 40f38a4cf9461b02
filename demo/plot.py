"""The picture in the report: accuracy and failed requests over time, with the scenes marked."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from pathlib import Path

    from demo.client import Outcome
    from demo.story import Scene

BIN = 0.5  # seconds
COLOURS = {"0": "#8172b3", "1": "#4c72b0", "2": "#55a868", "3": "#c44e52"}
OTHER = "#777777"


def draw(outcomes: list[Outcome], scenes: list[Scene], path: Path) -> None:
    """Write the plot as PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  the backend must be chosen first

    began = min((outcome.at for outcome in outcomes), default=0.0)
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(11, 5.5), sharex=True, height_ratios=(4, 1), layout="constrained"
    )
    draw_accuracy(top, outcomes, began)
    draw_failures(bottom, outcomes, began)
    for scene in scenes:
        mark(top, bottom, scene, began)
    top.legend(loc="lower left", ncols=2, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_accuracy(axes: Any, outcomes: list[Outcome], began: float) -> None:  # noqa: ANN401  matplotlib is untyped
    """Draw a dot for each half second and version: the share of labelled images named right."""
    images: Counter[tuple[str, int]] = Counter()
    right: Counter[tuple[str, int]] = Counter()
    for outcome in outcomes:
        if outcome.ok:
            place = (outcome.version, int((outcome.at - began) / BIN))
            images[place] += outcome.images
            right[place] += outcome.right
    points: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for (version, index), count in sorted(images.items()):
        points[version].append(((index + 0.5) * BIN, right[version, index] / count))
    for version, dots in sorted(points.items()):
        axes.scatter(
            *zip(*dots, strict=True), s=14, color=COLOURS.get(version, OTHER), label=f"answered by v{version}", zorder=3
        )
    axes.set(ylim=(0.4, 1.07), ylabel="accuracy on labelled requests")
    axes.grid(alpha=0.25)


def draw_failures(axes: Any, outcomes: list[Outcome], began: float) -> None:  # noqa: ANN401  the same
    """Draw a bar for each second: how many requests failed."""
    failed = Counter(int(outcome.at - began) for outcome in outcomes if not outcome.ok)
    axes.bar([second + 0.5 for second in failed], list(failed.values()), width=1.0, color=COLOURS["3"])
    axes.set(xlabel="seconds", ylabel="failed\nrequests/s", ylim=(0, max(4, *failed.values(), 4)))
    axes.grid(alpha=0.25)
    if not failed:
        axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, color=OTHER)


def mark(top: Any, bottom: Any, scene: Scene, began: float) -> None:  # noqa: ANN401  the same
    """Shade a scene, and draw lines where the damage began, and where the target was written and available."""
    start, end = scene.started - began, scene.ended - began
    for axes in (top, bottom):
        axes.axvspan(start, end, color="#000000", alpha=0.11 if scene.number % 2 else 0.05, lw=0)
    top.text((start + end) / 2, 1.045, f"{scene.number}. {scene.title}", ha="center", va="center", fontsize=9)
    for at, style, colour, label in (
        (scene.damage, "--", COLOURS["3"], "damage done, or told"),
        (scene.when("switchedAt"), ":", "#333333", "switched"),
        (scene.when("availableAt"), "-", COLOURS["2"], "known good available"),
    ):
        if at:
            shown = label if scene.number == 1 else None  # one entry in the legend is enough
            top.axvline(at - began, ymax=0.9, linestyle=style, color=colour, lw=1.2, label=shown)
