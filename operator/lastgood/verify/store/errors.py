"""Why a snapshot is not in the store: the store could not take it, or it is not what it should be."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lastgood.verify.errors import UnreadableError, VerifyError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


class StoreError(VerifyError):
    """The store could not be written or is not as we left it; this says nothing about the checkpoint."""


class StoreFullError(StoreError):
    """There is no room for it; nothing of it was left behind."""


class BadCopyError(StoreError):
    """The store holds something else under this digest; `repair` keeps it as evidence and replaces it."""


class MismatchError(VerifyError):
    """What was read is not what it should be; nothing of it was left behind."""

    def __init__(self, shown: str, expected: str, actual: str | None) -> None:
        mismatch = f"is {actual}, expected {expected}" if actual else f"cannot match {expected}"
        super().__init__(f"{shown} {mismatch}")
        self.expected = expected
        self.actual = actual


def forbidden(error: BaseException) -> bool:
    """Tell whether the store could not be written because it is read-only, or not ours to write."""
    cause = error.__cause__
    return isinstance(error, StoreError) and isinstance(cause, OSError) and cause.errno in _FORBIDDEN


@contextmanager
def writing(shown: str) -> Iterator[None]:
    """Turn an error of the operating system into a StoreError that names what was written."""
    try:
        yield
    except OSError as error:
        sentence = str(UnreadableError.of(shown, error))
        if error.errno in _FULL:
            raise StoreFullError(f"the store is full: {sentence}; make room, or name another store") from error
        verb = "written" if error.errno in _FORBIDDEN else "used"
        raise StoreError(f"the store cannot be {verb}: {sentence}") from error
