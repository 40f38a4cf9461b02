"""What the scoring client wrote down, read back: what failed, and how often the model was right."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demo.client import Outcome

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The sum of some requests."""

    requests: int = 0
    failed: int = 0
    images: int = 0
    right: int = 0
    versions: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float | None:
        """The share of images named right, or None if none was."""
        return self.right / self.images if self.images else None

    @classmethod
    def of(cls, outcomes: list[Outcome]) -> Tally:
        """Add up requests."""
        failed = [outcome for outcome in outcomes if not outcome.ok]
        return cls(
            requests=len(outcomes),
            failed=len(failed),
            images=sum(outcome.images for outcome in outcomes),
            right=sum(outcome.right for outcome in outcomes),
            versions=tuple(sorted({outcome.version for outcome in outcomes if outcome.ok})),
            errors=tuple(sorted({outcome.error for outcome in failed})),
        )


@dataclass(kw_only=True)
class Traffic:
    """The client's log, read as it grows; the story and the screen read it at the same time."""

    path: Path
    outcomes: list[Outcome] = field(default_factory=list)
    offset: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> list[Outcome]:
        """Return every request so far."""
        with self.lock:
            if self.path.exists():
                self._read_on()
            return list(self.outcomes)

    def _read_on(self) -> None:
        with self.path.open() as log:
            log.seek(self.offset)
            new = log.read()
        whole = new[: new.rfind("\n") + 1]  # the last line may be half written
        self.offset += len(whole)
        self.outcomes.extend(Outcome(**json.loads(line)) for line in whole.splitlines())

    def between(self, start: float, end: float) -> list[Outcome]:
        """Return the requests sent from `start` to `end`, in seconds since the epoch."""
        return [outcome for outcome in self.read() if start <= outcome.at < end]

    def tally(self, start: float, end: float) -> Tally:
        """Add up the requests sent from `start` to `end`."""
        return Tally.of(self.between(start, end))
