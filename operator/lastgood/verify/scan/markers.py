"""Words that make a loader run something, in files of any size that are not parsed: HDF5 and graphs.

What is looked through is first written in one way, for each of these formats has several ways to write one word.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.readers import keras
from lastgood.verify.scan.values import Finding, finding, packed

_OVERLAP: Final = 512
_MANY: Final = re.compile(rb"\s+")
_ESCAPE: Final = re.compile(rb"\\(?:x|u00|U000000)([0-9a-fA-F]{2})|\\([0-7]{3})")
_KEYS: Final = (b'"module"', b'"class_name"', b'"config"', b'"registered_name"')
_JOINED: Final = re.compile(rb"\"\s*\"|'\s*'")  # neighbouring texts of a text proto are one


@dataclass(frozen=True, kw_only=True, slots=True)
class _Marker:
    rule: str
    message: str
    pattern: "re.Pattern[bytes]"


_KERAS: Final = (
    _Marker(rule="keras-lambda", message=keras.UNSAFE_WORDS, pattern=re.compile(keras.unsafe_in_json())),
    _Marker(rule="keras-import", message=keras.IMPORT_WORDS, pattern=re.compile(keras.import_in_json())),
)
_GRAPH: Final = _Marker(
    rule="tensorflow-op",
    message="its graph holds an operation that runs Python or touches files",
    # Without ends of words: the byte that follows a name is one that its author chooses.
    pattern=re.compile(rb"PyFunc|(?:Read|Write)File|MergeV2Checkpoints|SaveDataset|DatasetToTFRecord"),
)


def look(part: Part) -> Iterator[Finding]:
    """Yield what a file holds of such words; each rule once."""
    wanted, written = _wanted(part)
    if not wanted:
        return
    if not part.whole:
        yield packed(part.name)
        return
    pending, before = list(wanted), b""
    for chunk in part.chunks():
        text = written(before + chunk)
        for marker in list(pending):
            if found := marker.pattern.search(text):
                pending.remove(marker)
                evidence = found.group()[:80].decode("utf-8", "replace").strip()
                yield finding(Severity.HIGH, marker.rule, part.name, marker.message, evidence)
        before = text[-_OVERLAP:]


def applies(part: Part) -> bool:
    """Tell whether there is something to look for."""
    return bool(_wanted(part)[0])


def _wanted(part: Part) -> tuple[tuple[_Marker, ...], Callable[[bytes], bytes]]:
    if part.suffix in _BY_NAME:
        return _BY_NAME[part.suffix]
    return _BY_FORMAT.get(part.format, ((), bytes))


def _decoded(text: bytes) -> bytes:
    return _ESCAPE.sub(_character, text) if b"\\" in text else text


def _character(found: "re.Match[bytes]") -> bytes:
    hexadecimal, octal = found.groups()
    return bytes([int(hexadecimal, 16) if hexadecimal else int(octal, 8) & 0xFF])


def _json_inside(text: bytes) -> bytes:
    """Write JSON that lies among other bytes in one way; most of a file has none, and stays as it is."""
    text = _decoded(text) if b"\\u00" in text else text
    return _MANY.sub(b" ", text) if any(key in text for key in _KEYS) else text


def _text_proto(text: bytes) -> bytes:
    return _JOINED.sub(b"", _decoded(text))


_BY_FORMAT: Final[Mapping[Format, tuple[tuple[_Marker, ...], Callable[[bytes], bytes]]]] = {
    Format.HDF5: (_KERAS, _json_inside),
    Format.PROTOBUF: ((_GRAPH, *_KERAS), _json_inside),
}
_BY_NAME: Final[Mapping[str, tuple[tuple[_Marker, ...], Callable[[bytes], bytes]]]] = {
    ".pbtxt": ((_GRAPH, *_KERAS), _text_proto),
}
