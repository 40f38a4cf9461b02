"""All that is asked of one snapshot in one look: are its bytes right, who signed them, and what do scanners say?

The bytes come first: a signature or a finding is about a digest, and nothing is said of bytes that are not right.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Final

from lastgood.api.facts.evidence import LOOKED, Finding, Scan
from lastgood.api.facts.signature import Examined, SignatureFact, SignatureProblem
from lastgood.api.names import Digest, Reason
from lastgood.verify.check import verify
from lastgood.verify.errors import RefusedEntryError, UnreadableError
from lastgood.verify.reading.meter import Cancelled, Pace, Progress
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import open_below, open_path, opened, reading
from lastgood.verify.scan import Policy, ScanResult, ScanVerdict, scan
from lastgood.verify.signing import (
    MAX_BUNDLE,
    Certificate,
    PublicKey,
    SignatureError,
    SignatureFile,
    examine_all,
)
from lastgood.verify.sources import Room, Share, Source, fetch, verify_source
from lastgood.verify.values import FileEntry, Limits, Result, Verdict, require_digest

_CHUNK: Final = 2**20
_DEFAULT: Final = Limits()


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One signature bundle to look at.

    Attributes:
        name: how problems call it, such as `spec.signatures[0]`.
        data: its bytes, where somebody has read them already.
        path: else where it is, below the checkpoint.
        problem: why it could not be read, where that was tried.
    """

    name: str
    data: bytes | None = None
    path: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a snapshot.

    Attributes:
        digest: what its bytes should be.
        at: the time at which certificates must be valid.
        bundles, keys, roots: what to look at, and whose signatures to look for.
        anchors: what names those keys and roots (`core.trust.anchors_digest`).
        scan: what scanners put up with; None asks for no scan.
        blake3: of these very bytes, from an earlier Inspection of this process: then one quick reading will do.
        earlier: what that Inspection said; it holds as long as the bytes are the same.
    """

    digest: str
    at: datetime
    bundles: tuple[Bundle, ...] = ()
    keys: tuple[PublicKey, ...] = ()
    roots: tuple[Certificate, ...] = ()
    anchors: str = ""
    scan: Policy | None = None
    blake3: str = ""
    earlier: "Inspection | None" = None

    def __post_init__(self) -> None:
        """Refuse a malformed digest.

        Raises:
            ValueError: naming the field.
        """
        require_digest(self.digest)

    @property
    def signed_with(self) -> str:
        """Return what an examination depends on besides the bytes: the bundles and the anchors."""
        parts = [self.anchors, *(f"{item.name} {item.path} {_hash(item.data)} {item.problem}" for item in self.bundles)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What one look found; `examined` is None where no bundle or no anchor was at hand, `scan` where none was asked."""

    result: Result
    examined: Examined | None = None
    scan: Scan | None = None
    signed_with: str = ""


@dataclass(frozen=True, kw_only=True)
class How:
    """How to read: with which limits, how fast, and who is told.

    Attributes:
        isolated: read in a process of its own: a file that shrinks or a disk that stalls cannot take us down with it.
        scratch: where what is elsewhere may be put while it is looked at; None is the system's temporary directory.
        room: how much all of that may take together; None for no bound.
    """

    limits: Limits = _DEFAULT
    progress: Progress | None = None
    cancelled: Cancelled | None = None
    budget: Pace | None = None
    isolated: bool = False
    scratch: Path | None = None
    room: Room | None = None


_PLAIN: Final = How()


def inspect(root: Path, relative: str, question: Question, how: How = _PLAIN) -> Inspection:
    """Look at a checkpoint below a directory that the caller vouches for.

    Raises:
        ValueError: if `relative` is malformed.
    """
    result = verify(
        root,
        relative,
        question.digest,
        limits=how.limits,
        progress=how.progress,
        cancelled=how.cancelled,
        blake3=quick(question),
        budget=how.budget,
        isolated=how.isolated,
    )
    return _judged(root, relative, question, how, result)


def inspect_source(source: Source, question: Question, how: How = _PLAIN) -> Inspection:
    """Look at a checkpoint that is elsewhere, as a stream; it is copied only to look into its files."""
    if not _looks_inside(question):
        result = verify_source(
            source,
            question.digest,
            limits=how.limits,
            progress=how.progress,
            cancelled=how.cancelled,
            budget=how.budget,
        )
        if result.verdict is not Verdict.VERIFIED:
            return Inspection(result=result)
        examined = _examined_before(question) or _examined(question, result, {})
        scanned = scanned_before(question)
        return Inspection(result=result, examined=examined, scan=scanned, signed_with=question.signed_with)
    with _share(how) as share, tempfile.TemporaryDirectory(prefix="lastgood-", dir=how.scratch) as folder:
        copy = Path(folder) / "checkpoint"
        fetched = fetch(
            source,
            question.digest,
            copy,
            limits=how.limits,
            progress=how.progress,
            cancelled=how.cancelled,
            share=share,
            budget=how.budget,
        )
        if fetched.verdict is not Verdict.VERIFIED:
            return Inspection(result=fetched)
        return _judged(copy, ".", question, how, fetched)


def _share(how: How) -> AbstractContextManager[Share | None]:
    return how.room.share() if how.room else nullcontext()


def _judged(root: Path, relative: str, question: Question, how: How, result: Result) -> Inspection:
    if result.verdict is not Verdict.VERIFIED:
        return Inspection(result=result)
    scanned = scanned_before(question)
    if scanned is None and question.scan is not None:
        scanned = _scanned(root, relative, question, question.scan, how)
        # What was scanned is what was verified: it must still be there afterwards.
        again = verify(
            root,
            relative,
            question.digest,
            limits=how.limits,
            cancelled=how.cancelled,
            blake3=result.blake3 or None,
            budget=how.budget,
        )
        if again.verdict is not Verdict.VERIFIED:
            return Inspection(result=again)
    examined = _examined_before(question)
    if examined is None:
        own = _inside(root, relative, question.bundles, result.files)
        examined = _examined(question, result, own)
    return Inspection(result=result, examined=examined, scan=scanned, signed_with=question.signed_with)


def _looks_inside(question: Question) -> bool:
    """Tell whether files are needed, and not only what they hash to."""
    inside = any(bundle.path for bundle in question.bundles) and bool(question.anchors)
    unscanned = question.scan is not None and scanned_before(question) is None
    return unscanned or (inside and _examined_before(question) is None)


def _examined_before(question: Question) -> Examined | None:
    """Return what an earlier look proved of these bytes, with the same bundles and the same keys and roots."""
    earlier = question.earlier
    if earlier is None or (earlier.signed_with, earlier.result.expected) != (question.signed_with, question.digest):
        return None
    return earlier.examined


def scanned_before(question: Question) -> Scan | None:
    """Return an earlier scan of these bytes, if the scanners could look: else they try again."""
    scanned = question.earlier.scan if question.earlier else None
    return scanned if scanned and scanned.digest == question.digest and scanned.verdict in LOOKED else None


def quick(question: Question) -> str | None:
    """Return the BLAKE3 for a quick reading, unless files must be listed for bundles that nobody looked at yet."""
    earlier = question.earlier
    asked = bool(question.bundles and question.anchors)
    if not question.blake3 or (asked and (earlier is None or earlier.signed_with != question.signed_with)):
        return None
    return question.blake3


@dataclass(frozen=True, kw_only=True)
class _Inside:
    """A bundle inside the checkpoint, as it was verified."""

    data: bytes = b""
    problem: str = ""


def _inside(root: Path, relative: str, bundles: Sequence[Bundle], files: Sequence[FileEntry]) -> dict[str, _Inside]:
    listed = {file.path: file for file in files}
    return {bundle.path: _read(root, relative, bundle.path, listed) for bundle in bundles if bundle.path}


def _read(root: Path, relative: str, path: str, files: Mapping[str, FileEntry]) -> _Inside:
    """Read a bundle of a checkpoint; it counts only if it is the file that was hashed."""
    entry = files.get(path)
    if entry is None:
        return _Inside(problem=f"{printable(path)} is not in the checkpoint")
    if entry.size > MAX_BUNDLE:
        return _Inside(problem=f"{printable(path)} has {entry.size} bytes, above the limit of {MAX_BUNDLE}")
    try:
        data = _bytes_of(root, relative, path, entry.size)
    except (UnreadableError, RefusedEntryError) as error:
        return _Inside(problem=str(error))
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        return _Inside(problem=f"{printable(path)} changed after it was hashed")
    return _Inside(data=data)


def _bytes_of(root: Path, relative: str, path: str, size: int) -> bytes:
    whole = path if relative == "." else f"{relative}/{path}"
    parts: list[bytes] = []
    with opened(open_path(root)) as base, opened(open_below(base, whole)) as file, reading(printable(path)):
        while sum(map(len, parts)) <= size and (part := os.read(file, _CHUNK)):
            parts.append(part)
    return b"".join(parts)


def _examined(question: Question, result: Result, own: Mapping[str, _Inside]) -> Examined | None:
    """Hold every bundle against the files; what cannot be held against anything is a problem with a name."""
    if result.verdict is not Verdict.VERIFIED or not question.bundles or not question.anchors:
        return None
    files = result.files or (
        FileEntry(path=".", size=result.size_bytes, sha256=question.digest.removeprefix("sha256:")),
    )
    named = {index: _named(bundle, own) for index, bundle in enumerate(question.bundles)}
    readable = {index: item for index, item in named.items() if isinstance(item, SignatureFile)}
    proven = examine_all(readable, files, keys=question.keys, roots=question.roots, at=question.at)
    problems = {index: item for index, item in named.items() if isinstance(item, SignatureProblem)}
    told = [
        item.as_problem(question.bundles[index].name) if isinstance(item, SignatureError) else item
        for index, item in sorted({**proven, **problems}.items(), key=itemgetter(0))
    ]
    return Examined(
        time=question.at,
        digest=Digest(question.digest),
        anchors=question.anchors,
        facts=_facts([item for item in told if not isinstance(item, SignatureProblem)]),
        problems=tuple(item for item in told if isinstance(item, SignatureProblem)),
    )


def _named(bundle: Bundle, own: Mapping[str, _Inside]) -> SignatureFile | SignatureProblem:
    """Return the bytes of a bundle, or why there are none."""
    inside = own.get(bundle.path) if bundle.path else None
    problem = bundle.problem or (inside.problem if inside else "")
    data = inside.data if inside else bundle.data
    if problem or data is None:
        told = problem or "it could not be read"
        return SignatureProblem(source=bundle.name, reason=Reason.SIGNATURE_MISSING, message=told)
    return SignatureFile(data=data, path=bundle.path)


def _facts(proven: Sequence[tuple[SignatureFact, ...]]) -> tuple[SignatureFact, ...]:
    """Return one fact of every bundle before the second of any: roots without end must not crowd a signer out."""
    return tuple(fact for row in zip_longest(*proven) for fact in row if fact is not None)


def _scanned(root: Path, relative: str, question: Question, policy: Policy, how: How) -> Scan:
    found = scan(root, relative, policy=policy, progress=how.progress, cancelled=how.cancelled)
    return scan_of(found, Digest(question.digest), question.at)


def scan_of(found: ScanResult, digest: Digest, at: datetime) -> Scan:
    """Return a scan as a status has it."""
    findings = tuple(
        Finding(severity=item.severity, rule=item.rule, file=item.file, evidence=item.evidence or item.message)
        for item in found.findings
    )
    # Where something could not be read, it is asked again, whatever was found besides.
    word = str(found.verdict if found.complete else ScanVerdict.UNREADABLE)
    return Scan(
        time=at,
        digest=digest,
        verdict=word,
        formats=found.formats,
        findings=findings,
        left_out=found.left_out,
        code=found.code,
    )


def _hash(data: bytes | None) -> str:
    return hashlib.sha256(data).hexdigest() if data is not None else ""


def none_good(passed: Sequence[tuple[str, Result]]) -> Result:
    """Return what is said where no copy is good: Unreadable if one could not be read, for it may be good tomorrow."""
    results = [result for _, result in passed]
    if len(results) == 1:
        return results[0]
    unclear = next((result for result in results if result.verdict is Verdict.UNREADABLE), None)
    told = "; ".join(f"{name}: {result.verdict}: {result.message}" for name, result in passed)
    return replace(unclear or results[0], message=f"none of {len(passed)} copies is good: {told}"[:1024])


def unreadable(digest: str, message: str) -> Result:
    """Return the result that says that nothing is known."""
    return Result(
        verdict=Verdict.UNREADABLE,
        expected=digest,
        actual=None,
        size_bytes=0,
        file_count=0,
        seconds=0.0,
        findings=(),
        message=message[:1024],
    )
