"""What a process and its children open, as strace saw it."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cluster.made.packages import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OPENING = "open,openat,openat2,creat,open_by_handle_at,execve,execveat"
_CALL = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<answer>.*)$")
_FIRST = re.compile(r"^(?P<pid>\d+) +(?P<call>.*) <unfinished \.\.\.>$")
_SECOND = re.compile(r"^(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")
_FOLDER = re.compile(r"^(?:AT_FDCWD|\d+)<(?P<folder>(?:[^>\\]|\\.)*)>, ")
_PATH = re.compile(r'"(?P<path>(?:[^"\\]|\\.)*)"')
_OPENED = re.compile(r"^\d+<(?P<path>(?:[^>\\]|\\.)*)>")
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)")
_LETTERS = {"n": 10, "t": 9, "r": 13, "v": 11, "f": 12}


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One call: which file was asked for, and which file the kernel gave, if it gave one."""

    pid: int
    call: str
    asked: str
    given: str

    @property
    def paths(self) -> set[str]:
        """Both names: a link leads elsewhere, and asking in vain for what is not ours is asking, too."""
        return {self.asked, self.given} - {""}


def tracer(output: Path) -> tuple[str, ...]:
    """Return the program to run another one under; it is installed where it is missing.

    The traced process stays the child of its caller (-D), so that signals reach it and not the tracer.
    """
    if not shutil.which("strace"):
        require(["strace"], lambda _: None)
    return ("strace", "-D", "-f", "-y", "-qq", "-s", "4096", "-e", f"trace={OPENING}", "-o", str(output), "--")


def opened(output: Path, *, within: float = 20.0) -> Sequence[Opened]:
    """Return every call, once the tracer has written the last of them.

    Raises:
        ValueError: a line cannot be understood: it might be the one that matters.
    """
    end, size = time.monotonic() + within, -1
    while output.stat().st_size != size and time.monotonic() < end:
        size = output.stat().st_size
        time.sleep(0.5)
    return list(parsed(output.read_text(errors="surrogateescape").splitlines()))


def parsed(lines: Sequence[str]) -> Iterator[Opened]:
    """Yield the calls of a trace.

    Raises:
        ValueError: a line cannot be understood.
    """
    halves: dict[str, str] = {}
    for line in lines:
        if first := _FIRST.match(line):
            halves[first["pid"]] = first["call"]
            continue
        second = _SECOND.match(line)
        whole = f"{second['pid']} {halves.pop(second['pid'])}{second['rest']}" if second else line
        if _told(whole):
            yield _call(whole)


def _told(line: str) -> bool:
    """Tell whether a line is about a call; the others are ends of processes, signals, and calls that an end cut off."""
    return not re.match(r"^\d+ +(\+\+\+|---)", line) and not line.endswith("= ?")


def _call(line: str) -> Opened:
    call = _CALL.match(line)
    path = _PATH.search(call["arguments"]) if call else None
    if not call or not path:
        raise ValueError(f"the tracer says something else: {line}")
    folder = _FOLDER.match(call["arguments"])
    given = _OPENED.match(call["answer"])
    asked = os.path.join(_plain(folder["folder"]) if folder else "/", _plain(path["path"]))  # noqa: PTH118  # text, not a path of ours
    return Opened(
        pid=int(call["pid"]),
        call=call["name"],
        asked=os.path.normpath(asked),
        given=_plain(given["path"]) if given else "",
    )


def _plain(text: str) -> str:
    """Undo the tracer's escapes."""

    def byte(match: re.Match[str]) -> str:
        word = match[1]
        if word.isdigit():
            return chr(int(word, 8))
        return chr(_LETTERS.get(word, ord(word)))

    return _ESCAPE.sub(byte, text).encode("latin-1", "replace").decode("utf-8", "surrogateescape")
