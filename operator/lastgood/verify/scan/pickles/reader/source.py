"""The bytes that an unpickler reads: bounded, and with long payloads left out, for no loader runs them."""

import os
import zlib
from typing import Final

CHUNK: Final = 2**17
_LINE: Final = 2**9  # what is searched for a line feed at a time
_SKIP: Final = 2**20  # payloads above this are counted and not looked at
_MAX_READ: Final = 2**23  # one string, number or frame
WINDOW: Final = {"deflate": -15, "zlib": 47}
_QUOTES: Final = (b"'", b'"')


class Absent(bytes):
    """A long value that was passed over; it has its length and nothing else."""

    length: int

    def __len__(self) -> int:
        """Return the length that the value has in the file."""
        return self.length


class Source:
    """The bytes of a part, forwards: from a descriptor at an offset, unpacked on the way.

    Attributes:
        sparse: whether a value that is too large for memory is passed over, instead of an error.
    """

    def __init__(self, descriptor: int, start: int, stored: int, codec: str) -> None:
        self._place = (descriptor, start, stored, codec)
        self.sparse = False
        self.rewind()

    def rewind(self, position: int = 0) -> None:
        """Begin again, at a position."""
        self._descriptor, self._at, self._left, self._codec = self._place
        self._machine = zlib.decompressobj(WINDOW[self._codec]) if self._codec in WINDOW else None
        self._buffer = memoryview(b"")
        self.position = 0
        self._skip(position)

    def peek(self, count: int = CHUNK) -> bytes:
        """Return what is at hand, and at least one byte unless this is the end."""
        if not self._buffer:
            self._buffer = memoryview(self._more())
        return bytes(self._buffer[: min(count, CHUNK)])

    def read(self, count: int = -1) -> bytes:
        """Return so many bytes, or what is left of them."""
        if not 0 <= count <= _MAX_READ:
            return self._large(count)
        found = bytearray()
        while len(found) < count and self.peek(1):
            found += self._take(count - len(found))
        return bytes(found)

    def _large(self, count: int) -> bytes:
        """A value that is not there ends the pickle, for every loader; one that is there is more than we hold."""
        if self._skip(count) < count:
            return b""
        if not self.sparse:
            raise MemoryError(f"a single value of {count} bytes")
        absent = Absent()
        absent.length = count
        return absent

    def readline(self) -> bytes:
        """Return the bytes up to a line feed, and with it; in place of a long line, a short one of its kind."""
        found = bytearray()
        while len(found) <= _SKIP and self.peek(1):
            window = bytes(self._buffer[:_LINE])
            end = window.find(b"\n") + 1
            found += self._take(end or len(window))
            if end:
                return bytes(found)
        return bytes(found) if len(found) <= _SKIP else self._long_line(bytes(found[:1]))

    def _long_line(self, first: bytes) -> bytes:
        # A text in quotes stays one, a number stays one, and a name that long is none: no loader gets further than we.
        last = b""
        while self.peek(1):
            window = bytes(self._buffer)
            end = window.find(b"\n") + 1
            last = self._take(end or len(window))
            if end:
                return b"''\n" if first in _QUOTES else b"0\n"
        return last

    def readinto(self, target: memoryview) -> int:
        """Fill a payload of bytes; a large one is skipped, so that its memory is never touched."""
        count = len(target)
        if count > _SKIP:
            return self._skip(count)
        data = self.read(count)
        target[: len(data)] = data
        return len(data)

    def _skip(self, count: int) -> int:
        done = 0
        while done < count:
            if self._machine is None and not self._buffer:
                step = min(count - done, self._left)  # far: without reading
                self._at, self._left = self._at + step, self._left - step
                self.position += step
                return done + step
            if not self.peek(1):
                break
            done += len(self._take(count - done))
        return done

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        self._buffer = self._buffer[len(data) :]
        self.position += len(data)
        return data

    def _more(self) -> bytes:
        if self._machine is None:
            return self._pread()
        while True:
            packed = self._next_stream() if self._machine.eof else self._machine.unconsumed_tail or self._pread()
            if not packed:
                return b""
            data = self._machine.decompress(packed, CHUNK)
            if data:
                return data

    def _next_stream(self) -> bytes:
        """Return the beginning of another compressed stream: readers of gzip take several for one file."""
        rest = self._machine.unused_data if self._machine else b""
        while not (rest := rest.lstrip(b"\0")) and self._left:
            rest = self._pread()
        if self._codec != "zlib" or not rest:
            return b""
        self._machine = zlib.decompressobj(WINDOW[self._codec])
        return rest

    def _pread(self) -> bytes:
        data = os.pread(self._descriptor, min(CHUNK, self._left), self._at)
        if self._left and not data:
            raise OSError("the file is shorter than it was")
        self._at, self._left = self._at + len(data), self._left - len(data)
        return data
