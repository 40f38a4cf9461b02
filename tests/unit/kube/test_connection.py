"""The connection: credentials that rotate are picked up, and kopf may close the session."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lastgood.kube import connection as module
from lastgood.kube.client import CONFIGMAPS, Client
from lastgood.kube.connection import Connection
from lastgood.kube.credentials import Credentials
from lastgood.kube.problems import ApiError, UnavailableError


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
