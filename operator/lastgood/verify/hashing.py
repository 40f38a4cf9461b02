"""The two hashes of a file, over the same bytes: sha256, which names it, and BLAKE3, which recognises it faster.

BLAKE3 is computed for each 64 MiB of a file on its own, so that every core works on a large file, with plain
reads into a small buffer; see docs/adr/0009 for why it is as safe as sha256, and where a known one may come from.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import rfc8785
from blake3 import blake3

SEGMENT: Final = 2**26
"""Bytes of a file that one BLAKE3 is of; the last one of a file may be shorter."""
_BLAKE3 = re.compile(r"blake3:[0-9a-f]{64}")


class Way(StrEnum):
    """Which hashes a reading computes."""

    SHA256 = "sha256"
    BLAKE3 = "blake3"
    BOTH = "both"


class Hashed(NamedTuple):
    """One file as it was read; the hash that was not asked for is empty."""

    path: str
    size: int
    sha256: str
    blake3: tuple[str, ...]


class Hasher:
    """Takes the bytes of a file in order, and has its hashes at the end; both are of the very same bytes."""

    def __init__(self, way: Way) -> None:
        self._sha256 = None if way is Way.BLAKE3 else hashlib.sha256()
        self._segments = None if way is Way.SHA256 else _Segments()

    def update(self, data: memoryview) -> None:
        """Take some bytes. Nobody else may change them meanwhile: a mapping of a file is no argument for this."""
        if self._sha256:
            self._sha256.update(data)
        if self._segments:
            self._segments.update(data)

    @property
    def sha256(self) -> str:
        """The sha256 in hex, or nothing if it was not asked for."""
        return self._sha256.hexdigest() if self._sha256 else ""

    @property
    def blake3(self) -> tuple[str, ...]:
        """The BLAKE3 of each segment in hex, or nothing if it was not asked for; an empty file has one segment."""
        return self._segments.hexdigests() if self._segments else ()


class _Segments:
    def __init__(self) -> None:
        self._full: list[str] = []
        self._hasher = blake3()
        self._left = SEGMENT

    def update(self, data: memoryview) -> None:
        while len(data) > self._left:  # not at the very end of a segment: nothing may follow it
            self._take(data[: self._left])
            self._full.append(self._hasher.hexdigest())
            data, self._hasher, self._left = data[self._left :], blake3(), SEGMENT
        self._take(data)

    def _take(self, data: memoryview) -> None:
        self._hasher.update(data)
        self._left -= len(data)

    def hexdigests(self) -> tuple[str, ...]:
        return (*self._full, self._hasher.hexdigest())


def recorded_blake3(digest: str, files: Iterable[tuple[str, int, Sequence[str]]]) -> str:
    """Return what is recorded of a checkpoint with this digest whose files were hashed by a `Hasher`.

    Args:
        digest: the digest that the same bytes were found to have.
        files: path, size and the BLAKE3 of each 64 MiB. A checkpoint that is a single file has the path "", which no
            file in a directory can have.
    """
    return bound_blake3(digest, content_blake3(files))


def content_blake3(files: Iterable[tuple[str, int, Sequence[str]]]) -> str:
    """Return one BLAKE3, in hex, over the RFC 8785 JSON of path, size and hashes of files, sorted by path."""
    hasher = blake3(b"[")
    for number, (path, size, segments) in enumerate(sorted(files)):
        hasher.update(b"," if number else b"")
        hasher.update(rfc8785.dumps({"path": path, "size": size, "blake3": list(segments)}))
    return hasher.update(b"]").hexdigest()


def bound_blake3(digest: str, content: str) -> str:
    """Return a BLAKE3 that holds for one digest alone: recorded with another one, it verifies nothing."""
    return f"blake3:{blake3(rfc8785.dumps({'digest': digest, 'content': content})).hexdigest()}"


def require_blake3(text: str) -> str:
    """Return a recorded BLAKE3 as it is.

    Raises:
        ValueError: if it is not `blake3:` and 64 lower-case hex digits.
    """
    if not _BLAKE3.fullmatch(text):
        raise ValueError("blake3: must be blake3: and 64 lower-case hex digits, as a first verification recorded it")
    return text
