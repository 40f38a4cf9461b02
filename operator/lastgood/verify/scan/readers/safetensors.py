"""The header of a safetensors file, parsed strictly by ourselves: the library accepts duplicate keys.

Format: safetensors README, "Format": 8 bytes of length, little endian; a JSON object that begins with `{`;
then the tensors, without a gap.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.api.names import Severity
from lastgood.api.strictjson import JsonError, parse
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.readers.bounds import JSON
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, finding

BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
_MAX_HEADER: Final = JSON.size
_MAX_NAME: Final = 1024
_MAX_DIMENSIONS: Final = 32
_MAX_SIZE: Final = 2**53


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One tensor: its type as in the header, its shape, and where its bytes are in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class HeaderError(ValueError):
    """The header cannot be trusted; one sentence, with the tensor where it is one's fault."""


def tensors(part: Part) -> tuple[Tensor, ...]:
    """Return the tensors of a file in the order of their bytes.

    Raises:
        HeaderError: if the header is anything but what the format allows.
    """
    length = int.from_bytes(part.read(0, 8), "little")
    if part.size < 8 or not 2 <= length <= min(_MAX_HEADER, part.size - 8):  # noqa: PLR2004 - the length's own, and `{}`
        raise HeaderError(
            f"the header has {length} bytes: at most {_MAX_HEADER}, and no more than the file, are allowed"
        )
    header = _header(part.read(8, length))
    found = [_tensor(name, row, 8 + length) for name, row in header.items()]
    found.sort(key=lambda tensor: (tensor.start, tensor.end))
    _require_no_gap(found, 8 + length, part.size)
    return tuple(found)


def _header(text: bytes) -> dict[str, Any]:
    if text[:1] != b"{":
        raise HeaderError("the header does not begin with {")
    try:
        found = parse(text, JSON)
    except JsonError as error:
        raise HeaderError(f"the header {error}") from None
    if not isinstance(found, dict):
        raise HeaderError("the header is not an object")
    metadata = found.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderError("__metadata__ must hold texts and nothing else")
    return found


def _tensor(name: str, row: object, base: int) -> Tensor:
    if not isinstance(row, Mapping) or row.keys() != {"dtype", "shape", "data_offsets"} or len(name) > _MAX_NAME:
        raise HeaderError(f"tensor {name[:80]!r} must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise HeaderError(f"tensor {name!r} has the unknown type {str(dtype)[:20]!r}")
    if not _sizes(shape) or len(shape) > _MAX_DIMENSIONS or not _sizes(offsets) or len(offsets) != 2:  # noqa: PLR2004 - begin and end
        raise HeaderError(f"tensor {name!r} has a shape or offsets that are not sizes")
    start, end = offsets
    bits = math.prod(shape) * BITS[dtype]
    if start > end or bits != (end - start) * 8:
        raise HeaderError(f"tensor {name!r} has {end - start} bytes, and its type and shape need {bits / 8:g}")
    return Tensor(name=name, dtype=dtype, shape=tuple(shape), start=base + start, end=base + end)


def _sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_SIZE for item in value)


def _require_no_gap(found: list[Tensor], base: int, size: int) -> None:
    position = base
    for tensor in found:
        if tensor.start < position:
            raise HeaderError(f"tensor {tensor.name!r} overlaps the one before it")
        if tensor.start > position:
            raise HeaderError(f"{tensor.start - position} bytes before tensor {tensor.name!r} belong to no tensor")
        position = tensor.end
    if position > size:
        raise HeaderError(f"the tensors need {position} bytes, and the file has {size}")
    if position < size:
        raise HeaderError(f"{size - position} bytes after the last tensor belong to none")


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetensorsScanner:
    """Checks the header of a safetensors file."""

    name: str = "safetensors"

    def applies(self, part: Part) -> bool:
        """Tell whether the bytes, or the name, say that it is one."""
        return part.format is Format.SAFETENSORS

    def run(self, part: Part, _: Context) -> Iterator[Finding]:
        """Yield why the header cannot be trusted."""
        try:
            tensors(part)
        except HeaderError as error:
            message = "the header breaks a rule of the format, so that readers may differ in what they load"
            yield finding(Severity.HIGH, "safetensors-header", part.name, message, str(error))
