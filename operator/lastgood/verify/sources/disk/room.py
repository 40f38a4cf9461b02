"""Room on a disk that many copies share: whoever would take the last of it is refused, and the others go on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lastgood.verify.errors import LimitError

_BLOCK: Final = 4096  # bytes: what the smallest file takes, and a directory


class Room:
    """So many bytes for all copies together, whatever their sources say of their size.

    A pod that fills its scratch volume is evicted, so this is counted as it is written and not as it is declared.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Give a copy its share, and take all of it back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self._move(-share.taken)

    def take(self, size: int) -> None:
        """Take so many bytes.

        Raises:
            LimitError: there are not so many left.
        """
        self._move(size)

    def _move(self, size: int) -> None:
        with self._lock:
            if self._taken + size > self._capacity:
                raise LimitError(
                    f"the scratch volume (limit {self._capacity} bytes) has no room for this copy; "
                    "raise LASTGOOD_SCRATCH_BYTES (chart: scratch.sizeLimit)"
                )
            self._taken += size


class Share:
    """What one copy has taken of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0

    def write(self, size: int) -> None:
        """Count bytes before they are written.

        Raises:
            LimitError: there is no room for them.
        """
        self._room.take(size)
        self.taken += size

    def begin(self) -> None:
        """Count a new file or directory."""
        self.write(_BLOCK)
