"""Is this format allowed here, does the name agree with the bytes, and is it code?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.code import rule_of
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import ALLOWED_BY_NAME, Format
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, finding

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


def _name(part: Part) -> Iterator[Finding]:
    expected = ALLOWED_BY_NAME.get(part.suffix)
    if expected is None or part.format in expected:
        return
    severity = Severity.CRITICAL if part.format in _GRAVE else Severity.HIGH
    message = f"by its name it is {' or '.join(sorted(expected))}, and by its bytes {part.format}"
    yield finding(severity, "format-mismatch", part.name, message, part.head[:16].hex())


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeScanner:
    """Collects what is code; what that makes of a checkpoint is said once, of all files together."""

    name: str = "code"

    def applies(self, part: Part) -> bool:
        """Tell whether it is code, by its name or its bytes."""
        return rule_of(part) is not None

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        """Take it in."""
        if rule := rule_of(part):
            context.code.add(rule, part)
        yield from ()
