"""A checkpoint to store everywhere, and what its digest is."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Any

from lastgood.signals.addresses import AddressPolicy
from lastgood.verify import FileEntry, manifest_digest
from lastgood.verify.sources import Access, Credentials, Patience
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.s3 import S3Server

FILES = {
    "config.json": b'{"model_type": "digits"}',
    "a b/\u00fc+%41 &.bin": bytes(range(256)) * 700,
    "shards/1/model.safetensors": b"weights" * 50_000,
}
ALLOW = AddressPolicy(allow_loopback=True).check
PATIENT = Patience(connect=20, stall=120)  # a machine may be busy, and its processes paused


def entries(files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """Return the manifest of files."""
    return tuple(
        FileEntry(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for path, content in sorted(files.items())
    )


KNOWN = entries(FILES)
DIGEST = manifest_digest(KNOWN)


def sha256_of(content: bytes) -> str:
    """Return the digest of one file."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def access(*credentials: Credentials, patience: Patience = PATIENT, strict: bool = True) -> Access:
    """Return the access of somebody on this machine."""
    return Access(allow=ALLOW, credentials=credentials, patience=patience, strict=strict)


def s3_keys(endpoint: str, **other: str) -> Credentials:
    """Return the right credentials for a store, but for what is said otherwise."""
    return Credentials(
        **{"host": endpoint, "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, **other}  # type: ignore[arg-type]  # allow_http is not among them
    )


def s3_fields(server: S3Server, prefix: str) -> dict[str, Any]:
    """Return `spec.source` for a prefix."""
    return {"s3": {"bucket": "models", "prefix": prefix, "endpoint": server.endpoint}}


def raw(path: str, kind: str = "application/vnd.cncf.model.weight.v1.raw") -> dict[str, Any]:
    """Return the descriptor's fields of a file in a ModelPack artifact."""
    return {"mediaType": kind, "annotations": {"org.cncf.model.filepath": path}}


def titled(path: str) -> dict[str, Any]:
    """Return the descriptor's fields of a file that `oras push` stored."""
    return {"mediaType": "application/octet-stream", "annotations": {"org.opencontainers.image.title": path}}


def tar_of(files: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w:") -> bytes:
    """Return a tar of files, or of headers as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # the mode is a parameter
        for path, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            header = tarfile.TarInfo(path)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()
