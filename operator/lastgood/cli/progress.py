"""Telling a person on stderr how far a long reading is."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

_QUIET: Final = 2.0  # seconds; what is faster needs no word
_TERMINAL: Final = 0.2
_LOG: Final = 5.0


class Progress:
    """Writes the bytes read so far: over one line of a terminal, or as a line every few seconds."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._started = clock()
        self._terminal = self._stream.isatty()
        self._next = self._started + _QUIET
        self._open_line = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open_line:
            self._stream.write("\n")

    def __call__(self, total: int) -> None:
        """Take the number of bytes read so far."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (_TERMINAL if self._terminal else _LOG)
        text = f"read {in_bytes(total)}, {in_bytes(total / (now - self._started))} a second"
        self._open_line = self._terminal
        self._stream.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()


def in_bytes(count: float) -> str:
    """Return a number of bytes as people write it, in powers of ten."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
