"""Raw numbers beside a pickle: what torch's persistent ids declare as storage, and how many bytes that is.

Format: torch/serialization.py of PyTorch, `persistent_id`, and `_legacy_save` for what was written before 1.6.
"""

from collections.abc import Iterator
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.pickles.sandbox import Asked, Storage
from lastgood.verify.scan.values import Finding, finding

_BYTES: Final = {  # of one number, as numel counts them
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8,
    "QInt32Storage": 4,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QUInt4x2Storage": 1,  # two numbers in a byte; torch counts the bytes
    "QUInt2x4Storage": 1,
    "UntypedStorage": 1,  # float8 and whatever has no class of its own; torch counts the bytes
    "_UntypedStorage": 1,  # its name in 1.11 and 1.12
}
_PLACES: Final = ("torch", "torch.storage")
_COUNT: Final = 8  # bytes of the count before each storage, before 1.6


def width(storage: Storage) -> int | None:
    """Return the bytes of one number of a storage, or None if torch has no such type."""
    place, _, name = storage.kind.rpartition(".")
    return _BYTES.get(name) if place in _PLACES else None


def legacy_tail(part: Part, asked: Asked) -> Iterator[Finding]:
    """Yield why the bytes after the pickles are not the storages that they declare: count and numbers, in order."""
    position = asked.end
    for key in asked.keys:
        storage = asked.storages.get(key)
        size = None if storage is None else width(storage)
        if storage is None or size is None or part.read(position, _COUNT) != storage.count.to_bytes(_COUNT, "little"):
            message = "what follows its pickles is not the storages that they declare"
            yield finding(Severity.HIGH, "torch-storage", part.name, message, f"storage {key} at byte {position}")
            return
        position += _COUNT + size * storage.count
    if position != part.size or set(asked.keys) != asked.storages.keys():
        message = "its storages do not end where the file does, or are not those that its pickles declare"
        evidence = f"byte {position} of {part.size}, {len(asked.keys)} of {len(asked.storages)} storages"
        yield finding(Severity.HIGH, "torch-storage", part.name, message, evidence)
