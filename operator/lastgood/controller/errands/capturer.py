"""Captures: copies of snapshots in the snapshot store, or on the store claim of their namespace."""

import secrets
from collections.abc import Callable

from lastgood.api.facts.evidence import Capture
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource, StoreSource
from lastgood.controller.errands.copies import RemoteCopy, remote_copy
from lastgood.controller.errands.errands import Errand, Errands
from lastgood.kube.jobs.capture_claims import capture_on_claim
from lastgood.verify.store import Captured, capture, capture_path


class Capturer(Errands):
    """Copies snapshots; what comes of it goes to the memory."""

    async def _copy(self, errand: Errand) -> None:
        """Copy it from the copy that was good last; who finds another there says so, and the next look decides."""
        snapshot, place = errand.snapshot, errand.snapshot.place
        self._doing(errand)
        if isinstance(place, PvcSource):
            nonce = secrets.token_hex(16)
            await capture_on_claim(self._client, self._settings, snapshot=snapshot, source=place, nonce=nonce)
            self._note(errand, self._done(snapshot, claim=self._settings.capture_claim))
            return
        await self._threaded(errand, await self._work(errand, place))
        self._note(errand, self._done(snapshot))

    async def _work(self, errand: Errand, place: StoreSource | RemoteCopy) -> Callable[[], Captured]:
        """Return what copies the bytes, with everything that it needs from the cluster.

        Raises:
            LastgoodError: it cannot be had.
        """
        store, snapshot, how = self._store(), errand.snapshot, errand.running.how
        if isinstance(place, StoreSource):
            return lambda: capture_path(store, place.path, store, snapshot.digest, **how)
        field = f"spec.{snapshot.place_name}"
        remote = await remote_copy(self._client, self._settings, snapshot, field, place)
        return lambda: capture(remote, store, snapshot.digest, **how)

    def _note(self, errand: Errand, capture: Capture) -> None:
        """Remember it, unless the object is gone: what has its name now may be another."""
        if not errand.running.stopped:
            self._memory.note_capture(errand.key, capture)

    def _doing(self, errand: Errand) -> None:
        size, read = errand.snapshot.status.size_bytes, errand.running.read
        told = f"copying it from {errand.snapshot.place_name}"
        said = Capture(
            reason=Reason.CAPTURING,
            time=self._memory.now(),
            message=told if read <= size else "reading the copy again from the store",
            bytes_done=min(read, size),
            size_bytes=size,
        )
        self._note(errand, said)
        self._wake(errand.key)

    def _done(self, snapshot: ModelSnapshot, *, claim: str = "") -> Capture:
        where = f"claim {claim}" if claim else "the operator's store"
        return Capture(
            reason=Reason.CAPTURED,
            time=self._memory.now(),
            path=snapshot.captured_path,
            claim=claim,
            message=f"copied to {where} at {snapshot.captured_path}",
            bytes_done=snapshot.status.size_bytes,
            size_bytes=snapshot.status.size_bytes,
        )

    async def _not_done(self, errand: Errand, message: str) -> None:
        self._note(errand, Capture(reason=Reason.CAPTURE_FAILED, time=self._memory.now(), message=message))
