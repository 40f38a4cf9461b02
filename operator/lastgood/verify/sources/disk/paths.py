"""Names that a remote store gives become paths on a disk: by the same rule as a path of our own."""

from collections.abc import Iterable
from typing import Final

from lastgood.verify.check import require_relative
from lastgood.verify.errors import LimitError, RefusedEntryError
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.tree import require_count, require_names, require_size, weight
from lastgood.verify.sources.values import Entry
from lastgood.verify.values import Limits

_MAX_PATH: Final = 4095  # bytes; PATH_MAX of Linux without its NUL
_MAX_NAME: Final = 255  # bytes; NAME_MAX


def take_path(name: str, kind: str) -> str:
    """Return a name as a path below the checkpoint.

    Raises:
        RefusedEntryError: if it would lead elsewhere, or no file system takes it.
    """
    shown = f"{kind} {printable(name)}"
    try:
        path = require_relative(name)
    except ValueError as error:
        raise RefusedEntryError(f"{shown} is not a {error}") from None
    raw = path.encode()
    if not path or len(raw) > _MAX_PATH or any(len(part) > _MAX_NAME for part in raw.split(b"/")):
        raise RefusedEntryError(f"{shown} is not a path that a file system takes")
    return path


class Listing:
    """The files met so far, which must be different ones and within the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._names = 0
        self._files: set[str] = set()
        self._directories: set[str] = set()

    def add(self, entry: Entry) -> Entry:
        """Take one more file.

        Raises:
            RefusedEntryError: if its path is taken, or is below a file.
            LimitError: if it is one too many.
        """
        if entry.path.count("/") > self._limits.max_depth:
            shown = printable(entry.path)
            raise LimitError(f"{shown} is deeper than the limit of {self._limits.max_depth} directories")
        parents = _parents(entry.path)
        if entry.path in self._files or entry.path in self._directories or not self._files.isdisjoint(parents):
            raise RefusedEntryError(f"{printable(entry.path)} is there twice")
        self._files.add(entry.path)
        self._directories.update(parents)
        self._require(entry)
        return entry

    def _require(self, entry: Entry) -> None:
        self._bytes += entry.size
        self._names += weight(entry.path)
        require_names(self._names, self._limits)
        require_size(self._bytes, self._limits)
        require_count(len(self._files) + len(self._directories), self._limits)


def take_all(entries: Iterable[Entry], limits: Limits) -> tuple[Entry, ...]:
    """Return all entries, sorted by path; see `Listing.add` for what is raised."""
    listing = Listing(limits)
    return tuple(sorted((listing.add(entry) for entry in entries), key=lambda entry: entry.path))


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts))}
