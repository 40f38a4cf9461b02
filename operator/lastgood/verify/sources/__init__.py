"""Checkpoints that are elsewhere: in an S3-compatible store, an OCI registry, behind a URL, or on a disk.

Synchronous, for any thread; memory is bounded whatever the size. `verify_source` asks the same question as
`verify.verify` and gives the same Result; `fetch` copies atomically; `first_good` goes through mirrors.
"""

from lastgood.verify.sources.building import Access, RemoteSource, source_from_uri, source_of
from lastgood.verify.sources.credentials import Credentials, credentials_of
from lastgood.verify.sources.disk.fetching import DirectorySink, fetch
from lastgood.verify.sources.disk.local import LocalSource
from lastgood.verify.sources.disk.room import Room, Share
from lastgood.verify.sources.engine import verify_source
from lastgood.verify.sources.errors import CredentialsError, UnsupportedError
from lastgood.verify.sources.http import HttpSource
from lastgood.verify.sources.mirrors import Choice, PassedOver, first_good, first_of
from lastgood.verify.sources.oci.oci import OciSource
from lastgood.verify.sources.s3.s3 import S3Source
from lastgood.verify.sources.values import Allow, Check, Chunk, Entry, Sink, Source
from lastgood.verify.sources.wire import Patience

__all__ = [
    "Access",
    "Allow",
    "Check",
    "Choice",
    "Chunk",
    "Credentials",
    "CredentialsError",
    "DirectorySink",
    "Entry",
    "HttpSource",
    "LocalSource",
    "OciSource",
    "PassedOver",
    "Patience",
    "RemoteSource",
    "Room",
    "S3Source",
    "Share",
    "Sink",
    "Source",
    "UnsupportedError",
    "credentials_of",
    "fetch",
    "first_good",
    "first_of",
    "source_from_uri",
    "source_of",
    "verify_source",
]
