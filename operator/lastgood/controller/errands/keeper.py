"""Forensics copies: what is there when a snapshot is quarantined, kept in the store as evidence."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from lastgood.api.facts.evidence import Forensics
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource, Source, StoreSource
from lastgood.controller.errands.copies import RemoteCopy, remote_copy
from lastgood.controller.errands.errands import Errand, Errands, How, Means
from lastgood.core.actions import KeepEvidence
from lastgood.core.snapshot.forensics import failure
from lastgood.core.state import Decision, Tell
from lastgood.errors import LastgoodError, TransientError
from lastgood.kube.cache import Key
from lastgood.kube.jobs.capture_claims import NotPossibleError
from lastgood.kube.jobs.evidence_claims import keep_on_claim
from lastgood.verify.errors import StoppedError, VerifyError
from lastgood.verify.store import Case, Evidence, can_name, is_room, keep_evidence, keep_evidence_of
from lastgood.verify.values import Limits

NEAR: Final = Limits(max_seconds=6 * 3600.0)
_FAR: Final = Limits(max_seconds=3600.0)
"""A server that sends a byte now and then may be the very one that the quarantine is about."""


class NotKeptError(LastgoodError):
    """No copy of a snapshot could be kept; `lasting` where that cannot change while the operator runs."""

    def __init__(self, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.lasting = lasting


class Keeper(Errands):
    """Copies quarantined snapshots to the evidence; what comes of it goes to the memory."""

    places: ClassVar[int] = 4

    def __init__(self, means: Means) -> None:
        super().__init__(means)
        self._gone: set[Key] = set()

    async def _copy(self, errand: Errand) -> None:
        try:
            await self._note(errand, await self._kept(errand))
        except NotKeptError as error:
            await self._note(errand, self._failure(errand, str(error), lasting=error.lasting))

    async def _kept(self, errand: Errand) -> Forensics:
        """Keep the first copy that can be read: the one that workloads were pointed at, then the others in their order.

        Raises:
            NotKeptError: none could be kept.
        """
        passed: list[tuple[str, Exception]] = []
        for name, source in candidates(errand.snapshot):
            try:
                return await self._keep(errand, name, source)
            except (TransientError, StoppedError):
                raise
            except (LastgoodError, VerifyError, ValueError) as error:
                passed.append((name, error))
        lasting = all(isinstance(error, NotPossibleError) for _, error in passed)
        raise NotKeptError("; ".join(dict.fromkeys(f"{name}: {error}" for name, error in passed)), lasting=lasting)

    async def _keep(self, errand: Errand, name: str, source: Source) -> Forensics:
        snapshot, how = errand.snapshot, errand.running.how
        case = case_of(snapshot, name)
        if isinstance(source, PvcSource):
            nonce = secrets.token_hex(16)
            on_claim = await keep_on_claim(
                self._client, self._settings, snapshot=snapshot, source=source, case=case, nonce=nonce
            )
            return self._fact(case, name, on_claim.path, on_claim.found, claim=self._settings.capture_claim)
        store = self._store()
        if isinstance(source, StoreSource):
            kept = await self._threaded(errand, lambda: keep_near(store, source.path, case, how))
        else:
            kept = await self._threaded(errand, await self._fetching(errand, name, source, case))
        return self._fact(case, name, kept.path, kept.found or "", more=noted(kept))

    async def _fetching(self, errand: Errand, name: str, source: RemoteCopy, case: Case) -> Callable[[], Evidence]:
        """Return what fetches a remote copy, with the credentials that it needs.

        Raises:
            LastgoodError: they cannot be had.
        """
        store, how = self._store(), errand.running.how
        remote = await remote_copy(self._client, self._settings, errand.snapshot, f"spec.{name}", source)
        return lambda: keep_evidence_of(remote, store, case, limits=_FAR, **how)

    def _fact(self, case: Case, name: str, path: str, found: str, *, claim: str = "", more: str = "") -> Forensics:
        same = f"; its digest is {found}, not the declared one" if found else ""
        what = f"{name} is kept as {path} on claim {claim}" if claim else f"{name} is kept as {path}"
        told = f"{what}{'; its digest matches' if found == case.digest else same}{more}"
        return Forensics(reason=Reason.EVIDENCE_KEPT, time=self._memory.now(), path=path, claim=claim, message=told)

    def _failure(self, errand: Errand, message: str, *, lasting: bool) -> Forensics:
        mark = errand.snapshot.status.quarantine
        last = mark.forensics if mark else None
        return failure(last, self._memory.now(), f"no evidence was kept: {message}", lasting=lasting)

    async def _not_done(self, errand: Errand, message: str) -> None:
        if not errand.running.stopped:
            await self._note(errand, self._failure(errand, message, lasting=False))

    async def _note(self, errand: Errand, fact: Forensics) -> None:
        """Remember it for the status; of an object that is gone, the security log has the last word."""
        if errand.key not in self._gone:
            self._memory.note_forensics(errand.key, errand.snapshot.meta.uid, fact)
            return
        self._gone.discard(errand.key)
        snapshot, reason = errand.snapshot, Reason(fact.reason)
        decision = Decision(
            reason=reason,
            message=f"{snapshot.name}, deleted in the meantime: {fact.message}",
            actions=(KeepEvidence(snapshot=snapshot),),
            tell=Tell.WARNING,
        )
        await self._actor.tell(snapshot.meta, "ModelSnapshot", decision, digest=snapshot.digest)

    def forget(self, key: Key) -> None:
        """Go on: whoever deletes a quarantined snapshot does not end the copy of what was there."""
        if key in self._running:
            self._gone.add(key)


def candidates(snapshot: ModelSnapshot) -> list[tuple[str, Source]]:
    """Return the copies in the order in which they are tried as evidence, each once."""
    found = {snapshot.place_name: snapshot.place}
    return list((found | {name: place for name, place in snapshot.copies if name not in found}).items())


def keep_near(store: Path, path: str, case: Case, how: How) -> Evidence:
    """Keep what is at a path of the operator's own store.

    Raises:
        NotPossibleError: it is no checkpoint, but a room of the store, which holds those of others, or the evidence.
    """
    if is_room(path):
        raise NotPossibleError(f"{path} is part of the store itself, not a checkpoint")
    return keep_evidence(
        store,
        path,
        store,
        digest=case.digest,
        reason=case.reason,
        incident=case.incident,
        subject=case.subject,
        limits=NEAR,
        **how,
    )


def case_of(snapshot: ModelSnapshot, name: str) -> Case:
    """Return what the note says; an incident's number that can name no directory is in the reason alone."""
    mark, meta = snapshot.status.quarantine, snapshot.meta
    incident = mark.incident if mark and can_name(mark.incident) else None
    return Case(
        digest=snapshot.digest,
        reason=f"{name} of a quarantined snapshot: {mark.told if mark else ''}",
        incident=incident,
        subject=f"ModelSnapshot {meta.namespace}/{meta.name} {meta.uid}",
    )


def noted(kept: Evidence) -> str:
    """Return what else there is to say of what was kept."""
    before = "; it was kept before" if kept.existed else ""
    return before + (f"; {len(kept.not_copied)} links and devices are listed in its note" if kept.not_copied else "")
