"""The scoring client: it sends labelled images all the time and writes down what came of every request.

`python -m demo.client SAMPLES URL LOG [URL LOG ...]` appends one JSON line for each request to the log of its URL.
Every URL gets the same images at the same rate. Nothing is sent twice: what fails is a failed request. Each one opens
its own connection, so a Service spreads them over its pods.
"""

from __future__ import annotations

import http.client
import json
import random
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

WORKERS = 3
REQUESTS_PER_SECOND = 24.0  # of all workers together
BATCH = 8
TIMEOUT = 5.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One request: when (seconds since the epoch), how long, and what came of it."""

    at: float
    seconds: float
    ok: bool
    images: int = 0
    right: int = 0
    version: str = ""
    pod: str = ""
    error: str = ""


class Samples:
    """Labelled images, handed out in batches in a shuffled order that is the same each time."""

    def __init__(self, path: Path, seed: int) -> None:
        content = json.loads(path.read_text())
        self.rows = list(zip(content["pixels"], content["labels"], strict=True))
        self.chance = random.Random(seed)  # noqa: S311  sampling images is no secret

    def batch(self) -> tuple[list[list[int]], list[int]]:
        """Return some images and what they show."""
        chosen = self.chance.sample(self.rows, BATCH)
        return [pixels for pixels, _ in chosen], [label for _, label in chosen]


def score(url: str, samples: Samples) -> Outcome:
    """Send one batch and compare the answer with the truth."""
    pixels, labels = samples.batch()
    at, started = time.time(), time.monotonic()
    try:
        answer = post(url, {"pixels": pixels, "labels": labels})
        right = sum(digit == label for digit, label in zip(answer["digits"], labels, strict=True))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as failed:
        error = f"{type(failed).__name__}: {failed}"
        return Outcome(at=at, seconds=time.monotonic() - started, ok=False, error=error)
    return Outcome(
        at=at,
        seconds=time.monotonic() - started,
        ok=True,
        images=len(labels),
        right=right,
        version=answer["version"],
        pod=answer["pod"],
    )


def post(url: str, content: dict[str, Any]) -> dict[str, Any]:
    """Send JSON over a connection of its own and return the JSON that comes back."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc, timeout=TIMEOUT)
    try:
        connection.request("POST", target.path, json.dumps(content), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise OSError(f"HTTP {response.status}: {body[:200]!r}")
    return dict(json.loads(body))


def work(url: str, samples: Samples, log: TextIO, lock: threading.Lock, stop: threading.Event) -> None:
    """Score at this worker's share of the rate until told to stop."""
    pause = WORKERS / REQUESTS_PER_SECOND
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + pause, time.monotonic() - pause)  # a slow answer is not made up for by a burst
        line = json.dumps(asdict(score(url, samples)))
        with lock:
            log.write(line + "\n")
            log.flush()


def run(url: str, samples: Path, log_path: Path, stop: threading.Event) -> None:
    """Score until `stop` is set."""
    lock = threading.Lock()
    with log_path.open("a") as log:
        crew = [
            threading.Thread(target=work, args=(url, Samples(samples, seed), log, lock, stop))
            for seed in range(WORKERS)
        ]
        for worker in crew:
            worker.start()
        for worker in crew:
            worker.join()


def main() -> None:
    """Score as the command line says, until SIGTERM."""
    samples, *pairs = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    both = zip(pairs[::2], pairs[1::2], strict=True)
    crew = [threading.Thread(target=run, args=(url, Path(samples), Path(log), stop)) for url, log in both]
    for each in crew:
        each.start()
    for each in crew:
        each.join()


if __name__ == "__main__":
    main()
