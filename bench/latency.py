"""How long from `kubectl annotate` to a patched workload: emergencies one after another, on a real API server.

The clock starts when the annotation is sent and stops when a watch on Deployments shows the pod template of the
known-good snapshot. In between the operator records the intent, takes the lock, chooses and switches; nothing is
skipped. Beside it, from the same run: the round trip of the annotation's own PATCH, which no operator can beat.

With --against, the operator of another commit runs beside this one, each on an API server of its own and with its own
CRDs, and they take turns: one emergency here, one there. So both see the same seconds of this machine.

Each rollback ends before the next is asked for: its record, the evidence of what it left, and the last of the Events
about them are written. With --rest there is a pause as well. With --overlap the next is asked for as soon as one has
switched, while the operator still quarantines, verifies and validates for those before it.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, it finds its neighbours too

from bench.common import (
    ROOT,
    Figures,
    Operator,
    checked_out,
    circumstances,
    compared,
    deployment,
    operator,
    percentile,
    show,
    snapshot,
    to_stderr,
    workload,
)
from lastgood.kube.api.client import Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.resources import DEPLOYMENTS, EVENTS, ROLLBACKS, SNAPSHOTS, WORKLOADS, Resource
from tests.cluster import Cluster, running

Body = dict[str, Any]
NAMESPACE: Final = "bench"
NAMESPACES: Final = Resource(group="", version="v1", plural="namespaces", kind="Namespace")
STAMP: Final = "lastgood.dev/snapshot"
AT_ONCE: Final = 8
PATIENCE: Final = 300.0
MEANING: Final = {
    "p50_ms": "annotation sent -> workload patched, median",
    "p99_ms": "the same, 99th percentile",
    "max_ms": "the same, the slowest",
    "patch_p50_ms": "baseline: round trip of the annotation's PATCH, median",
    "patch_p99_ms": "the same, 99th percentile",
    "count": "emergency rollbacks, one after another",
    "succeeded": "of them, by their records",
    "cpu_ms_each": "processor time of the operator for a whole rollback",
    "rss_mb": "resident memory of the operator afterwards",
    "load_before": "load average of the machine before the run",
}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if a rollback did not succeed."""
    arguments = parser().parse_args(argv)
    before, title = circumstances(), "Emergency rollback, latency"
    with ExitStack() as stack:
        trees = [ROOT]
        if arguments.against:
            trees.append(stack.enter_context(checked_out(arguments.against)))
        places = [stack.enter_context(place(tree, arguments)) for tree in trees]
        gc.disable()  # the one who measures must not be what is slow now and then
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measure(places, arguments))
    whole = all(figures["succeeded"] == figures["count"] for figures in found)
    figures = compared(*found) if arguments.against else found[0]
    meaning = {} if arguments.against else MEANING
    show({**figures, **before}, as_json=arguments.json, title=title, meaning=meaning)
    return 0 if whole else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--json", action="store_true", help="print one JSON object")
    found.add_argument("--count", type=int, default=200, metavar="N", help="how many ModelDeployments (200)")
    found.add_argument("--overlap", action="store_true", help="do not wait for one to end before asking for the next")
    found.add_argument("--rest", type=float, default=0.0, metavar="SECONDS", help="wait between two rollbacks (0)")
    found.add_argument("--replicas", type=int, default=0, metavar="N", help="pods of each workload, by kwok (0)")
    found.add_argument("--profile", metavar="FILE", help="write a cProfile of the operator here")
    found.add_argument("--against", metavar="COMMIT", help="run another commit beside this one, by turns, and compare")
    return found


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an operator of some checkout can run."""

    tree: Path
    cluster: Cluster
    folder: Path


@contextmanager
def place(tree: Path, arguments: argparse.Namespace) -> Iterator[Place]:
    """Start an API server with the CRDs of a checkout."""
    with (
        running(pods=arguments.replicas > 0, audit=False, progress=to_stderr) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        cluster.kubectl("apply", "--server-side", "-f", str(tree / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all")
        yield Place(tree=tree, cluster=cluster, folder=Path(folder))


@dataclass(kw_only=True)
class Side:
    """An operator at work, and what was measured of it."""

    client: Client
    process: Operator
    switches: "Seen"
    events: "Seen"
    times: list["Times"] = field(default_factory=list)

    async def emergency(self, model: str, *, overlap: bool) -> None:
        """Ask for one, and wait until it is over."""
        self.times.append(await emergency(self.client, self.switches, model))
        if not overlap:
            await ended_wholly(self.client, self.events, model)


async def measure(places: Sequence[Place], arguments: argparse.Namespace) -> list[Figures]:
    """Set everything up, measure all places by turns, and return the figures of each."""
    models = [f"model-{number}" for number in range(arguments.count)]
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(side(where, models, arguments)) for where in places]
        used = [each.process.cpu_seconds for each in sides]
        to_stderr(f"annotating {len(models)} ModelDeployments, one after another")
        for number, model in enumerate(models):
            for each in sides if number % 2 else reversed(sides):
                await each.emergency(model, overlap=arguments.overlap)
                await asyncio.sleep(arguments.rest)
        outcomes = [await ended(each.client, len(models)) for each in sides]
        return [summary(each, how, cpu) for each, how, cpu in zip(sides, outcomes, used, strict=True)]


@asynccontextmanager
async def side(where: Place, models: list[str], arguments: argparse.Namespace) -> AsyncIterator[Side]:
    """Run the operator of a checkout, with every model served."""
    connection = await Connection.open(str(where.cluster.kubeconfig))
    client = Client(connection)
    await client.create(NAMESPACES, None, {"metadata": {"name": NAMESPACE}})
    with operator(where.cluster, NAMESPACE, where.folder, profile=arguments.profile, tree=where.tree) as process:
        await prepare(client, where.folder, models, arguments.replicas)
        async with (
            watching(client, WORKLOADS, switched) as switches,
            watching(client, EVENTS, told) as events,
        ):
            yield Side(client=client, process=process, switches=switches, events=events)
    await connection.close()


def summary(one: Side, outcomes: list[str], used: float) -> Figures:
    """Return the figures, in milliseconds."""
    switched = [each.switched * 1000 for each in one.times]
    patched = [each.patched * 1000 for each in one.times]
    return {
        "p50_ms": round(percentile(switched, 0.50), 2),
        "p99_ms": round(percentile(switched, 0.99), 2),
        "max_ms": round(max(switched), 2),
        "patch_p50_ms": round(percentile(patched, 0.50), 2),
        "patch_p99_ms": round(percentile(patched, 0.99), 2),
        "count": len(one.times),
        "succeeded": outcomes.count("Succeeded"),
        "cpu_ms_each": round((one.process.cpu_seconds - used) * 1000 / len(one.times), 1),
        "rss_mb": round(one.process.resident_mb, 1),
    }


async def prepare(client: Client, store: Path, models: list[str], replicas: int) -> None:
    """Bring every model to v2, with a v1 that was verified before; return when nothing is left to do."""
    to_stderr(f"making {len(models)} served models")
    await gathered(client.create(SNAPSHOTS, NAMESPACE, snapshot(store, model, 1)) for model in models)
    await until_all(client, SNAPSHOTS, verified, len(models), "v1 is verified")
    await gathered(client.create(SNAPSHOTS, NAMESPACE, snapshot(store, model, 2)) for model in models)
    await gathered(client.create(WORKLOADS, NAMESPACE, workload(model, replicas=replicas)) for model in models)
    rollback = {"knownGood": {"soak": "0s"}}
    await gathered(client.create(DEPLOYMENTS, NAMESPACE, deployment(model, 2, rollback=rollback)) for model in models)
    await until_all(client, DEPLOYMENTS, serves, len(models), "v2 serves")
    to_stderr("waiting until the Events of all that are written")
    await still(client)


async def gathered(work: Any) -> None:  # noqa: ANN401  # an iterable of coroutines
    """Await all of them, a few at a time."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> None:  # noqa: ANN401  # a coroutine
        async with limit:
            await item

    await asyncio.gather(*(one(item) for item in work))


async def until_all(client: Client, resource: Resource, true: Any, count: int, what: str) -> None:  # noqa: ANN401  # a predicate on bodies
    """Wait until it is true of so many objects."""
    end = time.monotonic() + PATIENCE
    while (found := len([body for body in (await client.list(resource, NAMESPACE))[0] if true(body)])) < count:
        if time.monotonic() > end:
            raise SystemExit(f"{what}: {found} of {count} after {PATIENCE:g} s")
        await asyncio.sleep(0.5)


async def still(client: Client) -> None:
    """Wait until no more Events come: they are written later than what they tell of, and not all at once."""
    before, count = -1, 0
    while before != count:
        await asyncio.sleep(2)
        before, count = count, len((await client.list(EVENTS, NAMESPACE, metadata_only=True))[0])


def verified(body: Body) -> bool:
    """Tell whether a snapshot is verified."""
    return is_true(body, "Verified")


def serves(body: Body) -> bool:
    """Tell whether v2 serves and the operator has nothing more to do."""
    history = body.get("status", {}).get("history") or [{}]
    return is_true(body, "Ready") and bool(history[-1].get("soakedAt"))


def is_true(body: Body, type_: str) -> bool:
    """Tell whether a condition is True."""
    conditions = body.get("status", {}).get("conditions", [])
    return any(item["type"] == type_ and item["status"] == "True" for item in conditions)


@dataclass(kw_only=True)
class Seen:
    """When something was first seen, by the name of what it is about."""

    what: str
    times: dict[str, float] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def when(self, model: str) -> float:
        """Wait for it."""
        try:
            async with asyncio.timeout(30):
                while model not in self.times:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError as error:
            raise SystemExit(f"{model}: {self.what} was not seen within 30 s") from error
        return self.times[model]


def switched(body: Body) -> str:
    """Return the model whose workload this is, once it has the known-good snapshot."""
    annotations = body["spec"]["template"]["metadata"].get("annotations") or {}
    return str(body["metadata"]["name"]) if annotations.get(STAMP, "").endswith("-v1") else ""


def over(body: Body) -> bool:
    """Tell whether a rollback has ended and the operator has nothing more to write about it."""
    status = body.get("status", {})
    ready = next((item["reason"] for item in status.get("conditions", []) if item["type"] == "Ready"), "")
    return ready == "Held" and "activeRollback" not in status and bool(status["history"][-1].get("soakedAt"))


def told(body: Body) -> str:
    """Return the reason and the object of an Event; the operator writes Events in their order."""
    return f"{body['reason']} {body['involvedObject']['name']}"


async def ended_wholly(client: Client, events: Seen, model: str) -> None:
    """Wait until the operator has nothing more to write about a rollback, nor about the snapshot that it left.

    A watch on ModelDeployments would tell as well, and take part of what is measured: each is written twice before a
    switch, and Events are not.
    """
    await events.when(f"Held {model}")
    await events.when(f"EvidenceKept {model}-v2")
    while not over(await client.get(DEPLOYMENTS, NAMESPACE, model)):  # noqa: ASYNC110  # see above
        await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(client: Client, resource: Resource, about: Callable[[Body], str]) -> AsyncIterator[Seen]:
    """Watch objects for as long as the block, and note when each model is first told of."""
    seen = Seen(what=about.__name__)
    _, version = await client.list(resource, NAMESPACE)

    async def watch() -> None:
        last = version
        while True:  # the API server ends a watch when it likes
            async for event in client.watch(resource, NAMESPACE, field_selector="", resource_version=last):
                now, body = time.perf_counter(), event["object"]
                last = body["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK" and (model := about(body)):
                    seen.times.setdefault(model, now)
                    seen.changed.set()

    task = asyncio.create_task(watch())
    yield seen
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@dataclass(frozen=True, kw_only=True)
class Times:
    """One emergency, in seconds."""

    patched: float
    switched: float


async def emergency(client: Client, seen: Seen, model: str) -> Times:
    """Annotate one ModelDeployment and wait until its workload is switched."""
    text = f"INC-{int(time.time())}: backdoor in {model}-v2"
    body = {"metadata": {"annotations": {"lastgood.dev/emergency-rollback": text}}}
    began = time.perf_counter()
    await client.patch(DEPLOYMENTS, NAMESPACE, model, body)
    patched = time.perf_counter() - began
    return Times(patched=patched, switched=await seen.when(model) - began)


async def ended(client: Client, count: int) -> list[str]:
    """Wait for the outcomes of all records, and return them."""

    def is_ended(body: Body) -> bool:
        return "outcome" in body.get("status", {})

    await until_all(client, ROLLBACKS, is_ended, count, "rollbacks have ended")
    return [str(body["status"]["outcome"]) for body in (await client.list(ROLLBACKS, NAMESPACE))[0]]


if __name__ == "__main__":
    sys.exit(main())
