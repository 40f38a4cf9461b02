"""The same question as `verify.verify`, asked of a source: is it what this digest says?"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from lastgood.verify.errors import NothingToCheckError, RefusedEntryError, UnreadableError, UnsteadyError
from lastgood.verify.manifest import MANIFEST_START, differences, manifest_digest, refuse_manifest
from lastgood.verify.reading.meter import Cancelled, Meter, Pace, Progress
from lastgood.verify.reading.printable import printable
from lastgood.verify.sources.values import Chunk, Entry, Sink, Source
from lastgood.verify.values import FileEntry, Limits, Result, Verdict, require_digest

_DAY: Final = 24 * 3600.0  # seconds; a server that sends a byte now and then ends by this, if not by the limits
_DEFAULT = Limits()


def verify_source(
    source: Source,
    expected: str,
    *,
    limits: Limits = _DEFAULT,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    into: Sink | None = None,
    known: Sequence[FileEntry] = (),
    budget: Pace | None = None,
) -> Result:
    """Read all of a source, as a stream, and compare it with the digest that it should have.

    Whatever the other side does, the answer is a Result. What cannot be read is Unreadable: a missing object, a
    refusal, a timeout, a body that ends early, a file that changes meanwhile, an error of the sink. A mismatch was
    read twice, with the same bytes both times.

    Args:
        source: where the bytes are.
        expected: `sha256:` and 64 hex digits.
        limits: what to put up with; a day, where it sets no seconds.
        progress: gets the bytes read so far; it begins again at 0 where a second reading is needed.
        cancelled: is asked at least once a second while the network is waited for.
        into: gets a copy of what is read, the first time.
        known: a manifest of what should be there; if it has the expected digest, the findings name files.
        budget: a rate to keep to, together with others.

    Raises:
        ValueError: if `expected` is malformed.
    """
    require_digest(expected)
    meter = Meter(progress, cancelled, budget=budget, seconds=limits.max_seconds or _DAY)
    run = _Run(meter=meter, into=into)
    shown = source.describe()
    try:
        digest = run.read(source, limits)
        if digest != expected:
            _require_steady(source, digest, limits, meter)
    except RefusedEntryError as error:
        return run.result(Verdict.MISMATCH, expected, f"{shown} cannot match {expected}: {error}", error.findings)
    except (UnreadableError, OSError) as error:
        said = str(error) if isinstance(error, UnreadableError) else str(UnreadableError.of("the copy", error))
        return run.result(Verdict.UNREADABLE, expected, f"{shown} could not be read: {said}")
    if digest == expected:
        return run.result(Verdict.VERIFIED, expected, f"{shown} is {expected}", digest=digest)
    is_known = bool(known) and manifest_digest(known) == expected
    findings = differences(known, run.files) if is_known else ()
    return run.result(Verdict.MISMATCH, expected, f"{shown} is {digest}, expected {expected}", findings, digest=digest)


def _require_steady(source: Source, digest: str, limits: Limits, meter: Meter) -> None:
    """Make sure that another reading finds the same bytes: what errs on the way is not tampered with.

    Raises:
        UnsteadyError: if it does not.
    """
    meter.begin()
    if _Run(meter=meter).read(source, limits) != digest:
        raise UnsteadyError(
            "two reads returned different bytes; check the disk or network, and that nothing writes to it"
        )


@dataclass(kw_only=True)
class _Run:
    meter: Meter
    into: Sink | None = None
    started: float = field(default_factory=time.monotonic)
    files: list[FileEntry] = field(default_factory=list)

    def read(self, source: Source, limits: Limits) -> str:
        """Return the digest of all files, sorted by path as a manifest is."""
        for entry, chunks in source.files(limits, check=self.meter.check):
            self.files.append(self._file(entry, chunks))
        self.files.sort(key=lambda file: file.path)
        if not self.files:
            raise NothingToCheckError("the source has no files: there is nothing to verify")
        return f"sha256:{self.files[0].sha256}" if self.single else manifest_digest(self.files)

    @property
    def single(self) -> bool:
        return len(self.files) == 1 and not self.files[0].path

    def _file(self, entry: Entry, chunks: Iterator[Chunk]) -> FileEntry:
        hasher, size, start = hashlib.sha256(), 0, b""
        with ExitStack() as stack:
            write = stack.enter_context(self.into.file(entry.path, entry.size)) if self.into else None
            for chunk in chunks:
                if size < len(MANIFEST_START):
                    start += bytes(chunk[: len(MANIFEST_START)])
                hasher.update(chunk)
                size += len(chunk)
                if write:
                    write(chunk)
                self.meter.add(len(chunk))
        if size != entry.size:
            raise UnreadableError(f"{printable(entry.path)} has {size} bytes, and {entry.size} were listed")
        if not entry.path:
            refuse_manifest(start)
        return FileEntry(path=entry.path, size=size, sha256=hasher.hexdigest())

    def result(
        self,
        verdict: Verdict,
        expected: str,
        message: str,
        findings: tuple[str, ...] = (),
        *,
        digest: str | None = None,
    ) -> Result:
        files = tuple(self.files) if digest else ()
        return Result(
            verdict=verdict,
            expected=expected,
            actual=digest,
            size_bytes=sum(file.size for file in files),
            file_count=len(files),
            seconds=time.monotonic() - self.started,
            findings=findings,
            message=message[:1024],
            files=() if self.single else files,
        )
