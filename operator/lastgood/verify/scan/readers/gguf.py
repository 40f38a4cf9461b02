"""GGUF: the key-value pairs at its beginning, for the chat template in them, and the places of its tensors.

Format: ggml docs/gguf.md, versions 2 and 3 (little endian).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan import templates
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, finding, packed

_SCALARS: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of each type
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_BLOCKS: Final = {  # of each type of tensor: numbers in a block, bytes of a block; ggml's type traits
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
_ALIGNMENT: Final = 32  # if the file does not say another
_MAX_ALIGNMENT: Final = 4096
_VERSIONS: Final = (2, 3)
_MAX_PAIRS: Final = 65_536
_MAX_TENSORS: Final = 1_000_000
_MAX_KEY: Final = 65_535
_MAX_ITEMS: Final = 4_000_000
_MAX_DIMENSIONS: Final = 8
_MAX_TEMPLATES: Final = 256
_WINDOW: Final = 2**18


class _GgufError(ValueError):
    """One phrase that says what is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufScanner:
    """Reads the metadata of a GGUF file, within bounds."""

    name: str = "gguf"

    def applies(self, part: Part) -> bool:
        """Tell whether it is one."""
        return part.format is Format.GGUF

    def run(self, part: Part, _: Context) -> Iterator[Finding]:
        """Yield what is wrong with the metadata, and with a chat template in it."""
        if not part.whole:
            yield packed(part.name)
            return
        try:
            yield from _look(_Reader(part))
        except _GgufError as error:
            message = "the metadata breaks a rule of the format, so that readers may differ in what they load"
            yield finding(Severity.HIGH, "gguf-header", part.name, message, str(error))


class _Reader:
    def __init__(self, part: Part) -> None:
        self.part = part
        self.at = 4
        self.alignment = _ALIGNMENT
        self._start, self._window = 0, b""

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count > self.part.size - self.at:
            raise _GgufError(f"it ends inside a value of {count} bytes at byte {self.at}")
        inside = self.at - self._start
        if inside + count > len(self._window):
            self._start, inside = self.at, 0
            self._window = self.part.read(self.at, max(count, _WINDOW))
        self.at += count
        return self._window[inside : inside + count]

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        if count > self.part.size - self.at:
            raise _GgufError(f"it ends inside a value of {count} bytes at byte {self.at}")
        self.at += count

    def number(self, size: int = 8) -> int:
        """Return an unsigned number."""
        return int.from_bytes(self.take(size), "little")

    def text(self, limit: int) -> str:
        """Return a text; of one that is longer than a limit, its beginning."""
        length = self.number()
        kept = self.take(min(length, limit)) if length <= self.part.size else b""
        self.skip(length - len(kept))
        return kept.decode("utf-8", "replace")


def _look(reader: _Reader) -> Iterator[Finding]:
    version = reader.number(4)
    if version not in _VERSIONS:
        raise _GgufError(f"it is of the unknown version {version}")
    tensors, pairs = reader.number(), reader.number()
    if tensors > _MAX_TENSORS or pairs > _MAX_PAIRS:
        raise _GgufError(f"it has {tensors} tensors and {pairs} pairs, which is too much")
    keys: set[str] = set()
    for _ in range(pairs):
        key = reader.text(_MAX_KEY)
        if key in keys:
            raise _GgufError(f"it has the key {key[:80]!r} twice")
        keys.add(key)
        yield from _pair(reader, key)
    _tensors(reader, tensors)


def _pair(reader: _Reader, key: str) -> Iterator[Finding]:
    kind = reader.number(4)
    if key == "general.alignment" and kind == _UINT32:
        reader.alignment = reader.number(4)
    elif "chat_template" in key:
        yield from _templates(reader, kind)
    elif kind != _STRING:
        _pass(reader, kind)
    else:
        reader.text(0)


def _templates(reader: _Reader, kind: int) -> Iterator[Finding]:
    """Look at a template, or at each text of an array: which of them a loader takes is not ours to know."""
    count = 1
    if kind == _ARRAY:
        kind, count = reader.number(4), reader.number()
    if kind != _STRING or count > _MAX_TEMPLATES:
        raise _GgufError(f"it has a chat template of type {kind} with {count} items, which is not looked at")
    for _ in range(count):
        yield from templates.look(reader.part.name, reader.text(templates.MAX_TEMPLATE * 4))


def _pass(reader: _Reader, kind: int) -> None:
    if kind in _SCALARS:
        reader.skip(_SCALARS[kind])
        return
    if kind != _ARRAY:
        raise _GgufError(f"it has a value of the unknown type {kind}")
    inner, count = reader.number(4), reader.number()
    if inner in _SCALARS:
        reader.skip(_SCALARS[inner] * count)
    elif inner == _STRING and count <= _MAX_ITEMS:
        for _ in range(count):
            reader.skip(reader.number())
    else:
        raise _GgufError(f"it has an array of type {inner} with {count} items, which is not looked into")


def _tensors(reader: _Reader, count: int) -> None:
    """Pass over the tensors' rows; their data must end where the file does."""
    last = 0
    for _ in range(count):
        reader.text(0)
        dimensions = reader.number(4)
        if dimensions > _MAX_DIMENSIONS:
            raise _GgufError(f"a tensor has {dimensions} dimensions")
        numbers = math.prod(reader.number() for _ in range(dimensions))
        block, size = _BLOCKS.get(reader.number(4), (0, 0))
        if not block or numbers % block:
            raise _GgufError("a tensor has a type that is not known, or not the shape for it")
        last = max(last, reader.number() + numbers // block * size)
    _require_end(reader, last)


def _require_end(reader: _Reader, length: int) -> None:
    """The data begins at a multiple of the alignment, and is padded with zeros to another."""
    if not 1 <= reader.alignment <= _MAX_ALIGNMENT:
        raise _GgufError(f"its alignment is {reader.alignment}")
    left = reader.part.size - reader.at - length
    if left < 0:
        raise _GgufError(f"its tensors need {length} bytes, and {left + length} are left for them")
    padding = -reader.at % reader.alignment
    behind = reader.part.read(reader.part.size - max(0, left - padding), min(left, _WINDOW))
    if left >= padding + reader.alignment or behind.strip(b"\0"):
        raise _GgufError(f"{left} bytes after its header belong to no tensor")
