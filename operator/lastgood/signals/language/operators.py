"""What the operators of an expression do to values: the CEL specification, and an error for everything else.

Values are those of JSON, and two kinds of time. Python's own operators are too willing: `-True` is -1, `True == 1`
holds, and integers have no end. So each operation asks for the very types that CEL has it for.
"""

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from lastgood.signals.errors import ExpressionError
from lastgood.signals.language.meter import Meter, copying, looking
from lastgood.signals.language.times import Duration, Timestamp

LARGEST: Final = 2**63 - 1
SMALLEST: Final = -(2**63)

_PAIR: Final = 3  # steps for two values that are compared
_OTHERS: Final = 4  # the same, where they are no numbers: besides
_TIME: Final = 16  # steps for a sum or difference of times


class NotFiniteError(ExpressionError):
    """A calculation without a finite result: it matters wherever it arises, also beside a side that decides."""

    def __init__(self) -> None:
        super().__init__("a calculation has no finite result (NaN or Infinity), such as a division by zero")


def wrong_types() -> ExpressionError:
    """Return the error of an operation that does not exist for its values."""
    hint = "JSON numbers are doubles, so write 1.0 and not 1, or use double(...)"
    return ExpressionError(f"no such operation on values of these types; {hint}")


def _is_int(value: object) -> bool:
    """Tell whether a value is a whole number; true and false are none."""
    return type(value) is int


def is_number(value: object) -> bool:
    """Tell whether a value is a number of either kind."""
    return type(value) in (int, float)


def boolean(value: object) -> bool:
    """Return a value that has to be true or false."""
    if value is True or value is False:
        return value
    raise wrong_types()


def whole(value: int) -> int:
    """Return a whole number that fits 64 bits."""
    if not SMALLEST <= value <= LARGEST:
        raise ExpressionError("a whole number is out of range (64 bits)")
    return value


def finite(value: float) -> float:
    """Return a double that is a number."""
    if not math.isfinite(value):
        raise NotFiniteError
    return value


def negated(value: object) -> object:
    """Return `-value`, for numbers only."""
    if type(value) is int:
        return whole(-value)
    if type(value) is float:
        return -value
    raise wrong_types()


def added(left: object, right: object, meter: Meter) -> object:
    """Return `left + right`: numbers of one kind, strings, lists, and times."""
    if is_number(left):
        return _reckoned(left, right, operator.add)
    meter.spend(_TIME + copying(left) + copying(right))
    match left, right:
        case (str(), str()) | (list(), list()):
            return left + right  # type: ignore[operator]  # both are the one or both the other
        case Duration(nanos=one), Duration(nanos=other):
            return Duration(one + other)
        case (Timestamp(nanos=one), Duration(nanos=other)) | (Duration(nanos=one), Timestamp(nanos=other)):
            return Timestamp(one + other)
        case _:
            raise wrong_types()


def _subtracted(left: object, right: object, meter: Meter) -> object:
    """Return `left - right`: numbers of one kind, and times."""
    if is_number(left):
        return _reckoned(left, right, operator.sub)
    meter.spend(_TIME)
    match left, right:
        case (Duration(nanos=one), Duration(nanos=other)) | (Timestamp(nanos=one), Timestamp(nanos=other)):
            return Duration(one - other)
        case Timestamp(nanos=one), Duration(nanos=other):
            return Timestamp(one - other)
        case _:
            raise wrong_types()


def _multiplied(left: object, right: object) -> object:
    """Return `left * right`, for numbers of one kind."""
    return _reckoned(left, right, operator.mul)


def _divided(left: object, right: object) -> object:
    """Return `left / right`; of whole numbers, towards zero."""
    if is_number(right) and right == 0:
        raise NotFiniteError
    if type(left) is float and type(right) is float:
        return finite(left / right)
    if type(left) is int and type(right) is int:
        return whole(_towards_zero(left, right))
    raise wrong_types()


def _remainder(left: object, right: object) -> object:
    """Return `left % right` with the sign of `left`, for whole numbers only."""
    if type(left) is not int or type(right) is not int:
        raise wrong_types()
    if right == 0:
        raise NotFiniteError
    whole(_towards_zero(left, right))  # where the quotient does not fit, CEL has no _remainder either
    return left - right * _towards_zero(left, right)


def _towards_zero(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _reckoned(left: object, right: object, work: Callable[[object, object], object]) -> object:
    """Do what there is for two numbers of one kind: CEL mixes none."""
    if type(left) is float and type(right) is float:
        return finite(work(left, right))  # type: ignore[arg-type]  # of two doubles
    if type(left) is int and type(right) is int:
        return whole(work(left, right))  # type: ignore[arg-type]  # of two whole numbers
    raise wrong_types()


def equal(left: object, right: object, meter: Meter) -> bool:
    """Return whether two values are the same; numbers are compared exactly, and other kinds are never equal."""
    waiting = [(left, right)]  # no recursion: `map` can nest lists deeper than Python can follow
    while waiting:
        one, other = waiting.pop()
        meter.spend(_PAIR)
        if is_number(one) and is_number(other):
            same = one == other  # Python compares a whole number with a double exactly
        elif type(one) is not type(other):
            same = False
        elif isinstance(one, list | dict):
            same = _alike(one, other, meter)
            waiting += _inner(one, other) if same else ()
        else:
            meter.spend(_OTHERS + min(looking(one), looking(other)))
            same = one == other
        if not same:
            return False
    return True


def _alike(one: Any, other: Any, meter: Meter) -> bool:  # noqa: ANN401 two lists or two maps
    """Return whether two lists or maps have as many elements, under the same keys; pay for pairing them."""
    if len(one) != len(other):
        return False
    meter.spend(_OTHERS + len(one))
    if isinstance(one, list):
        return True
    meter.spend(_OTHERS + sum(map(looking, one)))
    return bool(one.keys() == other.keys())


def _inner(one: Any, other: Any) -> Iterable[tuple[object, object]]:  # noqa: ANN401 two lists or two maps
    return zip(one, other, strict=True) if isinstance(one, list) else ((one[key], other[key]) for key in one)


def _unequal(left: object, right: object, meter: Meter) -> bool:
    """Return whether two values are not the same."""
    return not equal(left, right, meter)


def _contained(left: object, right: object, meter: Meter) -> bool:
    """Return `left in right`: an element of a list, or a key of a map."""
    if isinstance(right, list):
        return any(equal(left, item, meter) for item in right)
    if isinstance(right, dict) and isinstance(left, str | int):  # what may be a key
        meter.spend(looking(left))
        return isinstance(left, str) and left in right
    raise wrong_types()


def _ordered(work: Callable[[Any, Any], bool]) -> Callable[[object, object, Meter], bool]:
    """Make a comparison: of two numbers of any kind, or of two values of one kind that has an order."""

    def compare(left: object, right: object, meter: Meter) -> bool:
        if is_number(left) and is_number(right):
            return work(left, right)
        if type(left) is type(right) and isinstance(left, str | bool | Duration | Timestamp):
            meter.spend(_OTHERS + min(looking(left), looking(right)))
            return work(left, right)
        raise wrong_types()

    return compare


ON_NUMBERS: Final[Mapping[str, Callable[[object, object], object]]] = {
    "*": _multiplied,
    "/": _divided,
    "%": _remainder,
}
"""The operators on two numbers."""

ON_VALUES: Final[Mapping[str, Callable[[object, object, Meter], object]]] = {
    "+": added,
    "-": _subtracted,
    "==": equal,
    "!=": _unequal,
    "in": _contained,
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
}
"""The operators on values of any kind. With `&&` and `||`, which need not look at both sides, these are all."""
