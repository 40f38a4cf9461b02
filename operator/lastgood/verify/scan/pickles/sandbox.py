"""Running the pickle reader in a child process: limited, watched, and killed when it is time."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lastgood.verify.errors import UnreadableError
from lastgood.verify.reading.printable import printable
from lastgood.verify.scan.containers.part import Codec, Part
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import ScanLimits

_CHILD: Final = Path(__file__).with_name("reader")
_MAX_ANSWER: Final = 2**24  # a row for each storage of a large model
_POLL: Final = 0.01  # seconds; how much memory a child can take between two looks depends on it
_PATIENCE: Final = 10  # wall-clock time per CPU time: a slow disk or a busy machine is not the file's fault
_LARGE: Final = 2**20  # payloads above this are never touched, so they count as address space only


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """What torch's persistent ids say of the numbers with a key: the type as it is imported, and how many."""

    kind: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a pickle asks for, by the word of the child; `error` is why it ended before its end, if it did.

    Attributes:
        changed: classes and functions whose own attributes it sets, and not those of something that it made.
        storages: by key, what torch's persistent ids declare; every other id is in `persistent`.
        keys: of the storages that follow at `end`, if it is what torch.save wrote before 1.6 (`legacy`).
    """

    imports: tuple[tuple[str, str], ...] = ()
    calls: dict[str, str]
    sizes: dict[str, int]
    persistent: tuple[str, ...] = ()
    storages: dict[str, Storage] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    extensions: tuple[int, ...] = ()
    changed: tuple[str, ...] = ()
    streams: int = 0
    legacy: bool = False
    error: str = ""
    at: int = 0
    end: int = 0
    full: bool = False
    escaped: str = ""

    @property
    def at_limit(self) -> bool:
        """Whether the reader gave up for memory, time or number, or did not survive."""
        return self.error.startswith(("MemoryError", "RecursionError", "more than", "its reader", "it takes"))


def ask(part: Part, context: Context) -> Asked:
    """Let a child read a part as a pickle, unless so many took too much before that this one is not looked at.

    Raises:
        UnreadableError: if it cannot be read in time, or the caller asked to stop.
    """
    limits = context.limits
    if len(context.exhausting) >= limits.pickle_failures:
        error = f"more than {limits.pickle_failures} earlier pickles exceeded the limits; not scanned"
        return Asked(calls={}, sizes={}, error=error)
    try:
        asked = _ask(part, limits)
    except UnreadableError:
        context.exhausting.append(part.name)
        raise
    if asked.at_limit:
        context.exhausting.append(part.name)
    return asked


def _ask(part: Part, limits: ScanLimits) -> Asked:
    process = _start(part, limits)
    try:
        answer, fault = _Watch(process, part, limits).wait()
    finally:
        _end(process)
    # A whole answer counts however its writer ended: a machine that is busy may have been slow to let it go.
    return _parse(answer, fault or ("" if answer else _fault(process.returncode)))


def _start(part: Part, limits: ScanLimits) -> "subprocess.Popen[bytes]":
    place = part.place
    numbers = (
        place.descriptor,
        place.start,
        place.stored,
        place.skip,
        limits.pickle_bytes + _room(part),
        max(1, int(limits.pickle_seconds)),
    )
    command = [sys.executable, "-I", "-S", "-B", str(_CHILD), *map(str, numbers), str(place.codec)]
    return subprocess.Popen(  # noqa: S603 - no shell, and numbers for arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[place.descriptor],
        env={},
        cwd="/",
        start_new_session=True,
    )


def _room(part: Part) -> int:
    """Return the address space for payloads that are allocated and never touched."""
    watched = Path("/proc/self/statm").exists()  # else only the address space bounds the memory
    return part.size if watched and part.place.codec is Codec.STORED and part.size > _LARGE else 0


class _Watch:
    def __init__(self, process: "subprocess.Popen[bytes]", part: Part, limits: ScanLimits) -> None:
        self._process = process
        self._part = part
        self._deadline = time.monotonic() + limits.pickle_seconds * _PATIENCE
        self._resident = 2**25 + limits.pickle_bytes
        self._answer = bytearray()

    def wait(self) -> tuple[bytes, str]:
        """Return what the child wrote, and why it was killed if it was."""
        stream = self._process.stdout
        if stream is None:
            raise AssertionError("the child was started with a pipe")
        while True:
            self._check_time()
            if _resident(self._process.pid) > self._resident:
                return b"", "it takes too much memory"
            if not select.select([stream], [], [], _POLL)[0]:
                continue
            data = os.read(stream.fileno(), 2**16)
            self._answer += data
            if len(self._answer) > _MAX_ANSWER:
                return b"", "its reader says too much"
            if not data:
                return bytes(self._answer), ""

    def _check_time(self) -> None:
        self._part.meter.check()
        if time.monotonic() > self._deadline:
            raise UnreadableError(f"{printable(self._part.name)} could not be read as a pickle in time")


def _resident(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0  # it has ended, or this is not Linux
    return int(pages) * os.sysconf("SC_PAGESIZE")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end that an answer announces; what takes longer is killed."""
    if process.stdout is not None:
        process.stdout.close()
    try:
        process.wait(timeout=None if process.poll() is not None else _POLL * 50)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _fault(code: int | None) -> str:
    if not code:
        return ""
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return "it takes too much time or memory"
    return f"its reader ended with {signal.Signals(-code).name}" if code < 0 else f"its reader ended with exit {code}"


def _parse(answer: bytes, fault: str) -> Asked:
    """Return an answer; it comes from a process that an attacker may have got hold of, so it is checked."""
    try:
        told = json.loads(answer) if answer else {}
        return _asked(told, fault)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Asked(calls={}, sizes={}, error=fault or "its reader gave no answer that can be used")


def _asked(told: dict[str, Any], fault: str) -> Asked:
    if not told or "escaped" in told:
        error = fault or "its reader gave no answer"
        return Asked(calls={}, sizes={}, error=error, escaped=str(told.get("escaped", "")))
    return Asked(
        imports=tuple((str(module), str(name)) for module, name in told["imports"]),
        calls={str(name): str(shown) for name, shown in told["calls"].items()},
        sizes={str(name): int(size) for name, size in told["sizes"].items()},
        persistent=tuple(map(str, told["persistent"])),
        storages={str(key): Storage(kind=str(kind), count=int(count)) for key, kind, count in told["storages"]},
        keys=tuple(map(str, told["keys"])),
        extensions=tuple(map(int, told["extensions"])),
        changed=tuple(map(str, told["changed"])),
        streams=int(told["streams"]),
        legacy=bool(told["legacy"]),
        error=str(told["error"]) or fault,
        at=int(told["at"]),
        end=int(told["end"]),
        full=bool(told["full"]),
    )
