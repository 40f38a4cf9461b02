"""Integrity as a library: what a checkpoint on disk is, and whether it is what it is said to be.

`digest` names the bytes of a file or a directory, and `verify` compares them with a name. Both are
synchronous, may run in any thread, know no cluster, and never load, unpickle or import what they read.
"""

from lastgood.verify.check import digest, verify
from lastgood.verify.errors import (
    LimitError,
    NothingToCheckError,
    RefusedEntryError,
    StoppedError,
    UnreadableError,
    VerifyError,
)
from lastgood.verify.manifest import differences, manifest, manifest_digest
from lastgood.verify.printable import printable
from lastgood.verify.values import Contents, FileEntry, Limits, Result, Verdict

__all__ = [
    "Contents",
    "FileEntry",
    "LimitError",
    "Limits",
    "NothingToCheckError",
    "RefusedEntryError",
    "Result",
    "StoppedError",
    "UnreadableError",
    "Verdict",
    "VerifyError",
    "differences",
    "digest",
    "manifest",
    "manifest_digest",
    "printable",
    "verify",
]
