"""The numbers of a tensor, in chunks; with numpy, which is an extra: `scan`."""

import importlib
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.readers.safetensors import Tensor

Numpy: TypeAlias = Any  # the module: mypy must not need it
Array: TypeAlias = Any
_STEP: Final = 2**20  # bytes at a time
COUNT: Final = 2**15  # numbers at a time, where each becomes a double: what fits into a cache is twice as fast
EXPONENT: Final = {  # the view to take, and the bits that are all set in NaN and in both infinities
    "F64": ("<u8", 0x7FF0000000000000),
    "F32": ("<u4", 0x7F800000),
    "BF16": ("<u2", 0x7F80),
    "F16": ("<u2", 0x7C00),
    "F8_E5M2": ("<u1", 0x7C),
    "F8_E4M3": ("<u1", 0x7F),
    "C64": ("<u4", 0x7F800000),
}
_VIEWS: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "<u1", "C64": "<f4",
}  # fmt: skip


class NumpyMissingError(ImportError):
    """Values are not checked: numpy is not installed."""


def numpy() -> Numpy:
    """Return numpy, imported when it is first needed.

    Raises:
        NumpyMissingError: if it is not installed.
    """
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise NumpyMissingError("numpy is not installed; docs/scanning.md says how") from None


def chunks(part: Part, tensor: Tensor, step: int = _STEP) -> Iterator[bytes]:
    """Yield the bytes of a tensor, `step` at a time."""
    for start in range(tensor.start, tensor.end, step):
        yield part.read(start, min(step, tensor.end - start))


def measurable(dtype: str) -> bool:
    """Tell whether `doubles` knows what the bytes of a type mean."""
    return dtype in _VIEWS or dtype == "BF16"


def doubles(np: Numpy, data: bytes, dtype: str) -> Array:
    """Return numbers as an array of doubles; a complex one as two."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype("f8")
    return np.frombuffer(data, _VIEWS[dtype]).astype("f8")
