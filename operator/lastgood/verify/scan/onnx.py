"""ONNX: where a model says that its weights are; a path that leads out of its directory reads another file.

Format: onnx.proto3 and "External Data" of ONNX's docs. Messages are walked by their tags; nothing is decoded
but the few texts that matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.part import Part
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, finding, packed

_GRAPH, _NODE, _INITIALIZER, _SPARSE, _FUNCTIONS = 7, 1, 5, 15, 25
_TENSOR_IN_ATTRIBUTE, _ATTRIBUTE, _GRAPH_IN_ATTRIBUTE = 5, 5, 6
_EXTERNAL = 13
_MAX_FIELDS: Final = 2_000_000
_MAX_TEXT: Final = 4096
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST: Final = 10  # bytes of a varint
# Which fields of which message are looked into, and as what.
_TREE: Final = {
    "model": {_GRAPH: "graph", _FUNCTIONS: "function"},
    "function": {7: "node"},
    "graph": {_NODE: "node", _INITIALIZER: "tensor", _SPARSE: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {_ATTRIBUTE: "attribute"},
    "attribute": {_TENSOR_IN_ATTRIBUTE: "tensor", _GRAPH_IN_ATTRIBUTE: "graph", 10: "tensor", 11: "graph"},
    "tensor": {_EXTERNAL: "entry"},
}


class _OnnxError(ValueError):
    """One phrase that says what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxScanner:
    """Looks for external data outside the model's directory."""

    name: str = "onnx"

    def applies(self, part: Part) -> bool:
        """Tell whether it is one, by its name and first byte: the format has no magic number."""
        return part.format is Format.ONNX

    def run(self, part: Part, _: Context) -> Iterator[Finding]:
        """Yield locations that lead out."""
        if not part.whole:
            yield packed(part.name)
            return
        try:
            for location in _locations(part):
                parts = location.replace("\\", "/").split("/")
                if ".." in parts or location.startswith(("/", "\\")) or ":" in parts[0]:
                    message = "its weights are said to be in a file outside the model's directory"
                    yield finding(Severity.HIGH, "onnx-external-path", part.name, message, location)
        except _OnnxError as error:
            message = "its messages are broken, so not all of it was looked at"
            yield finding(Severity.MEDIUM, "onnx-broken", part.name, message, str(error))


def _locations(part: Part) -> Iterator[str]:
    pending = [("model", 0, part.size)]
    count = 0
    while pending:
        kind, start, end = pending.pop()
        for number, begin, stop in _fields(part, start, end):
            count += 1
            if count > _MAX_FIELDS:
                raise _OnnxError(f"more than {_MAX_FIELDS} fields")
            inner = _TREE[kind].get(number)
            if inner == "entry":
                key, value = _entry(part, begin, stop)
                if key == b"location":
                    yield value.decode("utf-8", "backslashreplace")
            elif inner:
                pending.append((inner, begin, stop))


def _entry(part: Part, start: int, end: int) -> tuple[bytes, bytes]:
    fields = {
        number: part.read(begin, min(stop - begin, _MAX_TEXT)) for number, begin, stop in _fields(part, start, end)
    }
    return fields.get(1, b""), fields.get(2, b"")


def _fields(part: Part, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, begin and end of each field that has a length."""
    while at < end:
        tag, at = _varint(part, at, end)
        wire = tag & 7
        if wire == _VARINT:
            _, at = _varint(part, at, end)
        elif wire == _BYTES:
            length, at = _varint(part, at, end)
            if length > end - at:
                raise _OnnxError(f"a field of {length} bytes at byte {at} goes beyond its message")
            yield tag >> 3, at, at + length
            at += length
        elif wire in {_FIXED32, _FIXED64}:
            at += 4 if wire == _FIXED32 else 8
        else:
            raise _OnnxError(f"an unknown wire type at byte {at}")


def _varint(part: Part, at: int, end: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(part.read(at, min(_LONGEST, end - at))):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says "more follows"
            return value, at + index + 1
    raise _OnnxError(f"a number without an end at byte {at}")
