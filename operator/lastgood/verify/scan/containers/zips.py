"""Reading the directory of a zip ourselves: PyTorch, Python and scanners disagree about broken ones.

`zipfile` refuses members with a wrong checksum or an encryption flag; PyTorch's own reader loads them. So
nothing that is odd about a member keeps it from being looked at. Format: PKWARE APPNOTE 6.3.10, sections 4.3-4.5.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Codec, Part, Place
from lastgood.verify.scan.values import Finding, finding

_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_MAX_COMMENT: Final = 2**16
_MAX_DIRECTORY: Final = 2**24
_FULL: Final = 0xFFFFFFFF
_ZIP64: Final = 1  # id of the extra field with 64-bit sizes
_UNICODE_PATH: Final = 0x7075  # id of the extra field with another name
_ENCRYPTED: Final = 1
_DESCRIPTOR: Final = 8  # flag: checksum and sizes follow the data
_MAX_DESCRIPTOR: Final = 24
_CODECS: Final = {0: Codec.STORED, 8: Codec.DEFLATE}
BOMB: Final = 200  # times as large as packed; DEFLATE's best on real weights is about 20


class ZipError(ValueError):
    """The directory cannot be used; one phrase that says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Directory:
    """Where the central directory lies, and what every offset in it must be moved by."""

    start: int
    size: int
    count: int
    shift: int
    end: int  # of the archive, its comment included
    doubt: str = ""  # why readers may find another directory


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One entry of the central directory, with the place of its data by its local header."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    data: int = 0


def find_directory(part: Part) -> Directory | None:
    """Return the directory that the end of a part points to, or None if it is no zip."""
    length = min(part.size, _MAX_COMMENT + _END.size)
    tail = part.read(part.size - length, length)
    place = tail.rfind(b"PK\x05\x06")
    while place >= 0:
        found = _at_end(part, part.size - length + place, tail[place:])
        if found is not None:
            return found
        place = tail.rfind(b"PK\x05\x06", 0, place)
    return None


def _at_end(part: Part, position: int, tail: bytes) -> Directory | None:
    if len(tail) < _END.size:
        return None
    *_, count, size, offset, comment = row = _END.unpack_from(tail)
    before, doubt = position, ""
    locator = part.read(position - _LOCATOR.size, _LOCATOR.size) if position >= _LOCATOR.size else b""
    if locator[:4] == b"PK\x06\x07":
        place = position - _LOCATOR.size - _END_64.size
        record = part.read(place, _END_64.size) if place >= 0 else b""
        doubt = "its zip64 locator leads to no end record before it"  # Python then takes the short one
        if record[:4] == b"PK\x06\x06" and len(record) == _END_64.size:
            before, (count, size, offset) = place, _END_64.unpack(record)[7:]
            doubt = _doubt(before, locator, (row[4], *row[5:7]), (count, size, offset))
    start = before - size
    if start < 0 or (count and part.read(start, 4) != b"PK\x01\x02"):
        return None
    end = position + _END.size + comment
    return Directory(start=start, size=size, count=count, shift=start - offset, end=end, doubt=doubt)


def _doubt(before: int, locator: bytes, short: tuple[int, ...], long: tuple[int, ...]) -> str:
    """PyTorch goes where the locator leads, Python looks right before it, and others take the short record."""
    if _LOCATOR.unpack(locator)[2] != before:
        return "its zip64 locator leads to another place than the one before it"
    full = (0xFFFF, _FULL, _FULL)
    differ = any(one not in {most, other} for one, most, other in zip(short, full, long, strict=True))
    return "its two end records say different things" if differ else ""


def members(part: Part, directory: Directory, most: int) -> list[Member]:
    """Return the entries of a directory.

    Raises:
        ZipError: if it is broken, or has more than the limits allow.
    """
    if directory.count > most or directory.size > _MAX_DIRECTORY:
        raise ZipError(f"its directory has {directory.count} entries and {directory.size} bytes, which is too much")
    data = part.read(directory.start, directory.size)
    found: list[Member] = []
    position = 0
    while position < len(data):
        member, position = _entry(data, position, directory.shift)
        found.append(member)
        if len(found) > most:
            raise ZipError("its directory has more entries than it says")
    if len(found) != directory.count:
        raise ZipError(f"its directory has {len(found)} entries and says {directory.count}")
    return found


def _entry(data: bytes, position: int, shift: int) -> tuple[Member, int]:
    if data[position : position + 4] != b"PK\x01\x02" or len(data) - position < _ENTRY.size:
        raise ZipError(f"its directory is broken at byte {position}")
    row = _ENTRY.unpack_from(data, position)
    name_end = position + _ENTRY.size + row[10]
    extra_end = name_end + row[11]
    name = data[position + _ENTRY.size : name_end].decode("utf-8", "surrogateescape")
    if _UNICODE_PATH in _fields(data[name_end:extra_end]):
        raise ZipError(f"{name!r} has a second name in an extra field, which some readers go by")
    size, packed, header = _large(data[name_end:extra_end], row[9], row[8], row[16])
    member = Member(name=name, flags=row[3], method=row[4], crc=row[7], packed=packed, size=size, header=header + shift)
    return member, extra_end + row[12]


def _fields(extra: bytes) -> dict[int, bytes]:
    """Return the extra fields by their ids; of two with one id, the first."""
    found: dict[int, bytes] = {}
    while len(extra) >= 4:  # noqa: PLR2004 - an id and a length
        kind, length = struct.unpack_from("<2H", extra)
        found.setdefault(kind, extra[4 : 4 + length])
        extra = extra[4 + length :]
    return found


def _large(extra: bytes, *values: int) -> list[int]:
    """Return size, packed size and offset, with those of the zip64 field where they say so."""
    found, field = list(values), _fields(extra).get(_ZIP64, b"")
    for index in [index for index, value in enumerate(found) if value == _FULL]:
        if len(field) >= 8:  # noqa: PLR2004 - one 64-bit number
            found[index], field = int.from_bytes(field[:8], "little"), field[8:]
    return found


def expand(part: Part, directory: Directory, listed: Sequence[Member]) -> Iterator[Part | Finding]:
    """Yield the members of a zip, and what is wrong with it."""
    yield from _outside(part, directory, listed)
    names: set[str] = set()
    placed: list[tuple[int, int]] = []
    for member in listed:
        name = member.name.replace("\\", "/").casefold()  # PyTorch finds a member whatever the case of its name
        if name in names:
            message = "two members have one name, but for its case: which one is loaded depends on the loader"
            yield finding(Severity.HIGH, "zip-duplicate", part.name, message, member.name)
        names.add(name)
        yield from _member(part, member, placed)
    yield from _gaps(part, sorted(placed), directory.start)


def opened(part: Part, listed: Sequence[Member], name: str) -> Part | None:
    """Return the member of a name, to be read before the others are looked at."""
    found = (item for member in listed if member.name == name for item in _member(part, member, []))
    return next((item for item in found if isinstance(item, Part)), None)


def _outside(part: Part, directory: Directory, listed: Sequence[Member]) -> Iterator[Finding]:
    if directory.doubt:
        message = "which directory is read depends on the loader"
        yield finding(Severity.HIGH, "zip-mismatch", part.name, message, directory.doubt)
    first = min((member.header for member in listed), default=directory.start)
    if directory.shift or first:
        message = "bytes before the archive's first member: the file may be something else to another loader"
        yield finding(Severity.HIGH, "polyglot", part.name, message, f"{first} bytes")
    if directory.end != part.size:
        message = "bytes after the archive's end"
        yield finding(Severity.HIGH, "zip-trailing-data", part.name, message, f"{part.size - directory.end} bytes")


def _member(part: Part, member: Member, placed: list[tuple[int, int]]) -> Iterator[Part | Finding]:
    shown = f"{part.name}!{member.name}"
    header = part.read(member.header, _LOCAL.size) if member.header >= 0 else b""
    if header[:4] != b"PK\x03\x04" or len(header) < _LOCAL.size:
        yield finding(Severity.HIGH, "zip-broken", shown, "its directory entry leads to no member")
        return
    row = _LOCAL.unpack(header)
    start = member.header + _LOCAL.size + row[9] + row[10]
    placed.append((member.header, start + member.packed))
    local = part.read(member.header + _LOCAL.size, row[9]).decode("utf-8", "surrogateescape")
    size, packed = _large(part.read(member.header + _LOCAL.size + row[9], row[10]), row[8], row[7])
    yield from _differences(shown, member, row, (local, packed, size))
    if start + member.packed > part.size:
        yield finding(Severity.HIGH, "zip-broken", shown, "its data goes beyond the end of the file")
        return
    yield from path_findings(part.name, member.name)
    yield from _content(part, member, start, shown)


def _differences(shown: str, member: Member, row: tuple[int, ...], local: tuple[str, int, int]) -> Iterator[Finding]:
    if (member.flags | row[2]) & _ENCRYPTED:
        message = "it is marked as encrypted, which makes scanners give up and which PyTorch ignores"
        yield finding(Severity.HIGH, "zip-encrypted", shown, message)
    name, *stated = local
    sizes = [member.packed, member.size]
    # Where sizes follow the data, the header has zeros, or the sizes all the same.
    follow = bool(row[2] & _DESCRIPTOR) and not any(stated)
    if name != member.name or row[3] != member.method or (not follow and stated != sizes):
        message = "its local header differs from the central directory: what is loaded depends on the loader"
        evidence = f"{name!r} method {row[3]} sizes {stated}, directory: method {member.method} sizes {sizes}"
        yield finding(Severity.HIGH, "zip-mismatch", shown, message, evidence)


def path_findings(archive: str, name: str) -> Iterator[Finding]:
    """Yield a finding for a name that leads out of where an archive is unpacked."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or parts[0].endswith(":"):
        message = "a member's name leads out of the directory that it is unpacked to"
        yield finding(Severity.HIGH, "archive-path", archive, message, name)


def _content(part: Part, member: Member, start: int, shown: str) -> Iterator[Part | Finding]:
    codec = _CODECS.get(member.method)
    if codec is None:
        message = f"not scanned: unsupported compression method {member.method}"
        yield finding(Severity.HIGH, "zip-method", shown, message)
        return
    if codec is Codec.STORED and member.packed != member.size:
        yield finding(Severity.HIGH, "zip-mismatch", shown, "its sizes differ though it is not compressed")
    if member.size > BOMB * max(member.packed, 2**20) and codec is not Codec.STORED:
        message = "possible decompression bomb: it unpacks to far more than its packed size"
        yield finding(Severity.HIGH, "archive-bomb", shown, message, f"{member.packed} to {member.size} bytes")
    size = member.packed if codec is Codec.STORED else member.size
    if member.name.endswith("/") and not size:
        return
    place = Place(
        descriptor=part.place.descriptor,
        start=part.place.start + start,
        stored=member.packed,
        size=size,
        codec=codec,
    )
    inner = part.packed(member.name, place)
    yield from _checksum(inner, member)
    yield inner


def _checksum(inner: Part, member: Member) -> Iterator[Finding]:
    if not inner.whole or inner.size > inner.keep:
        return
    data = inner.read(0, inner.size)
    if len(data) != member.size:
        message = "it unpacks to another size than the directory says"
        yield finding(Severity.HIGH, "zip-mismatch", inner.name, message, f"{len(data)} and not {member.size} bytes")
    elif zlib.crc32(data) != member.crc:
        message = "its checksum is wrong, which makes scanners give up and which some loaders ignore"
        yield finding(Severity.HIGH, "zip-crc", inner.name, message)


def _gaps(part: Part, placed: Sequence[tuple[int, int]], end: int) -> Iterator[Finding]:
    edges = [*placed, (end, end)]
    if any(following[0] < before[1] for before, following in pairwise(edges)):
        message = "members overlap: one member's bytes are another's"
        yield finding(Severity.HIGH, "zip-overlap", part.name, message)
    hidden = sum(max(0, following[0] - before[1] - _MAX_DESCRIPTOR) for before, following in pairwise(edges))
    if hidden:
        message = "hidden bytes between the members"
        yield finding(Severity.HIGH, "zip-hidden-data", part.name, message, f"{hidden} bytes")
