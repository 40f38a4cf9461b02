"""Repairs: a good copy in the place of a bad one in the operator's store, which is kept as evidence first."""

from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource, StoreSource
from lastgood.controller.errands.copies import remote_copy
from lastgood.controller.errands.errands import Errand, Errands
from lastgood.core.actions import RepairSnapshot
from lastgood.core.state import Decision, Tell
from lastgood.kube.jobs.capture_claims import NotCapturedError
from lastgood.verify import sources
from lastgood.verify.store import Repaired, repair

ON_CLAIM = "its good copy is on a claim, which the operator cannot read: add a mirror elsewhere, or repair it manually"


class Repairer(Errands):
    """Repairs the sources of snapshots, and says so in the security log and in Events."""

    async def _copy(self, errand: Errand) -> None:
        good = await self._good(errand.snapshot)
        store, snapshot, how = self._store(), errand.snapshot, errand.running.how
        done: Repaired = await self._threaded(
            errand, lambda: repair(store, snapshot.digest, [good], path=snapshot.captured_path, **how)
        )
        self._memory.note_repair(errand.key, done=True)
        kept = f", and what was there is kept as {done.evidence.path}" if done.evidence else ""
        await self._tell(errand, Reason.REPAIRED, f"{snapshot.captured_path} in the store is repaired{kept}")

    async def _good(self, snapshot: ModelSnapshot) -> sources.Source:
        """Return the copy that was good when it was last read; the repair reads it again.

        Raises:
            LastgoodError: the operator cannot read it.
        """
        place = snapshot.place
        match place:
            case PvcSource():
                raise NotCapturedError(ON_CLAIM)
            case StoreSource(path=path):
                return sources.LocalSource(root=self._store(), relative=path)
            case _:
                field = f"spec.{snapshot.place_name}"
                return await remote_copy(self._client, self._settings, snapshot, field, place)

    async def _not_done(self, errand: Errand, message: str) -> None:
        if not errand.running.stopped:
            self._memory.note_repair(errand.key, done=False)
            await self._tell(errand, Reason.REPAIR_FAILED, f"the bad source was not repaired: {message}")

    async def _tell(self, errand: Errand, reason: Reason, message: str) -> None:
        snapshot = errand.snapshot
        decision = Decision(
            reason=reason,
            message=f"{snapshot.name}: {message}",
            actions=(RepairSnapshot(snapshot=snapshot),),
            tell=Tell.WARNING,
        )
        await self._actor.tell(snapshot.meta, "ModelSnapshot", decision, digest=snapshot.digest)
