"""An S3 store over a directory: versitygw, the real thing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store

from tests.servers.build import VERSITYGW, built
from tests.servers.process import LOOPBACK, served

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ACCESS_KEY = "tester"
SECRET_KEY = "a-secret-of-this-minute"
REGION = "us-east-1"
BUCKET = "models"


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A store that runs, with one bucket."""

    endpoint: str
    root: Path

    @property
    def bucket(self) -> Path:
        """Return the directory behind the bucket: what a thief with access to the disk would write to."""
        return self.root / BUCKET

    def store(self) -> S3Store:
        """Return a client of somebody else's for uploads."""
        return S3Store(
            BUCKET,
            endpoint=self.endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region=REGION,
            client_options={"allow_http": True, "timeout": "300s"},
        )

    def put(self, prefix: str, files: Mapping[str, bytes]) -> None:
        """Upload files below a prefix."""
        store = self.store()
        for path, content in files.items():
            obstore.put(store, f"{prefix}/{path}", content)

    def delete(self, key: str) -> None:
        """Delete an object."""
        obstore.delete(self.store(), key)


@contextmanager
def s3_server(folder: Path, *, host: str = LOOPBACK) -> Iterator[S3Server]:
    """Run a store over a directory below this one, at an address of this machine."""
    root = folder / "data"
    (root / BUCKET).mkdir(parents=True)
    program = str(built(VERSITYGW))
    keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    with served(
        lambda port: [program, "--port", f"{host}:{port}", "--region", REGION, "posix", str(root)],
        folder / "s3.log",
        keys,
        host=host,
    ) as port:
        yield S3Server(endpoint=f"http://{host}:{port}", root=root)
