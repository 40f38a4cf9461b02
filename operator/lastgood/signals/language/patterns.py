"""Regular expressions: those of RE2, as CEL has it. They take a time linear in the text; Python's can take for ever."""

from typing import Final, Protocol

import re2

from lastgood.signals.errors import ExpressionError
from lastgood.signals.language.meter import Meter, copying

MAX_PATTERN: Final = 64

_COMPILING: Final = 160  # steps for each character of a pattern, the worst is \pL
_SEARCHING: Final = 64  # steps for a search of nothing
_LOOKED_AT: Final = (
    64  # so many bytes, times instructions, in one step: the worst are those that RE2 has no automaton for
)
_WIDEST: Final = 4  # bytes of a character

_OPTIONS: Final = re2.Options()
_OPTIONS.max_mem = 64 * 1024  # bytes of the program and its automata, which RE2 keeps
_OPTIONS.never_capture = True  # where a group matched, nobody asks
_OPTIONS.log_errors = False


class Pattern(Protocol):
    """A pattern as the library has it."""

    programsize: int

    def search(self, text: str) -> object:
        """Return a match anywhere in the text, or None."""


def compiled(pattern: str) -> Pattern:
    """Return a pattern, ready for use; the library keeps the last ones.

    Raises:
        ExpressionError: it is none of RE2, or too large a program.
    """
    try:
        found: Pattern = re2.compile(pattern, _OPTIONS)
    except re2.error:
        raise ExpressionError("matches() was given a pattern that is not a regular expression (regex) of RE2") from None
    return found


def compiling(pattern: str) -> int:
    """Return the steps for compiling a pattern, whether or not the library has kept it."""
    return _COMPILING * len(pattern)


def matches(text: str, pattern: Pattern, meter: Meter) -> bool:
    """Return whether a pattern matches anywhere in a text."""
    size = len(text) if text.isascii() else len(text) * _WIDEST
    meter.spend(_SEARCHING + copying(text) + size * pattern.programsize // _LOOKED_AT)
    return pattern.search(text) is not None
