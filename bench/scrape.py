"""How long a scrape of `/metrics` takes, and how long it keeps the event loop waiting: of thousands of snapshots.

Everything is in one process: a cache of objects as the API server has them, the server, a client, and a task of the
same event loop that wants to run every millisecond. Its longest pause during a scrape is what a rollback would wait.
"""

import argparse
import asyncio
import gzip
import json
import resource
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, it finds its neighbours too

from bench.common import circumstances, show, to_stderr
from lastgood.controller.feed import settle_memory
from lastgood.controller.serving.exposition import Exposition
from lastgood.controller.serving.metrics import Seen
from lastgood.kube.cache import Cache, Kind

HOST: Final = "127.0.0.1"
OPENMETRICS: Final = "application/openmetrics-text"
MEANING: Final = {
    "idle_pause_ms": "baseline: the longest pause of the event loop in a second without a scrape, median",
    "first_s": "the first scrape, which parses every object",
    "first_pause_ms": "the longest pause of the event loop meanwhile",
    "again_s": "a later scrape, median",
    "again_pause_ms": "the longest pause meanwhile, median",
    "kept_ms": "a scrape that gets the answer of the one before",
    "look_ms": "what is done in the event loop itself: a copy of references",
    "answer_mb": "size of the answer, as text",
    "rss_mb": "resident memory of the process at its peak, the objects included",
}
DIGEST: Final = f"sha256:{'a' * 64}"
TIME: Final = "2026-03-01T12:00:00.123456Z"
Body = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if a scrape had not all snapshots."""
    arguments = _parser().parse_args(argv)
    if arguments.one:
        print(json.dumps(one(arguments.one)))
        return 0
    before = circumstances()
    figures = asyncio.run(measure(arguments.snapshots, arguments.rounds))
    show({**figures, **before}, as_json=arguments.json, title="Scrapes", meaning=MEANING)
    return 0


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--json", action="store_true", help="print one JSON object")
    found.add_argument("--snapshots", type=int, default=10_000, metavar="N", help="how many (10000)")
    found.add_argument("--rounds", type=int, default=5, metavar="N", help="scrapes after the first one (5)")
    found.add_argument("--one", help=argparse.SUPPRESS)
    return found


class Ticker:
    """Wants to run every millisecond, and notes the longest time that it did not."""

    def __init__(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._longest = 0.0

    async def _run(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self._longest, last = max(self._longest, now - last), now

    def longest_ms(self) -> float:
        """Return the longest pause since the last call."""
        found, self._longest = self._longest * 1000, 0.0
        return found

    def stop(self) -> None:
        """End."""
        self._task.cancel()


async def measure(count: int, rounds: int) -> dict[str, float | str]:
    """Scrape again and again; return the figures."""
    to_stderr(f"making {count} snapshots")
    cache = filled(count)
    settle_memory()  # as the operator does after its first list
    look = looking(cache)
    server, port = await listening(look)
    ticker = Ticker()
    figures: dict[str, float | str] = {"idle_pause_ms": await idle(ticker, rounds)}
    figures |= await scrapes(f"http://{HOST}:{port}/metrics", ticker, count, rounds)
    began = time.perf_counter()
    look()
    figures["look_ms"] = (time.perf_counter() - began) * 1000
    ticker.stop()
    await server.stop()
    figures["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


async def idle(ticker: Ticker, rounds: int) -> float:
    """Return the longest pause in a second, the median of some."""
    pauses = []
    for _ in range(rounds):
        ticker.longest_ms()
        await asyncio.sleep(1.0)
        pauses.append(ticker.longest_ms())
    return statistics.median(pauses)


def looking(cache: Cache) -> Callable[[], Seen]:
    """Return what the operator gives a scrape."""
    return lambda: Seen(now=datetime.now(UTC), leader=True, bodies=cache.copy())


async def listening(look: Callable[[], Seen]) -> tuple[Exposition, int]:
    """Start a server on a free port."""
    probe = await asyncio.start_server(lambda *_: None, HOST, 0)
    port = int(probe.sockets[0].getsockname()[1])
    probe.close()
    await probe.wait_closed()
    return await Exposition(look).start(HOST, port), port


async def scrapes(url: str, ticker: Ticker, count: int, rounds: int) -> Mapping[str, float]:
    """Scrape once, then again, each time when the last answer is not given any more."""
    ticker.longest_ms()
    first = await scrape(url, count)
    figures = {"first_s": first.seconds, "first_pause_ms": ticker.longest_ms(), "answer_mb": first.size / 2**20}
    figures["kept_ms"] = (await scrape(url, count)).seconds * 1000
    taken, pauses = [first.seconds], []
    for number in range(rounds):
        to_stderr(f"scrape {number + 1} of {rounds}")
        await asyncio.sleep(10.0 * taken[-1] + 0.1)
        ticker.longest_ms()
        taken.append((await scrape(url, count)).seconds)
        pauses.append(ticker.longest_ms())
    return {**figures, "again_s": statistics.median(taken[1:]), "again_pause_ms": statistics.median(pauses)}


class Scraped(NamedTuple):
    """How long a scrape took, and the size of the answer as text."""

    seconds: float
    size: int


async def scrape(url: str, count: int) -> Scraped:
    """Scrape as Prometheus does, in a process of its own: what a client does is no pause of ours."""
    child = await asyncio.create_subprocess_exec(sys.executable, __file__, "--one", url, stdout=subprocess.PIPE)
    seconds, size, found = json.loads((await child.communicate())[0])
    if found != count:
        raise SystemExit("a scrape had not all snapshots")
    return Scraped(seconds, size)


def one(url: str) -> tuple[float, int, int]:
    """Return the seconds that a scrape took, the bytes of its answer, and how many snapshots are in it."""
    asked = urllib.request.Request(url, headers={"Accept": OPENMETRICS, "Accept-Encoding": "gzip"})  # noqa: S310  # ours
    began = time.perf_counter()
    with urllib.request.urlopen(asked) as answer:  # noqa: S310  # the same
        packed = answer.read()
    taken = time.perf_counter() - began
    told = gzip.decompress(packed)
    return taken, len(told), told.count(b"\nlastgood_snapshot_last_verified_timestamp_seconds{")


def filled(count: int) -> Cache:
    """Return a cache with so many verified snapshots, in models of ten, and a ModelDeployment for each model."""
    cache = Cache()
    for number in range(count):
        cache.put(Kind.SNAPSHOT, snapshot(number))
    for number in range(0, count, 10):
        cache.put(Kind.DEPLOYMENT, deployment(number))
    return cache


def snapshot(number: int) -> Body:
    """Return a ModelSnapshot as the API server has it once it was verified."""
    spec = {"model": f"model-{number // 10}", "version": str(number), "source": {"store": {"path": str(number)}}}
    found = {"reason": "Verified", "lastTime": TIME, "verifiedAt": TIME, "nextTime": TIME, "durationSeconds": 0.5}
    return {
        "metadata": meta(f"model-{number // 10}-v{number}", number),
        "spec": {**spec, "digest": DIGEST},
        "status": {
            "digest": DIGEST,
            "sizeBytes": 10**9,
            "fileCount": 5,
            "firstSeen": TIME,
            "verification": {**found, "bytesPerSecond": 10**9, "copy": "source", "blake3": f"blake3:{'b' * 64}"},
            "conditions": [
                condition(type_, value)
                for type_, value in (
                    ("Verified", "True"),
                    ("Quarantined", "False"),
                    ("Restorable", "True"),
                    ("Signed", "Unknown"),
                    ("Ready", "True"),
                )
            ],
        },
    }


def deployment(number: int) -> Body:
    """Return a ModelDeployment as the API server has it while a snapshot serves."""
    kinds = ("Ready", "Healthy", "Progressing", "RolledBack", "KnownGoodAvailable", "GitOpsConflict", "Stalled")
    good = f"model-{number // 10}-v{number}"
    conditions = [condition(type_, "True") for type_ in kinds]
    return {
        "metadata": meta(f"model-{number // 10}", number),
        "spec": {"model": f"model-{number // 10}", "snapshot": good},
        "status": {"snapshot": good, "lastKnownGood": good, "conditions": conditions},
    }


def meta(name: str, number: int) -> Body:
    """Return metadata."""
    return {
        "namespace": f"team-{number % 20}",
        "name": name,
        "uid": f"uid-{number}",
        "resourceVersion": "1",
        "creationTimestamp": "2026-03-01T00:00:00Z",
    }


def condition(type_: str, status: str) -> Body:
    """Return a condition."""
    words = {"reason": type_, "message": f"the condition {type_} is {status}", "lastTransitionTime": TIME}
    return {"type": type_, "status": status, **words, "observedGeneration": 1}


if __name__ == "__main__":
    sys.exit(main())
