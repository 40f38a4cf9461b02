"""Reading in a process of its own, which can be ended although a read never returns; and what it says to us."""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Final

from lastgood.verify import errors
from lastgood.verify.errors import RefusedEntryError, StalledError, UnreadableError
from lastgood.verify.reading.contents import Task
from lastgood.verify.reading.meter import Meter
from lastgood.verify.values import Contents, FileEntry, Limits

_ASK_EVERY: Final = 0.05  # seconds between two looks at whether to go on
_LET_GO: Final = 0.2  # seconds
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")  # no secret of ours reaches the reader
_START: Final = (
    "import sys; sys.path[:] = sys.argv[2:]; from lastgood.verify.reading.reader import main; main(sys.argv[1])"
)
_GRANT: Final = b"."

_Message = Mapping[str, Any]


def read_apart(task: Task, meter: Meter) -> Contents:
    """Read a checkpoint in a process of its own; see `read_here` for what it returns.

    Raises:
        UnreadableError: as `read_here`; and if the process stalls, or ends without an answer.
        RefusedEntryError: as `read_here`.
    """
    files: list[FileEntry] = []
    with _reader(task, paced=meter.paced) as process:
        for message in _messages(process, meter, task.limits):
            match message:
                case {"read": int(count)}:
                    meter.add(count)
                    _grant(process)
                case {"files": rows}:
                    files += [FileEntry(path=path, size=size, sha256=sha256) for path, size, sha256 in rows]
                case {"contents": fields}:
                    return Contents(**fields, files=tuple(files))
                case {"error": str(kind), "sentences": sentences}:
                    raise _error(kind, sentences)
        raise UnreadableError(f"the reading process ended without an answer ({process.wait()})")


@contextmanager
def _reader(task: Task, *, paced: bool) -> Iterator[subprocess.Popen[bytes]]:
    fields = {**asdict(task), "root": os.fsencode(task.root).hex(), "paced": paced}
    command = [sys.executable, "-I", "-c", _START, json.dumps(fields), *filter(None, sys.path)]
    process = subprocess.Popen(  # noqa: S603 - this interpreter, a fixed program, and no shell
        command,
        stdin=subprocess.PIPE,  # its end tells the reader that we are gone
        stdout=subprocess.PIPE,
        env={name: os.environ[name] for name in _KEPT if name in os.environ},
        start_new_session=True,  # Ctrl-C is for us
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and collect it; one that the kernel does not let go of yet (a FUSE read) is collected when it does."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe:
                pipe.close()
    try:
        process.wait(_LET_GO)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, name="verify-end", daemon=True).start()


def _grant(process: subprocess.Popen[bytes]) -> None:
    """Let it go on reading; one that does not wait for it does not mind."""
    with suppress(OSError):
        os.write(_descriptor(process.stdin), _GRANT)


def _messages(process: subprocess.Popen[bytes], meter: Meter, limits: Limits) -> Iterator[_Message]:
    """Yield what the process says, until it ends, we are to stop, or it has said nothing for too long."""
    pipe = _descriptor(process.stdout)
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    rest, heard = b"", time.monotonic()
    while True:
        meter.check()
        if not poll.poll(_ASK_EVERY * 1000):
            _require_heard(heard, limits.max_stall_seconds)
            continue
        data = os.read(pipe, 2**16)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from map(json.loads, lines)
        heard = time.monotonic()


def _require_heard(since: float, limit: float | None) -> None:
    if limit is not None and time.monotonic() - since > limit:
        raise StalledError(f"nothing could be read for {limit:g} seconds")


def _error(kind: str, sentences: list[str]) -> errors.VerifyError:
    if kind in {"RefusedEntryError", "NothingToCheckError"}:
        refused: Callable[..., RefusedEntryError] = getattr(errors, kind)
        return refused(*sentences)
    known = {error.__name__: error for error in (errors.LimitError, errors.StoppedError, errors.StalledError)}
    return known.get(kind, UnreadableError)(*sentences)


def _descriptor(pipe: Any) -> int:  # noqa: ANN401 - a pipe that Popen types as optional
    return int(pipe.fileno())
