"""The words of an expression."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lastgood.signals.errors import ExpressionError


@dataclass(frozen=True, kw_only=True)
class Token:
    """A word and where it begins (characters from 0)."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""
    (?P<space>(?:[ \t\r\n\f]|//[^\n]*)++)
  | (?P<string>[rR]?(?:"(?:[^"\\\r\n]|\\[^\r\n])*+"|'(?:[^'\\\r\n]|\\[^\r\n])*+'))
  | (?P<float>\d++\.\d++(?:[eE][+-]?\d++)?|\d++[eE][+-]?\d++|\.\d++(?:[eE][+-]?\d++)?)
  | (?P<int>0[xX][0-9a-fA-F]++|\d++)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*+)
  | (?P<sign>\|\||&&|==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE,
)

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|.)",
    re.DOTALL,
)
_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def tokens(text: str) -> Iterator[Token]:
    """Split the text into its words, without spaces and comments; the last one has the kind `end`.

    Raises:
        ExpressionError: at a character that begins no word.
    """
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ExpressionError(f"column {at + 1}: {text[at : at + 1]!r} is not understood here")
        if match.lastgroup != "space":
            yield Token(kind=match.lastgroup, text=match.group(), at=at)
        at = match.end()
    yield Token(kind="end", text="the end", at=at)


def string_value(token: Token) -> str:
    """Return what a string literal stands for.

    Raises:
        ExpressionError: for an escape sequence that CEL does not have.
    """
    if token.text[0] in "rR":
        return token.text[2:-1]
    return _ESCAPE.sub(lambda match: _unescaped(match, token), token.text[1:-1])


def _unescaped(match: re.Match[str], token: Token) -> str:
    short, *hexadecimal, octal = match.groups()
    if short:
        return _SHORT.get(short, short)
    digits = next(filter(None, hexadecimal), "")
    code = int(digits, 16) if digits else int(octal, 8) if octal else -1
    if not 0 <= code <= _LAST_CODE_POINT or code in _SURROGATES:
        raise ExpressionError(f"column {token.at + 1}: the escape {match.group()!r} is unknown")
    return chr(code)
