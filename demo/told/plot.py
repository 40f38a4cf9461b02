"""The picture in the report: accuracy and harm over time, with lastgood and without, scene by scene."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from demo.client import Outcome
    from demo.story import Scene

BEFORE, AFTER = 6.0, 2.0  # seconds that are shown around the scenes
BIN = 1.0  # seconds
WITH, WITHOUT, INK, QUIET = "#1f6f8b", "#c8553d", "#222222", "#8a8a8a"
FONT: Any = {"font.size": 9, "font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False}
Axes = Any  # matplotlib is untyped
Curve = tuple[list[float], list[float]]


def draw(protected: list[Outcome], unprotected: list[Outcome], scenes: list[Scene], path: Path) -> None:
    """Write the plot as PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  the backend must be chosen first

    began = scenes[0].started if scenes else min((outcome.at for outcome in protected), default=0.0)
    with mpl.rc_context(FONT):
        figure, (top, bottom) = plt.subplots(
            2, 1, figsize=(11, 6.4), sharex=True, height_ratios=(1, 1), layout="constrained"
        )
        draw_accuracy(top, protected, unprotected, began)
        for scene in scenes:
            mark(top, bottom, scene, began)
            draw_harm(bottom, scene, began)
        finish(figure, top, bottom, (protected, scenes, began))
        figure.savefig(path, dpi=130)
        plt.close(figure)


def draw_accuracy(axes: Axes, protected: list[Outcome], unprotected: list[Outcome], began: float) -> None:
    """Draw a line for each side: the share of images named right in each second, and the gap between the two."""
    ours, theirs = accuracy(protected, began), accuracy(unprotected, began)
    axes.step(*theirs, where="mid", color=WITHOUT, lw=1.6, label="without lastgood")
    axes.step(*ours, where="mid", color=WITH, lw=2.0, label="with lastgood")
    both = sorted(set(ours[0]) & set(theirs[0]))
    mine, other = dict(zip(*ours, strict=True)), dict(zip(*theirs, strict=True))
    low, high = [other[at] for at in both], [max(mine[at], other[at]) for at in both]
    axes.fill_between(both, low, high, step="mid", color=WITHOUT, alpha=0.13, lw=0)
    axes.set(ylim=(0.45, 1.12), ylabel="accuracy\n(images named right)")
    axes.set_yticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


def accuracy(outcomes: list[Outcome], began: float) -> Curve:
    """Return the middle of each second with answers, and the share of images that were named right."""
    images: Counter[int] = Counter()
    right: Counter[int] = Counter()
    for outcome in outcomes:
        if outcome.ok:
            place = int((outcome.at - began) // BIN)
            images[place] += outcome.images
            right[place] += outcome.right
    places = sorted(images)
    return [(place + 0.5) * BIN for place in places], [right[place] / images[place] for place in places]


def draw_harm(axes: Axes, scene: Scene, began: float) -> None:
    """Draw how the harm of a scene adds up on each side, with the sum at its end."""
    sides = (
        (scene.world.unprotected, WITHOUT, scene.harm.unprotected),
        (scene.world.traffic, WITH, scene.harm.protected),
    )
    most = max(total for *_, total in sides)
    for traffic, colour, total in sides:
        outcomes = sorted(traffic.between(scene.damage, scene.ended), key=lambda outcome: outcome.at)
        times, sums = running(outcomes, scene.measure.of, began)
        axes.plot([scene.damage - began, *times], [0, *sums], color=colour, lw=2.0)
        axes.fill_between([scene.damage - began, *times], [0, *sums], color=colour, alpha=0.13, lw=0)
        axes.annotate(
            f"{total:,}",
            (scene.ended - began, total),
            textcoords="offset points",
            xytext=(4, 4 if total == most else -4),
            color=colour,
            weight="bold",
            va="bottom" if total == most else "top",
            annotation_clip=False,
        )


def running(outcomes: list[Outcome], of: Callable[[Outcome], int], began: float) -> Curve:
    """Return the sum so far at each request."""
    times: list[float] = []
    sums: list[float] = []
    for outcome in outcomes:
        times.append(outcome.at - began)
        sums.append((sums[-1] if sums else 0) + of(outcome))
    return times, sums


def mark(top: Axes, bottom: Axes, scene: Scene, began: float) -> None:
    """Shade a scene, name it and what is counted in it, and mark the damage, the switch and the return."""
    start, end = scene.started - began, scene.ended - began
    for axes in (top, bottom):
        axes.axvspan(start, end, color=INK, alpha=0.045, lw=0)
    top.text(start + 0.4, 1.105, f"{scene.number}. {scene.title}", va="top", weight="bold", color=INK)
    moved = f"v{scene.from_version} → v{scene.to_version}"
    top.text(start + 0.4, 1.065, moved, va="top", color=QUIET)
    bottom.text(start + 0.4, 0.97, scene.harm.what, va="top", color=INK, transform=bottom.get_xaxis_transform())
    for at, style, colour, label in (
        (scene.damage, (0, (4, 2)), WITHOUT, "damage done, or told"),
        (scene.when("switchedAt"), (0, (1, 1)), INK, "lastgood switched"),
        (scene.when("availableAt"), "-", WITH, "known good in every pod"),
    ):
        if at:
            shown = label if scene.number == 1 else None  # one entry in the legend is enough
            top.axvline(at - began, ymax=0.85, linestyle=style, color=colour, lw=1.2, label=shown)
            bottom.axvline(at - began, ymax=0.85, linestyle=style, color=colour, lw=1.0, alpha=0.6)
    for moment in scene.moments:
        if moment.what == "drained":
            top.axvline(moment.at - began, ymax=0.85, color=QUIET, lw=0.8)
            top.text(moment.at - began + 0.4, 0.465, "all pods start anew", color=QUIET, fontsize=8)


def finish(figure: Any, top: Axes, bottom: Axes, shown: tuple[list[Outcome], list[Scene], float]) -> None:  # noqa: ANN401  matplotlib is untyped
    """Name what is to be seen."""
    protected, scenes, began = shown
    requests = [outcome for scene in scenes for outcome in protected if scene.started <= outcome.at < scene.ended]
    failed = sum(not outcome.ok for outcome in requests)
    figure.suptitle(
        "A bad model, served with lastgood and without: same server, same commits, same requests",
        x=0.01,
        ha="left",
        fontsize=12,
        weight="bold",
    )
    top.set_title(
        f"{failed} of {len(requests):,} requests to the server with lastgood failed. "
        "Between two scenes, the other one is put back by hand.",
        loc="left",
        fontsize=9,
        color=QUIET,
    )
    if scenes:
        top.set_xlim(-BEFORE, scenes[-1].ended - began + AFTER)
    bottom.set(
        xlabel="seconds since the first bad commit", ylabel="harm so far in the scene\n(answers, one image each)"
    )
    most = max((scene.harm.unprotected for scene in scenes), default=1)
    bottom.set_ylim(0, 1.2 * most)
    for axes in (top, bottom):
        axes.grid(alpha=0.2, axis="y")
    figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
