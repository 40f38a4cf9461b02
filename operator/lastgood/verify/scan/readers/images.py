"""Pictures beside a model: walked to their end, so that nothing rides along behind them.

Formats: PNG 1.2, sections 3 and 5; ITU T.81 (JPEG), annex B; GIF89a, appendix B. Pixels are not decoded.
"""

import zlib
from typing import Final

from lastgood.verify.scan.containers.part import Part

_MAX: Final = 64 * 2**20
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8"
_PNG_EXTRA: Final = 12  # length, type and checksum of a chunk
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_GIF_HEADER: Final = 13
_GIF_IMAGE: Final = 10
_TABLE: Final = 0x80  # flag: a colour table follows, of 3 * 2^(n + 1) bytes


def problem(part: Part) -> str | None:
    """Return why a picture is not one from its first byte to its last, or None."""
    if part.size > _MAX:
        return f"a picture of more than {_MAX} bytes"
    data = part.read(0, part.size)
    walk, name = _png, "PNG"
    if data.startswith(_JPEG):
        walk, name = _jpeg, "JPEG"
    elif data.startswith(b"GIF8"):
        walk, name = _gif, "GIF"
    try:
        end = walk(data)
    except (IndexError, ValueError):
        return f"a {name} that is broken"
    return None if end == len(data) else f"a {name} that ends at byte {end} of {len(data)}"


def _png(data: bytes) -> int:
    at = len(_PNG)
    while True:
        length, kind = int.from_bytes(_take(data, at, 4), "big"), _take(data, at + 4, 4)
        body = _take(data, at + 4, 4 + length)
        if zlib.crc32(body) != int.from_bytes(_take(data, at + 8 + length, 4), "big") or not kind.isalpha():
            raise ValueError("a chunk with a wrong checksum")
        at += _PNG_EXTRA + length
        if kind == b"IEND":
            return at


def _jpeg(data: bytes) -> int:
    at = len(_JPEG)
    while True:
        if data[at] != 0xFF:  # noqa: PLR2004 - the first byte of every marker
            raise ValueError("no marker")
        marker, at = data[at + 1], at + 2
        if marker == _END_OF_IMAGE:
            return at
        if marker in _ALONE:
            continue
        at += int.from_bytes(_take(data, at, 2), "big")
        if marker == _START_OF_SCAN:
            at = _next_marker(data, at)


def _next_marker(data: bytes, at: int) -> int:
    """Pass over the coded data of a scan; in it, 0xFF is followed by zero or is a restart marker."""
    while True:
        at = data.index(0xFF, at)
        if data[at + 1] and data[at + 1] not in _ALONE:
            return at
        at += 2


def _gif(data: bytes) -> int:
    at = _GIF_HEADER + _colours(data[10])
    while (kind := data[at]) != ord(";"):
        if kind == ord("!"):
            at = _blocks(data, at + 2)
        elif kind == ord(","):
            at = _blocks(data, at + _GIF_IMAGE + _colours(data[at + 9]) + 1)
        else:
            raise ValueError("no block")
    return at + 1


def _colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & _TABLE else 0


def _blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _take(data: bytes, at: int, count: int) -> bytes:
    found = data[at : at + count]
    if len(found) < count:
        raise ValueError("it ends too early")
    return found
