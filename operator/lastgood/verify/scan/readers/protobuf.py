"""The wire format of protobuf: fields by their tags, to the last byte of a message. Nothing is decoded here.

Format: protobuf.dev, "Encoding". For tokenizers, sentencepiece_model.proto; for TensorFlow, saved_model.proto and
graph.proto.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.verify.scan.containers.part import Part

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST: Final = 10  # bytes of a varint
_MAX_FIELDS: Final = 2_000_000
_MAX_NUMBER: Final = 15  # of a field of a SavedModel, a GraphDef and their like
_PIECE: Final = 1
_MODEL: Final = frozenset({_PIECE, 2, 3, 4, 5})  # pieces, trainer, normalizer, self-test, denormalizer
_PIECE_FIELDS: Final = {1: BYTES, 2: FIXED32, 3: VARINT}  # piece, score, type


class WireError(ValueError):
    """One phrase that says what is wrong."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, its wire type, and where its value lies; of BYTES without the length."""

    number: int
    wire: int
    start: int
    end: int


def fields(part: Part, at: int, end: int) -> Iterator[Field]:
    """Yield the fields of a message.

    Raises:
        WireError: if the bytes are not fields from the first to the last.
    """
    while at < end:
        tag, at = _varint(part, at, end)
        wire, start = tag & 7, at
        if wire == VARINT:
            _, at = _varint(part, at, end)
        elif wire == BYTES:
            length, start = _varint(part, at, end)
            at = start + length
        elif wire in {FIXED32, FIXED64}:
            at += 4 if wire == FIXED32 else 8
        else:
            raise WireError(f"an unknown wire type at byte {at}")
        if at > end:
            raise WireError(f"a field of {at - start} bytes at byte {start} goes beyond its message")
        yield Field(tag >> 3, wire, start, at)


def problem(part: Part) -> str | None:
    """Return why a file is not one message of a TensorFlow graph to its last byte, or None."""
    try:
        for count, field in enumerate(fields(part, 0, part.size)):
            if not 1 <= field.number <= _MAX_NUMBER or count > _MAX_FIELDS:
                return f"a message with the field {field.number} at byte {field.start}"
    except WireError as error:
        return f"a message with {error}"
    return None


def sentencepiece_problem(part: Part) -> str | None:
    """Return why a file is not a sentencepiece tokenizer to its last byte, or None."""
    try:
        for count, field in enumerate(fields(part, 0, part.size)):
            if field.number not in _MODEL or field.wire != BYTES or count > _MAX_FIELDS:
                return f"a tokenizer with the field {field.number} at byte {field.start}"
            if field.number == _PIECE and not _is_piece(part, field):
                return f"a tokenizer with something that is no piece at byte {field.start}"
    except WireError as error:
        return f"a tokenizer with {error}"
    return None


def _is_piece(part: Part, piece: Field) -> bool:
    return all(_PIECE_FIELDS.get(field.number) == field.wire for field in fields(part, piece.start, piece.end))


def _varint(part: Part, at: int, end: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(part.read(at, min(_LONGEST, end - at))):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says "more follows"
            return value, at + index + 1
    raise WireError(f"a number without an end at byte {at}")
