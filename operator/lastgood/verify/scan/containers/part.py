"""A part of an open file: the whole of it, or a member of an archive inside; read at offsets, within bounds."""

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from lastgood.verify.errors import UnreadableError
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import reading
from lastgood.verify.scan.formats import HEAD, Format, detect

CHUNK: Final = 2**20


class Codec(StrEnum):
    """How the bytes of a part lie in its file."""

    STORED = "stored"
    DEFLATE = "deflate"  # raw, as in a zip
    ZLIB = "zlib"  # with a zlib or gzip header


_WINDOW: Final = {Codec.DEFLATE: -15, Codec.ZLIB: 47}  # window bits, as zlib.decompressobj wants them


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a part lies: `stored` bytes from `start` of an open file, `size` when unpacked; it begins after `skip`."""

    descriptor: int
    start: int
    stored: int
    size: int
    codec: Codec = Codec.STORED
    skip: int = 0


@dataclass(kw_only=True, slots=True)
class Part:
    """Bytes with a name. Of a compressed part only the first `keep` bytes can be read here.

    Attributes:
        name: as findings show it, `model.pt!archive/data.pkl`.
        depth: archives around it.
        trail: the names that `name` is made of: of the file, and of each member inside the one before.
    """

    name: str
    place: Place
    meter: Meter
    keep: int
    depth: int = 0
    trail: tuple[str, ...] = ()
    head: bytes = field(init=False)
    format: Format = field(init=False)
    _inflated: tuple[bytes, bool] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.trail = self.trail or (self.name,)
        self.head = self.read(0, HEAD)
        self.format = detect(self.head, self.suffix)

    @property
    def size(self) -> int:
        """The number of bytes, unpacked: as the archive states it."""
        return self.place.size - self.place.skip

    @property
    def base(self) -> str:
        """The last component of the name, in lower case."""
        return self.parts[-1]

    @property
    def parts(self) -> list[str]:
        """The components of the name, in lower case; Windows writes them into archives with backslashes."""
        return re.split(r"[!/\\]", self.name.lower())

    @property
    def suffix(self) -> str:
        """What the name ends in, such as `.pt`; empty if nothing."""
        stem, dot, suffix = self.base.rpartition(".")
        return f".{suffix}" if dot and stem else ""

    @property
    def whole(self) -> bool:
        """Whether every byte can be read here."""
        return self.place.codec is Codec.STORED or self.place.size <= self.keep

    @property
    def ends_well(self) -> bool:
        """Whether what is packed ends where its bytes do; only told of what is whole."""
        return self.place.codec is Codec.STORED or self._unpacked()[1]

    def read(self, offset: int, count: int) -> bytes:
        """Return up to so many bytes; fewer only at the end (of what is kept, if compressed).

        Raises:
            UnreadableError: if the disk fails, or the file is shorter than it was.
        """
        if self.place.codec is not Codec.STORED:
            return self._unpacked()[0][self.place.skip :][offset : offset + count]
        return self._stored(offset, min(count, self.size - offset))

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes in chunks of 1 MiB."""
        last = self.size if end is None else end
        while start < last and (chunk := self.read(start, min(CHUNK, last - start))):
            yield chunk
            start += len(chunk)

    def inside(self, name: str, start: int, size: int) -> "Part":
        """Return a part of this one, which must be stored as it is."""
        place = replace(self.place, start=self.place.start + start, stored=size, size=size)
        return self.packed(name, place)

    def packed(self, name: str, place: Place) -> "Part":
        """Return a part that lies at a place of the same file."""
        return Part(
            name=f"{self.name}!{name}",
            place=place,
            meter=self.meter,
            keep=self.keep,
            depth=self.depth + 1,
            trail=(*self.trail, name),
        )

    def _stored(self, offset: int, count: int) -> bytes:
        if offset < 0 or count <= 0:
            return b""
        with reading(printable(self.name)):
            data = os.pread(self.place.descriptor, count, self.place.start + offset)
            while len(data) < count:
                more = os.pread(self.place.descriptor, count - len(data), self.place.start + offset + len(data))
                if not more:
                    raise UnreadableError(f"{printable(self.name)} ended before its size of {self.size}")
                data += more
        self.meter.add(len(data))
        return data

    def _unpacked(self) -> tuple[bytes, bool]:
        if self._inflated is None:
            self._inflated = _inflate(self._packed_bytes(), self.place.codec, self.keep)
        return self._inflated

    def _packed_bytes(self) -> Iterator[bytes]:
        offset, size = 0, self.place.stored
        while offset < size:
            with reading(printable(self.name)):
                data = os.pread(self.place.descriptor, min(CHUNK // 4, size - offset), self.place.start + offset)
            if not data:
                raise UnreadableError(f"{printable(self.name)} ended before its size of {size}")
            self.meter.add(len(data))
            offset += len(data)
            yield data


def _inflate(packed: Iterator[bytes], codec: Codec, limit: int) -> tuple[bytes, bool]:
    """Return the first bytes of what is compressed, up to a limit, and whether it ends where its bytes do.

    What is broken ends it. Readers of gzip take several streams in a row for one file, and zeros after them for none.
    """
    machine = zlib.decompressobj(_WINDOW[codec])
    found = bytearray()
    try:
        for data in packed:
            rest = data
            while rest and len(found) < limit:
                if machine.eof and (codec is Codec.DEFLATE or not (rest := rest.lstrip(b"\0"))):
                    break
                machine = zlib.decompressobj(_WINDOW[codec]) if machine.eof else machine
                found += machine.decompress(rest, limit - len(found))
                rest = machine.unused_data if machine.eof else b""
            if len(found) >= limit:
                break
    except zlib.error:
        return bytes(found), False  # the member is broken; whoever looks at it sees how little there is
    return bytes(found), machine.eof
