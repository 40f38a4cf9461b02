"""Is every byte of a file accounted for? A parser claims a file whole, or nobody does and it is `unidentified`.

A scan that looks for what is bad in what it does not understand is none. So each format has one that answers for it: a
check here, or the scanner that knows the format and refuses all that it cannot account for.
"""

import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.api.specs.scan_rules import UNIDENTIFIED, UNKNOWN_FORMAT
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import CONTROL, Format
from lastgood.verify.scan.readers import hdf5, images, protobuf
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, anomaly, finding

_Claim = Callable[[Part], str | None]


def text(part: Part) -> str | None:
    """_Claim what is UTF-8 to its end, without control characters; the pickle scanner looks whether it acts as one."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    for chunk in part.chunks():
        if found := CONTROL.search(chunk):
            return f"a control character at byte {position + found.start()} of what begins as text"
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError:
            return f"no UTF-8 after byte {position} of what begins as text"
        position += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "it ends inside a character"
    return None


def _elsewhere(_: Part) -> None:
    """Leave it to the scanner of the format, which refuses what it cannot account for."""


def _nobody(_: Part) -> str:
    return "unknown file signature"


CLAIMS: Final[Mapping[Format, _Claim]] = {
    Format.EMPTY: _elsewhere,
    Format.TEXT: text,
    Format.JSON: text,  # what is broken as JSON is config-unusual; it begins with no opcode of a pickle
    Format.IMAGE: images.problem,
    Format.HDF5: hdf5.problem,
    Format.PROTOBUF: protobuf.problem,
    Format.SENTENCEPIECE: protobuf.sentencepiece_problem,
    Format.SAFETENSORS: _elsewhere,  # safetensors-header: no gap, no byte after the last tensor
    Format.GGUF: _elsewhere,  # gguf-header: the same
    Format.ONNX: _elsewhere,  # onnx-broken
    Format.NUMPY: _elsewhere,  # numpy-size
    Format.PICKLE: _elsewhere,  # pickle-broken, pickle-trailing-data
    Format.ZIP: _elsewhere,  # zip-hidden-data and its like; each member is a part of its own
    Format.TAR: _elsewhere,  # tar-trailing-data
    Format.GZIP: _elsewhere,  # archive-stream
    Format.ZLIB: _elsewhere,
    Format.COMPRESSED: _elsewhere,  # not-checked-compressed
    Format.EXECUTABLE: _elsewhere,  # executable
    Format.TORCH: _elsewhere,  # claimed by the layout of the archive around it
    Format.UNKNOWN: _nobody,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimScanner:
    """Asks who accounts for all of a file."""

    name: str = "claim"

    def applies(self, part: Part) -> bool:
        """Every part is claimed by somebody, or told of."""
        return CLAIMS[part.format] is not _elsewhere

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        """Yield that nobody does."""
        problem = CLAIMS[part.format](part) if part.whole else "not scanned: too large to unpack"
        if problem is None:
            return
        message = "unknown format, or bytes that its format does not explain: a loader may interpret it in any way"
        if not part.depth and UNKNOWN_FORMAT in (context.policy.formats or ()):
            yield anomaly(Severity.LOW, UNIDENTIFIED, part.name, f"{message}; the policy allows that", problem)
        else:
            yield finding(Severity.HIGH, UNIDENTIFIED, part.name, message, problem)
