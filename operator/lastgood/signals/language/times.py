"""Times and lengths of time: exact to the nanosecond, with an end, read strictly."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lastgood.signals.errors import ExpressionError

MAX_TEXT: Final = 64
_SECOND: Final = 10**9
_UNITS: Final = {
    "h": 3600 * _SECOND,
    "m": 60 * _SECOND,
    "s": _SECOND,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,
    "ns": 1,
}
_LONGEST: Final = 2**63 - 1  # nanoseconds, 292 years: as in CEL for Go, which Kubernetes uses
_PART = r"(\d+)(?:\.(\d+))?(h|ms|m|s|us|µs|ns)"
_DURATION: Final = re.compile(rf"([+-]?)(?:0|(?:{_PART})+)", re.ASCII)
_PARTS: Final = re.compile(_PART, re.ASCII)
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|([+-])(\d{2}):(\d{2}))", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = int((datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds()) * _SECOND
_END: Final = (int((datetime.max.replace(tzinfo=UTC, microsecond=0) - _EPOCH).total_seconds()) + 1) * _SECOND
_HOURS, _MINUTES = range(24), range(60)


@dataclass(frozen=True, order=True)
class Duration:
    """A length of time in nanoseconds, within 292 years."""

    nanos: int

    def __post_init__(self) -> None:
        if abs(self.nanos) > _LONGEST:
            raise ExpressionError("a duration is out of range (292 years)")

    def __str__(self) -> str:
        sign, rest = "-" if self.nanos < 0 else "", abs(self.nanos)
        return f"{sign}{rest // _SECOND}{_fraction(rest % _SECOND)}s"

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Read `1h30m`, `-1.5s` and the like: numbers with a unit each, and one sign before all of it.

        Raises:
            ExpressionError: it is none, or has no end that can be counted. The text is not shown.
        """
        match = _DURATION.fullmatch(text) if len(text) <= MAX_TEXT else None
        if match is None:
            raise ExpressionError("duration(): the string is not a duration, such as '1h30m'")
        nanos = sum(_nanos(*part) for part in _PARTS.findall(text))
        return cls(-nanos if match[1] == "-" else nanos)


@dataclass(frozen=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since 1970; of the years 1 to 9999."""

    nanos: int

    def __post_init__(self) -> None:
        if not _FIRST <= self.nanos < _END:
            raise ExpressionError("a timestamp is out of range (the years 1 to 9999)")

    def __str__(self) -> str:
        moment = _EPOCH + timedelta(seconds=self.nanos // _SECOND)
        return f"{moment.replace(tzinfo=None).isoformat()}{_fraction(self.nanos % _SECOND)}Z"

    @classmethod
    def parse(cls, text: str) -> "Timestamp":
        """Read a time as RFC 3339 writes it, with `T` and an offset or `Z`; there is no leap second.

        Raises:
            ExpressionError: it is none. The text is not shown.
        """
        match = _TIMESTAMP.fullmatch(text) if len(text) <= MAX_TEXT else None
        try:
            moment = datetime.fromisoformat(match[1]).replace(tzinfo=UTC) if match else None
        except ValueError:
            moment = None
        if match is None or moment is None or int(match[4] or 0) not in _HOURS or int(match[5] or 0) not in _MINUTES:
            raise ExpressionError("timestamp(): the string is not a time, such as '2026-01-31T12:00:00Z'")
        offset = (int(match[4] or 0) * 60 + int(match[5] or 0)) * 60 * (-1 if match[3] == "-" else 1)
        seconds = (moment - _EPOCH) // timedelta(seconds=1) - offset
        return cls(seconds * _SECOND + int((match[2] or "").ljust(9, "0")))


def _nanos(number: str, fraction: str, unit: str) -> int:
    scale: int = 10 ** len(fraction)
    return int(number) * _UNITS[unit] + int(fraction or 0) * _UNITS[unit] // scale


def _fraction(nanos: int) -> str:
    return f".{nanos:09d}".rstrip("0") if nanos else ""
