"""What may leave the process in a log, an event or a record: bounded, in one line, without credentials."""

import re
from typing import Any, Final

LIMIT: Final = 1024
ITEMS: Final = 100
_DEPTH: Final = 4

SECRETS: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}"), r"\1 [redacted]"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@"), r"\1[redacted]@"),
    (re.compile(r"(?i)\b(token|password|passwd|secret|api[_-]?key|signature)=[^&\s]+"), r"\1=[redacted]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "[redacted]"),  # a JSON web token
)
_SUSPICIOUS: Final = re.compile(r"(?i)bearer|basic|://|=|eyj")
"""Where this finds nothing, none of the patterns above does: one search for the many texts that are harmless."""


def line(text: str, limit: int = LIMIT) -> str:
    """Return the text in one line, without control characters and credentials, and at most so long.

    Terminals obey escape sequences and bidirectional marks, so whatever is not printable is spelled out.
    """
    text = text[: limit * 4]
    if _SUSPICIOUS.search(text):
        for pattern, instead in SECRETS:
            text = pattern.sub(instead, text)[: limit * 4]
    spelled = text if text.isprintable() else "".join(_spelled(char) for char in text)
    return spelled if len(spelled) <= limit else f"{spelled[: limit - 1]}…"


def value(found: Any, depth: int = _DEPTH) -> Any:  # noqa: ANN401  # whatever a fact is made of
    """Return a fact as JSON can hold it, each text in it cleaned, each list and level bounded."""
    match found:
        case None | bool() | int():
            return found
        case float():
            return found if abs(found) < float("inf") else str(found)  # NaN is no JSON
        case dict() if depth:
            items = list(found.items())[:ITEMS]
            return {line(str(key)): value(item, depth - 1) for key, item in items}
        case list() | tuple() | set() | frozenset() if depth:
            return [value(item, depth - 1) for item in list(found)[:ITEMS]]
        case _:
            return line(str(found))


def _spelled(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char in "\n\r\t" else char.encode("unicode_escape").decode("ascii")
