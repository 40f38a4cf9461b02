"""The values of verification: what was read, within which limits, and the verdict."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

MAX_FINDINGS: Final = 20
MAX_JSON_INTEGER: Final = 2**53 - 1  # RFC 8785 section 3.2.2.3: a larger size has no canonical form
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Verdict(StrEnum):
    """What a verification found; cannot-read and tampered never mix."""

    VERIFIED = "Verified"
    MISMATCH = "DigestMismatch"
    UNREADABLE = "Unreadable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a reader puts up with; more than that is unreadable, and not a mismatch.

    Attributes:
        max_files: entries of a directory and everything below it, directories counted too.
        max_bytes: the sizes of all files together, known before the first byte is read; None for no limit.
        max_depth: directories below the checkpoint's own.
        max_name_bytes: what all paths (and texts of links) together may take in memory.
        max_seconds: for all of it; None for no limit.
        max_stall_seconds: without a byte or a name read; None for no limit. Kept only by a reading in a process of its
            own (`isolated`): a thread that waits in the kernel cannot be stopped. Let it be 10 or more.
    """

    max_files: int = 100_000
    max_bytes: int | None = None
    max_depth: int = 32
    max_seconds: float | None = None
    max_stall_seconds: float | None = None
    max_name_bytes: int = 16 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """One file of a checkpoint: its path below the checkpoint, its size in bytes, and its sha256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a path holds, read once.

    Attributes:
        digest: `sha256:` and 64 hex digits.
        files: the manifest; empty where the path is a file itself.
        blake3: `blake3:` and 64 hex digits, of the same bytes as the digest; empty where it was not asked for.
    """

    digest: str
    size_bytes: int
    file_count: int
    files: tuple[FileEntry, ...] = field(default=(), repr=False)
    blake3: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The outcome of one verification.

    Attributes:
        actual: the digest found, or None where none was computed: unreadable, or refused for what is there. After a
            fast re-verification, the digest that the BLAKE3 was recorded with.
        seconds: how long it took.
        findings: at most 20 sentences, printable and bounded, on what is wrong with the bytes.
        message: one sentence with both digests.
        files: the manifest that was found, for the next call's `known`; not computed by a fast re-verification,
            which gives back the manifest that it was given.
        blake3: for the next call's `blake3`, to be kept with `expected`; only a Verified result has one.
    """

    verdict: Verdict
    expected: str
    actual: str | None
    size_bytes: int
    file_count: int
    seconds: float
    findings: tuple[str, ...]
    message: str
    files: tuple[FileEntry, ...] = field(default=(), repr=False)
    blake3: str = ""


def require_digest(text: str) -> str:
    """Return a digest as it is.

    Raises:
        ValueError: if it is not `sha256:` and 64 lower-case hex digits.
    """
    if not _DIGEST.fullmatch(text):
        raise ValueError("digest: must be sha256: and 64 lower-case hex digits, as `lastgood digest PATH` prints it")
    return text
