"""An emergency's switch before its lock is told, and waited for, as one of its rollback."""

from dataclasses import replace

from lastgood.controller.reconciler import Reconciler, facts_of
from lastgood.core.actions import Switch, SwitchFirst
from lastgood.kube.cache import Key, Kind
from lastgood.kube.calm import Calm
from tests.unit.core.builders import V2, locked, record, world
from tests.unit.core.moments import EMERGENCY, SWITCHED

URGENT = record("digits-00007a-5f2c9a1b7e", EMERGENCY)
FIRST = SwitchFirst(snapshot=V2, record=URGENT)
KEY = Key(Kind.DEPLOYMENT, "ml", "digits")


def test_switch_before_the_lock_is_told_as_one_of_its_record() -> None:
    told = facts_of(replace(world(), records=(URGENT,)), FIRST)
    assert (told["rollback"], told["requestedBy"]) == (URGENT.name, "ann")
    assert told == facts_of(locked(world(), URGENT), Switch(snapshot=V2))


async def test_what_can_wait_waits_for_it_and_no_longer() -> None:
    calm, reconciler = Calm(), Reconciler.__new__(Reconciler)
    reconciler._calm = calm  # noqa: SLF001  # the rest of it would need a cluster
    presses = []
    for observed, action in (
        (world(records=(URGENT,)), FIRST),
        (locked(world(), URGENT), Switch(snapshot=V2)),
        (locked(world(), replace(URGENT, status=record(**SWITCHED).status)), None),
    ):
        reconciler._press(KEY, observed, action)  # noqa: SLF001  # it has no other door
        presses.append(not calm._calm.is_set())  # noqa: SLF001  # nor has this
    assert presses == [True, True, False]
