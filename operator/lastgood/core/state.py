"""What a decision is made from, and what it may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from lastgood.api.deployment import Check, ModelDeployment
from lastgood.api.deployment_status import DeploymentStatus, Intent
from lastgood.api.evidence import PassedOver, Scan
from lastgood.api.external import ExternalScan
from lastgood.api.names import Digest, Reason, RecordName, SnapshotName
from lastgood.api.rollback import ModelRollback, RollbackSpec, RollbackStatus
from lastgood.api.signal import Verdict
from lastgood.api.signature import Examined
from lastgood.api.snapshot import ModelSnapshot, SnapshotStatus
from lastgood.core.external import untold
from lastgood.core.trust import Scanner, Trust
from lastgood.core.workload import Workload

FRESH = timedelta(seconds=15)
"""How old a finished verification may be to count as made at the moment of use."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A verification that this process finished; `reason` is Verified, DigestMismatch or Unreadable.

    `uid` is the ModelSnapshot's: one that is created again under its name may mean other bytes. `examined` and `scan`
    are None where nobody looked. `copy` is the copy that was read, such as `mirrors[0]`; `passed_over` are those
    before it.
    """

    uid: str
    digest: Digest
    reason: Reason
    at: datetime
    message: str = ""
    actual: str = ""
    size_bytes: int = 0
    file_count: int = 0
    seconds: float = 0.0
    findings: tuple[str, ...] = ()
    examined: Examined | None = None
    scan: Scan | None = None
    blake3: str = ""
    copy: str = ""
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The samples of one trigger or check since what serves changed.

    `looks` counts all of them, `streak` the last verdict in a row; `invalid` means that the expression itself cannot be
    used.
    """

    verdict: Verdict
    streak: int
    at: datetime
    value: str = ""
    error: str = ""
    invalid: bool = False
    looks: int = 1


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How often in a row the workload's bound fields were written back, and when last."""

    count: int = 0
    last: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything a decision about a ModelDeployment may know.

    `complete` is false while a list that it rests on has not been read whole, the trust policies among them: a policy
    that was not read yet must not look like one that was deleted. `quarantined` maps the digests that are quarantined
    in this namespace to why; `trust` are the policies of the namespace and of the cluster, for whichever model.
    `checked` and `verifying` hold this process's verifications by snapshot; `tallies` and `checks` are by trigger and
    by check of the active rollback; `taken` are record names that somebody else's objects have; `refused` are the
    snapshots, by name, whose switch the API server did not allow, and the digests whose quarantine it did not, with
    the time; `early` are the records for which this process has switched before it had the lock; `nonce` is 32 hex
    digits that nobody can foresee; `heard` is what external scanners told this process.
    """

    now: datetime
    deployment: ModelDeployment
    workload: Workload | None = None
    complete: bool = True
    snapshots: tuple[ModelSnapshot, ...] = ()
    quarantined: Mapping[str, str] = field(default_factory=dict)
    trust: tuple[Trust, ...] = ()
    records: tuple[ModelRollback, ...] = ()
    checked: Mapping[SnapshotName, Checked] = field(default_factory=dict)
    verifying: frozenset[SnapshotName] = frozenset()
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    checks: Mapping[str, Tally] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)
    taken: frozenset[str] = frozenset()
    refused: Mapping[str, datetime] = field(default_factory=dict)
    early: frozenset[RecordName] = frozenset()
    nonce: str = "0" * 32
    heard: Mapping[SnapshotName, tuple[ExternalScan, ...]] = field(default_factory=dict)

    def snapshot(self, name: str) -> ModelSnapshot | None:
        """Return a snapshot by its name."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def record(self, name: str) -> ModelRollback | None:
        """Return a record by its name."""
        return next((record for record in self.records if record.name == name), None)

    @property
    def active(self) -> ModelRollback | None:
        """The record that holds this deployment, where it is there."""
        active = self.deployment.status.active
        return self.record(active.name) if active else None

    def found(self, snapshot: ModelSnapshot) -> Checked | None:
        """Return the last verification of this very snapshot that this process finished."""
        checked = self.checked.get(snapshot.name)
        return checked if checked and (checked.uid, checked.digest) == (snapshot.meta.uid, snapshot.digest) else None

    def found_now(self, snapshot: ModelSnapshot) -> ModelSnapshot:
        """Return a snapshot whose place is the copy that this process found good just now, if it looked."""
        fresh, last = self.fresh(snapshot), snapshot.status.verification
        if fresh is None or not fresh.copy or last is None or last.copy == fresh.copy:
            return snapshot
        return replace(snapshot, status=replace(snapshot.status, verification=replace(last, copy=fresh.copy)))

    def was_refused(self, what: str) -> bool:
        """Tell whether the API server refused a switch or a quarantine, for this rollback or just now."""
        at, active = self.refused.get(what), self.deployment.status.active
        if at is None:
            return False
        return self.now - at <= REFUSED or (active is not None and active.since is not None and at >= active.since)

    def fresh(self, snapshot: ModelSnapshot) -> Checked | None:
        """Return the verification of a snapshot that was finished just now by this process.

        In a rollback, just now is after it took the lock: what was read earlier may have been changed since. What was
        left since, because no pod would load it, say, is looked at again as well.

        A refusal counts for as long as the rollback that asked for it runs: else two large snapshots that both
        cannot be read would be tried in turn for ever.
        """
        checked = self.found(snapshot)
        if checked is None:
            return None
        active = self.deployment.status.active
        during = active is None or active.since is None or checked.at >= active.since
        if checked.reason != Reason.VERIFIED and active is not None and during:
            return checked
        if not during or self._left_since(snapshot.name, checked.at):
            return None
        if self.untold(snapshot):
            return None  # the next one waits for external scanners
        return checked if self.now - checked.at <= FRESH else None

    def untold(self, snapshot: ModelSnapshot) -> bool:
        """Tell whether only the status has what an external scanner said: a verification for a switch asks first."""
        return bool(untold(self.trust, snapshot, self.heard.get(snapshot.name, ())))

    def _left_since(self, name: SnapshotName, at: datetime) -> bool:
        ends = (period.until for period in self.deployment.status.history if period.snapshot == name)
        return any(end is not None and end >= at for end in ends)


REFUSED = timedelta(seconds=60)
"""How long a refusal of the API server counts outside of a rollback; within one it counts to its end."""


class Tell(StrEnum):
    """Who hears of a step: nobody, whoever reads events, or whoever is on call."""

    NOBODY = "nobody"
    INFO = "info"
    WARNING = "warning"
    ALERT = "alert"


@dataclass(frozen=True, kw_only=True)
class CreateRecord:
    """Record an intent; a record of that name and meaning counts as created."""

    name: RecordName
    spec: RollbackSpec
    intent: Intent | None = None


@dataclass(frozen=True, kw_only=True)
class UpdateRecord:
    """Write facts on a record."""

    record: ModelRollback
    status: RollbackStatus


@dataclass(frozen=True, kw_only=True)
class DeleteRecord:
    """Remove a finished record past the history limit."""

    record: ModelRollback


@dataclass(frozen=True, kw_only=True)
class UpdateDeployment:
    """Write facts on the ModelDeployment, under its resource version: this is also how the lock is taken."""

    status: DeploymentStatus


@dataclass(frozen=True, kw_only=True)
class Switch:
    """Write the bound fields of a snapshot to the workload, in one apply under its uid and resource version."""

    snapshot: ModelSnapshot
    stamp: bool = True
    drift: bool = False


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Read a snapshot whole and compare its digest."""

    snapshot: ModelSnapshot


@dataclass(frozen=True, kw_only=True)
class CaptureSnapshot:
    """Copy a snapshot into the snapshot store; what comes of it is written to its status."""

    snapshot: ModelSnapshot


@dataclass(frozen=True, kw_only=True)
class RepairSnapshot(CaptureSnapshot):
    """Put a good copy in the place of a bad source in the store, which is kept as evidence."""


@dataclass(frozen=True, kw_only=True)
class ScanSnapshot:
    """Have external scanners look at a snapshot on a claim; what they say is written to its status."""

    snapshot: ModelSnapshot
    scanners: tuple[Scanner, ...]


@dataclass(frozen=True, kw_only=True)
class KeepEvidence(CaptureSnapshot):
    """Copy what is at the source of a quarantined snapshot to the evidence, whatever it is."""


@dataclass(frozen=True, kw_only=True)
class RunChecks:
    """Sample the validation checks of the active rollback."""

    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class QuarantineDigest:
    """Quarantine a digest in the namespace."""

    digest: Digest
    reason: str
    incident: str = ""
    by: str = "unknown"


@dataclass(frozen=True, kw_only=True)
class UpdateSnapshot:
    """Write facts on a ModelSnapshot."""

    snapshot: ModelSnapshot
    status: SnapshotStatus


Action = (
    CreateRecord
    | UpdateRecord
    | DeleteRecord
    | UpdateDeployment
    | Switch
    | Verify
    | CaptureSnapshot
    | ScanSnapshot
    | RunChecks
    | QuarantineDigest
    | UpdateSnapshot
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a rule answers: why, in words; what to do; which facts changed; and when to look again (seconds).

    A step without an action and without changed facts is a wait, and its reason is what `Ready` says.
    """

    reason: Reason
    message: str
    action: Action | None = None
    facts: DeploymentStatus | None = None
    after: float | None = None
    tell: Tell = Tell.NOBODY


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One action at most, why, and when to look again (seconds; None: when something changes)."""

    reason: Reason
    message: str
    action: Action | None = None
    requeue_after: float | None = None
    tell: Tell = Tell.NOBODY
