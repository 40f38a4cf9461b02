"""Harm, counted: what a bad model did while it served, with lastgood and without, in the same seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from demo.client import Outcome


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What counts as harm: in words, and how much of it a request was."""

    what: str
    of: Callable[[Outcome], int]

    def count(self, outcomes: Iterable[Outcome]) -> int:
        """Add it up."""
        return sum(self.of(outcome) for outcome in outcomes)


@dataclass(frozen=True, kw_only=True)
class Harm:
    """What was counted from the damage to the end of a scene; nothing is estimated."""

    what: str = ""
    seconds: float = 0.0
    protected: int = 0
    unprotected: int = 0

    def sentence(self) -> str:
        """Return it for a person."""
        return f"{self.what} in {self.seconds:.0f} s: {self.protected:,} with lastgood, {self.unprotected:,} without"


WRONG = Measure(what="wrong answers", of=lambda outcome: outcome.images - outcome.right)
"""Every image that was named wrong. A good version does that too, to a few of a hundred."""


def answers_by(version: str) -> Measure:
    """Return the measure for a version that should not answer at all, however right it is."""
    return Measure(
        what=f"answers by v{version}", of=lambda outcome: outcome.images if outcome.version == version else 0
    )
