"""Why a path has no digest: it could not be read, or it holds what no checkpoint may hold."""

import errno
import os


class VerifyError(Exception):
    """A path has no digest; the message is a sentence whose names are printable."""


class UnreadableError(VerifyError):
    """The bytes could not be read now; this says nothing about whether they are the right ones."""

    @classmethod
    def of(cls, shown: str, error: OSError) -> "UnreadableError":
        """Return the error for a failed system call, with the name of its errno."""
        number = error.errno or 0
        return cls(f"{shown}: {errno.errorcode.get(number, 'OSError')} ({os.strerror(number)})")


class LimitError(UnreadableError):
    """There is more than the limits allow, so not all of it was read.

    Attributes:
        limit: the field of `Limits` that allows more, or nothing where none does.
    """

    def __init__(self, message: str, *, limit: str = "") -> None:
        super().__init__(message)
        self.limit = limit


class StoppedError(UnreadableError):
    """The caller asked to stop, or another thread of the same reading failed."""


class UnsteadyError(UnreadableError):
    """Two readings gave different bytes: the disk, or a writer, and no fact about the checkpoint."""


class StalledError(UnreadableError):
    """Nothing came for longer than the limits allow."""


class RefusedEntryError(VerifyError):
    """Something is there that no checkpoint holds: a link, a FIFO, a device, a socket, a broken name."""

    def __init__(self, *findings: str) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings


class NothingToCheckError(RefusedEntryError):
    """A directory without a file: nothing to check is not a pass."""
