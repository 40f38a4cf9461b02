"""JSON of a stranger: bounded before it is parsed, and never more than one way to read it."""

import json
import re
from collections.abc import Sequence
from typing import Final, NoReturn

MAX_BYTES: Final = 8 * 2**20
MAX_VALUES: Final = 400_000
MAX_DEPTH: Final = 64

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


class JsonError(ValueError):
    """One phrase that says why a text is no JSON that we use."""


def parse(body: bytes, *, max_bytes: int = MAX_BYTES, max_values: int = MAX_VALUES) -> object:
    """Return the value of a JSON text.

    Raises:
        JsonError: not JSON, beyond a bound, or with NaN, Infinity or the same key twice in one object.
    """
    if len(body) > max_bytes:
        raise JsonError(f"has more than {max_bytes} bytes")
    _check_shape(_STRINGS.sub(b"", body), max_values)
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise JsonError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"is not JSON: {error.msg} at character {error.pos}") from None
    except JsonError:
        raise
    except (RecursionError, ValueError):  # a number of more than 4300 digits, for one
        raise JsonError("is not JSON that can be used") from None


def _check_shape(skeleton: bytes, max_values: int) -> None:
    if skeleton.count(b",") + skeleton.count(b"[") + skeleton.count(b"{") > max_values:
        raise JsonError(f"has more than {max_values} values")
    depth = 0
    for bracket in _BRACKETS.finditer(skeleton):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > MAX_DEPTH:
            raise JsonError(f"is nested deeper than {MAX_DEPTH}")


def _refuse(name: str) -> NoReturn:
    raise JsonError(f"has {name}, which is not JSON")


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add returns None on purpose
        raise JsonError(f"has the key {twice!r} twice in one object")
    return unique
