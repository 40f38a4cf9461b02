"""The client and a real API server: every refusal becomes the error that its reader acts on."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from lastgood.errors import TransientError
from lastgood.kube.api import client as module
from lastgood.kube.api.client import CONFIGMAPS, DEPLOYMENTS, SNAPSHOTS, WORKLOADS, Body, Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.problems import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from lastgood.kube.api.resources import Resource
from tests.cluster import Cluster
from tests.integration.edge import Edge, edge, model_deployment, model_snapshot

NAME = "thing"


@pytest.fixture
async def here(api: Cluster) -> AsyncIterator[Edge]:
    async with edge(api) as found:
        yield found


async def made(here: Edge, name: str = NAME) -> Body:
    body = {"metadata": {"name": name}, "data": {"a": "1"}}
    return await here.client.create(CONFIGMAPS, here.namespace, body)


async def test_what_was_created_can_be_read_changed_and_deleted(here: Edge) -> None:
    created = await made(here)
    assert await here.client.get(CONFIGMAPS, here.namespace, NAME) == created
    changed = await here.client.patch(CONFIGMAPS, here.namespace, NAME, {"data": {"b": "2"}})
    assert changed["data"] == {"a": "1", "b": "2"}
    await here.client.delete(CONFIGMAPS, here.namespace, NAME, uid=created["metadata"]["uid"])
    with pytest.raises(NotFoundError, match=f'configmaps "{NAME}" not found'):
        await here.client.get(CONFIGMAPS, here.namespace, NAME)


async def test_creating_twice_is_told_from_losing_a_race(here: Edge) -> None:
    await made(here)
    with pytest.raises(AlreadyExistsError):
        await made(here)


async def test_stale_resource_version_is_a_conflict(here: Edge) -> None:
    stale = {"metadata": {"resourceVersion": (await made(here))["metadata"]["resourceVersion"]}}
    await here.client.patch(CONFIGMAPS, here.namespace, NAME, {"data": {"b": "2"}})
    with pytest.raises(ConflictError):
        await here.client.patch(CONFIGMAPS, here.namespace, NAME, {**stale, "data": {"b": "3"}})
    with pytest.raises(ConflictError):
        await here.client.apply(CONFIGMAPS, here.namespace, NAME, {**stale, "data": {"b": "3"}}, force=True)


async def test_wrong_uid_is_invalid(here: Edge) -> None:
    await made(here)
    body = {"metadata": {"uid": "another"}, "data": {"b": "2"}}
    with pytest.raises(InvalidError, match=r"metadata\.uid"):
        await here.client.apply(CONFIGMAPS, here.namespace, NAME, body, force=True)
    with pytest.raises(ConflictError, match="UID in the precondition"):
        await here.client.delete(CONFIGMAPS, here.namespace, NAME, uid="another")


async def test_apply_to_an_object_that_is_gone_does_not_make_another_one(here: Edge) -> None:
    uid = (await made(here))["metadata"]["uid"]
    await here.client.delete(CONFIGMAPS, here.namespace, NAME)
    with pytest.raises(ConflictError):
        await here.client.apply(
            CONFIGMAPS, here.namespace, NAME, {"metadata": {"uid": uid}, "data": {"a": "1"}}, force=True
        )


async def test_a_field_of_another_manager_names_the_field_and_the_manager(here: Edge) -> None:
    await made(here)
    with pytest.raises(ConflictError) as caught:
        await here.client.apply(
            CONFIGMAPS, here.namespace, NAME, {"data": {"a": "2"}}, force=False, field_manager="other"
        )
    (cause,) = caught.value.causes
    assert (cause.reason, cause.field) == ("FieldManagerConflict", ".data.a")
    assert 'conflict with "lastgood"' in cause.message


async def test_a_repeated_apply_changes_nothing(here: Edge) -> None:
    body = {"data": {"a": "1"}}
    first = await here.client.apply(CONFIGMAPS, here.namespace, NAME, body, force=True)
    again = await here.client.apply(CONFIGMAPS, here.namespace, NAME, body, force=True)
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


async def test_a_field_that_no_schema_knows_is_refused_and_not_dropped(here: Edge) -> None:
    await here.client.create(DEPLOYMENTS, here.namespace, model_deployment(NAME))
    with pytest.raises(InvalidError, match="unknown field"):
        await here.client.patch(DEPLOYMENTS, here.namespace, NAME, {"status": {"bogus": 1}}, subresource="status")
    with pytest.raises(InvalidError, match="not declared in schema"):
        await here.client.apply(CONFIGMAPS, here.namespace, NAME, {"bogus": 1}, force=True)


async def test_the_status_is_written_through_its_subresource(here: Edge) -> None:
    await here.client.create(DEPLOYMENTS, here.namespace, model_deployment(NAME))
    status = {"status": {"snapshot": "digits-v1"}}
    written = await here.client.patch(DEPLOYMENTS, here.namespace, NAME, status, subresource="status")
    assert written["status"]["snapshot"] == "digits-v1"


async def test_a_list_is_complete_over_many_pages(here: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 7)
    for number in range(24):
        await here.client.create(SNAPSHOTS, here.namespace, model_snapshot(f"s{number}"))
    items, version = await here.client.list(SNAPSHOTS, here.namespace)
    assert {item["metadata"]["name"] for item in items} == {f"s{number}" for number in range(24)}
    assert {item["kind"] for item in items} == {"ModelSnapshot"}
    assert int(version) > 0


async def test_a_list_whose_last_pages_are_missing_is_an_error(here: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 1)
    for number in range(3):
        await here.client.create(SNAPSHOTS, here.namespace, model_snapshot(f"s{number}"))
    pages = 0

    class Breaking(Client):
        async def _read(self, call: module.Call) -> Body:
            nonlocal pages
            pages += 1
            if "continue" in call.params:
                raise ExpiredError(status=410, reason="Expired", message="the token is too old")
            return await super()._read(call)

    with pytest.raises(UnavailableError, match="expired"):
        await Breaking(here.client.connection).list(SNAPSHOTS, here.namespace)
    assert pages == 2 * module.RESTARTS


async def test_a_list_of_metadata_has_no_spec(here: Edge) -> None:
    await here.client.create(SNAPSHOTS, here.namespace, model_snapshot(NAME))
    items, _ = await here.client.list(SNAPSHOTS, here.namespace, metadata_only=True)
    assert [item["metadata"]["name"] for item in items] == [NAME]
    assert "spec" not in items[0]


async def test_a_watch_begins_where_the_list_ended(here: Edge) -> None:
    _, version = await here.client.list(CONFIGMAPS, here.namespace, field_selector=f"metadata.name={NAME}")

    async def events() -> list[str]:
        found = []
        async for event in here.client.watch(
            CONFIGMAPS, here.namespace, field_selector=f"metadata.name={NAME}", resource_version=version
        ):
            if event["type"] == "BOOKMARK":
                continue
            found.append(event["type"])
            if event["type"] == "DELETED":
                break
        return found

    task = asyncio.create_task(events())
    await made(here)
    await made(here, "another")
    await here.client.patch(CONFIGMAPS, here.namespace, NAME, {"data": {"big": "x" * 300_000}})
    await here.client.delete(CONFIGMAPS, here.namespace, NAME)
    async with asyncio.timeout(10):
        assert await task == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_kind_that_is_not_installed_is_not_found(here: Edge) -> None:
    missing = Resource(group="lastgood.dev", version="v1alpha1", plural="nothings", kind="Nothing")
    with pytest.raises(NotFoundError):
        await here.client.list(missing, here.namespace)


async def test_somebody_without_rights_is_told_so(here: Edge) -> None:
    connection = await Connection.open(str(here.cluster.kubeconfig_for("stranger")))
    try:
        with pytest.raises(ForbiddenError, match='User "stranger" cannot list'):
            await Client(connection).list(WORKLOADS, here.namespace)
    finally:
        await connection.close()


async def test_no_server_is_ours_to_wait_for(here: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF", (0.01,))
    here.client.connection.server = "https://127.0.0.1:1"
    with pytest.raises(TransientError, match="cannot be reached"):
        await here.client.get(CONFIGMAPS, here.namespace, NAME)


async def test_a_server_that_does_not_answer_is_given_up_in_time(here: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.3)
    here.cluster.pause("kube-apiserver")
    try:
        with pytest.raises(TransientError, match="in time"):
            await here.client.get(CONFIGMAPS, here.namespace, NAME)
    finally:
        here.cluster.resume("kube-apiserver")


async def test_a_session_that_kopf_closed_is_replaced(here: Edge) -> None:
    await made(here)
    await here.client.connection.session.close()
    assert (await here.client.get(CONFIGMAPS, here.namespace, NAME))["data"] == {"a": "1"}
