"""Listing a checkpoint's directory: what is in it, before any byte of it is read."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lastgood.verify.errors import LimitError, RefusedEntryError, UnreadableError
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import Stamp, open_below, opened, reading, refuse_kind
from lastgood.verify.values import MAX_FINDINGS, MAX_JSON_INTEGER, Limits

_CHECK_EVERY: Final = 1000  # entries of one directory


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """Files and directories below one, with stamps; two listings are equal if nothing changed in between."""

    files: Mapping[str, Stamp]
    directories: Mapping[str, Stamp]


def walk(base: int, limits: Limits, meter: Meter) -> Tree:
    """List everything below an open directory.

    Raises:
        UnreadableError: if a directory cannot be listed, or there is more than the limits allow.
        RefusedEntryError: if something is neither a file nor a directory, or has a name that is not UTF-8.
    """
    listing = _Listing(base, limits, meter)
    try:
        listing.read_all()
    except UnreadableError as error:
        if not listing.findings:
            raise
        # What was found is certain, whatever could not be read besides.
        raise RefusedEntryError(*listing.findings) from error
    if listing.findings:
        raise RefusedEntryError(*listing.findings)
    return Tree(files=listing.files, directories=listing.directories)


def require_unchanged(before: Tree, after: Tree) -> None:
    """Make sure that a second listing found the same as the first.

    Raises:
        UnreadableError: if it did not; names the first path that differs.
    """
    earlier, later = ({**tree.directories, **tree.files} for tree in (before, after))
    changed = min((path for path, _ in earlier.items() ^ later.items()), default=None)
    if changed is not None:
        raise UnreadableError(f"{printable(changed) or 'the directory'} changed while the checkpoint was read")


class _Listing:
    def __init__(self, base: int, limits: Limits, meter: Meter) -> None:
        self._base = base
        self._limits = limits
        self._meter = meter
        self._pending = [""]
        self._count = 0
        self._bytes = 0
        self._names = 0
        self.files: dict[str, Stamp] = {}
        self.directories: dict[str, Stamp] = {}
        self.findings: list[str] = []

    def read_all(self) -> None:
        while self._pending and len(self.findings) < MAX_FINDINGS:
            self._meter.check()
            self._read(self._pending.pop())

    def _read(self, path: str) -> None:
        with opened(open_below(self._base, path)) as directory, reading(printable(path) or "."):
            self.directories[path] = Stamp.of(os.fstat(directory))
            with os.scandir(directory) as entries:
                for entry in entries:
                    self._count_entry()
                    self._take(directory, path, os.fsencode(entry.name))

    def _take(self, directory: int, parent: str, raw: bytes) -> None:
        name = raw.decode("utf-8", "surrogateescape")
        path = f"{parent}/{name}" if parent else name
        self._names += weight(path)
        require_names(self._names, self._limits)
        try:
            raw.decode("utf-8")
            status = os.stat(raw, dir_fd=directory, follow_symlinks=False)
            refuse_kind(status.st_mode, printable(path))
        except UnicodeDecodeError:
            self._find(f"{printable(path)} has a name that is not UTF-8")
        except RefusedEntryError as error:
            self._find(*error.findings)
        except OSError as error:
            raise UnreadableError.of(printable(path), error) from error
        else:
            self._keep(path, status)

    def _keep(self, path: str, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode):
            self._bytes += status.st_size
            require_size(self._bytes, self._limits)
            self.files[path] = Stamp.of(status)
        elif path.count("/") >= self._limits.max_depth:
            raise LimitError(f"{printable(path)} is deeper than the limit of {self._limits.max_depth} directories")
        else:
            self._pending.append(path)

    def _count_entry(self) -> None:
        self._count += 1
        require_count(self._count, self._limits)
        if self._count % _CHECK_EVERY == 0:
            self._meter.check()

    def _find(self, *findings: str) -> None:
        self.findings.extend(findings[: MAX_FINDINGS - len(self.findings)])


def weight(path: str) -> int:
    """Return how many bytes a path takes in memory: one letter beyond Latin-1 makes all of them two or four wide."""
    return len(path) if path.isascii() else 4 * len(path)


def require_names(total: int, limits: Limits) -> None:
    """Raise LimitError if the names take more than is allowed: empty files cost memory, too."""
    if total > limits.max_name_bytes:
        raise LimitError(f"the names of the files take more than the limit of {limits.max_name_bytes} bytes")


def require_count(count: int, limits: Limits) -> None:
    """Raise LimitError if there are more entries than are allowed."""
    if count > limits.max_files:
        raise LimitError(f"there are more files than max_files allows, {limits.max_files}", limit="max_files")


def require_size(size: int, limits: Limits) -> None:
    """Refuse to read more than the limits allow; called before any byte is read.

    Raises:
        LimitError: if it is too much.
    """
    limit = MAX_JSON_INTEGER if limits.max_bytes is None else limits.max_bytes
    if size > limit:
        raise LimitError(f"there are {size} bytes or more, and max_bytes allows {limit}", limit="max_bytes")
