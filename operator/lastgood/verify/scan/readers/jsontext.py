"""JSON of a stranger: bounded before it is parsed, and never more than one way to read it."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from lastgood.api.jsonshape import ShapeError, check_shape

MAX_BYTES: Final = 8 * 2**20
MAX_VALUES: Final = 400_000
MAX_DEPTH: Final = 64


class JsonError(ValueError):
    """One phrase that says why a text is no JSON that we use."""


class BoundError(JsonError):
    """It is larger or deeper than what is looked at here; a loader may read it."""


def parse(body: bytes, *, max_bytes: int = MAX_BYTES, max_values: int = MAX_VALUES) -> object:
    """Return the value of a JSON text.

    Raises:
        JsonError: not JSON, beyond a bound, or with NaN, Infinity or the same key twice in one object.
    """
    _check_shape(body, max_bytes, max_values)
    return _load(body, _refuse, _unique)


def parse_leniently(body: bytes) -> tuple[object, str]:
    """Return the value of a JSON text as loaders may read it, and what is unusual about it, or an empty text.

    An object with one key twice becomes a list of two: one with the last of them, and one with the first. NaN is null.

    Raises:
        JsonError: not JSON, or beyond a bound.
    """
    _check_shape(body, MAX_BYTES, MAX_VALUES)
    try:
        return _load(body, _refuse, _unique), ""
    except JsonError as error:
        return _load(body, lambda _: None, _every), str(error)


def _load(body: bytes, constant: Callable[[str], object], pairs: Callable[[list[tuple[str, Any]]], object]) -> object:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=constant, object_pairs_hook=pairs)
    except UnicodeDecodeError:
        raise JsonError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"is not JSON: {error.msg} at character {error.pos}") from None
    except JsonError:
        raise
    except (RecursionError, ValueError):  # a number of more than 4300 digits, for one
        raise JsonError("is not JSON that can be used") from None


def _every(pairs: Sequence[tuple[str, object]]) -> object:
    last, first = dict(pairs), dict(reversed(pairs))
    if len(last) == len(pairs):
        return last
    return [last, {key: value for key, value in first.items() if value is not last[key]}]  # no value twice


def _check_shape(body: bytes, max_bytes: int, max_values: int) -> None:
    try:
        check_shape(body, max_bytes=max_bytes, max_values=max_values, max_depth=MAX_DEPTH)
    except ShapeError as error:
        raise BoundError(str(error)) from None


def _refuse(name: str) -> NoReturn:
    raise JsonError(f"has {name}, which is not JSON")


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add returns None on purpose
        raise JsonError(f"has the key {twice!r} twice in one object")
    return unique
