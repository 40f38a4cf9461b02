"""Looks at snapshots off the event loop, each once at a time, for all who wait for it; results go to the memory."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lastgood.api.facts.evidence import PassedOver
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.controller.errands.background import Background
from lastgood.controller.errands.copies import Copies
from lastgood.controller.errands.turns import Lanes, Unhurried
from lastgood.core.state import Checked
from lastgood.core.trust.trusted import wants_scan
from lastgood.kube.api.client import Client
from lastgood.kube.cache import Key, Kind
from lastgood.kube.memory import Memory
from lastgood.kube.shared.material import bundles
from lastgood.kube.shared.trust import TrustPolicies
from lastgood.settings import Settings
from lastgood.verify import Budget, Limits, Result, Verdict
from lastgood.verify.inspection import How, Inspection, Question, none_good
from lastgood.verify.scan import Policy
from lastgood.verify.sources import Room
from lastgood.verify.trust_ids import anchors

PLACES = 4  # for routine
URGENT = 16  # for rollbacks: most of them wait for a network or a Job
EACH = 2  # of them for one namespace
LONGEST = 24 * 3600.0  # seconds for one copy that was never read whole
SHORTEST = 60.0
SLOWER = 20.0  # times as long as the last reading took, which may have been a quick one
PATIENCE = 0.25  # seconds: a small snapshot is verified within the pass that asks for it
REMEMBERED = 10_000


_Hear = Callable[[Key, ModelSnapshot], Awaitable[bool]]
"""Waits for external scanners whose word a switch needs, and tells whether it did; see `controller.scanner`."""


async def _nobody(_: Key, __: ModelSnapshot) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What this process found of one copy, for a quicker reading of the same bytes next time.

    It is kept here and not read from a status: whoever may write one could pass other bytes off as verified.
    """

    uid: str
    digest: str
    inspection: Inspection


def patience(snapshot: ModelSnapshot) -> float:
    """Return how many seconds one copy may take: a server that sends a byte now and then keeps no rollback waiting."""
    last = snapshot.status.verification
    if last is None or last.verified_at is None or not last.seconds > 0:
        return LONGEST
    return min(LONGEST, max(SHORTEST, SLOWER * last.seconds))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A snapshot that is to be verified, and whether a rollback waits for it by now."""

    snapshot: ModelSnapshot
    urgent: asyncio.Event


class Verifier(Background[Wanted, Checked]):
    """Verifies snapshots: bytes, signatures, scan; in two lanes, so that routine never keeps a rollback waiting."""

    doing: ClassVar[str] = "verifying"

    def __init__(
        self,
        *,
        client: Client,
        settings: Settings,
        memory: Memory,
        trust: TrustPolicies,
        wake: Callable[[Key], None],
    ) -> None:
        super().__init__()
        self._client = client
        self._memory = memory
        self._trust = trust
        self._wake = wake
        self._threads = ThreadPoolExecutor(PLACES + URGENT, thread_name_prefix="verify")
        self._lanes = Lanes(places=PLACES, each=EACH, urgent=URGENT)
        self._copies = Copies(client=client, settings=settings, threads=self._in_thread)
        self._scratch = settings.scratch
        self._room = Room(settings.scratch_bytes * 9 // 10) if settings.scratch_bytes else None
        rate = settings.verify_rate
        self.budget = Budget(rate) if rate else None  # for whatever routine reads
        self._urgent: dict[Key, asyncio.Event] = {}
        self._seen: OrderedDict[tuple[Key, str], Seen] = OrderedDict()
        self._stopping = False
        self._gone: dict[Key, threading.Event] = {}
        self.hear: _Hear = _nobody

    async def start(self, snapshot: ModelSnapshot, waiter: Key) -> None:
        """Start a verification unless it runs, and give a small one the time to finish.

        Raises:
            TransientError: the last one could not even be started; the queue asks again after a growing pause.
        """
        key = Key(Kind.SNAPSHOT, snapshot.meta.namespace, snapshot.meta.name)
        self._raise_unasked(key)
        first = self._memory.begin(key, waiter)
        urgent = self._urgent.setdefault(key, asyncio.Event())
        if waiter.kind is Kind.DEPLOYMENT:
            urgent.set()  # also for one that routine has begun to wait for
        if not first:
            return
        task = self._launch(key, Wanted(snapshot=snapshot, urgent=urgent))
        await asyncio.wait({task}, timeout=PATIENCE)
        self._raise_unasked(key)

    async def _do(self, key: Key, work: Wanted) -> Checked:
        async with self._lanes.take(key.namespace, work.urgent):
            checked = await self._look(key, work.snapshot, work.urgent)
        # Scanners take minutes: meanwhile, the place is another rollback's.
        if checked.reason == Reason.VERIFIED and work.urgent.is_set() and await self.hear(key, work.snapshot):
            async with self._lanes.take(key.namespace, work.urgent):
                return await self._look(key, work.snapshot, work.urgent)  # what is used is good now, not before that
        return checked

    async def _failed(self, key: Key, work: Wanted, message: str) -> Checked:  # noqa: ARG002 - the snapshot says whose
        """Not to be readable says nothing about the bytes."""
        return Checked(
            uid=work.snapshot.meta.uid,
            digest=work.snapshot.digest,
            reason=Reason.UNREADABLE,
            at=self._memory.now(),
            message=message,
        )

    def _ended(self, key: Key, found: Checked | None) -> None:
        self._urgent.pop(key, None)
        self._gone.pop(key, None)
        for waiter in {*self._memory.end(key, found), key}:
            self._wake(waiter)

    async def _look(self, key: Key, snapshot: ModelSnapshot, urgent: asyncio.Event) -> Checked:
        question = await self._question(snapshot)
        gone = self._gone[key] = threading.Event()
        how = How(
            limits=Limits(max_seconds=patience(snapshot)),
            cancelled=lambda: self._stopping or gone.is_set(),
            budget=Unhurried(budget=self.budget, hurry=urgent) if self.budget and not urgent.is_set() else None,
            scratch=self._scratch,
            room=self._room,
        )
        passed: list[tuple[str, Result]] = []
        for name, source in snapshot.copies:
            asked = self._remembered(key, name, snapshot, question)
            found = await self._copies.inspect(snapshot, name, source, asked, how)
            if found.result.verdict is Verdict.VERIFIED:
                self._remember(key, name, snapshot, found)
                return self._checked(snapshot, found, name, passed)
            self._seen.pop((key, name), None)
            passed.append((name, found.result))
        return self._checked(snapshot, Inspection(result=none_good(passed)), "", passed)

    async def _question(self, snapshot: ModelSnapshot) -> Question:
        policies = self._trust.of(snapshot.meta.namespace)
        known = anchors(policies, snapshot.model)
        wanted = wants_scan([policy.trust for policy in policies], snapshot.model)
        return Question(
            digest=snapshot.digest,
            at=self._memory.now(),
            bundles=await bundles(self._client, snapshot.meta.namespace, snapshot.signatures),
            keys=known.keys,
            roots=known.roots,
            anchors=known.digest,
            scan=Policy() if wanted else None,
        )

    def _remembered(self, key: Key, name: str, snapshot: ModelSnapshot, question: Question) -> Question:
        seen = self._seen.get((key, name))
        if seen is None or (seen.uid, seen.digest) != (snapshot.meta.uid, snapshot.digest):
            return question
        return replace(question, blake3=seen.inspection.result.blake3, earlier=seen.inspection)

    def mark(self, key: Key, copy: str, snapshot: ModelSnapshot) -> str:
        """Return the BLAKE3 of a copy that this process found good, for a quick second reading; empty for none."""
        seen = self._seen.get((key, copy))
        ours = seen is not None and (seen.uid, seen.digest) == (snapshot.meta.uid, snapshot.digest)
        return seen.inspection.result.blake3 if seen and ours else ""

    def _remember(self, key: Key, name: str, snapshot: ModelSnapshot, found: Inspection) -> None:
        slim = replace(found, result=replace(found.result, files=()))
        self._seen[key, name] = Seen(uid=snapshot.meta.uid, digest=snapshot.digest, inspection=slim)
        self._seen.move_to_end((key, name))
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    async def _in_thread(self, work: Callable[[], Inspection]) -> Any:  # noqa: ANN401  # what the work returns
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _checked(
        self, snapshot: ModelSnapshot, found: Inspection, copy: str, passed: Sequence[tuple[str, Result]]
    ) -> Checked:
        result = found.result
        return Checked(
            uid=snapshot.meta.uid,
            digest=snapshot.digest,
            reason=Reason(result.verdict),
            at=self._memory.now(),
            message=result.message,
            actual=result.actual or "",
            size_bytes=result.size_bytes,
            file_count=result.file_count,
            seconds=result.seconds,
            findings=tuple(result.findings),
            examined=found.examined,
            scan=found.scan,
            blake3=result.blake3,
            copy=copy,
            passed_over=tuple(
                PassedOver(copy=name, reason=str(bad.verdict), message=bad.message) for name, bad in passed if copy
            ),
        )

    def forget(self, key: Key) -> None:
        """Forget what was seen of a snapshot that is gone, and stop reading it."""
        if gone := self._gone.get(key):
            gone.set()
        for place in [place for place in self._seen if place[0] == key]:
            del self._seen[place]

    async def close(self) -> None:
        """Stop what runs: a verification that is cut off has found nothing."""
        self._stopping = True
        await super().close()
        self._threads.shutdown(wait=False, cancel_futures=True)
