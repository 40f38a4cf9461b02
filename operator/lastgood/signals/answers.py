"""The JSON that an endpoint answered with, as an expression sees it.

Every number becomes a double: `result.p99_ms < 100.0` works whether the JSON says 42 or 42.0. Integers above
2**53 lose their last digits by that.
"""

import math

from lastgood.api.strictjson import Bounds, JsonError, parse

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 10_000


class UnusableValueError(ValueError):
    """The text is no JSON that we use; one phrase that says why, to be put after "the body"."""


def parse_json(body: bytes) -> object:
    """Return the value of a JSON text.

    Raises:
        UnusableValueError: not JSON, or beyond a bound, or with NaN, Infinity or a repeated key.
    """
    if not body.strip():
        raise UnusableValueError("is empty")
    try:
        value = parse(body, Bounds(size=MAX_BYTES, values=MAX_VALUES, depth=MAX_DEPTH), integer=float)
    except JsonError as error:
        raise UnusableValueError(error.phrase) from None
    return doubles(value)


def doubles(value: object) -> object:
    """Return a copy of a JSON value with all numbers as doubles, within the same bounds as `parse_json`.

    Raises:
        UnusableValueError: for a value that is none, beyond a bound, or with NaN or Infinity.
    """
    counted = [0, 0]
    return _double(value, 0, counted)


def _double(value: object, depth: int, counted: list[int]) -> object:
    _count(value, depth, counted)
    match value:
        case None | bool() | str():
            return value
        case int() | float():
            return _finite(value)
        case list():
            return [_double(inner, depth + 1, counted) for inner in value]
        case dict():
            return {_key(key, counted): _double(inner, depth + 1, counted) for key, inner in value.items()}
        case _:
            raise UnusableValueError(f"has a value of type {type(value).__name__}")


def _count(value: object, depth: int, counted: list[int]) -> None:
    """Count values and characters, and stop at the first too many."""
    counted[0] += 1
    if isinstance(value, str):
        _count_text(value, counted)
    if counted[0] > MAX_VALUES:
        raise UnusableValueError(f"has more than {MAX_VALUES} values")
    if depth > MAX_DEPTH:
        raise UnusableValueError(f"is nested deeper than {MAX_DEPTH}")


def _count_text(text: str, counted: list[int]) -> None:
    counted[1] += len(text)
    if counted[1] > MAX_BYTES:
        raise UnusableValueError(f"has more than {MAX_BYTES} characters")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UnusableValueError("has half a character (a lone surrogate)") from None


def _key(key: object, counted: list[int]) -> str:
    if not isinstance(key, str):
        raise UnusableValueError("has a key that is not a string")
    _count_text(key, counted)
    return key


def _finite(number: float) -> float:
    try:
        double = float(number)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise UnusableValueError("has NaN, Infinity or a number too large for a double")
    return double
