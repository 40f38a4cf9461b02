"""The one small interface of all scanners."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from lastgood.verify.scan.code import Code
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.values import Finding, Policy, ScanLimits


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What every scanner works under."""

    policy: Policy
    limits: ScanLimits
    exhausting: list[str] = field(default_factory=list)
    """The pickles of this scan that took too much: a few bytes can take all the time that one is given."""
    code: Code = field(default_factory=Code)
    """The files of this scan that are code."""


class Scanner(Protocol):
    """Looks at one part of a file, and knows nothing of the others.

    `run` may raise UnreadableError; everything else that a file can do to it is a finding.
    """

    @property
    def name(self) -> str:
        """A word for it."""

    def applies(self, part: Part) -> bool:
        """Tell whether there is something to look at."""

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        """Yield what was found."""
