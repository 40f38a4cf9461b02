"""Integrity as a library: what a checkpoint on disk is, and whether it is what it is said to be.

`digest` names the bytes of a file or a directory, and `verify` compares them with a name. Both are
synchronous, may run in any thread, know no cluster, and never load, unpickle or import what they read.
"""

from lastgood.verify.check import digest, verify
from lastgood.verify.errors import (
    LimitError,
    NothingToCheckError,
    RefusedEntryError,
    StalledError,
    StoppedError,
    UnreadableError,
    UnsteadyError,
    VerifyError,
)
from lastgood.verify.hashing import Hasher, Way, recorded_blake3, require_blake3
from lastgood.verify.manifest import differences, manifest, manifest_digest
from lastgood.verify.reading.budget import Budget
from lastgood.verify.reading.printable import printable
from lastgood.verify.values import Contents, FileEntry, Limits, Result, Verdict

__all__ = [
    "Budget",
    "Contents",
    "FileEntry",
    "Hasher",
    "LimitError",
    "Limits",
    "NothingToCheckError",
    "RefusedEntryError",
    "Result",
    "StalledError",
    "StoppedError",
    "UnreadableError",
    "UnsteadyError",
    "Verdict",
    "VerifyError",
    "Way",
    "differences",
    "digest",
    "manifest",
    "manifest_digest",
    "printable",
    "recorded_blake3",
    "require_blake3",
    "verify",
]
