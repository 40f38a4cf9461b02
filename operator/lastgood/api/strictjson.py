"""JSON as a stranger may write it: bounded before it is parsed, and never more than one way to read it.

The same key twice is refused because two readers would choose differently, and NaN because it is no JSON (RFC 8259
sections 4 and 6). How large and how deep a text is, one look at each byte tells before a parser runs.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z|\\)', re.DOTALL)  # one without an end takes all: linear
_BRACKETS: Final = re.compile(rb"[\[\]{}]")

_Hook = Callable[[list[tuple[str, Any]]], object]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What is looked at: bytes, values and keys, and brackets within brackets."""

    size: int
    values: int
    depth: int


class JsonError(ValueError):
    """One phrase that says why a text is no JSON that we use, to be put after its name.

    Attributes:
        phrase: it, without anything that the text says.
    """

    def __init__(self, phrase: str, whole: str = "") -> None:
        """Make it; `whole` is the phrase with what the text says, for those who may see that."""
        super().__init__(whole or phrase)
        self.phrase = phrase


class BoundError(JsonError):
    """It is larger or deeper than what is looked at here; a loader may read it."""


def parse(body: bytes, bounds: Bounds, *, integer: Callable[[str], float] = int) -> object:
    """Return the value of a JSON text; `integer` makes one from its digits.

    Raises:
        JsonError: not JSON, beyond a bound, or with NaN, Infinity or the same key twice in one object.
    """
    _check_shape(body, bounds)
    return _load(body, _refuse, _unique, integer)


def parse_leniently(body: bytes, bounds: Bounds) -> tuple[object, str]:
    """Return the value of a JSON text as loaders may read it, and what is unusual about it, or an empty text.

    An object with one key twice becomes a list of two: one with the last of them, and one with the first. NaN is null.

    Raises:
        JsonError: not JSON, or beyond a bound.
    """
    _check_shape(body, bounds)
    try:
        return _load(body, _refuse, _unique, int), ""
    except JsonError as error:
        return _load(body, lambda _: None, _every, int), str(error)


def _load(body: bytes, constant: Callable[[str], object], pairs: _Hook, integer: Callable[[str], float]) -> object:
    try:
        return json.loads(body.decode("utf-8"), parse_int=integer, parse_constant=constant, object_pairs_hook=pairs)
    except UnicodeDecodeError:
        raise JsonError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise JsonError("is not JSON", f"is not JSON: {error.msg} at character {error.pos}") from None
    except JsonError:
        raise
    except (RecursionError, ValueError):  # a number of more than 4300 digits, for one; the depth was counted
        raise JsonError("is not JSON that can be used") from None


def _check_shape(body: bytes, bounds: Bounds) -> None:
    """Count bytes, and the brackets and commas outside strings, which bound values and depth."""
    if len(body) > bounds.size:
        raise BoundError(f"has more than {bounds.size} bytes")
    skeleton = _STRINGS.sub(b"", body)
    if skeleton.count(b",") + skeleton.count(b"[") + skeleton.count(b"{") > bounds.values:
        raise BoundError(f"has more than {bounds.values} values")
    depth = 0
    for bracket in _BRACKETS.finditer(skeleton):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > bounds.depth:
            raise BoundError(f"is nested deeper than {bounds.depth}")


def _refuse(name: str) -> NoReturn:
    raise JsonError(f"has {name}, which is not JSON")


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add returns None on purpose
        raise JsonError("has the same key twice in one object", f"has the key {twice[:64]!r} twice in one object")
    return unique


def _every(pairs: Sequence[tuple[str, object]]) -> object:
    last, first = dict(pairs), dict(reversed(pairs))
    if len(last) == len(pairs):
        return last
    return [last, {key: value for key, value in first.items() if value is not last[key]}]  # no value twice
