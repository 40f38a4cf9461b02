"""What the API server does not give: confirmed before it is told, told once, and told again when it is back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from lastgood.kube import access
from lastgood.kube.access import Access, Missing, read_refusal, rights_on, sentence
from lastgood.kube.api.problems import from_status
from lastgood.kube.api.resources import WORKLOADS

WHO = 'User "system:serviceaccount:ops:lastgood"'
PATCH = Missing(group="apps", resource="deployments", verb="patch", namespace="ml")
LIST = Missing(resource="modelsnapshots", verb="list", namespace="ml")
DEFINITION = Missing(resource="modelsnapshots")


def denied(verb: str, kind: str, group: str, where: str = 'in the namespace "ml"', name: str = "") -> str:
    shown = f'{kind}.{group} "{name}"' if name else f"{kind}.{group}"
    return f'{shown} is forbidden: {WHO} cannot {verb} resource "{kind}" in API group "{group}" {where}'


@pytest.mark.parametrize(
    ("status", "message", "path", "found"),
    [
        (403, denied("patch", "deployments", "apps"), "/x", PATCH),
        (
            403,
            denied("list", "modelsnapshots", "lastgood.dev", "at the cluster scope"),
            "/x",
            Missing(resource="modelsnapshots", verb="list"),
        ),
        (
            403,
            denied("get", "leases", "coordination.k8s.io", name="lastgood"),
            "/x",
            Missing(group="coordination.k8s.io", resource="leases", verb="get", namespace="ml", name="lastgood"),
        ),
        (403, 'admission webhook "x" denied the request: User "a" is not nice', "/x", None),
        (403, 'deployments.apps "x" is forbidden: exceeded quota: q', "/x", None),
        (404, "the server could not find it", "/apis/lastgood.dev/v1alpha1/namespaces/ml/modelsnapshots", DEFINITION),
        (404, "the server could not find it", "/apis/lastgood.dev/v1alpha1/modelsnapshots/a/status", DEFINITION),
        (404, "the server could not find it", "/k8s/c/1/apis/lastgood.dev/v1alpha1/modelsnapshots", DEFINITION),
        (404, "the server could not find it", "/apis/apps/v1/namespaces/ml/deployments", None),
        (409, denied("patch", "deployments", "apps"), "/x", None),
    ],
)
def test_refusal_says_what_is_missing(status: int, message: str, path: str, found: Missing | None) -> None:
    assert read_refusal(from_status(status, {"kind": "Status", "message": message}), path) == found


def test_object_that_is_not_there_is_no_missing_definition() -> None:
    answer = {"kind": "Status", "message": "x not found", "details": {"name": "x", "kind": "modelsnapshots"}}
    assert read_refusal(from_status(404, answer), "/apis/lastgood.dev/v1alpha1/namespaces/ml/modelsnapshots/x") is None


def test_sentence_names_every_verb_kind_and_namespace() -> None:
    lost = [*rights_on([(WORKLOADS, ("get", "patch"))], ["ml", None]), LIST, DEFINITION]
    assert sentence(lost) == (
        "RBAC does not allow the operator, in namespace ml, to get/patch deployments.apps, list "
        "modelsnapshots.lastgood.dev; RBAC does not allow the operator, in all namespaces, to get/patch "
        "deployments.apps: apply the chart's roles again; CustomResourceDefinition modelsnapshots.lastgood.dev is not "
        "installed: apply crds/"
    )


class Server:
    """Answers for rights, and keeps what it was asked and what was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(access, "PAUSES", (0.01,))
        self.gone: set[Missing] = set()
        self.silent = False
        self.asked: list[Missing] = []
        self.lost: list[list[Missing]] = []
        self.back: list[list[Missing]] = []
        self.access = Access()
        self.access.on_lost = lambda items: self.lost.append(list(items))
        self.access.on_back = lambda items: self.back.append(list(items))

    async def ask(self, what: Missing) -> bool | None:
        self.asked.append(what)
        return None if self.silent else what not in self.gone

    def refuse(self, verb: str = "patch", kind: str = "deployments", group: str = "apps", name: str = "") -> bool:
        return self.access.note(
            from_status(403, {"kind": "Status", "message": denied(verb, kind, group, name=name)}), ""
        )

    @asynccontextmanager
    async def running(self, *rights: Missing) -> AsyncIterator[None]:
        task = asyncio.create_task(self.access.run(self.ask, rights))
        try:
            await until(lambda: len(self.asked) >= len(rights))
            yield
        finally:
            task.cancel()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


async def test_lost_right_is_told_once_and_once_when_it_is_back(server: Server) -> None:
    async with server.running():
        server.gone = {PATCH}
        for _ in range(20):
            assert server.refuse(), "whoever met it says nothing"
        await until(lambda: server.lost)
        assert not server.access.complete
        server.refuse()
        count = len(server.asked)
        await until(lambda: len(server.asked) > count + 5)
        server.gone = set()
        await until(lambda: server.back)
        assert server.access.complete
    assert (server.lost, server.back) == ([[PATCH]], [[PATCH]])


async def test_what_is_lost_together_is_one_alert(server: Server) -> None:
    async with server.running(LIST, PATCH):
        server.gone = {LIST, PATCH}
        server.refuse()
        await until(lambda: server.lost)
    assert [set(items) for items in server.lost] == [{PATCH, LIST}]


async def test_one_right_that_is_lost_is_not_one_for_each_object(server: Server) -> None:
    async with server.running(PATCH):
        server.gone = {PATCH}
        for number in range(10):
            server.refuse(name=f"server-{number}")
        await until(lambda: server.lost)
    assert server.lost == [[PATCH]]


async def test_a_refusal_that_the_api_server_does_not_confirm_is_no_alert(server: Server) -> None:
    """An admission policy may write whatever it likes into its message."""
    async with server.running():
        server.refuse("list", "modelsnapshots", "lastgood.dev")
        assert server.access.blind("ml"), "until that is known"
        await until(lambda: not server.access.blind("ml"))
    assert server.lost == []
    assert server.access.complete


async def test_a_suspicion_that_nobody_answers_stays_one(server: Server) -> None:
    async with server.running():
        server.silent = True
        server.refuse("list", "modelsnapshots", "lastgood.dev")
        await until(lambda: len(server.asked) > 3)
        assert server.access.blind("ml")
    assert server.lost == []


async def test_who_takes_our_rights_in_his_own_namespace_stops_nobody_elsewhere(server: Server) -> None:
    async with server.running():
        server.gone = {LIST}
        server.refuse("list", "modelsnapshots", "lastgood.dev")
        await until(lambda: server.lost)
        assert server.access.blind("ml")
        assert not server.access.blind("another")
        assert not server.access.complete


async def test_a_kind_that_is_not_defined_is_known_nowhere(server: Server) -> None:
    async with server.running():
        server.gone = {DEFINITION}
        gone = from_status(404, {"kind": "Status", "message": "the server could not find it"})
        assert server.access.note(gone, "/apis/lastgood.dev/v1alpha1/namespaces/ml/modelsnapshots")
        await until(lambda: server.lost)
        assert server.access.blind("another")


async def test_role_that_names_its_objects_is_enough(server: Server) -> None:
    server.gone = {PATCH}
    async with server.running(PATCH):
        await until(lambda: server.asked)
    assert server.lost == []


@pytest.mark.parametrize("kind", ["secrets", "jobs", "pods", "events"])
async def test_right_that_not_every_installation_grants_is_told_and_the_pod_stays_ready(
    server: Server, kind: str
) -> None:
    what = Missing(group="batch", resource=kind, verb="create", namespace="ml")
    async with server.running():
        server.gone = {what}
        server.refuse("create", kind, "batch")
        await until(lambda: server.lost)
    assert server.access.complete
    assert not what.blinds


async def test_who_waits_for_a_right_is_woken_when_it_is_back(server: Server) -> None:
    async with server.running():
        server.gone = {PATCH}
        server.refuse()
        await until(lambda: server.lost)
        waiting = asyncio.create_task(server.access.rest(60))
        await asyncio.sleep(0)
        server.gone = set()
        async with asyncio.timeout(5):
            await waiting


async def test_rights_of_many_namespaces_that_are_lost_at_once_blind_all_of_them(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those that found no room go on with lists that nobody watches, and the alert comes again and again."""
    monkeypatch.setattr(access, "ROUND", 1000)
    rights = [replace(LIST, namespace=f"team-{number}") for number in range(access.MOST * 2)]
    async with server.running(*rights):
        server.gone = set(rights)
        refused = denied("list", "modelsnapshots", "lastgood.dev", 'in the namespace "team-0"')
        server.access.note(from_status(403, {"kind": "Status", "message": refused}), "")
        await until(lambda: server.lost)
        count = len(server.asked)
        await until(lambda: len(server.asked) > count + 3 * len(rights))
        assert all(server.access.blind(right.namespace) for right in rights)
    assert [len(items) for items in server.lost] == [len(rights)]


async def test_nobody_fills_the_memory_with_names(server: Server) -> None:
    for number in range(1000):
        server.refuse(name=f"x{number}")
    async with server.running():
        await until(lambda: server.asked)
    assert len(server.asked) <= 64
