"""What an operator sees of a cluster of plain values; one that has just started sees half of it."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from lastgood.api.facts.remembered import NOTHING, Remembered
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.requests.gone import ObservedGone
from lastgood.core.requests.remember import recalled
from lastgood.core.requests.requests import pending
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Observed
from lastgood.core.trust.policy import Trust
from lastgood.kube.cache import Key, Kind
from tests.unit.core.simulated.cluster import HERE, Cluster


@dataclass(kw_only=True)
class Seeing(Cluster):
    """A cluster as its operator sees it; `told` are the digests that it quarantined itself.

    It knows of those though its lists are not complete.
    """

    told: set[str] = field(default_factory=set)

    # What the operator sees

    def observed(self) -> Observed:
        """Return what a decision is made from; an operator that has just started knows half of it."""
        known = list(self.snapshots.values())
        checked, verifying = self.memory.names(key_of(item) for item in known)
        watch = self.memory.watch(HERE, self.deployment)
        kept = Remembered.from_text(self.kept) if self.kept else NOTHING
        whole = recalled(self.deployment, kept)
        observed = Observed(
            now=self.now,
            deployment=whole,
            workload=self.workload,
            complete=self.complete,
            snapshots=tuple(known if self.complete else known[1::2]),
            quarantined=self._quarantined(),
            trust=self._trust(),
            records=tuple(self.records.values()),
            checked=checked,
            verifying=verifying,
            tallies=dict(watch.tallies),
            checks=dict(watch.checks),
            drift=watch.drift,
            refused=dict(watch.refused),
            taken=frozenset(watch.taken),
            switched_first=dict(watch.switched_first),
            remembered=kept,
            recalled=whole.status != self.deployment.status,
        )
        return replace(observed, asked=watch.hear((request.key for request in pending(observed)), self.now))

    def observed_gone(self) -> ObservedGone:
        """Return what is known while the ModelDeployment is not there."""
        kept = Remembered.from_text(self.kept) if self.kept else NOTHING
        return ObservedGone(
            now=self.now,
            records=tuple(self.records.values()),
            complete=self.complete,
            workload=self.workload,
            remembered=kept,
        )

    def observed_snapshot(self, name: str) -> ObservedSnapshot | None:
        """Return what a decision about a snapshot is made from, if it is there."""
        snapshot = self.snapshots.get(name)
        if snapshot is None:
            return None
        return ObservedSnapshot(
            now=self.now,
            snapshot=snapshot,
            interval=timedelta(hours=24),
            checked=self.memory.checked(key_of(snapshot)),
            forensics=self.memory.forensics(key_of(snapshot), snapshot.meta.uid),
            complete=self.complete,
            quarantined=self._quarantined(),
            trust=self._trust(),
        )

    def _trust(self) -> tuple[Trust, ...]:
        """The policies; an operator that has just started has read none of them."""
        return (Trust(name="ModelTrustPolicy release", revoked_digests=self.revoked),) if self.complete else ()

    def _quarantined(self) -> dict[str, str]:
        known = self.quarantine.items()
        return {digest: why for digest, why in known if self.complete or digest in self.told}


def key_of(snapshot: ModelSnapshot) -> Key:
    """Return the key of a snapshot."""
    return Key(Kind.SNAPSHOT, snapshot.meta.namespace, snapshot.name)
