"""The connection: credentials that rotate are picked up, and kopf may close the session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lastgood.kube.api import connection as module
from lastgood.kube.api.client import CONFIGMAPS, Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.credentials import Credentials
from lastgood.kube.api.problems import ApiError, NotFoundError, UnavailableError
from lastgood.kube.api.resources import SNAPSHOTS


@dataclass
class Api:
    """Knows one token, and what it was asked with."""

    token: str = "one"
    asked_with: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked_with.append(request.headers.get("Authorization", ""))
        if self.asked_with[-1] != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "message": "Unauthorized"}, status=401)
        return web.json_response({"metadata": {"name": "x"}})


class Keyring:
    """The token as the kubelet, or a plugin, would give it now."""

    def __init__(self) -> None:
        self.token = "one"
        self.broken = False

    def __call__(self) -> str:
        if self.broken:
            raise OSError("the plugin has crashed")
        return f"Bearer {self.token}"


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, Keyring, Client]]:
    found, keys = Api(), Keyring()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    async with TestServer(app) as server:
        way_in = Credentials(server=str(server.make_url("")).rstrip("/"), tls=True, authorization=keys, namespace="d")
        connection = Connection(way_in)
        yield found, keys, Client(connection)
        await connection.close()


async def test_a_token_that_was_rotated_is_read_again(
    api: tuple[Api, Keyring, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, keys, client = api
    await client.get(CONFIGMAPS, "d", "x")
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.0)
    server.token = keys.token = "two"
    await client.get(CONFIGMAPS, "d", "x")
    assert server.asked_with == ["Bearer one", "Bearer two"]


async def test_a_write_that_was_refused_for_an_old_token_is_sent_with_the_new_one(
    api: tuple[Api, Keyring, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, keys, client = api
    monkeypatch.setattr(module, "REFUSAL_PAUSE", 0.0)
    server.token = keys.token = "two"
    await client.patch(CONFIGMAPS, "d", "x", {"data": {}})
    assert server.asked_with == ["Bearer one", "Bearer two"]


async def test_a_token_that_is_refused_for_good_is_not_tried_for_ever(
    api: tuple[Api, Keyring, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _, client = api
    monkeypatch.setattr(module, "REFUSAL_PAUSE", 0.0)
    server.token = "another"
    with pytest.raises(UnavailableError):
        await client.patch(CONFIGMAPS, "d", "x", {"data": {}})
    assert len(server.asked_with) == 1


async def test_a_plugin_that_crashes_leaves_us_the_old_token(
    api: tuple[Api, Keyring, Client], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, keys, client = api
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.0)
    keys.broken = True
    await client.get(CONFIGMAPS, "d", "x")
    assert "cannot refresh the credentials" in caplog.text


async def test_a_redirect_is_refused_because_it_would_carry_the_token_away(
    api: tuple[Api, Keyring, Client],
) -> None:
    _, _, client = api
    elsewhere = web.Application()
    elsewhere.router.add_route("*", "/{path:.*}", redirect)
    async with TestServer(elsewhere) as server:
        client.connection.server = str(server.make_url("")).rstrip("/")
        with pytest.raises(ApiError, match="302"):
            await client.get(CONFIGMAPS, "d", "x")


async def redirect(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "http://elsewhere.invalid/"})


class Refusing:
    """Refuses so often, and keeps how it was asked."""

    def __init__(self, status: int, times: int, message: str = "") -> None:
        self._left = times
        self._refusal = {"kind": "Status", "message": message}
        self._status = status
        self.queries: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        self._left -= 1
        gone = self._left >= 0 and (self._status not in (400, 410) or "resourceVersion" in request.query)
        return web.json_response(self._refusal if gone else {}, status=self._status if gone else 200)


RBAC = (
    'modelsnapshots.lastgood.dev is forbidden: User "x" cannot watch resource "modelsnapshots" '
    'in API group "lastgood.dev"'
)


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, f'{RBAC} in the namespace "ml"'), (404, "the server could not find the requested resource")],
)
async def test_kopf_that_may_not_watch_or_finds_no_definition_gets_its_answer_once_there_is_one(
    status: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answered with 404 it would end, and with 403 it would log an error each time."""
    monkeypatch.setattr(module, "PAUSES", (0.001,))
    server = Refusing(status, 5, message)
    assert await watched(server) == 200
    assert len(server.queries) == 6


@pytest.mark.parametrize("status", [400, 410])
async def test_kopf_whose_watch_cannot_go_on_begins_it_anew(status: int) -> None:
    server = Refusing(status, 1)
    assert await watched(server) == 200
    assert server.queries == [{"watch": "true", "resourceVersion": "7"}, {"watch": "true"}]


async def test_kopf_that_asks_what_no_api_server_understands_is_told_so() -> None:
    """Else it would be asked again for ever, as fast as the network is."""
    server = Refusing(404, 9, "nothing of ours")
    assert await watched(server, "/apis/elsewhere/v1/things") == 404
    assert len(server.queries) == 1


async def test_our_own_client_gets_the_refusal_at_once_and_says_that_it_is_told() -> None:
    async with serving(Refusing(404, 9)) as connection:
        with pytest.raises(NotFoundError) as caught:
            await Client(connection).list(SNAPSHOTS, "ml")
    assert caught.value.told


@asynccontextmanager
async def serving(server: Refusing) -> AsyncIterator[Connection]:
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", server.answer)
    async with TestServer(app) as found:
        url = str(found.make_url("")).rstrip("/")
        connection = Connection(Credentials(server=url, tls=True, authorization=lambda: None, namespace="d"))
        yield connection
        await connection.close()


async def watched(server: Refusing, path: str = "/apis/lastgood.dev/v1alpha1/namespaces/ml/modelsnapshots") -> int:
    """Return what kopf's session is answered."""
    async with serving(server) as connection, asyncio.timeout(10):
        url = f"{connection.server}{path}?watch=true&resourceVersion=7"
        async with connection.session.get(url) as response:
            return response.status
