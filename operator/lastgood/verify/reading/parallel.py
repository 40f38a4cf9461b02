"""Hashing many files, or the parts of a large one, in threads: hashlib, blake3 and read() let go of the GIL."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final

from lastgood.verify.errors import StoppedError
from lastgood.verify.hashing import SEGMENT, Hashed, Way
from lastgood.verify.reading.meter import Meter
from lastgood.verify.reading.reading import BUFFER, Part, Stamp, opened, read_part

_MAX_THREADS: Final = 8
_TICK_NS: Final = 20_000_000  # a kernel's clock for time stamps ticks every 1 to 10 ms

Open = Callable[[str], int]
"""Opens a file by its path below the checkpoint; the caller closes what it returns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What to compute of each file, and how.

    Attributes:
        threads: how many; None for as many as are of use.
        fresh: ask the system to forget what it has in memory of a file, and to read it from the disk itself.
    """

    meter: Meter
    way: Way = Way.SHA256
    threads: int | None = None
    fresh: bool = False


def hash_files(open_file: Open, stamps: Mapping[str, Stamp], work: Work) -> list[Hashed]:
    """Hash files; each must still have its stamp, before it is read and afterwards.

    Raises:
        UnreadableError: if one cannot be read, changed, or was refused meanwhile.
    """
    _settle(stamps.values(), work.meter)
    parts = [part for path, stamp in stamps.items() for part in _parts(path, stamp, work.way)]
    # The largest first, or the last thread starts on a shard when the others have nothing left to do.
    queue = _Queue(open_file=open_file, work=work, waiting=deque(sorted(parts, key=lambda part: part.start - part.end)))
    count = work.threads or _threads_for(parts)
    with ThreadPoolExecutor(count, thread_name_prefix="verify") as pool:
        threads = [pool.submit(queue.run) for _ in range(count)]
        try:
            wait(threads)
        except BaseException:  # Ctrl-C: the threads stop, or leaving the pool would wait for them
            work.meter.stop()
            raise
    _raise_first(threads)
    return list(_joined(queue.done, stamps))


def _settle(stamps: Iterable[Stamp], meter: Meter) -> None:
    """Wait until every stamp is old enough for a later change to give another one: clocks of file systems tick."""
    age = time.time_ns() - max(max(stamp.mtime_ns, stamp.ctime_ns) for stamp in stamps)
    if age < _TICK_NS:
        time.sleep(min(_TICK_NS - age, _TICK_NS) / 1e9)  # no longer, also where the disk's clock is ahead
        meter.check()


def _parts(path: str, stamp: Stamp, way: Way) -> Iterator[Part]:
    """Yield what one thread does at a time: a sha256 is serial, and the segments of a BLAKE3 are not."""
    step = SEGMENT if way is Way.BLAKE3 else max(stamp.size, 1)
    for start in range(0, max(stamp.size, 1), step):
        yield Part(path, stamp, start, min(start + step, stamp.size))


def _threads_for(parts: Sequence[Part]) -> int:
    """Return how many threads are worth starting: one a core and part, fewer for a small checkpoint."""
    by_size = 1 + sum(part.end - part.start for part in parts) // BUFFER
    return min(os.cpu_count() or 1, _MAX_THREADS, len(parts), by_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Queue:
    open_file: Open
    work: Work
    waiting: deque[Part]
    done: list[tuple[int, Hashed]] = field(default_factory=list)

    def run(self) -> None:
        """Take part after part, in each thread."""
        work = self.work
        try:
            while self.waiting:
                work.meter.check()
                part = self.waiting.popleft()
                with opened(self.open_file(part.path)) as descriptor:
                    self.done.append((part.start, read_part(descriptor, part, work.meter, work.way, fresh=work.fresh)))
        except IndexError:
            return  # another thread took the last one
        except BaseException:
            work.meter.stop()
            raise


def _joined(done: list[tuple[int, Hashed]], stamps: Mapping[str, Stamp]) -> Iterator[Hashed]:
    """Yield each file once, with the segments of all its parts in order."""
    segments: dict[str, list[str]] = {}
    for _, part in sorted(done, key=lambda item: item[0]):
        segments.setdefault(part.path, []).extend(part.blake3)
    for start, part in done:
        if start == 0:
            yield part._replace(size=stamps[part.path].size, blake3=tuple(segments[part.path]))


def _raise_first(threads: Iterable[Future[None]]) -> None:
    """Raise what went wrong, and not what it stopped."""
    errors = [error for thread in threads if (error := thread.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
        raise error
