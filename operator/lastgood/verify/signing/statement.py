"""What is signed: an in-toto Statement v1 with the predicate of OpenSSF Model Signing v1.0."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from lastgood.api.facts.signature import Claims
from lastgood.api.fields import Fields, compact, format_time
from lastgood.verify.reading.printable import printable
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.strict import malformed, naming_fields, objects, parse_json, require_text
from lastgood.verify.values import FileEntry

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
CLAIMS: Final = "https://lastgood.dev/claims/v1"
"""The block of ours in the predicate, whose other readers must ignore what they do not know (OMS v1.0)."""

SINGLE_FILE: Final = "."
"""The name that a file has that is a checkpoint by itself."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_VALUES: Final = 1_000_000  # commas and brackets of the text: 250,000 files or so
_VALUES_OF_A_FILE: Final = 8
_MAX_PATH: Final = 4096
_MAX_IGNORED: Final = 1000
_MAX_LABEL: Final = 128
_MAX_IMAGE: Final = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """The files that were signed (path to sha256 in hex), the paths left out, and the claims about them."""

    resources: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    claims: Claims | None = None


def parse_statement(payload: bytes, file_count: int) -> Statement:
    """Read what was signed.

    Args:
        payload: the JSON text in the envelope, whose signature was checked before.
        file_count: how many files the checkpoint has; more values than that can need are not read.

    Raises:
        SignatureError: if it is malformed, inconsistent, or of another version.
    """
    with naming_fields():
        root = parse_json(payload, "statement", max_values=max(_MAX_VALUES, _VALUES_OF_A_FILE * file_count))
        require_text(root, "_type", STATEMENT_TYPE)
        require_text(root, "predicateType", _PREDICATE_TYPE)
        predicate = root.child("predicate")
        ignored = _ignored(predicate)  # first, for resources mean something else in another serialization
        resources = _resources(predicate)
        _require_root_digest(root, resources)
        claims = _claims(predicate) if predicate.has(CLAIMS) else None
        return Statement(resources=resources, ignored=ignored, claims=claims)


def _ignored(predicate: Fields) -> tuple[str, ...]:
    serialization = predicate.child("serialization")
    # Shards, and other hashes, are of no use where a file is compared by the sha256 of all of it.
    require_text(serialization, "method", "files")
    require_text(serialization, "hash_type", "sha256")
    return serialization.texts("ignore_paths", limit=_MAX_IGNORED)


def _resources(predicate: Fields) -> dict[str, str]:
    items = objects(predicate, "resources", limit=_MAX_VALUES)
    if not items:
        raise SignatureError(Problem.NOTHING_SIGNED, f"{predicate.at('resources')}: is empty: no file was signed")
    resources: dict[str, str] = {}
    for item in items:
        name = _path(item, alone=len(items) == 1)
        if name in resources:
            raise malformed(f"{item.at('name')}: {printable(name)} is there twice")
        require_text(item, "algorithm", "sha256")
        resources[name] = _sha256(item, "digest")
    return resources


def _path(item: Fields, *, alone: bool) -> str:
    name = item.text("name", limit=_MAX_PATH, required=True)
    if alone and name == SINGLE_FILE:
        return name
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise malformed(f"{item.at('name')}: {printable(name)} must be relative, without '..', '.' or empty segments")
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        raise malformed(f"{item.at('name')}: {printable(name)} is not valid UTF-8")
    return name


def _sha256(fields: Fields, name: str) -> str:
    text = fields.text(name, required=True)
    if not _SHA256.fullmatch(text):
        raise malformed(f"{fields.at(name)}: must be 64 lower-case hex digits")
    return text


def _require_root_digest(root: Fields, resources: Mapping[str, str]) -> None:
    subjects = objects(root, "subject", limit=_MAX_IGNORED)
    if len(subjects) != 1:
        raise malformed(f"{root.at('subject')}: must hold exactly one subject, and holds {len(subjects)}")
    digest = subjects[0].child("digest")
    if _sha256(digest, "sha256") != _root_digest(resources.values()):
        raise malformed(f"{digest.at('sha256')}: is not the digest of the statement's own resources")


def _root_digest(hashes: Iterable[str]) -> str:
    return hashlib.sha256(b"".join(map(bytes.fromhex, hashes))).hexdigest()


def _claims(predicate: Fields) -> Claims:
    block = predicate.child(CLAIMS)
    return Claims(
        model=block.text("model", limit=_MAX_LABEL, required=True),
        version=block.text("version", limit=_MAX_LABEL, required=True),
        trained_at=block.time("trainedAt"),
        data_cutoff=block.time("dataCutoff"),
        signed_at=block.time("signedAt"),
        image=block.text("image", limit=_MAX_IMAGE),
    )


def write_statement(
    files: Sequence[FileEntry], *, name: str, claims: Claims | None = None, ignored: Sequence[str] = ()
) -> bytes:
    """Return the text to sign; resources are sorted by path (OMS v1.0, "resources")."""
    ordered = sorted(files, key=lambda file: file.path)
    resources = [{"name": file.path, "algorithm": "sha256", "digest": file.sha256} for file in ordered]
    serialization: dict[str, Any] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    if ignored:
        serialization["ignore_paths"] = list(islice(ignored, _MAX_IGNORED))
    predicate: dict[str, Any] = {"serialization": serialization, "resources": resources}
    if claims:
        predicate[CLAIMS] = _claims_body(claims)
    root = _root_digest(file.sha256 for file in ordered)
    body = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": predicate,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _claims_body(claims: Claims) -> dict[str, Any]:
    return compact(
        {
            "model": claims.model,
            "version": claims.version,
            "trainedAt": format_time(claims.trained_at),
            "dataCutoff": format_time(claims.data_cutoff),
            "signedAt": format_time(claims.signed_at),
            "image": claims.image or None,
        }
    )
