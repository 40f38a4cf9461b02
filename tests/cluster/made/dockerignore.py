"""Which files of a build context count: those that .dockerignore lets through."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ALWAYS = (".git", "**/__pycache__")
Rule = tuple[bool, re.Pattern[str]]


def files(context: Path, dockerfile: Path) -> Iterator[Path]:
    """Yield the files of the context in a fixed order.

    The rules are those of https://docs.docker.com/reference/dockerfile/#dockerignore-file: the last that matches wins.
    """
    rules = _rules(context, dockerfile)
    for folder, names, found in os.walk(context):
        names[:] = sorted(name for name in names if name not in (".git", "__pycache__"))
        for name in sorted(found):
            path = Path(folder, name)
            if not _ignored(path.relative_to(context), rules):
                yield path


def _rules(context: Path, dockerfile: Path) -> list[Rule]:
    for file in (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore"):
        if file.exists():
            lines = [line.strip() for line in file.read_text().splitlines()]
            return [_rule(line) for line in (*ALWAYS, *lines) if line and not line.startswith("#")]
    return [_rule(line) for line in ALWAYS]


def _rule(line: str) -> Rule:
    """Return whether the rule brings files back, and what it matches."""
    pattern = re.escape(line.removeprefix("!").strip("/"))
    for wild, expression in ((r"\*\*/", "(?:.*/)?"), (r"\*\*", ".*"), (r"\*", "[^/]*"), (r"\?", "[^/]")):
        pattern = pattern.replace(wild, expression)
    return line.startswith("!"), re.compile(f"{pattern}(?:/.*)?")


def _ignored(path: Path, rules: list[Rule]) -> bool:
    ignored = False
    for brings_back, pattern in rules:
        if pattern.fullmatch(path.as_posix()):
            ignored = not brings_back
    return ignored
