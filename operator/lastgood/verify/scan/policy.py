"""The format scanner: is this format allowed here, and does the name agree with the bytes?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.formats import ALLOWED_BY_NAME, CODE_NAMES, Format
from lastgood.verify.scan.part import Part
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, finding

_SCRIPTS: Final = frozenset({".py", ".sh"})
_GRAVE: Final = frozenset({Format.PICKLE, Format.EXECUTABLE})


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatScanner:
    """Compares the format of a file with the policy and with its name."""

    name: str = "format"

    def applies(self, part: Part) -> bool:
        """Every file has a format; what is inside an archive is judged by its name only."""
        return bool(part.name)

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        """Yield what is not allowed."""
        allowed = context.policy.formats
        if allowed is not None and not part.depth and part.format not in {*allowed, Format.EMPTY}:
            message = f"the format {part.format} is not among those allowed: {', '.join(sorted(allowed)) or 'none'}"
            yield finding(Severity.HIGH, "format-not-allowed", part.name, message, part.head[:16].hex())
        yield from _name(part)
        yield from _code(part)


def _name(part: Part) -> Iterator[Finding]:
    expected = ALLOWED_BY_NAME.get(part.suffix)
    if expected is None or part.format in expected:
        return
    severity = Severity.CRITICAL if part.format in _GRAVE else Severity.HIGH
    message = f"by its name it is {' or '.join(sorted(expected))}, and by its bytes {part.format}"
    yield finding(severity, "format-mismatch", part.name, message, part.head[:16].hex())


def _code(part: Part) -> Iterator[Finding]:
    if part.format is Format.EXECUTABLE and part.suffix not in _SCRIPTS:
        message = "it is a program, which has no place among weights"
        yield finding(Severity.HIGH, "executable", part.name, message, part.head[:16].hex())
    elif part.suffix in CODE_NAMES:
        message = "it is code beside the weights, which a loader may run"
        yield finding(Severity.MEDIUM, "code-file", part.name, message, part.base)
