"""Trust policies as they are watched: until every list is read, and while a watch is silent, nothing is trusted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from lastgood.kube.api.problems import ExpiredError, ForbiddenError, NotFoundError
from lastgood.kube.api.resources import CLUSTER_TRUST_POLICIES, TRUST_POLICIES, Resource
from lastgood.kube.shared import trust as module
from lastgood.kube.shared.trust import STALE_SECONDS, TrustPolicies
from lastgood.verify.signing import generate_key
from tests.unit.controller.waiting import until

Body = dict[str, Any]
KEY = generate_key().public.pem().decode()
DIGEST = f"sha256:{'0' * 64}"


class Server:
    """Enough of an API server to list policies, and to tell of changes."""

    def __init__(self) -> None:
        self.lists: dict[tuple[str, str | None], list[Body] | Exception] = {}
        self.listed: list[tuple[str, str | None]] = []
        self._events: dict[tuple[str, str | None], asyncio.Queue[Body | Exception]] = {}

    async def list(self, resource: Resource, scope: str | None) -> tuple[list[Body], str]:
        self.listed.append((resource.plural, scope))
        found = self.lists.get((resource.plural, scope), [])
        if isinstance(found, Exception):
            raise found
        return found, "100"

    async def watch(
        self, resource: Resource, namespace: str | None, *, field_selector: str, resource_version: str
    ) -> AsyncIterator[Body]:
        del field_selector, resource_version
        events = self.events(resource, namespace)
        while True:
            event = await events.get()
            if isinstance(event, Exception):
                raise event
            yield event

    def events(self, resource: Resource, scope: str | None) -> "asyncio.Queue[Body | Exception]":
        return self._events.setdefault((resource.plural, scope), asyncio.Queue())

    def tell(self, type_: str, body: Body, scope: str | None = "ml") -> None:
        cluster = body["kind"] == "ClusterModelTrustPolicy"
        resource = CLUSTER_TRUST_POLICIES if cluster else TRUST_POLICIES
        self.events(resource, None if cluster else scope).put_nowait({"type": type_, "object": body})


class Watched:
    """Policies that are followed, with a clock of the test's, and what was heard."""

    def __init__(self, server: Server, namespaces: tuple[str, ...] | None = ("ml",)) -> None:
        self.server, self.heard, self.seconds = server, list[str](), 0.0
        self.policies = TrustPolicies(
            server,  # type: ignore[arg-type]  # it does what is asked of a Client here
            namespaces=namespaces,
            on_change=self.heard.append,
            clock=lambda: self.seconds,
        )

    def names(self, namespace: str = "ml") -> list[str]:
        return [policy.trust.name for policy in self.policies.of(namespace)]


@asynccontextmanager
async def following(server: Server, namespaces: tuple[str, ...] | None = ("ml",)) -> AsyncIterator[Watched]:
    watched = Watched(server, namespaces)
    task = asyncio.create_task(watched.policies.run())
    try:
        await settled()
        yield watched
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.001,))


def policy(name: str = "release", namespace: str = "ml", *, version: int = 1, **spec: Any) -> Body:
    signatures = {"keys": [{"name": "k", "publicKey": KEY}]}
    kind = "ModelTrustPolicy" if namespace else "ClusterModelTrustPolicy"
    metadata = {"name": name, "resourceVersion": str(version), **({"namespace": namespace} if namespace else {})}
    return {"kind": kind, "metadata": metadata, "spec": {"signatures": signatures, **spec}}


def bookmark(kind: str, version: int) -> Body:
    return {"kind": kind, "metadata": {"resourceVersion": str(version)}}


async def test_nothing_is_synced_before_every_list_is_read() -> None:
    server = Server()
    refused = ForbiddenError(status=403, reason="Forbidden", message="no")
    server.lists[CLUSTER_TRUST_POLICIES.plural, None] = refused
    server.lists[TRUST_POLICIES.plural, "ml"] = [policy()]
    async with following(server, ("ml", "other")) as watched:
        await until(watched.names)
        assert not watched.policies.synced
        assert watched.names() == ["ModelTrustPolicy release"], "what is known is known all the same"
        watched.heard.clear()
        server.lists[CLUSTER_TRUST_POLICIES.plural, None] = [policy("all", "")]
        await until(lambda: watched.policies.synced)
        assert watched.heard[-1] == "", "whoever waited, in whichever namespace, is woken"


async def test_list_that_is_out_of_reach_in_one_namespace_holds_up_no_other() -> None:
    server = Server()
    server.lists[TRUST_POLICIES.plural, "other"] = ForbiddenError(status=403, reason="Forbidden", message="no")
    async with following(server, ("ml", "other")) as watched:
        await until(lambda: watched.policies.synced_in("ml"))
        assert not watched.policies.synced_in("other")
        assert not watched.policies.synced


async def test_definitions_that_are_missing_fail_closed() -> None:
    server = Server()
    server.lists[TRUST_POLICIES.plural, "ml"] = NotFoundError(status=404, reason="NotFound", message="no such page")
    async with following(server) as watched:
        await until(lambda: server.listed.count((TRUST_POLICIES.plural, "ml")) > 2)  # it is tried again
        assert not watched.policies.synced


async def test_a_watch_that_is_silent_for_too_long_is_not_believed_and_a_bookmark_is_a_sign_of_life() -> None:
    server = Server()
    async with following(server) as watched:
        watched.seconds = STALE_SECONDS - 1
        server.tell("BOOKMARK", bookmark("ModelTrustPolicy", 101))
        await settled()
        assert watched.policies.synced
        watched.seconds = STALE_SECONDS + 1
        assert not watched.policies.synced, "that of the cluster was not heard of"
        watched.heard.clear()
        server.tell("BOOKMARK", bookmark("ClusterModelTrustPolicy", 101))
        await settled()
        assert watched.policies.synced
        assert watched.heard == [""]


async def test_a_policy_that_is_deleted_refuses_nothing_any_more() -> None:
    server = Server()
    server.lists[TRUST_POLICIES.plural, "ml"] = [policy()]
    async with following(server) as watched:
        watched.heard.clear()
        server.tell("DELETED", policy(version=102))
        await settled()
        assert (watched.names(), watched.heard) == ([], ["ml"])


async def test_a_policy_that_was_deleted_while_nobody_watched_is_gone_after_the_next_list() -> None:
    server = Server()
    server.lists[TRUST_POLICIES.plural, "ml"] = [policy(), policy("other")]
    server.lists[CLUSTER_TRUST_POLICIES.plural, None] = [policy("all", "")]
    async with following(server) as watched:
        server.lists[TRUST_POLICIES.plural, "ml"] = [policy("other")]
        server.events(TRUST_POLICIES, "ml").put_nowait(ExpiredError(status=410, reason="Expired", message="too old"))
        await settled()
        assert watched.names() == ["ClusterModelTrustPolicy all", "ModelTrustPolicy other"]
        assert watched.names("elsewhere") == ["ClusterModelTrustPolicy all"]


async def test_an_older_version_of_a_policy_does_not_bring_a_revoked_key_back() -> None:
    server = Server()
    server.lists[TRUST_POLICIES.plural, "ml"] = [policy(version=7, revokedDigests=[{"digest": DIGEST, "reason": "x"}])]
    async with following(server) as watched:
        watched.heard.clear()
        server.tell("MODIFIED", policy(version=6))
        await settled()
        assert DIGEST in watched.policies.of("ml")[0].trust.revoked_digests
        assert watched.heard == []


async def test_a_policy_made_anew_under_the_same_name_counts() -> None:
    server = Server()
    server.lists[TRUST_POLICIES.plural, "ml"] = [policy(version=7)]
    async with following(server) as watched:
        server.tell("DELETED", policy(version=8))
        server.tell("ADDED", policy(version=9, revokedDigests=[{"digest": DIGEST, "reason": "x"}]))
        await settled()
        assert DIGEST in watched.policies.of("ml")[0].trust.revoked_digests


async def test_a_policy_that_cannot_be_read_trusts_nobody_and_keeps_what_it_revokes() -> None:
    server = Server()
    broken = policy(signatures={"keys": [{"name": "k", "publicKey": "no PEM"}]}, revokedDigests=[{"digest": DIGEST}])
    server.lists[TRUST_POLICIES.plural, "ml"] = [broken]
    async with following(server) as watched:
        (found,) = watched.policies.of("ml")
        assert found.trust.problem
        assert found.trust.required
        assert (found.keys, DIGEST in found.trust.revoked_digests) == ((), True)


async def test_policies_of_other_namespaces_do_not_count() -> None:
    server = Server()
    server.lists[TRUST_POLICIES.plural, None] = [policy(), policy("theirs", "other")]
    async with following(server, None) as watched:
        assert watched.names() == ["ModelTrustPolicy release"]
        assert watched.names("other") == ["ModelTrustPolicy theirs"]
