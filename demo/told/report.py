"""The report: what happened, how long each part took, what the client saw, in words, numbers and a plot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.told import plot, words
from demo.traffic import Tally
from demo.world import NAMESPACE

if TYPE_CHECKING:
    from pathlib import Path

    from demo.client import Outcome
    from demo.story import Scene
    from demo.train import Trained

PARTS = (
    ("damage_to_detected", "noticed"),
    ("detected_to_switched", "switched"),
    ("switched_to_available", "available"),
    ("available_to_outcome", "validated"),
    ("damage_to_available", "in all"),
)
HARM = """Harm is counted from the damage to the end of the scene, for the same requests: to the server with lastgood,
and to the same server with the same commits and nothing that brings it back. An answer is one image. A good version
names some wrong, too: see the versions below."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything the report is made of."""

    stage: str
    trained: list[Trained]
    scenes: list[Scene]
    outcomes: list[Outcome]
    unprotected: list[Outcome]
    tables: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every scene was there and went as told."""
        return len(self.scenes) == 3 and not any(scene.problems for scene in self.scenes)

    def write(self, folder: Path) -> None:
        """Write report.md, report.json and accuracy.png."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.as_json(), indent=2) + "\n")
        (folder / "report.md").write_text(self.as_markdown())
        plot.draw(self.outcomes, self.unprotected, self.scenes, folder / "accuracy.png")

    def as_json(self) -> dict[str, Any]:
        """Return the facts for a program."""
        tally = Tally.of(self.outcomes)
        return {
            "ok": self.ok,
            "stage": self.stage,
            "seconds": round(self.seconds, 1),
            "accuracy": {f"v{each.version}": each.true_accuracy for each in self.trained},
            "requests": tally.requests,
            "failed_requests": tally.failed,
            "scenes": [scene.as_json() for scene in self.scenes],
        }

    def as_markdown(self) -> str:
        """Return the report for a person."""
        told = [*(describe(scene) for scene in self.scenes), *(record(scene) for scene in self.scenes)]
        parts = [
            "# Three rollbacks of a served model",
            self._summary(),
            "![Accuracy and harm over time, with lastgood and without](accuracy.png)",
            self._overview(),
            HARM,
            *told,
            "## The versions",
            self._versions(),
            "## What kubectl shows at the end",
            f"```\n{self.tables.strip()}\n```",
            "## Words in this report",
            legend("\n".join((*told, self.tables))),
        ]
        return "\n\n".join(parts) + "\n"

    def _summary(self) -> str:
        tally = Tally.of(self.outcomes)
        word = "Everything went as told." if self.ok else "**Not everything went as told**: see the scenes below."
        return (
            f"{word} Played on {self.stage} in {self.seconds:.0f} s; the client sent "
            f"{tally.requests} requests, and {tally.failed} of them failed."
        )

    def _overview(self) -> str:
        times = [name for _, name in PARTS]
        head = ["scene", "from → to", "outcome", *times, "requests", "failed", "harm", "with lastgood", "without"]
        return table(head, [row(scene) for scene in self.scenes])

    def _versions(self) -> str:
        head = ["version", "images learnt from", "accuracy in its own pipeline", "on honest labels"]
        rows = [
            [
                f"v{each.version}",
                str(each.images),
                f"{each.claimed_accuracy:.3f}",
                f"{each.true_accuracy:.3f}",
            ]
            for each in self.trained
        ]
        return table(head, rows)


def row(scene: Scene) -> list[str]:
    """Return a scene's line of the overview; times in seconds."""
    took = scene.seconds()
    return [
        f"{scene.number}. {scene.title}",
        f"v{scene.from_version} → v{scene.to_version}",
        str(scene.status.get("outcome", "none")),
        *(f"{took[key]:.2f} s" if took[key] is not None else "-" for key, _ in PARTS),
        str(scene.tally.requests),
        str(scene.tally.failed),
        f"{scene.harm.what} in {scene.harm.seconds:.0f} s",
        f"{scene.harm.protected:,}",
        f"{scene.harm.unprotected:,}",
    ]


def describe(scene: Scene) -> str:
    """Return a scene's timeline, and what was not as told."""
    lines = [f"## Scene {scene.number}: {scene.title}", ""]
    lines += [f"- `+{max(0.0, each.at - scene.started):.2f} s` **{each.what}** {each.detail}" for each in scene.moments]
    lines += [f"- **not as told**: {problem}" for problem in scene.problems]
    return "\n".join(lines)


def record(scene: Scene) -> str:
    """Return the scene's record as `kubectl describe` shows it, folded."""
    name = scene.record.get("metadata", {}).get("name", "")
    described = scene.world.cluster.kubectl("describe", "modelrollback", name, "-n", NAMESPACE, check=False)
    summary = f"<summary>What <code>kubectl describe modelrollback</code> tells of scene {scene.number}</summary>"
    return f"<details>{summary}\n\n```\n{described.stdout.strip()}\n```\n\n</details>"


def legend(text: str) -> str:
    """Return the meaning of every word of lastgood in a text."""
    return table(["word", "means"], [[f"`{word}`", meaning] for word, meaning in words.used(text).items()])


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
