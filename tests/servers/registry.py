"""An OCI registry over a directory: distribution, the real thing."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.servers.build import REGISTRY, built
from tests.servers.process import LOOPBACK, served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
USER = "tester"
PASSWORD = "a-password-of-this-minute"
# PASSWORD by bcrypt with its smallest cost: it is checked at each request
_HTPASSWD = "tester:$2b$04$0dxPVYjeD4l2jO9pnchXWe3gj7rhe35QVrUIoD5Xj.LMVwBNMlq3u\n"


@dataclass(frozen=True, kw_only=True)
class RegistryServer:
    """A registry that runs."""

    host: str
    root: Path
    auth: tuple[str, str] | None = None

    def push(self, repository: str, layers: Sequence[tuple[bytes, dict[str, Any]]], **more: Any) -> str:
        """Push blobs and a manifest over them; return the reference. A layer brings its descriptor's other fields."""
        config = b"{}"
        self._blob(repository, config)
        descriptors = []
        for content, fields in layers:
            self._blob(repository, content)
            descriptors.append({"digest": digest_of(content), "size": len(content), **fields})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.cncf.model.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.cncf.model.config.v1+json",
                "digest": digest_of(config),
                "size": len(config),
            },
            "layers": descriptors,
            **more,
        }
        return self.push_manifest(repository, json.dumps(manifest).encode(), str(manifest["mediaType"]))

    def push_manifest(self, repository: str, body: bytes, kind: str = MANIFEST) -> str:
        """Push a manifest as it is; return the reference."""
        digest = digest_of(body)
        with self._client() as client:
            answer = client.put(f"/v2/{repository}/manifests/{digest}", content=body, headers={"Content-Type": kind})
        answer.raise_for_status()
        return f"{self.host}/{repository}@{digest}"

    def blob_file(self, content: bytes) -> Path:
        """Return the file behind a blob: what a thief with access to the disk would write to."""
        return self.blob_file_of(digest_of(content))

    def blob_file_of(self, reference: str) -> Path:
        """Return the file behind a digest, such as the one at the end of a reference."""
        value = reference.rpartition("sha256:")[2]
        return self.root / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data"

    def _blob(self, repository: str, content: bytes) -> None:
        with self._client() as client:
            started = client.post(f"/v2/{repository}/blobs/uploads/")
            started.raise_for_status()
            place = httpx.URL(started.headers["location"]).copy_merge_params({"digest": digest_of(content)})
            answer = client.put(place, content=content, headers={"Content-Type": "application/octet-stream"})
            answer.raise_for_status()

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self.host}", auth=self.auth, timeout=60, trust_env=False)


def digest_of(content: bytes) -> str:
    """Return the sha256 digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@contextmanager
def registry_server(folder: Path, *, private: bool = False, host: str = LOOPBACK) -> Iterator[RegistryServer]:
    """Run a registry over a directory below this one; a private one wants USER and PASSWORD."""
    root, program = folder / "data", str(built(REGISTRY))
    root.mkdir(parents=True)
    users = folder / "htpasswd"
    users.write_text(_HTPASSWD)

    def argv(port: int) -> list[str]:
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_config(root, f"{host}:{port}", users if private else None)))
        return [program, "serve", str(config)]

    with served(argv, folder / "registry.log", {"OTEL_TRACES_EXPORTER": "none"}, host=host) as port:
        auth = (USER, PASSWORD) if private else None
        yield RegistryServer(host=f"{host}:{port}", root=root, auth=auth)


def _config(root: Path, address: str, users: Path | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(root)}, "maintenance": {"uploadpurging": {"enabled": False}}},
        "http": {"addr": address, "secret": "of-this-minute"},
    }
    if users is not None:
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
    return config
