"""How far a reading is, and whether it should go on; shared by its threads."""

import threading
from collections.abc import Callable

from lastgood.verify.errors import StoppedError

Progress = Callable[[int], None]
Cancelled = Callable[[], bool]


class Meter:
    """Counts the bytes read by all threads, tells the caller, and stops everyone when one fails.

    `progress` gets the bytes read so far, and is never called twice at a time; `cancelled` may be.
    """

    def __init__(self, progress: Progress | None = None, cancelled: Cancelled | None = None) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._stopped = False
        self._total = 0

    def stop(self) -> None:
        """Make every later `check` fail."""
        self._stopped = True

    def check(self) -> None:
        """Go on, or not.

        Raises:
            StoppedError: if someone asked to stop.
        """
        if self._stopped or (self._cancelled is not None and self._cancelled()):
            raise StoppedError("the reading was stopped before its end")

    def add(self, count: int) -> None:
        """Count bytes, and check."""
        self.check()
        with self._lock:
            self._total += count
            if self._progress is not None:
                self._progress(self._total)
