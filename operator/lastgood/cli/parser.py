"""What both command lines share: one sentence for an error, and checks of options that say what to write."""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from enum import IntEnum
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from lastgood.api.fields import parse_duration
from lastgood.api.specs.images import read_pinned

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_MAX_PATH: Final = 1024


class Exit(IntEnum):
    """The exit codes, which scripts rely on."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREADABLE = 3
    UNVALIDATED = 4
    FAILED = 5
    REJECTED = 6
    TIMED_OUT = 7
    STOPPED = 130


class UsageError(Exception):
    """A command cannot be done as it was asked for; the message names the option and what to do."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a mistake with one sentence, and never guesses an abbreviated option."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})  # type: ignore[arg-type]  # passed on as given

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave."""
        self.exit(Exit.USAGE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - what argparse returns has no public name


def _matching(pattern: str, limit: int, rule: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if len(text) <= limit and compiled.fullmatch(text):
            return text
        raise argparse.ArgumentTypeError(f"must be {rule}")

    return check


label = _matching(_LABEL, 63, "at most 63 lower-case letters, digits and '-', such as digits or fraud-v2")
name = _matching(
    rf"{_LABEL}(\.{_LABEL})*", 253, "at most 253 lower-case letters, digits, '-' and '.', such as digits-v2"
)
nonce = _matching(r"[A-Za-z0-9._-]+", 128, "1 to 128 letters, digits and '.', '_' or '-'")
version = _matching(r"[^\x00-\x1f\x7f]+", 128, "1 to 128 characters on one line, such as 2 or 2026-03-01.1")
image = _matching(r"\S+", 512, "an image reference without spaces, such as registry/server@sha256:…")


def pinned(text: str) -> str:
    """Return the reference of an image that says in full what is pulled."""
    if read_pinned(text) is None:
        raise argparse.ArgumentTypeError("must be registry/repository@sha256: and 64 hex digits, in full")
    return text


def path(text: str) -> Path:
    """Return a path; an empty one, such as from a variable that is not set, is not the current directory."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; write . for the current directory")
    return Path(text)


def relative_path(text: str) -> str:
    """Return a path on a volume; the rule is the same as the CRD's."""
    parts = text.split("/")
    if text.isprintable() and "\\" not in text and not {"", ".", ".."} & set(parts) and len(text) <= _MAX_PATH:
        return text
    raise argparse.ArgumentTypeError("must be relative, without '..', '.' or empty segments, such as digits/2")


def moment(text: str) -> str:
    """Return an RFC 3339 time in UTC; a date alone is its first moment."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date or time such as 2026-03-01T00:00:00Z") from None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        parsed = datetime.combine(date.fromisoformat(text), time(), UTC)
    if parsed.tzinfo is None:
        raise argparse.ArgumentTypeError("must name its time zone, such as 2026-03-01T12:00:00Z")
    return parsed.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(text: str) -> float:
    """Return the seconds of a duration such as 90s or 10m."""
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError:
        raise argparse.ArgumentTypeError("must be a duration such as 90s or 10m") from None
    if seconds <= 0:
        raise argparse.ArgumentTypeError("must be longer than nothing, such as 10m")
    return seconds


def positive(text: str) -> int:
    """Return a whole number above zero."""
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError("must be a whole number above 0")
