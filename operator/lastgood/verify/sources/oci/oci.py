"""The files of an OCI artifact in a registry, by the digest of its manifest.

OCI distribution specification v1.1, "Pulling manifests" and "Pulling blobs".
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from lastgood.verify.errors import NothingToCheckError, RefusedEntryError, UnreadableError
from lastgood.verify.reading.printable import printable
from lastgood.verify.sources.credentials import Credentials
from lastgood.verify.sources.disk.archive import gunzip, members
from lastgood.verify.sources.disk.paths import Listing, take_all
from lastgood.verify.sources.oci.client import Registry
from lastgood.verify.sources.oci.manifest import ACCEPT, MAX_MANIFEST, Form, Layer, parse_manifest
from lastgood.verify.sources.urls import Origin
from lastgood.verify.sources.values import Check, Chunk, Entry, exactly, go_on
from lastgood.verify.values import Limits

_REFERENCE = re.compile(
    r"(?P<registry>[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?)"
    r"/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::[\w][\w.-]{0,127})?@(?P<digest>sha256:[0-9a-f]{64})"
)
_MAX_REFERENCE: Final = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reference:
    """Registry, repository and the digest of a manifest; a tag before the digest is for people."""

    registry: str
    repository: str
    digest: str


def parse_reference(text: str, field_name: str = "reference") -> _Reference:
    """Return the parts of a reference.

    Raises:
        ValueError: if it is none, or names its manifest only by a tag, which anybody may move; names the field.
    """
    match = _REFERENCE.fullmatch(text) if len(text) <= _MAX_REFERENCE else None
    if match is None or "//" in match["repository"]:
        raise ValueError(f"{field_name}: must be registry/repository@sha256:…; a tag alone may be moved")
    return _Reference(registry=match["registry"].lower(), repository=match["repository"], digest=match["digest"])


@dataclass(frozen=True, kw_only=True)
class OciSource:
    """A checkpoint in a registry: one file for each raw layer, and the files in each tar. Always a directory."""

    reference: _Reference
    registry: Registry = field(repr=False)

    @property
    def credentials(self) -> Credentials | None:
        """Return what the registry may be told."""
        return self.registry.credentials

    def describe(self) -> str:
        """Return the reference."""
        origin: Origin = self.registry.origin
        return printable(f"oci://{origin.netloc}/{self.reference.repository}@{self.reference.digest}")

    def entries(self, limits: Limits, *, check: Check = go_on) -> tuple[Entry, ...]:
        """List the files; a tar is read to its end for that."""
        layers = self._layers(limits, check)
        if all(layer.form is Form.RAW for layer in layers):
            return take_all((Entry(path=layer.path, size=layer.size) for layer in layers), limits)
        found = []
        for entry, chunks in self.files(limits, check=check):
            found.append(entry)
            _use_up(chunks)
        return tuple(sorted(found, key=lambda entry: entry.path))

    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        """Yield a file; one in a tar is looked for from the tar's begin, so `files` is the better way."""
        for layer in self._layers(Limits(), check):
            if layer.form is Form.RAW and layer.path != entry.path:
                continue
            for found, chunks in self._open(layer, check):
                if found == entry:
                    yield from chunks
                    return
                _use_up(chunks)
        raise UnreadableError(f"{printable(entry.path)} is not in {self.describe()} as it was listed")

    def files(self, limits: Limits, *, check: Check = go_on) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        """Yield each file of each layer, whose bytes must have the digest that the manifest names."""
        layers = self._layers(limits, check)
        raw = (Entry(path=layer.path, size=layer.size) for layer in layers if layer.form is Form.RAW)
        take_all(raw, limits)  # what can be refused before anything large is read
        listing = Listing(limits)
        empty = True
        for layer in layers:
            for entry, chunks in self._open(layer, check):
                empty = False
                yield listing.add(entry), chunks
        if empty:
            raise NothingToCheckError("the artifact has no files: there is nothing to verify")

    def _layers(self, limits: Limits, check: Check) -> tuple[Layer, ...]:
        digest = self.reference.digest
        with self.registry.get(f"manifests/{digest}", check, accept=ACCEPT) as answer:
            answer.require_ok()
            body = answer.body(MAX_MANIFEST)
        found = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if found != digest:
            raise RefusedEntryError(f"the manifest is {found}, and the reference names {digest}")
        return parse_manifest(body, limits)

    def _open(self, layer: Layer, check: Check) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        blob = self._blob(layer, check)
        if layer.form is Form.RAW:
            yield Entry(path=layer.path, size=layer.size), blob
            return
        try:
            yield from members(_unpacked(layer, blob))
        except RefusedEntryError:
            _use_up(blob)
            raise
        _use_up(blob)

    def _blob(self, layer: Layer, check: Check) -> Iterator[Chunk]:
        shown = printable(layer.path) or f"the layer {layer.digest}"
        with self.registry.get(f"blobs/{layer.digest}", check) as answer:
            answer.require_ok()
            if "content-length" in answer.headers and answer.size() != layer.size:
                raise UnreadableError(f"{shown} has {answer.size()} bytes there, and {layer.size} in the manifest")
            yield from _digested(exactly(answer.chunks(), layer.size, shown), layer.digest, shown)


def _unpacked(layer: Layer, blob: Iterator[Chunk]) -> Iterator[Chunk]:
    try:
        yield from gunzip(blob, layer.size) if layer.form is Form.TAR_GZIP else blob
    except RefusedEntryError:
        _use_up(blob)
        raise


def _use_up(chunks: Iterator[Chunk]) -> None:
    """Read to the end, where the blob's digest is checked: if that is wrong, it is the better finding."""
    for _ in chunks:
        pass


def _digested(chunks: Iterable[Chunk], digest: str, shown: str) -> Iterator[Chunk]:
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    if (found := f"sha256:{hasher.hexdigest()}") != digest:
        raise RefusedEntryError(f"{shown} is {found} in the registry, and the manifest names {digest}")
