"""Reading JSON and base64 that an attacker may have written: bounded, and without a second meaning."""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lastgood.api.fields import Fields
from lastgood.api.strictjson import BoundError, Bounds, JsonError, parse
from lastgood.errors import InvalidSpecError
from lastgood.verify.reading.printable import printable
from lastgood.verify.signing.errors import Problem, SignatureError

_DEPTH: Final = 64


def malformed(sentence: str) -> SignatureError:
    """Return the error for text that is not what the format asks for."""
    return SignatureError(Problem.MALFORMED, sentence)


def parse_json(data: bytes, what: str, *, max_values: int) -> Fields:
    """Return the object in a JSON text.

    Raises:
        SignatureError: if it is no JSON object, or a large one.
    """
    try:
        value = parse(data, Bounds(size=len(data), values=max_values, depth=_DEPTH))
    except BoundError as error:
        raise SignatureError(Problem.TOO_LARGE, f"{what} {error}") from None
    except JsonError as error:
        raise malformed(f"{what} {error}") from None
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a JSON object")
    return Fields(value, what)


@contextmanager
def naming_fields() -> Iterator[None]:
    """Turn the error of a field into a SignatureError; its sentence names the field."""
    try:
        yield
    except InvalidSpecError as error:
        raise malformed(str(error)) from None


def decoded(fields: Fields, name: str, *, limit: int) -> bytes:
    """Return the bytes of a base64 field (RFC 4648 section 4, with padding)."""
    text = fields.text(name, limit=limit, required=True)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        raise malformed(f"{fields.at(name)}: must be base64") from None


def objects(fields: Fields, name: str, *, limit: int) -> list[Fields]:
    """Return a list of objects; an absent one is an error, and not an empty one."""
    if not isinstance(fields.value.get(name), list):
        raise malformed(f"{fields.at(name)}: must be a list")
    return list(fields.items(name, limit=limit))


def require_text(fields: Fields, name: str, expected: str) -> None:
    """Refuse a field that is not one exact text.

    Raises:
        SignatureError: with the reason Unsupported, for it may be right in another version of the format.
    """
    found = fields.value.get(name)
    if found != expected:
        shown = printable(found) if isinstance(found, str) else type(found).__name__
        raise SignatureError(Problem.UNSUPPORTED, f"{fields.at(name)}: must be {expected}, and is {shown}")
