"""The process that `apart` starts: reads one checkpoint, tells how far it is, and ends with it, or with its parent."""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lastgood.verify.errors import RefusedEntryError, VerifyError
from lastgood.verify.hashing import Way
from lastgood.verify.reading.contents import Task, read_here
from lastgood.verify.reading.meter import Meter
from lastgood.verify.values import Contents, Limits

_TELL_EVERY: Final = 0.05  # seconds
_ROWS: Final = 256  # of the manifest in one message: the whole of a large one would be in memory twice


def main(request: str) -> None:
    """Read what the request asks for, and write messages to stdout, a line of JSON each."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no copy of anybody's weights on the disk
    fields = json.loads(request)
    parent = _Parent(paced=fields.pop("paced"))
    try:
        parent.tell_contents(read_here(_task(fields), Meter(cancelled=parent.is_there, budget=parent)))
    except RefusedEntryError as error:
        parent.tell(error=type(error).__name__, sentences=error.findings)
    except VerifyError as error:
        parent.tell(error=type(error).__name__, sentences=[str(error)])


def _task(fields: dict[str, Any]) -> Task:
    return Task(
        root=Path(os.fsdecode(bytes.fromhex(fields["root"]))),
        relative=fields["relative"],
        limits=Limits(**fields["limits"]),
        way=Way(fields["way"]),
        threads=fields["threads"],
        fresh=fields["fresh"],
    )


class _Parent:
    """The other end: hears how far we are, and, where it keeps a budget, says when to go on."""

    def __init__(self, *, paced: bool) -> None:
        self._paced = paced
        self._lock = threading.Lock()
        self._granted = threading.Semaphore(0)
        self._untold = 0
        self._told = time.monotonic()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while data := os.read(0, 4096):
            self._granted.release(len(data))
        os._exit(1)  # nobody is there to hear the answer, and the other threads may wait in the kernel

    def is_there(self) -> bool:
        """Say from time to time that something was read, also where it had no bytes; never asks to stop."""
        self._tell_untold(_TELL_EVERY)
        return False

    def take(self, count: int, _: Callable[[], None]) -> None:
        """Tell of bytes read, and wait for the parent's leave where it keeps a budget."""
        with self._lock:
            self._untold += count
        self._tell_untold(0 if self._paced else _TELL_EVERY)
        if self._paced:
            self._granted.acquire()

    def _tell_untold(self, after: float) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._told >= after:
                self._write({"read": self._untold})
                self._untold, self._told = 0, now

    def tell(self, **message: Any) -> None:  # noqa: ANN401 - any JSON
        """Send one message."""
        with self._lock:
            self._write(message)

    def tell_contents(self, found: Contents) -> None:
        """Send what was read: the manifest in pieces, then the rest."""
        self._tell_untold(0)
        for start in range(0, len(found.files), _ROWS):
            rows = found.files[start : start + _ROWS]
            self.tell(files=[(file.path, file.size, file.sha256) for file in rows])
        names = ("digest", "size_bytes", "file_count", "blake3")
        self.tell(contents={name: getattr(found, name) for name in names})

    @staticmethod
    def _write(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
