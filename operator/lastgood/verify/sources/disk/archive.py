"""Files in a tar, read as a stream, from whoever may have packed it.

`tarfile` reads a header's extension as large as it says, into memory; here only its parser of one block is used.
That the bytes arrive whole is checked below: what is wrong here is wrong with the bytes, and not with the reading.
"""

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from lastgood.verify.errors import LimitError, RefusedEntryError
from lastgood.verify.reading.printable import printable
from lastgood.verify.sources.disk.paths import take_path
from lastgood.verify.sources.values import Chunk, Entry

_BLOCK: Final = 512
_CHUNK: Final = 2**20
_MAX_EXTENSION: Final = 2**20  # bytes of a pax header or a long name; a path has at most 4,095
_RATIO: Final = 100  # weights hardly shrink; deflate's most is 1,032
_FREE: Final = 64 * 2**20  # what may come out of a small layer, whatever its ratio
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LONG_NAME: Final = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_KINDS: Final = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


def gunzip(chunks: Iterable[Chunk], packed: int) -> Iterator[bytes]:
    """Yield what gzip packed, one or several members, at most 1 MiB at a time.

    Raises:
        RefusedEntryError: if it is no gzip, or ends too early.
        LimitError: if so much comes out that it must be a bomb.
    """
    left = max(packed * _RATIO, _FREE)
    unpacker = zlib.decompressobj(wbits=31)
    fresh = True
    for chunk in chunks:
        data: Chunk = chunk
        while data:
            if unpacker.eof:
                unpacker, fresh = zlib.decompressobj(wbits=31), True
            out, data = _some(unpacker, data)
            fresh = False
            left -= len(out)
            if left < 0:
                raise LimitError(f"a layer of {packed} bytes unpacks to more than {_RATIO} times its size")
            yield out
    if fresh or not unpacker.eof:
        raise RefusedEntryError("a packed layer ends before its end")


def _some(unpacker: "zlib._Decompress", data: Chunk) -> tuple[bytes, bytes]:
    try:
        out = unpacker.decompress(data, _CHUNK)
    except zlib.error:
        raise RefusedEntryError("a packed layer is not a gzip stream") from None
    return out, unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail


def members(chunks: Iterable[Chunk]) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
    """Yield each regular file of a tar with its bytes, which must be used up before the next.

    Raises:
        RefusedEntryError: if it is no whole tar, or has anything but files and directories, or a name that is no path.
    """
    stream = _Stream(iter(chunks))
    override = _Override()
    while (header := _header(stream)) is not None:
        size = override.size if override.size is not None else header.size
        if header.type in _LONG_NAME or header.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}:
            override.take(header, stream.extension(header.size))
            continue
        path = _path(override.path if override.path is not None else header.name, header)
        override = _Override()
        if header.type in _FILES:
            yield Entry(path=path, size=size), stream.take(size)
            stream.skip(-size % _BLOCK)


def _header(stream: "_Stream") -> tarfile.TarInfo | None:
    block = stream.exact(_BLOCK)
    if not block.strip(b"\0"):
        stream.drain()
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise RefusedEntryError("a layer is not a tar archive, or it is damaged") from None
    if header.size < 0:
        raise RefusedEntryError("a layer has a file of a negative size")
    return header


def _path(name: str, header: tarfile.TarInfo) -> str:
    kind = _KINDS.get(header.type)
    if kind or header.type not in (*_FILES, tarfile.DIRTYPE):
        raise RefusedEntryError(f"{printable(name)} is {kind or 'something unknown'}, which no checkpoint may hold")
    name = name.removeprefix("./")
    if header.type == tarfile.DIRTYPE:
        name = name.removesuffix("/")
        return "" if name in {"", "."} else take_path(name, "the directory")
    return take_path(name, "the file")


@dataclass
class _Override:
    """What extended headers say about the next file."""

    path: str | None = None
    size: int | None = None

    def take(self, header: tarfile.TarInfo, body: bytes) -> None:
        if header.type == tarfile.GNUTYPE_LONGNAME:
            self.path = body.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif header.type in {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}:
            self._pax(body)
        elif header.type == tarfile.XGLTYPE and any(key in body for key in (b" path=", b" size=", b" GNU.sparse")):
            raise RefusedEntryError("a layer gives all its files the same path or size")

    def _pax(self, body: bytes) -> None:
        while body:
            length, _, _ = body.partition(b" ")
            if not length.isdigit() or not len(length) + 1 < int(length[:7]) <= len(body):
                raise RefusedEntryError("a layer is a damaged tar")
            record, body = body[len(length) + 1 : int(length) - 1], body[int(length) :]
            key, _, text = record.partition(b"=")
            self._record(key, text)

    def _record(self, key: bytes, text: bytes) -> None:
        if key.startswith(b"GNU.sparse"):
            raise RefusedEntryError("a layer holds a sparse file, which no checkpoint may hold")
        if key == b"path":
            self.path = text.decode("utf-8", "surrogateescape")
        elif key == b"size":
            if not text.isdigit() or len(text) > 16:  # noqa: PLR2004 - the digits of 2**53
                raise RefusedEntryError("a layer is a damaged tar")
            self.size = int(text)


@dataclass
class _Stream:
    """Bytes in order, in the pieces that a reader asks for."""

    chunks: Iterator[Chunk]
    _rest: memoryview = field(default_factory=lambda: memoryview(b""))

    def take(self, size: int) -> Iterator[Chunk]:
        """Yield so many bytes as they come."""
        while size > 0:
            if not self._rest:
                self._rest = memoryview(self._next())
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece

    def exact(self, size: int) -> bytes:
        """Return so few bytes."""
        return b"".join(self.take(size))

    def extension(self, size: int) -> bytes:
        """Return the body of an extended header."""
        if not 0 <= size <= _MAX_EXTENSION:
            raise LimitError(f"a layer has a header of {size} bytes, above the limit of {_MAX_EXTENSION}")
        body = self.exact(size)
        self.skip(-size % _BLOCK)
        return body

    def skip(self, size: int) -> None:
        """Pass over bytes."""
        for _ in self.take(size):
            pass

    def drain(self) -> None:
        """Read what follows the end of the tar: it counts for the layer's own digest."""
        self._rest = memoryview(b"")
        for _ in self.chunks:
            pass

    def _next(self) -> Chunk:
        chunk = next(self.chunks, None)
        if chunk is None:
            raise RefusedEntryError("a layer ends before its tar does")
        return chunk
