"""What a source of bytes is: a list of files with sizes, and their contents as streams."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from lastgood.verify.errors import UnreadableError
from lastgood.verify.values import Limits

Chunk: TypeAlias = bytes | memoryview
Check: TypeAlias = Callable[[], None]  # called between two reads, and at least once a second while one waits; raises
Allow: TypeAlias = Callable[[str], None]  # gets an address in numbers before it is called; raises an OSError


def go_on() -> None:
    """Check nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file of a source: its path below the checkpoint, and its size in bytes; `""` is a checkpoint of one file.

    Attributes:
        version: what the source itself calls this state of the file, such as an ETag.
    """

    path: str
    size: int
    version: str = ""


class Source(Protocol):
    """A place that holds a copy of a checkpoint. It may be used from any thread, by one at a time."""

    def describe(self) -> str:
        """Return where it is, printable, and without secrets."""
        ...

    def entries(self, limits: Limits, *, check: Check = go_on) -> Sequence[Entry]:
        """List the files; see `files` for what is raised. For packed files this reads all of it: prefer `files`."""
        ...

    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        """Yield the bytes of a listed file, exactly as many as its size.

        Raises:
            UnreadableError: if there are fewer or more, or the file is no longer the one that was listed.
        """
        ...

    def files(self, limits: Limits, *, check: Check = go_on) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        """Yield each file with its bytes, which must be used up before the next; everything is read once.

        Raises:
            UnreadableError: if something cannot be read, changed meanwhile, or is beyond the limits.
            RefusedEntryError: if something there is no file that a checkpoint may hold, or not the bytes that the
                source itself names by their hash.
        """
        ...


class Sink(Protocol):
    """Gets a copy of all that is read; what it got is worth nothing before the digest is known to be right."""

    def file(self, path: str, size: int) -> AbstractContextManager[Callable[[Chunk], object]]:
        """Return a context that takes the bytes of one file, and has written them when it ends."""
        ...


def listed(source: Source, entries: Iterable[Entry], check: Check) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
    """Yield the files of a source that can read each one by itself."""
    for entry in entries:
        check()
        yield entry, source.read(entry, check=check)


def exactly(chunks: Iterable[Chunk], size: int, shown: str) -> Iterator[Chunk]:
    """Yield chunks until their end, which must be at the size.

    Raises:
        UnreadableError: if there are fewer bytes or more.
    """
    left = size
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise UnreadableError(f"{shown} is longer than its size of {size} bytes")
        yield chunk
    if left:
        raise UnreadableError(f"{shown} ended {left} bytes before its size of {size}")
