"""The functions and methods of an expression. No error shows a value: it may have been read somewhere."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lastgood.signals.errors import ExpressionError
from lastgood.signals.language.meter import looking
from lastgood.signals.language.operators import finite, is_number, whole, wrong_types
from lastgood.signals.language.times import MAX_TEXT, Duration, Timestamp

_INT: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DOUBLE: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ODD: Final = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_PLAIN: Final = 1e21  # whole doubles below are written without an exponent

_CALL: Final = 16  # steps for a function that has little to do
_TEXT: Final = 36  # the same, for one that writes a time
_READ: Final = 4  # the same, for each character of a time that is read
_PLACES, _SHORT, _PART = 2500, 30_000, 100  # see _searching
_COMPARED: Final = 256  # so many comparisons of a character are a step


def size(value: object) -> int:
    """Return the characters (code points) of a string, or the elements of a list or map."""
    if isinstance(value, str | list | dict):
        return len(value)
    raise wrong_types()


def _to_int(value: object) -> int:
    """Return a whole number: a double loses its fraction, a string has to be one, a timestamp gives seconds."""
    match value:
        case bool():
            raise wrong_types()
        case int():
            return value
        case float():
            return whole(int(value))
        case str() if _INT.fullmatch(value):
            return whole(int(value))
        case str():
            raise ExpressionError("int(): the string is not a whole number")
        case Timestamp(nanos=nanos):
            return nanos // 10**9
        case _:
            raise wrong_types()


def _to_double(value: object) -> float:
    """Return a double; a string has to be a number."""
    if is_number(value):
        return float(value)  # type: ignore[arg-type]  # a whole number or a double
    if not isinstance(value, str):
        raise wrong_types()
    if len(value) <= MAX_TEXT and (_DOUBLE.fullmatch(value) or _ODD.fullmatch(value)):
        return finite(float(value))
    raise ExpressionError("double(): the string is not a number")


def _to_string(value: object) -> str:
    """Return the text of a value that is no list, no map and not null."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < _PLAIN:
            return f"{value:.0f}"  # with the sign of a zero, as CEL for Go has it
        case int() | float() | Duration() | Timestamp():
            return str(value)
        case _:
            raise wrong_types()


def _to_duration(value: object) -> Duration:
    """Return a length of time."""
    if isinstance(value, Duration):
        return value
    return Duration.parse(text_of(value))


def _to_timestamp(value: object) -> Timestamp:
    """Return a moment."""
    if isinstance(value, Timestamp):
        return value
    return Timestamp.parse(text_of(value))


def text_of(value: object) -> str:
    """Return a value that has to be a string."""
    if isinstance(value, str):
        return value
    raise wrong_types()


def _searching(text: object, part: object) -> int:
    """Return the most steps for a search, as Python searches (Objects/stringlib/fastsearch.h).

    It may compare the part whole at each of the last 2000 places; at all of them in texts of less than 2500 characters,
    and of less than 30,000 for parts of less than 100.
    """
    if not isinstance(text, str) or not isinstance(part, str):
        return _CALL
    places = min(max(len(text) - len(part) + 1, 0), _SHORT if len(part) < _PART else _PLACES)
    return _CALL + looking(text) + looking(part) + places * len(part) // _COMPARED


def _flat(steps: int) -> Callable[..., int]:
    return lambda *_: steps


def _reading(text: object) -> int:
    return _CALL + _READ * min(len(text), MAX_TEXT) if isinstance(text, str) else _CALL


def _end(_: object, part: object) -> int:
    return _CALL + looking(part)


@dataclass(frozen=True)
class Function:
    """What a function does, and the steps that it takes for the arguments at hand."""

    work: Callable[..., object]
    price: Callable[..., int]


FUNCTIONS: Final[Mapping[str, Function]] = {
    "size": Function(size, _flat(0)),
    "int": Function(_to_int, _flat(_CALL)),
    "double": Function(_to_double, _flat(_CALL)),
    "string": Function(_to_string, _flat(_TEXT)),
    "duration": Function(_to_duration, _reading),
    "timestamp": Function(_to_timestamp, _reading),
    "contains": Function(lambda text, part: text_of(part) in text_of(text), _searching),
    "startsWith": Function(lambda text, part: text_of(text).startswith(text_of(part)), _end),
    "endsWith": Function(lambda text, part: text_of(text).endswith(text_of(part)), _end),
}
"""All but `has`, which does not evaluate what it is given, and `matches`, whose pattern is known before."""
