"""ONNX: where a model says that its weights are; a path that leads out of its directory reads another file.

Format: onnx.proto3 and "External Data" of ONNX's docs. Messages are walked by their tags; nothing is decoded
but the few texts that matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.readers.protobuf import BYTES, Field, WireError, fields
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, finding, packed

_GRAPH, _NODE, _INITIALIZER, _SPARSE, _FUNCTIONS = 7, 1, 5, 15, 25
_TENSOR_IN_ATTRIBUTE, _ATTRIBUTE, _GRAPH_IN_ATTRIBUTE = 5, 5, 6
_EXTERNAL = 13
_MAX_FIELDS: Final = 2_000_000
_MAX_TEXT: Final = 4096
_MODEL: Final = frozenset({*range(1, 9), 14, 20, _FUNCTIONS, 26})  # all fields of a ModelProto
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
        except WireError as error:
            message = "its messages are broken, so not all of it was looked at"
            yield finding(Severity.HIGH, "onnx-broken", part.name, message, str(error))


def _locations(part: Part) -> Iterator[str]:
    pending = [("model", 0, part.size)]
    count = 0
    while pending:
        kind, start, end = pending.pop()
        for field in fields(part, start, end):
            count += 1
            if count > _MAX_FIELDS:
                raise WireError(f"more than {_MAX_FIELDS} fields")
            if kind == "model" and field.number not in _MODEL:
                raise WireError(f"the unknown field {field.number} at byte {field.start}")
            inner = _TREE[kind].get(field.number) if field.wire == BYTES else None
            if inner == "entry":
                key, value = _entry(part, field)
                if key == b"location":
                    yield value.decode("utf-8", "backslashreplace")
            elif inner:
                pending.append((inner, field.start, field.end))


def _entry(part: Part, entry: Field) -> tuple[bytes, bytes]:
    found = {
        field.number: part.read(field.start, min(field.end - field.start, _MAX_TEXT))
        for field in fields(part, entry.start, entry.end)
        if field.wire == BYTES
    }
    return found.get(1, b""), found.get(2, b"")
