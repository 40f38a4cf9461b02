"""Reading decoded JSON: every field is bounded, parsed once, and refused with a sentence that names it."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lastgood.api.names import GROUP
from lastgood.errors import InvalidSpecError

MAX_TEXT = 2048
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LAST_YEAR = 9000
_LONGEST = 366 * 24 * 3600.0
"""A time and a duration can be added, whoever wrote them: what cannot stand for either is refused."""


@dataclass(frozen=True)
class Fields:
    """An object at a path; `strict` for specs, and lenient for status, where a bad field counts as absent.

    Status is lenient because whoever can write it must not be able to stop a rollback by writing nonsense.
    """

    value: Mapping[str, Any]
    path: str = ""
    strict: bool = True

    def at(self, name: str) -> str:
        """Return the path of a field, for messages."""
        return f"{self.path}.{name}" if self.path else name

    def bad(self, name: str, expected: str) -> None:
        """Refuse a field, where this object is strict."""
        if self.strict:
            raise InvalidSpecError(f"{self.at(name)}: must be {expected}")

    def has(self, name: str) -> bool:
        """Tell whether a field is given."""
        return self.value.get(name) is not None

    def text(self, name: str, default: str = "", *, limit: int = MAX_TEXT, required: bool = False) -> str:
        """Return a string of at most `limit` characters."""
        value = self.value.get(name)
        if value is None and not required:
            return default
        if isinstance(value, str) and len(value) <= limit and (value or not required):
            return value
        self.bad(name, f"a string of 1 to {limit} characters")
        return default

    def integer(self, name: str, default: int, *, low: int = 0, high: int = 2**53) -> int:
        """Return a whole number between two bounds."""
        value = self.value.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.bad(name, f"a whole number from {low} to {high}")
        return default

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number."""
        value = self.value.get(name, default)
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):
                if math.isfinite(value):
                    return float(value)
        self.bad(name, "a number")
        return default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return true or false."""
        value = self.value.get(name, default)
        if isinstance(value, bool):
            return value
        self.bad(name, "true or false")
        return default

    def time(self, name: str) -> datetime | None:
        """Return an RFC 3339 time, or None where there is none."""
        value = self.value.get(name)
        if value is None:
            return None
        try:
            return parse_time(value)
        except (TypeError, ValueError):
            self.bad(name, "an RFC 3339 time such as 2026-03-01T00:00:00Z")
            return None

    def duration(self, name: str, default: str) -> timedelta:
        """Return a duration such as `1m30s`."""
        try:
            return parse_duration(self.value.get(name, default))
        except (TypeError, ValueError):
            self.bad(name, "a duration such as 500ms, 10s, 5m or 1h30m")
            return parse_duration(default)

    def child(self, name: str) -> "Fields":
        """Return an object inside this one; an absent one is empty."""
        value = self.value.get(name)
        if value is not None and not isinstance(value, Mapping):
            self.bad(name, "an object")
            value = None
        return Fields(value or {}, self.at(name), self.strict)

    def items(self, name: str, *, limit: int = 200) -> Iterator["Fields"]:
        """Yield the objects of a list."""
        value = self.value.get(name) or []
        if not isinstance(value, list) or len(value) > limit:
            self.bad(name, f"a list of at most {limit} objects")
            value = []
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                yield Fields(item, f"{self.at(name)}[{index}]", self.strict)
            else:
                self.bad(f"{name}[{index}]", "an object")

    def texts(self, name: str, default: tuple[str, ...] = (), *, limit: int = 100) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self.value.get(name)
        if value is None:
            return default
        if isinstance(value, list) and len(value) <= limit and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.bad(name, f"a list of at most {limit} strings")
        return default

    def mapping(self, name: str, *, limit: int = 256) -> dict[str, str]:
        """Return a map of strings, without what is not a string; where it is cut, our own keys are kept.

        Whoever may annotate an object must not push out the annotation that asks for something by many others.
        """
        value = self.value.get(name)
        if not isinstance(value, Mapping):
            return {}
        pairs = [(key, item) for key, item in value.items() if isinstance(key, str) and isinstance(item, str)]
        if len(pairs) > limit:
            pairs.sort(key=lambda pair: not pair[0].startswith(f"{GROUP}/"))
        return dict(pairs[:limit])


def parse_time(value: str) -> datetime:
    """Return an aware UTC time from RFC 3339 text.

    Raises:
        ValueError: if the text is no time, has no offset, or lies beyond all calendars.
    """
    time = datetime.fromisoformat(value)
    if time.tzinfo is None or not 1 < time.year <= _LAST_YEAR:
        raise ValueError(value)
    time = time.astimezone(UTC)
    if not 1 < time.year <= _LAST_YEAR:  # what is written has to be read back
        raise ValueError(value)
    return time


def format_time(time: datetime | None) -> str | None:
    """Return RFC 3339 text with microseconds, in UTC."""
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_duration(value: str) -> timedelta:
    """Return a duration from text such as `1h30m`, as Go writes it.

    Raises:
        ValueError: if the text is no duration, or longer than a year.
    """
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(value)
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds > _LONGEST:
        raise ValueError(value)
    return timedelta(seconds=seconds)


def compact(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without its nulls: inside a list a merge patch would store them."""
    return {key: value for key, value in body.items() if value is not None}
