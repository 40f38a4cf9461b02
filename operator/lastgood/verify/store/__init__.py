"""The snapshot store: checkpoints on a disk of our own, each under the digest of its bytes."""

from lastgood.verify.store.capture import Captured, capture, capture_path
from lastgood.verify.store.errors import BadCopyError, MismatchError, StoreError, StoreFullError, forbidden
from lastgood.verify.store.evidence import Case, Evidence, can_name, keep_evidence, move_to_evidence
from lastgood.verify.store.held import Applied, Listing, apply, listing
from lastgood.verify.store.layout import is_room, path_of
from lastgood.verify.store.origin import HeldCheckpoint
from lastgood.verify.store.partial import Swept, sweep
from lastgood.verify.store.remote_evidence import keep_evidence_of
from lastgood.verify.store.repair import NoGoodCopyError, Repaired, repair
from lastgood.verify.store.retention import Deletion, Held, Kept, Plan, plan

__all__ = [
    "Applied",
    "BadCopyError",
    "Captured",
    "Case",
    "Deletion",
    "Evidence",
    "Held",
    "HeldCheckpoint",
    "Kept",
    "Listing",
    "MismatchError",
    "NoGoodCopyError",
    "Plan",
    "Repaired",
    "StoreError",
    "StoreFullError",
    "Swept",
    "apply",
    "can_name",
    "capture",
    "capture_path",
    "forbidden",
    "is_room",
    "keep_evidence",
    "keep_evidence_of",
    "listing",
    "move_to_evidence",
    "path_of",
    "plan",
    "repair",
    "sweep",
]
