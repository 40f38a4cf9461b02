"""Whose no it is: a right that the operator lacks says nothing about a snapshot, nor about a record's name."""

from typing import Any

import pytest

from lastgood.core.actions import CreateRecord, Switch
from lastgood.kube.api.problems import ForbiddenError
from lastgood.kube.cache import Cache, Key, Kind
from lastgood.kube.memory import Memory
from lastgood.kube.notices.notice import Notices
from lastgood.kube.shared.companions import Companions
from lastgood.kube.shared.remembered import RememberedFacts
from lastgood.kube.writes.act import Actor
from tests.unit.core.builders import DEPLOYMENT, NAMESPACE, V2, name, record, spec, world

KEY = Key(Kind.DEPLOYMENT, NAMESPACE, DEPLOYMENT)


class Refusing:
    """Says no to everything; `told` as the client does where a right is missing."""

    def __init__(self, *, told: bool) -> None:
        self._error = ForbiddenError(status=403, reason="Forbidden", message="no")
        self._error.told = told

    async def apply(self, *_: Any, **__: Any) -> None:
        raise self._error

    async def create(self, *_: Any, **__: Any) -> None:
        raise self._error


class Empty:
    """Quarantines nothing."""

    def entries(self, _: str) -> dict[str, str]:
        return {}


def actor(*, told: bool) -> tuple[Actor, Memory]:
    client: Any = Refusing(told=told)
    quarantine: Any = Empty()
    memory, cache = Memory(), Cache()
    notices = Notices([])
    remembered = RememberedFacts(client, namespace="lastgood-system", alive=lambda _: ())
    made = Actor(
        client=client,
        cache=cache,
        companions=Companions(client),
        quarantine=quarantine,
        remembered=remembered,
        notices=notices,
        memory=memory,
    )
    return made, memory


async def test_right_to_switch_that_is_missing_gives_up_no_snapshot() -> None:
    acting, memory = actor(told=True)
    with pytest.raises(ForbiddenError):
        await acting.act(KEY, Switch(snapshot=V2), world())
    assert memory.watch(KEY, world().deployment).refused == {}


async def test_switch_that_a_policy_refuses_is_remembered_of_its_snapshot() -> None:
    acting, memory = actor(told=False)
    await acting.act(KEY, Switch(snapshot=V2), world())
    assert set(memory.watch(KEY, world().deployment).refused) == {name(2)}


@pytest.mark.parametrize(("told", "taken"), [(True, set()), (False, {"by-hand"})])
async def test_right_to_create_a_record_that_is_missing_gives_up_no_name(*, told: bool, taken: set[str]) -> None:
    acting, memory = actor(told=told)
    with pytest.raises(ForbiddenError):
        await acting.act(KEY, CreateRecord(name=record().name, spec=spec()), world())
    watch = memory.watch(KEY, world().deployment)
    assert set(watch.taken) == taken
    assert set(watch.refused) == {"by-hand"}, "what runs goes on meanwhile"
