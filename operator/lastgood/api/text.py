"""Texts that have to be short, and still tell one thing from another."""

import hashlib
from collections.abc import Sequence
from typing import Final

_TAIL: Final = 40
_MARK: Final = 8


def listed(sentences: Sequence[str], most: int) -> tuple[str, ...]:
    """Return as many sentences as there is room for; where that is not all, the last says how many are missing."""
    if len(sentences) <= most or most < 1:
        return tuple(sentences[:most])
    return (*sentences[: most - 1], f"and {len(sentences) - most + 1} more")


def shortened(text: str, limit: int) -> str:
    """Return a name of at most `limit` characters (24 or more): its begin, a mark of the whole, and its end.

    Names that differ still differ afterwards: an attacker who may choose long names would else hide one behind another.
    """
    if len(text) <= limit:
        return text
    mark = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_MARK]
    tail = min(_TAIL, limit // 4)
    return f"{text[: limit - tail - _MARK - 2]}…{mark}…{text[-tail:]}"
