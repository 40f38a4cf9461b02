"""The scan itself: every file below a path, every part of every file, every scanner; and the verdict."""

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.check import require_relative
from lastgood.verify.errors import RefusedEntryError, StoppedError, UnreadableError
from lastgood.verify.reading.meter import Cancelled, Meter, Progress
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import Stamp, identity, open_below, open_path, opened, reading
from lastgood.verify.reading.tree import Tree, require_unchanged, walk
from lastgood.verify.scan.claims import ClaimScanner
from lastgood.verify.scan.configs import ConfigScanner
from lastgood.verify.scan.containers import archives
from lastgood.verify.scan.containers.part import Part, Place
from lastgood.verify.scan.external import verdict
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.kept import Kept
from lastgood.verify.scan.pickles.pickles import PickleScanner
from lastgood.verify.scan.policy import CodeScanner, FormatScanner
from lastgood.verify.scan.readers.gguf import GgufScanner
from lastgood.verify.scan.readers.onnx import OnnxScanner
from lastgood.verify.scan.readers.safetensors import HeaderError, SafetensorsScanner, tensors
from lastgood.verify.scan.scanner import Context, Scanner
from lastgood.verify.scan.values import (
    Drift,
    Finding,
    Kind,
    Policy,
    ScanLimits,
    ScanResult,
    Skipped,
    anomaly,
    finding,
)
from lastgood.verify.scan.weights import numbers
from lastgood.verify.scan.weights.drift import Place as Compared
from lastgood.verify.scan.weights.drift import compare
from lastgood.verify.scan.weights.weights import ValuesScanner

SCANNERS: Final[Sequence[Scanner]] = (
    FormatScanner(),
    CodeScanner(),
    ClaimScanner(),
    SafetensorsScanner(),
    PickleScanner(),
    ConfigScanner(),
    GgufScanner(),
    OnnxScanner(),
    ValuesScanner(),  # the only one that reads all of a large file
)
_DEFAULT_POLICY: Final = Policy()
_DEFAULT_LIMITS: Final = ScanLimits()
_PER_FILE: Final = 50
_MAX_SKIPPED: Final = 200
_MAX_OPEN: Final = 256  # files with tensors, held open while they are compared


def scan(
    root: Path,
    relative: str = ".",
    *,
    policy: Policy = _DEFAULT_POLICY,
    baseline: Path | None = None,
    limits: ScanLimits = _DEFAULT_LIMITS,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
    scanners: Sequence[Scanner] = SCANNERS,
) -> ScanResult:
    """Scan a path below a root. Whatever is on the disk, the answer is a ScanResult; nothing is ever loaded.

    Args:
        root: a directory (or a file) that the caller vouches for; links in its own path are followed.
        relative: the path below it; `.` is the root itself.
        policy: what may be there.
        baseline: an older checkpoint of the same model, to compare weights with.
        limits: what to put up with.
        progress: gets the bytes read so far.
        cancelled: is asked between two reads; the verdict is then Unreadable, unless something was found before.
        scanners: what to look with.

    Raises:
        ValueError: if `relative` is malformed.
    """
    path = require_relative(relative)
    started = time.monotonic()
    work = _Scan(Context(policy=policy, limits=limits), Meter(progress, cancelled), scanners)
    work.run(root, path, baseline)
    return work.result(time.monotonic() - started, printable(path or str(root)))


@dataclass(kw_only=True)
class _Opened:
    """A checkpoint: an open directory with its files, or one open file."""

    base: int
    files: Mapping[str, Stamp | None]

    def open(self, path: str) -> int:
        """Open one of its files."""
        return open_below(self.base, path) if path else os.dup(self.base)


@dataclass
class _Scan:
    context: Context
    meter: Meter
    scanners: Sequence[Scanner]
    kept: Kept = field(init=False)
    skipped: list[Skipped] = field(default_factory=list)
    unlisted: int = 0
    scanned: int = 0
    size: int = 0
    unreadable: str = ""
    drift: Drift | None = None
    formats: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.kept = Kept(most=self.context.limits.findings, each=_PER_FILE)

    def run(self, root: Path, path: str, baseline: Path | None) -> None:
        """Look at everything; what cannot be read is noted, and the rest is looked at all the same."""
        try:
            with opened(open_path(root)) as base, opened(open_below(base, path) if path else os.dup(base)) as top:
                self._checkpoint(top, path or root.name)
                if baseline is not None:
                    self._compare(top, baseline)
        except RefusedEntryError as error:
            for sentence in error.findings:
                self._keep(finding(Severity.HIGH, "refused-entry", ".", sentence))
        except UnreadableError as error:
            self._unreadable(".", error)
        for found in self.context.code.findings(self.context.policy.code):
            self._keep(found)

    def _checkpoint(self, top: int, name: str) -> None:
        checkpoint, tree = _listed(top, self.context, self.meter)
        for path, stamp in checkpoint.files.items():
            self._file(checkpoint, path, stamp, path or name.rpartition("/")[2])
        if tree is not None:
            require_unchanged(tree, walk(top, self.context.limits.tree, self.meter))
        if not checkpoint.files:
            self._keep(finding(Severity.HIGH, "nothing-to-scan", ".", "the directory has no files"))

    def _file(self, checkpoint: _Opened, path: str, stamp: Stamp | None, shown: str) -> None:
        try:
            with (
                opened(checkpoint.open(path)) as descriptor,
                reading(printable(shown)),
                _steady(descriptor, stamp, shown),
            ):
                size = os.fstat(descriptor).st_size
                self._parts(_part(descriptor, size, shown, self))
            self.scanned, self.size = self.scanned + 1, self.size + size
        except StoppedError:
            raise
        except RefusedEntryError as error:
            self._keep(finding(Severity.HIGH, "refused-entry", shown, str(error)))
        except UnreadableError as error:
            self._unreadable(shown, error)

    def _parts(self, part: Part) -> None:
        """Look at a file and all that is inside it."""
        pending: list[Iterator[Part | Finding]] = [iter([part])]
        seen = 0
        while pending:
            self.meter.check()
            item = next(pending[-1], None)
            if item is None:
                pending.pop()
            elif isinstance(item, Finding):
                self._keep(item, part.name)
            elif seen >= self.context.limits.parts:
                message = f"it holds more than {seen} parts; the others are not looked at"
                self._keep(finding(Severity.HIGH, "archive-limits", part.name, message))
                return
            else:
                seen += 1
                if not item.depth:
                    self.formats.add(str(item.format))
                pending += [archives.expand(item, self.context), self._look(item)]

    def _look(self, part: Part) -> Iterator[Finding]:
        for scanner in self.scanners:
            if scanner.applies(part):
                yield from scanner.run(part, self.context)

    def _keep(self, found: Finding, file: str = "") -> None:
        if found.rule.startswith("not-checked"):
            self._skip(Skipped(file=found.file, reason=found.message))
        self.kept.add(found, file)

    def _skip(self, row: Skipped) -> None:
        if len(self.skipped) < _MAX_SKIPPED:
            self.skipped.append(row)
        else:
            self.unlisted += 1

    def _unreadable(self, file: str, error: UnreadableError) -> None:
        self.unreadable = self.unreadable or str(error)
        self._skip(Skipped(file=printable(file), reason=f"unreadable: {error}"))

    def _compare(self, top: int, baseline: Path) -> None:
        try:
            with ExitStack() as files, opened(open_path(baseline)) as base:
                old, new = (self._tensors(files, descriptor) for descriptor in (base, top))
                self.drift, found = compare(old, new)
        except numbers.NumpyMissingError as error:
            found = [anomaly(Severity.HIGH, "not-checked-drift", ".", f"drift not checked: {error}")]
        except RefusedEntryError as error:
            found = [anomaly(Severity.HIGH, "not-checked-drift", ".", f"drift not checked: the baseline: {error}")]
        if self.drift is None and not found:
            message = "drift not checked: the checkpoint and the baseline have no tensor in common"
            found = [anomaly(Severity.HIGH, "not-checked-drift", ".", message)]
        for item in found:
            self._keep(item)

    def _tensors(self, files: ExitStack, top: int) -> dict[str, Compared]:
        """Return the tensors of all safetensors files of a checkpoint, with the files open."""
        checkpoint, _ = _listed(top, self.context, self.meter)
        found: dict[str, Compared] = {}
        paths = sorted(path for path in checkpoint.files if path.endswith(".safetensors") or not path)
        if len(paths) > _MAX_OPEN:
            message = f"drift not checked: {len(paths) - _MAX_OPEN} files of weights beyond the first {_MAX_OPEN}"
            self._keep(anomaly(Severity.HIGH, "not-checked-drift", ".", message))
        for path in paths[:_MAX_OPEN]:
            descriptor = files.enter_context(opened(checkpoint.open(path)))
            with reading(printable(path)):
                part = _part(descriptor, os.fstat(descriptor).st_size, path or ".", self)
            if part.format is Format.SAFETENSORS:
                try:
                    found.update({tensor.name: (part, tensor) for tensor in tensors(part)})
                except HeaderError:
                    continue  # told of where the file itself was looked at; the baseline's is missing tensors then
        return found

    def result(self, seconds: float, shown: str) -> ScanResult:
        """Return the outcome."""
        findings = self.kept.findings
        word = verdict(tuple(self.kept.kinds.values()), unreadable=bool(self.unreadable))
        return ScanResult(
            verdict=word,
            findings=findings,
            left_out=self.kept.left_out,
            scanned=self.scanned,
            size_bytes=self.size,
            skipped=tuple(self.skipped),
            unlisted=self.unlisted,
            complete=not self.unreadable,
            drift=self.drift,
            seconds=seconds,
            message=self._message(shown, findings),
            formats=tuple(sorted(self.formats - {Format.EMPTY})),
            code=self.context.code.digest,
        )

    def _message(self, shown: str, findings: Sequence[Finding]) -> str:
        count = sum(found.kind is Kind.FINDING for found in findings)
        others = len(findings) - count
        told = _counted(count, "finding", "findings"), _counted(others, "anomaly", "anomalies")
        text = f"{shown}: {' and '.join(told)} in {_counted(self.scanned, 'file', 'files')}"
        if self.kept.left_out:
            text += f", and {self.kept.left_out} more, none more severe"
        return f"{text}; could not be read: {self.unreadable}"[:1024] if self.unreadable else text


@contextmanager
def _steady(descriptor: int, stamp: Stamp | None, shown: str) -> Iterator[None]:
    """Make sure that a file is the one that was listed, and stays so."""
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode) or (stamp and Stamp.of(before) != stamp):
        raise UnreadableError(f"{printable(shown)} changed between listing and reading")
    yield
    if identity(os.fstat(descriptor)) != identity(before):
        raise UnreadableError(f"{printable(shown)} changed while it was read")


def _part(descriptor: int, size: int, name: str, work: _Scan) -> Part:
    place = Place(descriptor=descriptor, start=0, stored=size, size=size)
    return Part(name=name, place=place, meter=work.meter, keep=work.context.limits.inflated)


def _listed(top: int, context: Context, meter: Meter) -> tuple[_Opened, Tree | None]:
    with reading("the checkpoint"):
        status = os.fstat(top)
    if not stat.S_ISDIR(status.st_mode):
        return _Opened(base=top, files={"": None}), None
    tree = walk(top, context.limits.tree, meter)
    return _Opened(base=top, files=dict(sorted(tree.files.items()))), tree


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
