"""Killed between any two of its writes and started again, the operator comes to the same end.

Nothing of a life survives SIGKILL but what the API server has: so each point is a served model of its own, one
operator that dies at the n-th write of its rollback, and another that finds what is there and finishes.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lastgood.api.names import INTENT
from lastgood.kube.api.client import Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.credentials import load
from tests.cluster import Cluster
from tests.integration.lives import Life
from tests.integration.proxy import Cut, Proxy, proxied, serving, write_kubeconfig
from tests.integration.served import WORKLOAD, Served, condition, until
from tests.integration.world import Operator, World

Body = dict[str, Any]
AT_ONCE = 6
INCIDENT = "INC-2041: backdoor found in v2"
MORE = 1.0  # seconds in which an operator that has finished may show that it has not


@dataclass(frozen=True, kw_only=True)
class End:
    """What a rollback leaves behind, whatever happened on its way."""

    outcomes: tuple[str, ...]
    targets: tuple[str, ...]
    template_changes: int
    handled: tuple[str, ...]
    quarantined: int
    serving: str
    model_path: str


def expected(kind: str) -> End:
    """Return the one right end."""
    emergency = kind == "emergency"
    return End(
        outcomes=("Succeeded",),
        targets=("digits-v1",),
        template_changes=1,
        handled=("emergency-rollback",) if emergency else (),
        quarantined=1 if emergency else 0,
        serving="digits-v1",
        model_path="/models/digits/1",
    )


@dataclass(frozen=True, kw_only=True)
class Played:
    """One rollback whose operator was killed, or not: then it has fewer writes than the cut asks for."""

    cut: Cut
    namespace: str
    was_cut: bool
    writes: tuple[str, ...]
    end: End


@dataclass(kw_only=True)
class Stage:
    """What all points share: the API server, a folder, the metrics endpoint."""

    cluster: Cluster
    client: Client
    directory: Path
    metrics: str
    all: dict[str, Served]

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[Served]:
        """Make a model in a namespace and a store of its own; remove it afterwards."""
        namespace = f"crash-{secrets.token_hex(4)}"
        store = self.directory / namespace  # of its own: to write a checkpoint again while it is read is tampering
        operator = Operator(cluster=self.cluster, namespace=namespace, store=store, logs=self.directory)
        world = World(cluster=self.cluster, namespace=namespace, store=store, operator=operator)
        served = Served(client=self.client, world=world, spec=spec(f"{self.metrics}/{namespace}"))
        self.all[namespace] = served
        await served.make()
        try:
            yield served
        finally:
            await served.remove()

    def life(self, served: Served, kubeconfig: Path) -> Life:
        """Start an operator for it; all of them have one name, so that the Lease passes on at once."""
        here = ("--namespace", served.namespace, "--operator-namespace", served.namespace)
        arguments = (*here, "--store", str(served.world.store), "--allow-loopback", "--kubeconfig", str(kubeconfig))
        environment = {"POD_NAME": "operator-0", "LASTGOOD_LIVENESS": "", "LASTGOOD_LEASE_SECONDS": "15"}
        log = self.directory / f"{served.namespace}.log"
        return Life.start(arguments, log=log, environment=environment)


def spec(metrics: str) -> Body:
    """Return what matters here of a ModelDeployment: a trigger that acts, and a check that has to pass."""
    trigger = {
        "name": "accuracy",
        "http": {"url": f"{metrics}/trigger"},
        "failureCondition": "result.accuracy < 0.9",
        "interval": "1s",
        "failureThreshold": 1,
    }
    check = {"name": "accuracy", "http": {"url": f"{metrics}/check"}, "successCondition": "result.accuracy > 0.9"}
    return {"triggers": [trigger], "validation": {"checks": [check]}}


@pytest.fixture
async def stage(api: Cluster, tmp_path: Path) -> AsyncIterator[Stage]:
    connection = await Connection.open(str(api.kubeconfig))
    known: dict[str, Served] = {}

    async def accuracy(request: web.Request) -> web.Response:
        """The accuracy of what the workload serves now."""
        served = known[request.match_info["namespace"]]
        bad = served.bad and (await served.model_path()).endswith("/2")
        return web.json_response({"accuracy": 0.5 if bad else 0.97})

    app = web.Application()
    app.router.add_get("/{namespace}/{what}", accuracy)
    async with serving(app) as url:
        yield Stage(cluster=api, client=Client(connection), directory=tmp_path, metrics=url, all=known)
    await connection.close()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["emergency", "automatic"])
async def test_killed_between_any_two_writes_it_comes_to_the_same_end(stage: Stage, kind: str) -> None:
    assert stage.cluster.audit_log is not None
    began = stage.cluster.audit_log.stat().st_size

    played = await every_point(stage, kind)

    assert len([one for one in played if one.was_cut]) >= 2 * 8, "a rollback has more writes than that"
    wrong = {f"{one.cut.when} write {one.cut.number}": one.end for one in played if one.end != expected(kind)}
    assert wrong == {}
    story = histories(stage.cluster.audit_log, began)
    disorder = {f"{one.cut.when} write {one.cut.number}": disorder_of(story[one.namespace], kind) for one in played}
    assert {point: found for point, found in disorder.items() if found} == {}
    whole = next(one for one in played if not one.was_cut)
    firsts = dict(reversed(list(milestones(story[whole.namespace]))))
    assert (firsts["switch"] < firsts["lock"]) == (kind == "emergency")


async def every_point(stage: Stage, kind: str) -> list[Played]:
    """Play the rollback with a kill at each write until one has no such write."""
    cuts = (Cut(number=number, when=when) for number in itertools.count(1) for when in ("before", "after"))
    played: list[Played] = []

    async def play_on() -> None:
        while all(one.was_cut for one in played):
            played.append(await play(stage, kind, next(cuts)))

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(play_on())
    return played


async def play(stage: Stage, kind: str, cut: Cut) -> Played:
    """Tell one story: v2 serves, it is left, the operator dies at the cut, and another one finishes."""
    way_in = await load(str(stage.cluster.kubeconfig))
    async with contextlib.AsyncExitStack() as stack:
        served = await stack.enter_async_context(stage.served())
        lives = stack.enter_context(ending())
        proxy, url = await stack.enter_async_context(proxied(way_in, lambda: lives[0].kill()))  # noqa: PLW0108  # not there yet
        kubeconfig = stage.directory / f"{served.namespace}.kubeconfig"
        write_kubeconfig(kubeconfig, url)
        lives.append(stage.life(served, kubeconfig))
        await served.serves("digits-v1")
        await served.deploy("digits-v2")
        await served.serves("digits-v2")
        before = int((await served.workload())["metadata"]["generation"])

        proxy.arm(cut)
        await provoke(served, kind)
        await until(lambda: over(served, kind, proxy), what="the rollback, or the cut", show=served.shown)
        lives[0].kill()

        lives.append(stage.life(served, stage.cluster.kubeconfig))
        await until(lambda: ended(served, kind), what="the end of the rollback", show=served.shown)
        await proxy.settled()
        await asyncio.sleep(MORE)
        end = await end_of(served, before)
        return Played(cut=cut, namespace=served.namespace, was_cut=proxy.silent, writes=tuple(proxy.writes), end=end)


@contextlib.contextmanager
def ending() -> Iterator[list[Life]]:
    """Yield a list of lives, and end all that are in it."""
    lives: list[Life] = []
    try:
        yield lives
    finally:
        for life in lives:
            life.gone()


async def provoke(served: Served, kind: str) -> None:
    """Make the operator roll back."""
    if kind == "emergency":
        await served.annotate("emergency-rollback", INCIDENT)
    else:
        served.bad = True


async def over(served: Served, kind: str, proxy: Proxy) -> bool:
    """Tell whether the first life has reached its cut, or has come through without."""
    if proxy.silent or not await ended(served, kind):
        return proxy.silent
    await asyncio.sleep(MORE)
    return True


async def ended(served: Served, kind: str) -> bool:
    """Tell whether all that is to be seen at the end is there."""
    status = await served.status()
    records = await served.records()
    source = (await served.snapshot("digits-v2")).get("status", {})
    return (
        condition(status, "Progressing") == "False"
        and condition(status, "Healthy") == "True"
        and len(status.get("rollbacks", ())) == 1
        and all(record.get("status", {}).get("outcome") for record in records)
        and (kind != "emergency" or condition(source, "Quarantined") == "True")
    )


async def end_of(served: Served, generation: int) -> End:
    """Return what is there now."""
    records, status = await served.records(), await served.status()
    handled: Body = status.get("handledRequests", {})
    names = {record["metadata"]["name"] for record in records}
    return End(
        outcomes=tuple(str(record["status"].get("outcome")) for record in records),
        targets=tuple(str(record["status"].get("target", {}).get("snapshot")) for record in records),
        template_changes=int((await served.workload())["metadata"]["generation"]) - generation,
        handled=tuple(key.split(".")[0] for key, name in handled.items() if name in names),
        quarantined=len(await served.quarantined()),
        serving=str(status.get("snapshot")),
        model_path=await served.model_path(),
    )


FACTS = {"intent": "intentAt", "outcome": "outcome"}


def histories(log: Path, began: int) -> dict[str, list[Body]]:
    """Return the successful writes to what a rollback touches, in order, by namespace."""
    found: dict[str, list[Body]] = {}
    with log.open("rb") as lines:
        lines.seek(began)
        for line in lines:
            if b'"namespace":"crash-' not in line or not line.endswith(b"\n"):
                continue
            event = json.loads(line)
            if event["responseStatus"].get("code", 0) < 300 and event["objectRef"]["resource"] in (
                "modelrollbacks",
                "modeldeployments",
                "deployments",
            ):
                found.setdefault(event["objectRef"]["namespace"], []).append(event)
    return found


ORDERS = {  # an emergency's record comes with its intent; its lock comes after the switch, or at the next start
    "emergency": (("record", "intent", "switch", "outcome"), ("record", "lock", "outcome")),
    "automatic": (("record", "switch", "outcome"), ("lock", "intent", "switch", "outcome")),
}


def disorder_of(events: list[Body], kind: str) -> str:
    """Say what came in the wrong order."""
    firsts = dict(reversed(list(milestones(events))))
    for order in ORDERS[kind]:
        times = [firsts.get(name) for name in order]
        if None in times or times != sorted(times, key=lambda at: at or 0):
            return f"{firsts}"
    return ""


def milestones(events: list[Body]) -> Iterator[tuple[str, int]]:
    """Yield what each write of a rollback achieved, with its place in the log."""
    stamp = ""
    for place, event in enumerate(events):
        target, body = event["objectRef"], event.get("responseObject", {})
        status = body.get("status", {})
        match target["resource"]:
            case "modelrollbacks":
                yield from ((name, place) for name, fact in FACTS.items() if fact in status)
                yield from [("record", place)] if event["verb"] == "create" else []
                yield from [("intent", place)] if INTENT in body["metadata"].get("annotations", {}) else []
            case "modeldeployments":
                yield from [("lock", place)] if "activeRollback" in status else []
                yield from [("intent", place)] if "intent" in status.get("activeRollback", {}) else []
            case "deployments" if target.get("name") == WORKLOAD and event["verb"] != "delete":
                left, stamp = stamp, stamp_of(body)
                yield from [("switch", place)] if (left, stamp) == ("digits-v2", "digits-v1") else []


def stamp_of(workload: Body) -> str:
    """Return the snapshot that a workload's pods are told to serve."""
    annotations = workload["spec"]["template"]["metadata"].get("annotations") or {}
    return str(annotations.get("lastgood.dev/snapshot", ""))
