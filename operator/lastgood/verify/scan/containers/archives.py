"""What lies inside a part: the members of a zip or a tar, a compressed stream, the pickle in a numpy file."""

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers import zips
from lastgood.verify.scan.containers.part import CHUNK, Codec, Part
from lastgood.verify.scan.formats import OLD_JOBLIB, Format
from lastgood.verify.scan.pickles import torchfile
from lastgood.verify.scan.readers.npy import object_pickle
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, anomaly, finding

_MAX_DEPTH: Final = 4
_ENDLESS: Final = 2**62  # the size of a stream that does not say it
_ARCHIVES: Final = frozenset({Format.ZIP, Format.TAR, Format.GZIP, Format.ZLIB})


def expand(part: Part, context: Context) -> Iterator[Part | Finding]:
    """Yield what is inside a part, to be looked at in its turn, and what is wrong with the packing."""
    if part.format is Format.TORCH:
        return  # raw numbers: an archive in them is none
    if part.format is Format.COMPRESSED:
        message = "not scanned: unsupported compression"
        yield anomaly(Severity.HIGH, "not-checked-compressed", part.name, message, part.head[:8].hex())
    elif part.place.codec is not Codec.STORED:
        yield from _packed(part)
    elif part.depth >= _MAX_DEPTH and part.format in _ARCHIVES:
        yield finding(Severity.HIGH, "archive-depth", part.name, f"archives nested more than {_MAX_DEPTH} deep")
    else:
        yield from _open(part, context)


def _packed(part: Part) -> Iterator[Part | Finding]:
    if part.format in _ARCHIVES:
        message = "not scanned: compressed archive inside an archive"
        yield anomaly(Severity.HIGH, "not-checked-compressed", part.name, message, str(part.format))
    elif part.format is Format.NUMPY:
        yield from object_pickle(part)


def _open(part: Part, context: Context) -> Iterator[Part | Finding]:
    if part.format is Format.TAR:
        yield from _tar(part, context.limits.parts)
    elif part.format in {Format.GZIP, Format.ZLIB}:
        yield from _stream(part)
    elif part.format is Format.NUMPY:
        yield from object_pickle(part)
    yield from _zip(part, context)


def _zip(part: Part, context: Context) -> Iterator[Part | Finding]:
    directory = zips.find_directory(part)
    if directory is None:
        if part.format is Format.ZIP:
            yield finding(Severity.HIGH, "zip-broken", part.name, "it begins as a zip and has no directory at its end")
        return
    if part.format is not Format.ZIP:
        message = f"it is {part.format} at its beginning and a zip at its end: what it is depends on who loads it"
        yield finding(Severity.HIGH, "polyglot", part.name, message)
    try:
        listed = zips.members(part, directory, context.limits.parts)
    except zips.ZipError as error:
        yield finding(Severity.HIGH, "zip-broken", part.name, f"the archive cannot be looked into: {error}")
        return
    yield from _members(part, directory, listed, context)


def _members(
    part: Part, directory: zips.Directory, listed: Sequence[zips.Member], context: Context
) -> Iterator[Part | Finding]:
    """Yield the members; where the archive is in torch's layout, its data.pkl says which of them are raw numbers."""
    if (total := sum(member.size for member in listed)) > zips.BOMB * max(part.size, 2**20):
        message = "possible decompression bomb: the members unpack to far more than the archive's size; not scanned"
        yield finding(Severity.HIGH, "archive-bomb", part.name, message, f"{part.size} to {total} bytes")
        return
    folder = torchfile.folder_of([member.name for member in listed])
    data = None if folder is None else zips.opened(part, listed, f"{folder}data.pkl")
    layout = None if data is None else torchfile.Layout.read(part, data, context)
    for item in zips.expand(part, directory, listed):
        if layout is not None and isinstance(item, Part):
            yield from layout.claim(item, context)
        yield item
    if layout is not None:
        yield from layout.missing()


def _stream(part: Part) -> Iterator[Part | Finding]:
    header = OLD_JOBLIB.match(part.head)
    start = header.end() if header else 0
    place = replace(part.place, start=part.place.start + start)
    kept = replace(place, codec=Codec.ZLIB, stored=part.size - start, size=_ENDLESS)
    inner = part.packed("unpacked", kept)
    known = len(inner.read(0, part.keep))
    if known < part.keep and not inner.ends_well:
        message = "the compressed stream does not end where the file does"
        yield finding(Severity.HIGH, "archive-stream", part.name, message)
    yield part.packed("unpacked", replace(kept, size=known)) if known < part.keep else inner


class _Stream(io.RawIOBase):
    """A part as tarfile wants it; headers are small, so a large read is one that somebody made up."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = part
        self._at = 0

    def read(self, count: int = -1) -> bytes:
        """Return so many bytes."""
        if not 0 <= count <= CHUNK:
            raise tarfile.ReadError(f"a header of {count} bytes")
        data = self._part.read(self._at, count)
        self._at += len(data)
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Go to a place; only from the beginning, as tarfile does."""
        if whence:
            raise tarfile.ReadError("it cannot be read backwards")
        self._at = position
        return position

    def tell(self) -> int:
        """Return the place."""
        return self._at


def _tar(part: Part, most: int) -> Iterator[Part | Finding]:
    try:
        with tarfile.open(fileobj=_Stream(part), mode="r:") as archive:
            for count, member in enumerate(archive):
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps them all
                if count >= most:
                    yield finding(Severity.HIGH, "tar-broken", part.name, f"it has more than {most} members")
                    return
                yield from _tar_member(part, member)
            yield from _tar_end(part, archive.offset)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        yield finding(Severity.HIGH, "tar-broken", part.name, "the archive cannot be looked into", str(error))


def _tar_member(part: Part, member: tarfile.TarInfo) -> Iterator[Part | Finding]:
    yield from zips.path_findings(part.name, member.name)
    if member.isdir():
        return
    if not member.isreg() or member.sparse:
        message = "it holds something that is neither a plain file nor a directory"
        yield finding(Severity.HIGH, "tar-entry", part.name, message, f"{member.name} -> {member.linkname}")
    elif member.offset_data + member.size > part.size:
        yield finding(Severity.HIGH, "tar-broken", part.name, "a member goes beyond the end of the file", member.name)
    else:
        yield part.inside(member.name, member.offset_data, member.size)


def _tar_end(part: Part, position: int) -> Iterator[Finding]:
    """What follows the last member is zeros; a reader that goes on after them would find more."""
    if any(chunk.strip(b"\0") for chunk in part.chunks(position)):
        message = "bytes after the archive's end, or a broken header that ends it early"
        yield finding(Severity.HIGH, "tar-trailing-data", part.name, message, f"at byte {position}")
