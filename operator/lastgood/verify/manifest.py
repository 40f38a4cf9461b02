"""The manifest of a checkpoint: its files with their sizes and hashes, and the digest that names it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import rfc8785

from lastgood.api.text import listed
from lastgood.verify.errors import NothingToCheckError, RefusedEntryError
from lastgood.verify.hashing import Hashed
from lastgood.verify.reading.meter import Meter, Progress
from lastgood.verify.reading.parallel import Work, hash_files
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.reading import open_below, open_path, opened
from lastgood.verify.reading.tree import require_unchanged, walk
from lastgood.verify.values import MAX_FINDINGS, FileEntry, Limits

_DEFAULT = Limits()
MANIFEST_START: Final = b'[{"path":"'  # how every manifest begins in RFC 8785 form


def manifest(root: Path, *, limits: Limits = _DEFAULT, progress: Progress | None = None) -> tuple[FileEntry, ...]:
    """Return the files of a directory, sorted by path; see `_read_files` for what is refused."""
    with opened(open_path(root)) as base:
        return _read_files(base, limits, Meter(progress))


def manifest_digest(files: Iterable[FileEntry]) -> str:
    """Return the digest that names a checkpoint: sha256 over the RFC 8785 JSON of its files, sorted by path.

    Paths are sorted by code point, which is the order of their UTF-8 bytes. Empty directories do not count.
    """
    rows: Sequence[Mapping[str, str | int]] = [
        {"path": file.path, "size": file.size, "sha256": file.sha256}
        for file in sorted(files, key=lambda file: file.path)
    ]
    return f"sha256:{hashlib.sha256(rfc8785.dumps(rows)).hexdigest()}"


def refuse_manifest(start: bytes) -> None:
    """Refuse a manifest as a checkpoint of one file: it has the digest of the directory that it describes.

    Raises:
        RefusedEntryError: the file begins as every manifest does.
    """
    if start.startswith(MANIFEST_START):
        raise RefusedEntryError("the file is a manifest, not the directory whose digest it has")


def _read_files(base: int, limits: Limits, meter: Meter, threads: int | None = None) -> tuple[FileEntry, ...]:
    """Return the files below an open directory, sorted by path; see `read_tree` for what it raises."""
    found = read_tree(base, limits, Work(meter=meter, threads=threads))
    return tuple(FileEntry(path=file.path, size=file.size, sha256=file.sha256) for file in found)


def read_tree(base: int, limits: Limits, work: Work) -> list[Hashed]:
    """Return the files below an open directory, sorted by path: listed, hashed in threads, and listed again.

    Raises:
        UnreadableError: if something cannot be read, changed meanwhile, or is beyond the limits.
        RefusedEntryError: if something there is neither a file nor a directory.
        NothingToCheckError: if there is no file.
    """
    before = walk(base, limits, work.meter)
    if not before.files:
        raise NothingToCheckError("the directory has no files: there is nothing to verify")
    files = hash_files(lambda path: open_below(base, path), before.files, work)
    require_unchanged(before, walk(base, limits, work.meter))
    return sorted(files)


def differences(before: Iterable[FileEntry], after: Iterable[FileEntry]) -> tuple[str, ...]:
    """Return a sentence for each file that is changed, renamed, missing or extra; 20 at most."""
    old, new = ({file.path: file for file in files} for files in (before, after))
    gone = {path: old[path] for path in sorted(old.keys() - new.keys())}
    extra = {path: new[path] for path in sorted(new.keys() - old.keys())}
    sentences = [
        f"{printable(path)} is changed (it had {old[path].size} bytes and has {new[path].size})"
        for path in sorted(old.keys() & new.keys())
        if old[path] != new[path]
    ]
    for path, target in _renamed(gone, extra).items():
        sentences.append(f"{printable(path, 120)} is renamed to {printable(target, 120)}")
        del gone[path], extra[target]
    sentences += [f"{printable(path)} is missing" for path in gone]
    sentences += [f"{printable(path)} is extra" for path in extra]
    return listed(sentences, MAX_FINDINGS)


def _renamed(gone: Mapping[str, FileEntry], extra: Mapping[str, FileEntry]) -> dict[str, str]:
    by_hash = {file.sha256: path for path, file in extra.items()}
    pairs = ((path, by_hash.pop(file.sha256, None)) for path, file in gone.items())
    return {path: target for path, target in pairs if target is not None}
