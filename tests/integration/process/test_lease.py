"""Two operators on a real API server: one writes, the other stands by, and takes over."""

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lastgood.kube.api.client import CONFIGMAPS, DEPLOYMENTS, LEASES
from tests.cluster import Cluster
from tests.integration.edge import Edge, edge, model_deployment, replica, until
from tests.integration.process.idle_operator import NOTE

LEASE_SECONDS = 6.0


@pytest.fixture
async def here(api: Cluster) -> AsyncIterator[Edge]:
    async with edge(api) as found:
        body = {"metadata": {"name": NOTE}, "data": {}}
        await found.client.create(CONFIGMAPS, found.namespace, body)
        await found.client.create(DEPLOYMENTS, found.namespace, model_deployment(NOTE))
        yield found


async def writers(here: Edge) -> set[str]:
    """Return the identities of the operators that have written."""
    body = await here.client.get(CONFIGMAPS, here.namespace, NOTE)
    return set(body.get("data") or {})


async def poke(here: Edge, text: str) -> None:
    """Give the operators something to do."""
    body = {"metadata": {"annotations": {"poke": text}}}
    await here.client.patch(DEPLOYMENTS, here.namespace, NOTE, body)


def taken(folder: Path, identity: str) -> list[str]:
    """Return why an operator took the Lease, each time it did; a fast machine and a slow one say the same."""
    return re.findall(r"acquired the Lease: (.*)", (folder / f"{identity}.err").read_text())


async def test_a_killed_operator_is_replaced_when_its_lease_is_over(here: Edge, tmp_path: Path) -> None:
    with replica(here, tmp_path, "first") as first:
        await until(first.told, what="the first operator works")
        with replica(here, tmp_path, "second") as second:
            await until(lambda: "caches synced" in (tmp_path / "second.err").read_text(), what="the second is ready")
            await poke(here, "one")
            await until(lambda: len(first.told()) >= 2, what="the first works on")
            assert await writers(here) == {"first"}
            first.end(signal.SIGKILL)
            await poke(here, "two")
            waited = await until(second.told, what="the second operator works")
            assert waited > LEASE_SECONDS / 2
            assert taken(tmp_path, "second") == ["first has not renewed it for 6 s"]
            assert await writers(here) == {"first", "second"}


async def test_an_operator_that_ends_hands_over_at_once(here: Edge, tmp_path: Path) -> None:
    with replica(here, tmp_path, "first") as first:
        await until(first.told, what="the first operator works")
        with replica(here, tmp_path, "second") as second:
            await until(lambda: "caches synced" in (tmp_path / "second.err").read_text(), what="the second is ready")
            assert first.end() < 5
            assert first.told()[-1] == {"closed": True}
            assert first.process.returncode == 0
            await until(second.told, what="the second operator works")
            assert taken(tmp_path, "second") == ["nobody held it"]


async def test_a_restarted_operator_does_not_wait_for_itself(here: Edge, tmp_path: Path) -> None:
    with replica(here, tmp_path, "pod-0") as first:
        await until(first.told, what="the operator works")
        first.end(signal.SIGKILL)
    with replica(here, tmp_path, "pod-0") as again:
        await until(again.told, what="the restarted operator works")
    assert taken(tmp_path, "pod-0") == ["this replica held it"]
    assert "standing by" not in (tmp_path / "pod-0.err").read_text()


async def test_a_frozen_operator_cannot_write_when_it_wakes_up(here: Edge, tmp_path: Path) -> None:
    with replica(here, tmp_path, "first") as first:
        await until(first.told, what="the first operator works")
        with replica(here, tmp_path, "second") as second:
            await until(lambda: "caches synced" in (tmp_path / "second.err").read_text(), what="the second is ready")
            first.process.send_signal(signal.SIGSTOP)
            await until(second.told, what="the second operator works")
            await here.client.patch(CONFIGMAPS, here.namespace, NOTE, {"data": {"first": None}})
            await poke(here, "while the first sleeps")
            first.process.send_signal(signal.SIGCONT)
            await until(lambda: len(second.told()) >= 2, what="the second goes on")
            await until(lambda: "not the leader" in (tmp_path / "first.err").read_text(), what="the first has noticed")
            assert await writers(here) == {"second"}


async def test_the_lease_says_who_holds_it(here: Edge, tmp_path: Path) -> None:
    with replica(here, tmp_path, "first") as first:
        await until(first.told, what="the operator works")
        found = await here.client.get(LEASES, here.namespace, "lastgood")
        assert found["spec"]["holderIdentity"] == "first"
        first.end()
    released = await here.client.get(LEASES, here.namespace, "lastgood")
    assert not released["spec"].get("holderIdentity")
