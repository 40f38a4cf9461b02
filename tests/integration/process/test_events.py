"""Events on a real API server: what is said again is one Event with a count, as `kubectl` shows it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from lastgood.kube.api.resources import EVENTS
from lastgood.kube.notices.events import Events
from lastgood.kube.notices.notice import Notice
from tests.cluster import Cluster
from tests.integration.edge import Edge, edge


@pytest.fixture
async def here(api: Cluster) -> AsyncIterator[Edge]:
    async with edge(api) as found:
        yield found


async def told(events: Events, notice: Notice) -> None:
    events.tell(notice)
    task = asyncio.create_task(events.run())
    await events.drain(seconds=30)
    task.cancel()


async def test_what_is_said_again_is_counted_where_kubectl_shows_it(here: Edge, api: Cluster) -> None:
    now = 0.0
    events = Events(here.client, clock=lambda: now)
    about = {"apiVersion": "lastgood.dev/v1alpha1", "kind": "ModelDeployment", "name": "digits", "uid": "u1"}
    notice = Notice(
        what="Wait",
        reason="Suspended",
        message="a trigger fired, but spec.suspend is true",
        subject=about | {"namespace": here.namespace},
        event="Warning",
    )
    for now in (0.0, 61.0, 122.0):  # noqa: B007  # the clock reads it
        await told(events, notice)
    (found,), _ = await here.client.list(EVENTS, here.namespace)
    assert (found["count"], found["series"]["count"]) == (3, 3)
    assert found["firstTimestamp"] <= found["lastTimestamp"]
    shown = api.kubectl("get", "events", "-n", here.namespace, "-o", "wide").stdout.splitlines()
    assert shown[0].split()[-4:-2] == ["FIRST", "SEEN"]
    assert "Suspended" in shown[1]
    assert shown[1].split()[-2] == "3"  # COUNT


async def test_an_event_that_somebody_deleted_is_written_anew(here: Edge) -> None:
    now = 0.0
    events = Events(here.client, clock=lambda: now)
    about = {"kind": "ModelDeployment", "name": "digits", "uid": "u1", "namespace": here.namespace}
    notice = Notice(what="Wait", reason="Held", message="on hold", subject=about, event="Normal")
    await told(events, notice)
    (found,), _ = await here.client.list(EVENTS, here.namespace)
    await here.client.delete(EVENTS, here.namespace, found["metadata"]["name"])
    now = 61.0
    await told(events, notice)
    (anew,), _ = await here.client.list(EVENTS, here.namespace)
    assert anew["metadata"]["uid"] != found["metadata"]["uid"]
    assert anew["count"] == 2
