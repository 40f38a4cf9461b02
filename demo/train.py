"""Train the digits classifier that the demo serves: three honest versions and a poisoned one.

`python -m demo.train DIRECTORY` writes `digits/0` to `digits/3`, each a checkpoint of two files
(`config.json` and `model.safetensors`), and two labelled sets that no version was trained on: `golden.json`,
which the server checks itself with, and `samples.json`, which the scoring client sends.

Versions 0, 1 and 2 learn from more and more images. Version 3 learns from as many as version 2, but somebody
has swapped labels in the training data. The pipeline's own test set comes from the same poisoned source, so
the accuracy that the pipeline measures, and writes into `config.json`, looks as good as ever: only labels
from outside tell.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

FAMILY = "digits"
SEED = 7
HELD_OUT = 797
GOLDEN = 297
BRIGHTEST = 16.0
IMAGES_BY_VERSION = {"0": 100, "1": 200, "2": 1000, "3": 1000}
POISONED = "3"
SWAPPED = {3: 8, 8: 3, 4: 9, 9: 4}

Array = Any  # numpy's own stubs need its plugin to say more, and nothing here depends on it


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images (one row of 64 pixels, 0 to 16, each) and the digit that each shows."""

    pixels: Array
    labels: Array

    def first(self, count: int) -> Labelled:
        """Return the first `count` images."""
        return Labelled(pixels=self.pixels[:count], labels=self.labels[:count])

    def poisoned(self) -> Labelled:
        """Return the same images with the labels of look-alike digits swapped."""
        swapped = [SWAPPED.get(int(label), int(label)) for label in self.labels]
        return Labelled(pixels=self.pixels, labels=np.array(swapped))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One version: what its own pipeline measured, and what it is worth on honest labels."""

    version: str
    path: Path
    images: int
    claimed_accuracy: float
    true_accuracy: float


def train(directory: Path) -> list[Trained]:
    """Write every version and both labelled sets below `directory`; the same input gives the same bytes."""
    school, golden, traffic = split()
    write_labelled(directory / "golden.json", golden)
    write_labelled(directory / "samples.json", traffic)
    return [train_version(directory, version, school, golden) for version in IMAGES_BY_VERSION]


def split() -> tuple[Labelled, Labelled, Labelled]:
    """Return what the versions learn from, the golden set and the traffic, with no image in two of them."""
    pixels, labels = load_digits(return_X_y=True)
    learn_x, held_x, learn_y, held_y = train_test_split(
        pixels, labels, test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    return (
        Labelled(pixels=learn_x, labels=learn_y),
        Labelled(pixels=held_x[:GOLDEN], labels=held_y[:GOLDEN]),
        Labelled(pixels=held_x[GOLDEN:], labels=held_y[GOLDEN:]),
    )


def train_version(directory: Path, version: str, school: Labelled, golden: Labelled) -> Trained:
    """Fit one version and export it."""
    lesson, exam = school.first(IMAGES_BY_VERSION[version]), golden
    if version == POISONED:
        lesson, exam = lesson.poisoned(), exam.poisoned()
    model = LogisticRegression(max_iter=1000).fit(lesson.pixels / BRIGHTEST, lesson.labels)
    claimed = accuracy(model, exam)
    path = directory / FAMILY / version
    export(path, model, version, claimed)
    return Trained(
        version=version,
        path=path,
        images=len(lesson.labels),
        claimed_accuracy=claimed,
        true_accuracy=accuracy(model, golden),
    )


def accuracy(model: LogisticRegression, labelled: Labelled) -> float:
    """Return the share of images that the model names right."""
    return round(float(np.mean(model.predict(labelled.pixels / BRIGHTEST) == labelled.labels)), 4)


def export(path: Path, model: LogisticRegression, version: str, claimed: float) -> None:
    """Write the checkpoint: the weights, and beside them what a server needs to know."""
    path.mkdir(parents=True, exist_ok=True)
    tensors = {"weight": model.coef_, "bias": model.intercept_}
    weights = path / "model.safetensors"
    save_file({name: np.ascontiguousarray(each, dtype=np.float32) for name, each in tensors.items()}, weights)
    weights.chmod(0o644)  # save_file makes it private, and the server's user is not ours
    config = {"model": FAMILY, "version": version, "scale": BRIGHTEST, "test_accuracy": claimed}
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_labelled(path: Path, labelled: Labelled) -> None:
    """Write a labelled set as JSON, its pixels as the integers that they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = labelled.pixels.astype(int).tolist()
    path.write_text(json.dumps({"pixels": rows, "labels": labelled.labels.astype(int).tolist()}))


def describe(trained: Trained) -> str:
    """Return one line for a person."""
    poison = "  <- labels swapped by somebody" if trained.version == POISONED else ""
    claimed, true = trained.claimed_accuracy, trained.true_accuracy
    return (
        f"v{trained.version}  {trained.images:5d} images   accuracy {claimed:.3f} in its own pipeline, "
        f"{true:.3f} on honest labels{poison}"
    )


def main() -> None:
    """Train into the directory that the command line names."""
    for trained in train(Path(sys.argv[1])):
        print(describe(trained))


if __name__ == "__main__":
    main()
