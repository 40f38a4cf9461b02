"""Everything that is below a path, also what no checkpoint may hold: for a forensics copy, which leaves nothing out."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from lastgood.verify.errors import LimitError, UnreadableError
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import Stamp, opened, reading
from lastgood.verify.reading.tree import require_count, require_names, require_size, weight
from lastgood.verify.store.layout import descend
from lastgood.verify.values import Limits

_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One name that was found: what it is, and everything that the file system says of it.

    Attributes:
        path: below the top; bytes that are not UTF-8 are surrogates (PEP 383).
        target: what a link says; it was not followed.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    inode: int
    device: int
    stamp: Stamp
    target: str | None = None

    def as_body(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        body: dict[str, Any] = {"path": self.path, "kind": self.kind, "mode": oct(self.mode)}
        body |= {"uid": self.uid, "gid": self.gid, "size": self.stamp.size}
        body |= {"mtimeNs": self.stamp.mtime_ns, "ctimeNs": self.stamp.ctime_ns}
        if "device" in self.kind:
            body["device"] = f"{os.major(self.device)}:{os.minor(self.device)}"
        return body | ({} if self.target is None else {"target": self.target})


def survey(base: int, limits: Limits, meter: Meter) -> tuple[Seen, ...]:
    """List a file, or a directory and everything below it, sorted by path; no link is followed, nothing is opened.

    Raises:
        UnreadableError: if a directory cannot be listed, or there is more than the limits allow.
    """
    with reading("the evidence"):
        top = _seen("", os.fstat(base), None)
    found = [top]
    pending = [""] if top.kind == "directory" else []
    size, names = 0 if pending else top.stamp.size, 0
    while pending:
        meter.check()
        for seen in _list(base, pending.pop(), limits):
            found.append(seen)
            names += weight(seen.path) + weight(seen.target or "")
            require_names(names, limits)
            size += seen.stamp.size if seen.kind == "file" else 0
            if seen.kind == "directory":
                pending.append(seen.path)
            _require(seen, len(found) - 1, limits)
    require_size(size, limits)
    return tuple(sorted(found, key=lambda seen: seen.path))


def _require(seen: Seen, count: int, limits: Limits) -> None:
    require_count(count, limits)
    if seen.kind == "directory" and seen.path.count("/") >= limits.max_depth:
        raise LimitError(f"{printable(seen.path)} is deeper than the limit of {limits.max_depth} directories")


def _list(base: int, path: str, limits: Limits) -> Iterator[Seen]:
    with reading(printable(path) or "."), opened(descend(base, path.split("/") if path else ())) as descriptor:
        with os.scandir(descriptor) as entries:
            names = [entry.name for entry in islice(entries, limits.max_files + 1)]  # and one that is too many
        for name in names:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            target = os.readlink(name, dir_fd=descriptor) if stat.S_ISLNK(status.st_mode) else None
            yield _seen(f"{path}/{name}" if path else name, status, target)


def _seen(path: str, status: os.stat_result, target: str | None) -> Seen:
    return Seen(
        path=path,
        kind=_KINDS.get(stat.S_IFMT(status.st_mode), "unknown"),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        inode=status.st_ino,
        device=status.st_rdev,
        stamp=Stamp.of(status),
        target=target,
    )


def open_seen(base: int, seen: Seen) -> int:
    """Open a file that was listed; through no link, and without waiting for a FIFO that took its place.

    Raises:
        UnreadableError: if it cannot be opened, or is no file any more.
    """
    *parents, name = seen.path.split("/")
    with reading(printable(seen.path)):
        if not seen.path:
            return os.dup(base)
        with opened(descend(base, parents)) as parent:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode) or status.st_ino != seen.inode:
                raise UnreadableError(f"{printable(seen.path)} was replaced while it was copied")
            return os.open(name, _OPEN, dir_fd=parent)
