"""The election: whatever the network does, two candidates never may write at the same moment."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.errors import TransientError
from lastgood.kube.api.client import Client
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.problems import NotFoundError
from lastgood.kube.api.resources import LEASES
from lastgood.kube.lease import Lease, NotLeaderError
from tests.unit.kube.world import Server

SECONDS = 6.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def candidate(server: Server, clock: Clock, identity: str, **more: Any) -> Lease:
    return Lease(server, namespace="ops", identity=identity, seconds=SECONDS, clock=clock, **more)


def spec(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.objects["leases", "ops", "lastgood"]["spec"]
    return found


async def test_first_candidate_takes_the_lease() -> None:
    server, clock = Server(), Clock()
    lease = candidate(server, clock, "a")
    with pytest.raises(NotLeaderError):
        lease.check()
    assert await lease.step()
    lease.check()
    assert spec(server)["holderIdentity"] == "a"


async def test_second_candidate_stands_by() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, clock, "a"), candidate(server, clock, "b")
    await first.step()
    assert not await second.step()
    assert not second.mine


async def test_a_holder_stops_writing_before_anybody_may_take_over() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, clock, "a"), candidate(server, clock, "b")
    await first.step()
    await second.step()  # begins to watch
    clock.now += SECONDS * 2 / 3
    assert not first.mine
    assert not await second.step()
    clock.now += SECONDS / 3
    assert await second.step()


async def test_a_renewed_lease_is_never_taken() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, clock, "a"), candidate(server, clock, "b")
    for _ in range(20):
        assert await first.step()
        assert not await second.step()
        clock.now += SECONDS / 3


async def test_the_same_identity_takes_its_own_lease_back_at_once_after_a_restart() -> None:
    server, clock = Server(), Clock()
    await candidate(server, clock, "a").step()
    again = candidate(server, clock, "a")
    assert await again.step()
    assert spec(server)["leaseTransitions"] == 0


async def test_a_released_lease_is_taken_at_once() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, clock, "a"), candidate(server, clock, "b")
    await first.step()
    await second.step()
    await first.release()
    assert not first.mine
    assert await second.step()
    assert spec(server)["leaseTransitions"] == 1


async def test_an_outage_ends_the_right_to_write_and_not_the_process() -> None:
    server, clock = Server(), Clock()
    lease = candidate(server, clock, "a")
    await lease.step()
    server.down = True
    clock.now += SECONDS / 3
    assert not await lease.step()
    assert lease.mine  # what was granted still counts
    clock.now += SECONDS / 3
    assert not await lease.step()
    assert not lease.mine
    server.down = False
    assert await lease.step()


async def test_a_lease_that_somebody_rewrote_is_looked_at_before_it_is_renewed() -> None:
    server, clock = Server(), Clock()
    lease = candidate(server, clock, "a")
    await lease.step()
    usurped = server.objects["leases", "ops", "lastgood"]
    server.put(LEASES, {**usurped, "spec": {**usurped["spec"], "holderIdentity": "b"}})
    assert not await lease.step()
    assert not await lease.step()
    assert not lease.mine


async def test_a_write_that_was_granted_late_counts_from_when_it_was_sent() -> None:
    server, clock = Server(), Clock()
    lease = candidate(server, clock, "a")

    def slow(verb: str) -> None:
        clock.now += 1.5 if verb == "create" else 0

    server.before = slow
    await lease.step()
    assert lease.remaining() == pytest.approx(SECONDS * 2 / 3 - 1.5)


async def test_wrong_clocks_of_other_machines_do_not_matter() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, clock, "a"), candidate(server, clock, "b")
    await first.step()
    held = server.objects["leases", "ops", "lastgood"]
    server.put(LEASES, {**held, "spec": {**held["spec"], "renewTime": "1999-01-01T00:00:00.000000Z"}})
    assert not await second.step()


async def test_a_change_is_announced_once() -> None:
    server, clock, heard = Server(), Clock(), list[bool]()
    lease = candidate(server, clock, "a", on_change=heard.append)
    await lease.step()
    await lease.step()
    server.down = True
    clock.now += SECONDS
    await lease.step()
    await lease.step()
    assert heard == [True, False]


async def test_nobody_who_tries_is_said_to_be_dead() -> None:
    server, clock = Server(), Clock()
    lease = candidate(server, clock, "a")
    server.down = True
    clock.now += SECONDS * 2
    await lease.step()
    assert lease.beating
    clock.now += SECONDS * 4
    assert not lease.beating


async def test_a_write_without_the_lease_never_reaches_the_network() -> None:
    class NoNetwork(Connection):
        def __init__(self) -> None:
            self.server = "https://nowhere.invalid"

        @property
        def session(self) -> Any:
            raise AssertionError("a request was sent")

    lease = candidate(Server(), Clock(), "a")
    client = Client(NoNetwork(), fence=lease)
    writes = (
        client.create(LEASES, "ops", {}),
        client.patch(LEASES, "ops", "x", {}),
        client.apply(LEASES, "ops", "x", {}, force=True),
        client.delete(LEASES, "ops", "x"),
    )
    for write in writes:
        with pytest.raises(TransientError):
            await write


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["step", "step", "step", "release", "outage", "restart"]),
        st.floats(min_value=0, max_value=4),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_two_candidates_never_hold_it_at_the_same_moment(steps: list[tuple[str, str, float]]) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, str, float]]) -> None:
    server, clock = Server(), Clock()
    candidates = {name: candidate(server, clock, name) for name in "abc"}
    for name, act, pause in steps:
        server.down = act == "outage"
        if act == "release":
            await candidates[name].release()
        elif act == "restart":
            candidates[name] = candidate(server, clock, name)
        else:
            await candidates[name].step()
        assert sum(lease.mine for lease in candidates.values()) <= 1
        clock.now += pause
        assert sum(lease.mine for lease in candidates.values()) <= 1


async def test_a_lease_that_was_deleted_is_created_again() -> None:
    server, clock = Server(), Clock()
    lease = candidate(server, clock, "a")
    await lease.step()
    server.objects.clear()
    with pytest.raises(NotFoundError):
        await server.get(LEASES, "ops", "lastgood")
    await lease.step()
    await lease.step()
    assert lease.mine
    assert spec(server)["holderIdentity"] == "a"


async def test_deleting_the_lease_does_not_make_two_holders() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, clock, "a"), candidate(server, clock, "b")
    await first.step()
    await second.step()
    server.objects.clear()
    assert not await second.step()
    assert first.mine
    clock.now += SECONDS
    assert not first.mine
    assert await second.step()
