"""The names that records get: derived, so that whoever is interrupted finds the record that it made."""

import hashlib
from collections.abc import Iterator
from typing import Final

from lastgood.api.names import RecordName
from lastgood.core.state import Observed

_SALTS: Final = "abcdefghijklmnopqrstuvwxy"
_UNFORESEEN: Final = "z"
_STEM: Final = 200  # characters of a ModelDeployment's name in those of its records
_REMEMBERED: Final = 16  # placements back in which a record that still waits may have got its name


def record_names(observed: Observed, placement: int | None = None) -> Iterator[RecordName]:
    """Yield the derived names for a placement: the plain one, then salted ones (design: "ModelRollback").

    They begin with the ModelDeployment's name, and sort by time: the placement rises, and then so does the salt.
    """
    uid, number = observed.deployment.meta.uid, _placement(observed, placement)
    for salt in _SALTS:
        derived = hashlib.sha256(f"{uid}/{number}/{salt}".encode()).hexdigest()
        yield RecordName(f"{_stem(observed, number)}{salt}-{derived[:10]}")


def free_name(observed: Observed) -> RecordName:
    """Return the first derived name that nobody has.

    Whoever takes every derived name must not stop a rollback: then it gets one that nobody can foresee.
    """
    used = {record.name for record in observed.records} | observed.taken
    foreseen = (name for name in record_names(observed) if name not in used)
    return next(foreseen, RecordName(f"{_unforeseen(observed)}{observed.nonce}"))


def is_given(observed: Observed, name: RecordName) -> bool:
    """Tell whether a name is one that we gave, for this placement or one before: records wait for one another."""
    used = {record.name for record in observed.records} | observed.taken
    placement = observed.deployment.status.placement
    for number in range(placement, max(0, placement - _REMEMBERED) - 1, -1):
        given = _former_names if name.startswith("rb-") else record_names
        if name in given(observed, number):
            return True
        squatted = used.issuperset(record_names(observed, number))  # see open_record
        if squatted and name.startswith(_unforeseen(observed, number)):
            return True
    return False


def _placement(observed: Observed, placement: int | None) -> int:
    return observed.deployment.status.placement if placement is None else placement


def _stem(observed: Observed, placement: int) -> str:
    return f"{observed.deployment.meta.name[:_STEM].rstrip('-.')}-{placement:05d}"


def _unforeseen(observed: Observed, placement: int | None = None) -> str:
    """Return how a name begins that nobody can foresee: it sorts after the derived ones."""
    return f"{_stem(observed, _placement(observed, placement))}{_UNFORESEEN}-"


def _former_names(observed: Observed, placement: int) -> Iterator[RecordName]:
    """Yield the names that 0.1.0 gave: a record that waits during an upgrade must not be asked for again."""
    for salt in range(32):
        text = f"{observed.deployment.meta.uid}/{placement}" + (f"/{salt}" if salt else "")
        yield RecordName(f"rb-{hashlib.sha256(text.encode()).hexdigest()[:32]}")
