"""What evaluating an expression may cost: counted in steps, each spent before the work that it stands for.

A step is a node that is visited, a value that is compared, a few elements or characters that are looked at or copied.
It pays for at most 32 bytes that are kept, and for 0.25 µs of a small and busy virtual machine. The counter sees the
values that are really there, and no clock: the same expression and result always cost the same.
"""

from typing import Final

from lastgood.signals.errors import ExpressionError

MAX_STEPS: Final = 200_000

_ELEMENTS: Final = 4  # references that are copied in one step
_COPIED: Final = 8  # characters that are copied in one step: four bytes each, at the worst
_LOOKED_AT: Final = 16  # characters that are compared or searched in one step


class TooManyStepsError(ExpressionError):
    """An evaluation that would take too long: it ends there, also beside a side that would decide.

    What is spent stays spent: whoever takes this for an error that does not matter gets it again at the next step.
    """

    def __init__(self) -> None:
        super().__init__(f"evaluating it over this result would take more than {MAX_STEPS} steps")


class Meter:
    """How much one evaluation has spent.

    Attributes:
        steps: since it began.
    """

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0

    def spend(self, steps: int) -> None:
        """Count steps, before what they stand for is done.

        Raises:
            TooManyStepsError: it must not be done.
        """
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise TooManyStepsError


def copying(value: object) -> int:
    """Return the steps for putting a string or list into a new one."""
    match value:
        case str():
            return len(value) // _COPIED
        case list():
            return len(value) // _ELEMENTS
        case _:
            return 0


def looking(value: object) -> int:
    """Return the steps for looking once at every character; what is no string has none."""
    return len(value) // _LOOKED_AT if isinstance(value, str) else 0
