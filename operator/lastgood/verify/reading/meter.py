"""How far a reading is, and whether it should go on; shared by its threads."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from lastgood.verify.errors import LimitError, StoppedError

Progress = Callable[[int], None]
Cancelled = Callable[[], bool]


class Pace(Protocol):
    """What slows a reading down; a Budget is one."""

    def take(self, count: int, check: Callable[[], None]) -> None:
        """Wait until so many bytes may have been read."""


class Meter:
    """Counts the bytes read by all threads, tells the caller, and stops everyone when one fails.

    `progress` gets the bytes read so far, and is never called twice at a time; `cancelled` may be. `seconds` counts
    from here.
    """

    def __init__(
        self,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
        *,
        budget: Pace | None = None,
        seconds: float | None = None,
    ) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._budget = budget
        self._seconds = seconds
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._stopped = False
        self._total = 0

    @property
    def paced(self) -> bool:
        """Whether there is a budget to keep."""
        return self._budget is not None

    def begin(self) -> None:
        """Count from 0 again: what follows is a reading of its own."""
        with self._lock:
            self._total = 0

    def stop(self) -> None:
        """Make every later `check` fail."""
        self._stopped = True

    def check(self) -> None:
        """Go on, or not.

        Raises:
            StoppedError: if someone asked to stop.
            LimitError: if it takes too long.
        """
        if self._stopped or (self._cancelled is not None and self._cancelled()):
            raise StoppedError("the reading was stopped before its end")
        if self._seconds is not None and time.monotonic() - self._started > self._seconds:
            raise LimitError(f"the reading took longer than the limit of {self._seconds:g} seconds")

    def add(self, count: int) -> None:
        """Count bytes, check, and keep to the budget."""
        self.check()
        with self._lock:
            self._total += count
            if self._progress is not None:
                self._progress(self._total)
        if self._budget is not None:
            self._budget.take(count, self.check)
