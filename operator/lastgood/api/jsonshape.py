"""How large and how deep a JSON text of a stranger is, told before a parser runs: in one look at each byte."""

import re
from typing import Final

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z|\\)', re.DOTALL)  # one without an end takes all: linear
_BRACKETS: Final = re.compile(rb"[\[\]{}]")


class ShapeError(ValueError):
    """One phrase that says which bound a text is beyond."""


def check_shape(body: bytes, *, max_bytes: int, max_values: int, max_depth: int) -> None:
    """Count bytes, and the brackets and commas outside strings, which bound values and depth.

    Raises:
        ShapeError: beyond a bound.
    """
    if len(body) > max_bytes:
        raise ShapeError(f"has more than {max_bytes} bytes")
    skeleton = _STRINGS.sub(b"", body)
    if skeleton.count(b",") + skeleton.count(b"[") + skeleton.count(b"{") > max_values:
        raise ShapeError(f"has more than {max_values} values")
    depth = 0
    for bracket in _BRACKETS.finditer(skeleton):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > max_depth:
            raise ShapeError(f"is nested deeper than {max_depth}")
