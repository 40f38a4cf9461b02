"""The header of a .npy file: numpy unpickles what follows it if the type is an object.

Format: numpy.lib.format, "Format Version 1.0" to "3.0".
"""

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Codec, Part
from lastgood.verify.scan.values import Finding, finding

_MAX_HEADER: Final = 65_536
_PLAIN: Final = re.compile(r"[<>|=][?bBiufcSUVmM](\d+)(?:\[\w+\])?")
_WIDTH: Final = {"U": 4}  # bytes of one character
_WIDE: Final = 2  # the version from which the header's length has four bytes


def object_pickle(part: Part) -> Iterator[Part | Finding]:
    """Yield the pickle that an array of objects is stored as, and what is wrong with the header."""
    length_bytes = 4 if part.head[6:7] and part.head[6] >= _WIDE else 2
    length = int.from_bytes(part.head[8 : 8 + length_bytes], "little")
    start = 8 + length_bytes + length
    if length > _MAX_HEADER or start > part.size:
        yield finding(Severity.HIGH, "numpy-header", part.name, "the header is longer than it may be", str(length))
        return
    header = _parse(part.read(8 + length_bytes, length))
    if header is None:
        yield finding(Severity.HIGH, "numpy-header", part.name, "the header is not what numpy writes")
    elif _has_objects(header["descr"]):
        yield _inside(part, start)
    else:
        yield from _size(part, start, header)


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        found = ast.literal_eval(text.decode("utf-8"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(found, dict) or found.keys() != {"descr", "fortran_order", "shape"}:
        return None
    shape = found["shape"]
    return found if isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape) else None


def _has_objects(descr: object) -> bool:
    """Tell whether there is an object in a type; one that is not plain counts as having one."""
    if isinstance(descr, str):
        return _PLAIN.fullmatch(descr) is None
    if isinstance(descr, list):
        return any(not _is_field(field) or _has_objects(field[1]) for field in descr)
    return True


def _is_field(field: object) -> bool:
    """Tell whether it is a name and a type, and maybe a shape."""
    if not isinstance(field, tuple) or len(field) not in {2, 3}:
        return False
    return len(field) == 2 or (isinstance(field[2], tuple) and all(type(size) is int for size in field[2]))  # noqa: PLR2004 - without a shape


def _inside(part: Part, start: int) -> Part:
    if part.place.codec is Codec.STORED:
        return part.inside("objects.pkl", start, part.size - start)
    # The child unpacks from the beginning, and a pickle that begins there is all that it knows.
    return part.packed("objects.pkl", replace(part.place, skip=start))


def _size(part: Part, start: int, header: dict[str, Any]) -> Iterator[Finding]:
    expected = _bytes_of(header["descr"]) * math.prod(header["shape"])
    if part.size - start != expected:
        message = "the data does not have the size that its header says"
        evidence = f"{part.size - start} and not {expected} bytes"
        yield finding(Severity.HIGH, "numpy-size", part.name, message, evidence)


def _bytes_of(descr: Any) -> int:  # noqa: ANN401 - a literal of any shape, which _has_objects has looked at
    """Return the bytes of one item of a type that holds no object: one type, or fields of (name, type, shape)."""
    if isinstance(descr, str):
        found = _PLAIN.fullmatch(descr)
        return int(found.group(1)) * _WIDTH.get(descr[1], 1) if found else 0
    return sum(_bytes_of(row[1]) * math.prod(row[2] if len(row) > 2 else ()) for row in descr)  # noqa: PLR2004 - without a shape
