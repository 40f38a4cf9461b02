"""A pass that has ended, however it did, presses no more; and all parts ask the same Calm."""

import asyncio
import gc
from types import SimpleNamespace

import pytest

from lastgood.controller.reconciler import Reconciler
from lastgood.controller.runtime import Parts, Runtime
from lastgood.kube.access import Access
from lastgood.kube.cache import Key, Kind
from lastgood.kube.calm import Calm
from lastgood.kube.notices.events import Events
from lastgood.settings import Settings

KEY = Key(Kind.DEPLOYMENT, "ml", "digits")


async def test_a_pass_that_fails_presses_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    calm, reconciler = Calm(), Reconciler.__new__(Reconciler)
    reconciler._calm = calm  # noqa: SLF001  # the rest of it would need a cluster

    async def drive(_: Reconciler, key: Key, *__: object) -> None:
        calm.press(key)
        raise RuntimeError("the API server is away")

    monkeypatch.setattr(Reconciler, "_drive", drive)
    with pytest.raises(RuntimeError):
        await reconciler.reconcile(KEY)
    assert gc.isenabled()
    async with asyncio.timeout(1):
        await calm.wait(seconds=60)


def test_events_and_copies_ask_the_same() -> None:
    made: list[Parts] = []
    settings = Settings(namespaces=None, operator_namespace="lastgood", identity="a-test")
    Runtime(SimpleNamespace(access=Access()), settings, made.append)  # type: ignore[arg-type]  # none of it is used before it runs
    (events,) = (sink for sink in made[0].notices.sinks if isinstance(sink, Events))
    assert events.calm is made[0].calm
