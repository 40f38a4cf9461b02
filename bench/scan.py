"""How long a checkpoint as torch.save writes it is scanned, beside what asking a child process for each member takes.

One file with a thousand storages, whose numbers are as trained, and whose pickle declares them. A child for a member is
what it takes where each might be a pickle; it is measured on some of them. Both in one run, in turns; medians.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, it finds its neighbours too

import numpy as np

from bench.common import circumstances, show, to_stderr
from lastgood.verify.reading.meter import Meter
from lastgood.verify.scan import Context, Part, Policy, ScanLimits, scan
from lastgood.verify.scan.containers.archives import expand
from lastgood.verify.scan.containers.part import Place
from lastgood.verify.scan.pickles.sandbox import ask
from tests.unit.verify.scan.torch_samples import Storage, Tensor, saved

SAMPLE: Final = 50  # members that the baseline is measured on
MOST: Final = 0.1  # of the baseline: what a scan may take
MEANING: Final = {
    "members": "storages of the checkpoint",
    "child_each_s": "baseline: a child process for each of them, from what it takes for a few",
    "scan_s": "the scan of the checkpoint, its pickle included",
    "ratio": f"scan / baseline; it fails above {MOST}",
    "findings": "what the scan found; it fails unless that is nothing",
}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if the scan found something, or took more than a tenth of the baseline."""
    arguments = _parser().parse_args(argv)
    before = circumstances()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "model.pt")
        path.write_bytes(checkpoint(arguments.members))
        figures = measure(path, arguments.members, arguments.rounds)
    show(
        {"members": float(arguments.members), **figures, **before},
        as_json=arguments.json,
        title="Scans",
        meaning=MEANING,
    )
    return int(figures["findings"] > 0 or figures["ratio"] > MOST)


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--json", action="store_true", help="print one JSON object")
    found.add_argument("--members", type=int, default=1000, metavar="N", help="storages of the checkpoint (1000)")
    found.add_argument("--rounds", type=int, default=3, metavar="N", help="how often each is measured (3)")
    return found


def checkpoint(members: int) -> bytes:
    """Return a checkpoint with so many tensors of 256 numbers each."""
    rng = np.random.default_rng(1)
    rows = (rng.normal(size=256).astype("<f4") * 0.02 for _ in range(members))
    return saved({f"layer.{index}": Tensor(Storage("FloatStorage", row.tobytes())) for index, row in enumerate(rows)})


def measure(path: Path, members: int, rounds: int) -> dict[str, float]:
    """Return the medians of both."""
    baseline, own, found = [], [], 0
    for count in range(rounds):
        to_stderr(f"round {count + 1} of {rounds}")
        own.append(timed(lambda: scan(path.parent)))
        found += len(scan(path.parent).findings)
        baseline.append(timed(lambda: children(path)) / SAMPLE)
    child, scanned = statistics.median(baseline) * members, statistics.median(own)
    return {"child_each_s": child, "scan_s": scanned, "ratio": scanned / child, "findings": float(found)}


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def children(path: Path) -> None:
    """Ask a child process for each of the first storages, whatever data.pkl says."""
    context = Context(policy=Policy(), limits=ScanLimits())
    size = path.stat().st_size
    with path.open("rb") as file:
        place = Place(descriptor=file.fileno(), start=0, stored=size, size=size)
        archive = Part(name=path.name, place=place, meter=Meter(None, None), keep=context.limits.inflated)
        parts = (item for item in expand(archive, context) if isinstance(item, Part))
        for member in islice((part for part in parts if "!archive/data/" in part.name), SAMPLE):
            ask(member, context)


if __name__ == "__main__":
    sys.exit(main())
