"""What a decision may ask for: each write, each look, and each piece of work that takes longer."""

from dataclasses import dataclass

from lastgood.api.facts.deployment_status import DeploymentStatus, Intent
from lastgood.api.facts.remembered import Remembered
from lastgood.api.names import Digest, RecordName
from lastgood.api.specs.deployment import Check
from lastgood.api.specs.rollback import ModelRollback, RollbackSpec, RollbackStatus
from lastgood.api.specs.snapshot import ModelSnapshot, SnapshotStatus
from lastgood.api.workload.companion import ObjectRef
from lastgood.core.trust.policy import Scanner


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
    drift: bool = False


@dataclass(frozen=True, kw_only=True)
class SwitchFirst(Switch):
    """The same for an emergency whose lock comes after it; `record` has the intent."""

    record: ModelRollback


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Write the bound fields of an object beside the workload as `switch` needs them; the pod template comes last."""

    switch: Switch
    ref: ObjectRef


@dataclass(frozen=True, kw_only=True)
class Adopt:
    """Become an owner of the bound fields as they are, without our stamps: no pod template changes.

    `ref` is the object beside the workload whose fields are meant; None where it is the pod template.
    """

    snapshot: ModelSnapshot
    ref: ObjectRef | None = None


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
class Remember:
    """Keep what outlives the ModelDeployment."""

    facts: Remembered


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
    | Prepare
    | Adopt
    | Verify
    | CaptureSnapshot
    | ScanSnapshot
    | RunChecks
    | QuarantineDigest
    | Remember
    | UpdateSnapshot
)


def before_its_lock(action: Action | None) -> ModelRollback | None:
    """Return the record of an emergency that an action switches for, or prepares to, before there is a lock."""
    match action:
        case SwitchFirst(record=record) | Prepare(switch=SwitchFirst(record=record)):
            return record
        case _:
            return None
