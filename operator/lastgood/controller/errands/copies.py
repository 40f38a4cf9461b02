"""The copies of a snapshot, each looked at where it is: in the store, on a claim by a Job, or behind a network."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import OciSource, PvcSource, S3Source, Source, StoreSource, UrlSource
from lastgood.errors import LastgoodError, TransientError
from lastgood.kube.api.client import Client
from lastgood.kube.jobs.claims import inspect_on_claim
from lastgood.kube.shared import material
from lastgood.settings import Settings
from lastgood.signals.addresses import AddressPolicy
from lastgood.signals.errors import RefusedAddressError
from lastgood.verify import sources
from lastgood.verify.inspection import How, Inspection, Question, inspect, inspect_source, unreadable

logger = logging.getLogger(__name__)

_LARGE = 64 * 2**20
"""A larger checkpoint is read in a process of its own: starting one takes longer than reading a smaller one."""

RemoteCopy = S3Source | OciSource | UrlSource
Threads = Callable[[Callable[[], Inspection]], Any]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Looks at one copy; `threads` runs what blocks."""

    client: Client
    settings: Settings
    threads: Threads

    async def inspect(
        self, snapshot: ModelSnapshot, name: str, source: Source, question: Question, how: How
    ) -> Inspection:
        """Look at a copy; whatever is wrong with getting at it is Unreadable.

        Raises:
            TransientError: the API server could not be reached: try again.
        """
        try:
            return await self._inspect(snapshot, name, source, question, how)
        except (material.MaterialError, ValueError) as error:
            return Inspection(result=unreadable(question.digest, str(error)))
        except TransientError:
            raise
        except Exception as error:  # one copy that breaks the reader must not hide the next one, which may be good
            logger.exception("%s: %s", snapshot.name, name)
            return Inspection(result=unreadable(question.digest, f"{type(error).__name__} while reading {name}"))

    async def _inspect(
        self, snapshot: ModelSnapshot, name: str, source: Source, question: Question, how: How
    ) -> Inspection:
        match source:
            case StoreSource(path=path):
                root, near = self._store(), replace(how, isolated=snapshot.status.size_bytes > _LARGE)
                found: Inspection = await self.threads(lambda: inspect(root, path, question, near))
                return found
            case PvcSource():
                return await inspect_on_claim(
                    self.client,
                    self.settings,
                    snapshot=snapshot,
                    source=source,
                    question=question,
                    nonce=secrets.token_hex(16),
                )
            case S3Source() | OciSource() | UrlSource():
                remote = await remote_copy(self.client, self.settings, snapshot, f"spec.{name}", source)
                looked: Inspection = await self.threads(lambda: inspect_source(remote, question, how))
                return looked

    def _store(self) -> Path:
        if self.settings.store is None:
            raise material.MaterialError(
                "spec.source.store: the operator has no store; set --store (chart: store.kind)"
            )
        return self.settings.store


async def remote_copy(
    client: Client, settings: Settings, snapshot: ModelSnapshot, field: str, source: RemoteCopy
) -> sources.Source:
    """Return what reads a remote copy, with the credentials that it names.

    Raises:
        MaterialError: its Secret cannot be had.
        ValueError: it cannot be read with these fields.
        TransientError: the API server could not be reached: try again.
    """
    given: tuple[sources.Credentials, ...] = ()
    kind, fields = described(source)
    if source.secret:
        where = f"{field}.{kind}"
        given = (await material.credentials(client, snapshot.meta.namespace, source.secret, where),)
    policy = AddressPolicy(allow_loopback=settings.allow_loopback)
    access = sources.Access(allow=guard(policy), credentials=given, strict=True)
    return sources.source_of({kind: fields}, access, field)


def guard(policy: AddressPolicy) -> sources.Allow:
    """Return what a source asks before it calls an address: one that is never called is not reachable."""

    def allow(address: str) -> None:
        try:
            policy.check(address)
        except RefusedAddressError as error:
            raise PermissionError(str(error)) from error

    return allow


def described(source: RemoteCopy) -> tuple[str, dict[str, str]]:
    """Return the kind of a remote source, and its fields as a manifest has them."""
    match source:
        case S3Source():
            fields = {"bucket": source.bucket, "prefix": source.prefix, "endpoint": source.endpoint}
            return "s3", {**fields, "region": source.region}
        case OciSource():
            return "oci", {"reference": source.reference}
        case UrlSource():
            return "http", {"url": source.url}


def cannot(error: LastgoodError, digest: str) -> Inspection:
    """Return what is known when a look could not even be tried."""
    return Inspection(result=unreadable(digest, str(error)))
