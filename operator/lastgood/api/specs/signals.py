"""Where triggers and checks look: each kind of signal declares itself, and is found by the field that declares it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import ClassVar, Final, Self

from lastgood.api.doors import behind
from lastgood.api.fields import Fields
from lastgood.errors import InvalidSpecError

_DOOR: Final = "lastgood.signals.kinds"


class Source(ABC):
    """What a trigger or a check declares of a signal. How it is looked at is in `lastgood.signals.signal`.

    Attributes:
        kind: the field of `spec.triggers[]`, and of `spec.validation.checks[]`, that declares it.
        conditional: it has an answer that an expression judges; else it judges itself, and has no expression.
        for_checks: a check may ask it.
        asks_pods: its answer comes from pods: while some are of what served before, it says nothing of what serves.
    """

    kind: ClassVar[str]
    conditional: ClassVar[bool] = True
    for_checks: ClassVar[bool] = False
    asks_pods: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def read(cls, item: Fields) -> Self:
        """Read it from a trigger or a check.

        Raises:
            InvalidSpecError: if a field is missing or out of its bounds.
        """


@cache
def kinds() -> Mapping[str, type[Source]]:
    """Return every kind of signal: one for each module behind the door, which is above this floor: found by name."""
    return {signal.kind: signal for signal in behind(_DOOR, "SIGNAL")}


def read_source(item: Fields, *, check: bool = False) -> Source:
    """Read the one signal that a trigger or a check declares.

    Raises:
        InvalidSpecError: if it declares none, or two, or a field of it is out of its bounds.
    """
    known = {name: kind for name, kind in kinds().items() if kind.for_checks or not check}
    declared = [kind for name, kind in known.items() if item.has(name)]
    if len(declared) != 1:
        raise InvalidSpecError(f"{item.path}: must have exactly one of {' and '.join(sorted(known))}")
    return declared[0].read(item)
