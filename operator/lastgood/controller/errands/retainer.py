"""Retention: says which captured snapshots are beyond the limits, and, where that is asked for, deletes them later."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from lastgood.api.names import Reason
from lastgood.core.snapshot.retention import Needs, needs
from lastgood.errors import LastgoodError
from lastgood.kube.api.client import Client
from lastgood.kube.api.resources import LEASES
from lastgood.kube.lease import NAME
from lastgood.kube.notices.notice import EventType, Notice, Notices
from lastgood.kube.shared.needed import NotReadableError, read_needed
from lastgood.kube.shared.quarantine import Quarantine
from lastgood.kube.shared.trust import TrustPolicies
from lastgood.settings import Settings
from lastgood.verify.errors import VerifyError
from lastgood.verify.store import Deletion, Held, Listing, Plan, apply, listing, plan
from lastgood.verify.store.announced import Announced

logger = logging.getLogger(__name__)
T = TypeVar("T")

EVERY: float = 3600.0  # seconds between two plans, and at least between an announcement and its deletion
_LONGER: Final = 1.1  # times as long, by chance; never shorter, or what was announced would wait for one plan more
FIRST: Final = 0.05  # of it, until the first plan
FRESH: Final = 15.0  # seconds for which what is needed counts as known
_SHOWN: Final = 50
_SHARED: Final = (
    "the store may be shared by all namespaces, but this operator watches only some: retention needs "
    "--all-namespaces (chart: watch.all)"
)


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """A plan, what it was made from, and why nothing may be deleted, if so."""

    plan: Plan
    found: Listing
    at: float
    doubts: tuple[str, ...]


class Retainer:
    """Makes a plan now and then, announces it where it changed, and deletes what was announced long enough ago."""

    def __init__(
        self,
        *,
        client: Client,
        settings: Settings,
        quarantine: Quarantine,
        trust: TrustPolicies,
        notices: Notices,
        mine: Callable[[], bool],
    ) -> None:
        self._client = client
        self._settings = settings
        self._quarantine = quarantine
        self._trust = trust
        self._notices = notices
        self._mine = mine
        self._announced = Announced(EVERY)
        self._stayed: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="retention")

    @property
    def wanted(self) -> bool:
        """Whether there is a limit to keep."""
        return self._settings.store is not None and bool(self._settings.retain_last or self._settings.retain_bytes)

    async def run(self) -> None:
        """Go on for ever."""
        pause = EVERY * FIRST
        while True:
            await asyncio.sleep(pause * random.uniform(1.0, _LONGER))  # noqa: S311  # jitter, no secret
            pause = EVERY
            try:
                await self.turn()
            except (LastgoodError, VerifyError) as error:
                logger.warning("cannot plan retention, retrying later: %s", error)
            except Exception:  # whatever it is, a store that is not kept in order must not end the operator
                logger.exception("cannot plan retention, retrying later")

    async def turn(self) -> None:
        """Make one plan, and do what it allows."""
        if not self._mine() or self._settings.store is None:
            self._announced.forget()
            return
        decided = await self._decide(self._settings.store)
        if self._announced.take(decided.plan, decided.at, beside=decided.doubts):
            await self._say(decided)
        if self._settings.retain_apply:
            await self._apply(self._settings.store, decided)

    async def _decide(self, store: Path) -> _Decided:
        found = await self._threaded(lambda: listing(store))
        return await self._plan(found)

    async def _plan(self, found: Listing) -> _Decided:
        """Make a plan from a listing, with what is needed as the API server has it now."""
        at, doubts, needed = time.monotonic(), [*self._doubts(found)], Needs()
        if not doubts:
            try:
                needed = needs(await read_needed(self._client, self._quarantine, self._trust))
            except NotReadableError as error:
                doubts.append(str(error))
        decided = plan(
            rows(found, needed),
            keep_last=self._settings.retain_last or None,
            max_bytes=self._settings.retain_bytes or None,
            pins=needed.pins,
            serving=needed.serving,
            last_known_good=needed.last_known_good,
            evidence=needed.evidence,
            complete=not doubts,
            now=datetime.now(UTC),
        )
        return _Decided(plan=decided, found=found, at=at, doubts=tuple(doubts))

    def _doubts(self, found: Listing) -> list[str]:
        """Return why what is needed cannot be known whole."""
        doubts = [f"{path} in the store: {why}" for path, why in found.strange[:_SHOWN]]
        if self._settings.namespaces is not None:
            doubts.append(_SHARED)
        if not (self._quarantine.synced and self._trust.synced):
            doubts.append("caches not synced: quarantine or trust policies")
        return doubts

    async def _say(self, decided: _Decided) -> None:
        chosen, held = decided.plan, decided.found.held
        if decided.doubts:
            reason, message = Reason.RETENTION_BLOCKED, f"retention is blocked: {decided.doubts[0]}"
        else:
            verb = f"will delete, in {EVERY:g} s at the earliest," if self._settings.retain_apply else "would delete"
            many = f"{len(chosen.delete)} of {len(held)} snapshots, {chosen.freed_bytes} bytes"
            reason, message = Reason.RETENTION_PLANNED, f"retention {verb} {many}"
        facts = {
            "apply": self._settings.retain_apply,
            "delete": [shown(item) for item in chosen.delete[:_SHOWN]],
            "deleteCount": len(chosen.delete),
            "deleteBytes": chosen.freed_bytes,
            "heldCount": len(held),
            "heldBytes": sum(item.size_bytes for item in held),
            "doubts": list(decided.doubts),
        }
        type_: EventType = "Warning" if reason is Reason.RETENTION_BLOCKED else "Normal"
        self._tell(reason, message, facts, event=type_ if chosen.delete or decided.doubts else None)

    async def _apply(self, store: Path, decided: _Decided) -> None:
        stayed: dict[str, str] = {}
        deleted: list[Deletion] = []
        for deletion in self._announced.ripe(decided.plan, decided.at).delete:
            why, decided = await self._delete(store, deletion, decided)
            if why is None:
                deleted.append(deletion)
                told = f"deleted {deletion.digest}, {deletion.size_bytes} bytes: {deletion.why}"
                self._tell(Reason.RETENTION_APPLIED, told, shown(deletion))
                continue
            stayed[deletion.digest] = why
            if self._stayed.get(deletion.digest) != why:  # the same trouble is told once
                self._tell(Reason.RETENTION_BLOCKED, f"{deletion.digest} was not deleted: {why}", shown(deletion))
        self._stayed = stayed
        if deleted:
            size = sum(item.size_bytes for item in deleted)
            told = f"retention deleted {len(deleted)} snapshots, {size} bytes"
            self._tell(Reason.RETENTION_APPLIED, told, {"snapshots": len(deleted), "sizeBytes": size}, event="Normal")

    async def _delete(self, store: Path, deletion: Deletion, decided: _Decided) -> tuple[str | None, _Decided]:
        """Delete one snapshot, if it is still not needed; return why it stays, and the plan that said so."""
        if time.monotonic() - decided.at > FRESH:
            decided = await self._plan(decided.found)
        kept = next((item.why for item in decided.plan.keep if item.digest == deletion.digest), None)
        if kept is not None or not self._mine():
            return kept or "another replica has the Lease", decided
        done = await self._threaded(lambda: apply(Plan(delete=(deletion,), keep=()), store))
        return next((why for _, why in done.stayed), None), decided

    async def _threaded(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _tell(
        self, reason: Reason, message: str, facts: Mapping[str, object] | None = None, *, event: EventType | None = None
    ) -> None:
        notice = Notice(
            what="Retention",
            reason=str(reason),
            message=message,
            severity="info" if reason is Reason.RETENTION_PLANNED else "warning",
            event=event,
            subject=self._subject,
            facts=facts or {},
        )
        self._notices.tell(notice)

    @property
    def _subject(self) -> dict[str, str]:
        """The Lease: no other object stands for the operator."""
        namespace = self._settings.operator_namespace
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "namespace": namespace, "name": NAME}

    def close(self) -> None:
        """Let go of the thread; what it has begun it ends."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def rows(found: Listing, needed: Needs) -> list[Held]:
    """Return what is held, once for each model that has it; nobody's is kept."""
    nobodys: tuple[str | None, ...] = (None,)
    return [
        replace(item, model=model)
        for item in found.held
        for model in (tuple(sorted(needed.models.get(item.digest, ()))) or nobodys)
    ]


def shown(deletion: Deletion) -> dict[str, object]:
    """Return what a log says of a deletion."""
    captured = deletion.captured_at.isoformat(timespec="seconds")
    return {"digest": deletion.digest, "sizeBytes": deletion.size_bytes, "capturedAt": captured, "why": deletion.why}
