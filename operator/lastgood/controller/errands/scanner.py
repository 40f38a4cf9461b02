"""External scanners, off the event loop's way: a Job for each, between two readings of the same bytes."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from lastgood.api.facts.external import ExternalScan
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource
from lastgood.controller.errands.background import Background
from lastgood.controller.errands.turns import Lanes
from lastgood.controller.errands.verifier import Verifier
from lastgood.core.snapshot.external import claim_copy, untold
from lastgood.core.trust.policy import Scanner
from lastgood.errors import LastgoodError
from lastgood.kube.api.client import Client
from lastgood.kube.cache import Key
from lastgood.kube.jobs.claims import inspect_on_claim
from lastgood.kube.jobs.job_body import Subject
from lastgood.kube.jobs.scan_claims import not_scanned, scan_on_claim
from lastgood.kube.memory import Memory
from lastgood.kube.shared.trust import TrustPolicies
from lastgood.settings import Settings
from lastgood.verify import Result, Verdict
from lastgood.verify.inspection import Question

PLACES: Final = 4
URGENT: Final = 16  # for those that a switch waits for
EACH: Final = 2  # of them for one namespace
HEARING: Final = 300.0  # seconds that a switch waits for scanners: then it goes on without, and is refused
NO_CLAIM: Final = "external scanners scan PersistentVolumeClaims only, and no copy is on one"


class _NotTheBytesError(LastgoodError):
    """What a scanner would look at, or has looked at, is not known to be the digest."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is looked at, by whom; `copy` is the name of the copy on the claim."""

    key: Key
    snapshot: ModelSnapshot
    scanners: tuple[Scanner, ...]
    copy: str
    source: PvcSource


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which scanners are asked about which snapshot."""

    snapshot: ModelSnapshot
    scanners: tuple[Scanner, ...]


class ExternalScanners(Background[Asked, tuple[ExternalScan, ...]]):
    """Asks external scanners; what they say goes to the memory, and only if the bytes are the digest afterwards."""

    doing: ClassVar[str] = "scanning"

    def __init__(
        self,
        *,
        client: Client,
        settings: Settings,
        memory: Memory,
        verifier: Verifier,
        trust: TrustPolicies,
        wake: Callable[[Key], None],
    ) -> None:
        super().__init__()
        self._client = client
        self._settings = settings
        self._memory = memory
        self._verifier = verifier
        self._trust = trust
        self._wake = wake
        self._lanes = Lanes(places=PLACES, each=EACH, urgent=URGENT)
        self._urgent: dict[Key, asyncio.Event] = {}

    def start(self, snapshot: ModelSnapshot, scanners: tuple[Scanner, ...], key: Key) -> None:
        """Ask scanners, unless some are being asked about the same object.

        Raises:
            TransientError: the last time they could not even be asked; the queue asks again after a growing pause.
        """
        self._raise_unasked(key)
        if self._memory.begin_scan(key):
            self._urgent[key] = asyncio.Event()
            self._launch(key, Asked(snapshot=snapshot, scanners=scanners))

    async def hear(self, key: Key, snapshot: ModelSnapshot) -> bool:
        """Wait for scanners of which only the status has a result, as after a restart; tell whether there were any.

        Raises:
            TransientError: they cannot be asked now.
        """
        missing = self._untold(key, snapshot)
        if not missing:
            return False
        self.start(snapshot, missing, key)
        self._urgent[key].set()
        _, late = await asyncio.wait({self._tasks[key]}, timeout=HEARING)
        if late:  # its answer counts when it comes
            told = f"no result within {HEARING:g} s, for which a switch waited"
            self._memory.note_scans(key, self._none(snapshot, self._untold(key, snapshot), told))
        return True

    def _untold(self, key: Key, snapshot: ModelSnapshot) -> tuple[Scanner, ...]:
        policies = (policy.trust for policy in self._trust.of(key.namespace))
        return untold(policies, snapshot, self._memory.scans(key))

    async def _do(self, key: Key, work: Asked) -> tuple[ExternalScan, ...]:
        async with self._lanes.take(key.namespace, self._urgent[key]):
            return await self._scan(key, work.snapshot, work.scanners)

    async def _failed(self, key: Key, work: Asked, message: str) -> tuple[ExternalScan, ...]:  # noqa: ARG002 - not asked
        """Not scanned is not clean."""
        return self._none(work.snapshot, work.scanners, message)

    def _ended(self, key: Key, found: tuple[ExternalScan, ...] | None) -> None:
        del self._urgent[key]
        self._memory.note_scans(key, found or ())
        self._memory.end_scan(key)
        self._wake(key)

    async def _scan(self, key: Key, snapshot: ModelSnapshot, scanners: tuple[Scanner, ...]) -> tuple[ExternalScan, ...]:
        """Let scanners look between two readings: what they say is about the digest only if both find it."""
        found = claim_copy(snapshot)
        if found is None:
            raise _NotTheBytesError(NO_CLAIM)
        look = Look(key=key, snapshot=snapshot, scanners=scanners, copy=found[0], source=found[1])
        mark = self._verifier.mark(key, look.copy, snapshot) or await self._before(look)
        scans = tuple([await self._ask(look, scanner) for scanner in scanners])
        if any(scan.counts or scan.found for scan in scans):
            await self._after(look, mark)
        return scans

    async def _before(self, look: Look) -> str:
        """Read the copy, which this process has not read yet; return the BLAKE3 for the second reading."""
        return (await self._read(look, "", "not scanned")).blake3

    async def _after(self, look: Look, mark: str) -> None:
        """Read the copy again: bytes that were swapped and left there are not those that the result is to be about."""
        await self._read(look, mark, "the scan result is discarded; read again after the scan")

    async def _read(self, look: Look, mark: str, otherwise: str) -> Result:
        question = Question(digest=look.snapshot.digest, at=self._memory.now(), blake3=mark)
        found = await inspect_on_claim(
            self._client,
            self._settings,
            snapshot=look.snapshot,
            source=look.source,
            question=question,
            nonce=secrets.token_hex(16),
        )
        if found.result.verdict is not Verdict.VERIFIED:
            await self._verifier.start(look.snapshot, look.key)  # who serves it must hear of it now
            told = f"{look.copy} was {found.result.verdict}: {found.result.message}"
            raise _NotTheBytesError(f"{otherwise}: {told}")
        return found.result

    async def _ask(self, look: Look, scanner: Scanner) -> ExternalScan:
        subject = Subject.of(look.snapshot, look.source, secrets.token_hex(16))
        return await scan_on_claim(self._client, self._settings, subject, scanner, self._memory.now)

    def _none(self, snapshot: ModelSnapshot, scanners: tuple[Scanner, ...], why: str) -> tuple[ExternalScan, ...]:
        now = self._memory.now()
        return tuple(not_scanned(snapshot.digest, scanner, now, why) for scanner in scanners)

    def forget(self, key: Key) -> None:
        """Stop looking at what is gone; the Job is deleted."""
        if self._drop(key):
            del self._urgent[key]
            self._memory.end_scan(key)
