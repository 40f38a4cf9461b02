"""How many bytes a second may be read, so that re-verification does not starve the service beside it."""

import threading
import time
from collections.abc import Callable
from typing import Final

_SLICE: Final = 0.1  # seconds between two questions whether to go on


class Budget:
    """A rate that any number of threads, and of readings, keep together.

    Bytes are paid for after they were read: whoever reads waits until the rate allows what it has read. What is
    not used is not saved up, so that a pause is not followed by a burst.

    Args:
        bytes_per_second: more than 0.
    """

    def __init__(self, bytes_per_second: float) -> None:
        if not bytes_per_second > 0:  # NaN too
            raise ValueError("bytes_per_second: must be more than 0; leave the budget out for no limit")
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, count: int, check: Callable[[], None] = lambda: None) -> None:
        """Wait until so many bytes are paid for.

        Args:
            count: how many were read.
            check: is called several times a second meanwhile, and ends the waiting by raising.
        """
        until = self._book(count)
        while (left := until - time.monotonic()) > 0:
            check()
            time.sleep(min(left, _SLICE))

    def _book(self, count: int) -> float:
        with self._lock:
            self._free = max(self._free, time.monotonic()) + count / self._rate
            return self._free
