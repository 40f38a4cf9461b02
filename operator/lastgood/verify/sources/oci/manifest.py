"""What an OCI manifest says about a model's files: plain artifacts, and ModelPack.

OCI image specification v1.1, manifest.md and descriptor.md; CNCF ModelPack, docs/spec.md: media types
`application/vnd.cncf.model.<kind>.v1.<form>`, with forms raw, tar, tar+gzip and tar+zstd, and the annotation
`org.cncf.model.filepath`. The names of its earlier life (`cnai`) are read too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from lastgood.api.strictjson import Bounds, JsonError, parse
from lastgood.verify.errors import LimitError, NothingToCheckError, RefusedEntryError
from lastgood.verify.reading.printable import printable
from lastgood.verify.sources.disk.paths import take_path
from lastgood.verify.sources.errors import UnsupportedError
from lastgood.verify.values import MAX_JSON_INTEGER, Limits

MAX_MANIFEST: Final = 4 * 2**20  # what registries accept: OCI distribution specification, "Pushing Manifests"
_BOUNDS: Final = Bounds(size=MAX_MANIFEST, values=MAX_MANIFEST // 8, depth=64)
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEXES: Final = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
ACCEPT: Final = ", ".join((MANIFEST, *sorted(_INDEXES)))  # indexes only to say what they are
_EMPTY: Final = "application/vnd.oci.empty.v1+json"
_MODEL = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.[a-z0-9.]+\.v1\.(?P<form>[a-z0-9+.]+)")
_TITLE: Final = "org.opencontainers.image.title"
_FILE_PATHS: Final = ("org.cncf.model.filepath", "org.cnai.model.filepath")
_UNPACK: Final = "io.deis.oras.content.unpack"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Form(StrEnum):
    """How a layer holds its file or files."""

    RAW = "raw"
    TAR = "tar"
    TAR_GZIP = "tar+gzip"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One blob of a manifest; `path` is empty where a tar names its files itself."""

    digest: str
    size: int
    form: Form
    path: str = ""


def parse_manifest(body: bytes, limits: Limits) -> tuple[Layer, ...]:
    """Return the layers of a manifest whose digest is known to be right.

    Raises:
        UnsupportedError: if it is of a kind that is not read.
        RefusedEntryError: if it is broken, or names a file that no checkpoint may hold.
        LimitError: if it has more layers than the limits allow files.
    """
    document = _document(body)
    _require_kind(document)
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise RefusedEntryError("the manifest has no list of layers")
    if len(layers) > limits.max_files:
        told = f"the manifest has {len(layers)} layers, more than max_files allows, {limits.max_files}"
        raise LimitError(told, limit="max_files")
    found = tuple(_layer(number, value) for number, value in enumerate(layers, start=1) if not _is_empty(value))
    if not found:
        raise NothingToCheckError("the manifest has no layer with a file: there is nothing to verify")
    return found


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = parse(body, _BOUNDS)
    except JsonError as error:
        raise RefusedEntryError(f"the manifest {error.phrase}") from None
    if not isinstance(document, dict):
        raise RefusedEntryError("the manifest is not a JSON object")
    return document


def _require_kind(document: Mapping[str, Any]) -> None:
    kind = document.get("mediaType", MANIFEST)
    if not isinstance(kind, str):
        raise RefusedEntryError("the manifest's mediaType is not a string")
    if kind in _INDEXES or "manifests" in document:
        raise UnsupportedError("the reference names an index; name one of its manifests by that one's digest")
    if kind != MANIFEST:
        raise UnsupportedError(f"the reference names a manifest of the kind {_shown(kind)}, which is not read")
    if document.get("schemaVersion") != 2:  # noqa: PLR2004 - the version that the specification fixes
        raise UnsupportedError("the reference names a manifest whose schemaVersion is not 2")


def _is_empty(value: object) -> bool:
    return isinstance(value, dict) and value.get("mediaType") == _EMPTY


def _layer(number: int, value: object) -> Layer:
    if not isinstance(value, dict):
        raise RefusedEntryError(f"layer {number} of the manifest is not an object")
    digest, size, kind = value.get("digest"), value.get("size"), value.get("mediaType")
    notes = value.get("annotations") or {}
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise UnsupportedError(f"layer {number} of the manifest has no sha256 digest")
    if type(size) is not int or not 0 <= size <= MAX_JSON_INTEGER:
        raise RefusedEntryError(f"layer {number} of the manifest has no size")
    if not isinstance(kind, str) or not isinstance(notes, dict):
        raise RefusedEntryError(
            f"layer {number} of the manifest has no mediaType, or annotations that are not an object"
        )
    form = _form(number, kind, notes)
    path = take_path(_name(number, notes), f"layer {number},") if form is Form.RAW else ""
    return Layer(digest=digest, size=size, form=form, path=path)


def _form(number: int, kind: str, notes: Mapping[str, Any]) -> Form:
    """Return how to read a layer: by its media type for ModelPack, else a file as it is.

    `oras push` packs a directory as tar+gzip, and says so in an annotation of its own.
    """
    if model := _MODEL.fullmatch(kind):
        try:
            return Form(model["form"])
        except ValueError:
            raise UnsupportedError(
                f"layer {number} of the manifest is packed as {_shown(model['form'])}, which is not read; "
                "push it as raw, tar or tar+gzip"
            ) from None
    if notes.get(_UNPACK) == "true":
        return Form.TAR if kind.endswith(".tar") else Form.TAR_GZIP
    return Form.RAW


def _name(number: int, notes: Mapping[str, Any]) -> str:
    for key in (*_FILE_PATHS, _TITLE):
        if isinstance(name := notes.get(key), str):
            return name
    raise RefusedEntryError(f"layer {number} of the manifest names no file ({_FILE_PATHS[0]} or {_TITLE})")


def _shown(text: object) -> str:
    return printable(str(text)[:200], 80)
