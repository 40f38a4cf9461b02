"""The digests that nobody may serve: one ConfigMap in the operator's namespace, watched on its own.

Its RBAC is the responders'. Keys: `sha256-<hex>` (everywhere), `<namespace>.sha256-<hex>` (one namespace).
"""

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lastgood.api.names import QUARANTINE_CONFIG_MAP
from lastgood.kube.api import redact
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import (
    AlreadyExistsError,
    ApiError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
    quiet,
)
from lastgood.kube.api.resources import CONFIGMAPS
from lastgood.kube.cache import version_of

logger = logging.getLogger(__name__)

KEY: Final = re.compile(r"(?:(?P<namespace>[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\.)?sha256-(?P<hex>[0-9a-f]{64})")
EVERYWHERE: Final = ""
_SELECTOR: Final = f"metadata.name={QUARANTINE_CONFIG_MAP}"
STALE_SECONDS: Final = 150.0  # two silent bookmarks
PAUSES: Final = (0.2, 1.0, 3.0, 10.0)
WARNINGS: Final = 100
_ENTRY_TEXT: Final = 160
PER_NAMESPACE: Final = 256  # of some 2,000 that the object has room for

_Entries = dict[str, dict[str, str]]  # namespace (or EVERYWHERE) -> digest -> why


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One quarantined digest; `scope` is a namespace or EVERYWHERE."""

    scope: str
    digest: str
    why: str


class Quarantine:
    """What the ConfigMap says; until it has been read nothing is known, and nothing may be chosen.

    `on_change` hears which digests are quarantined otherwise than before; None is any of them.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        on_change: Callable[[frozenset[str] | None], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._on_change = on_change
        self._clock = clock
        self._data: Mapping[str, str] = {}  # what was read last, as it is written there
        self._entries: _Entries = {}
        self._version: int | None = None
        self._contact = float("-inf")
        self._warned: set[str] = set()

    @property
    def synced(self) -> bool:
        """Tell whether what we know is what the API server says, as far as a watch can tell."""
        return self._clock() - self._contact < STALE_SECONDS

    def entries(self, namespace: str) -> dict[str, str]:
        """Return the digests (`sha256:<hex>`) that are quarantined in a namespace, and why."""
        return {**self._entries.get(namespace, {}), **self._entries.get(EVERYWHERE, {})}

    def scope(self, namespace: str, digest: str) -> str | None:
        """Return `All`, `Namespace` or None: how far the quarantine of a digest reaches."""
        if digest in self._entries.get(EVERYWHERE, {}):
            return "All"
        return "Namespace" if digest in self._entries.get(namespace, {}) else None

    async def refresh(self) -> None:
        """Read the ConfigMap now: before a digest is written, a watch is not fresh enough."""
        try:
            if await self._is_known():
                self._seen()
                return
            self._learn(await self._client.get(CONFIGMAPS, self._namespace, QUARANTINE_CONFIG_MAP))
        except NotFoundError:
            self._learn(None)

    async def _is_known(self) -> bool:
        """Ask for its version alone, and tell whether that is the one that was read: an emergency waits for this."""
        if not self.synced or self._version is None:
            return False
        found = await self._client.get(CONFIGMAPS, self._namespace, QUARANTINE_CONFIG_MAP, metadata_only=True)
        return version_of(found) == self._version

    async def add(self, namespace: str | None, digest: str, info: Mapping[str, Any]) -> None:
        """Quarantine a digest in one namespace, or everywhere; what is there already stays as it is.

        Raises:
            ForbiddenError: the namespace has as many entries as one may have: they share one object with all others.
        """
        if digest in self._entries.get(namespace or EVERYWHERE, {}):
            return
        if namespace and len(self._entries.get(namespace, {})) >= PER_NAMESPACE:
            told = f"namespace {namespace} already has {PER_NAMESPACE} quarantined digests; release some"
            raise ForbiddenError(status=403, reason="TooMany", message=told)
        data = {key_of(namespace, digest): _entry_text(info)}
        try:
            body = await self._client.patch(CONFIGMAPS, self._namespace, QUARANTINE_CONFIG_MAP, {"data": data})
        except NotFoundError:
            body = await self._create(data)
        self._learn(body)

    async def run(self) -> None:
        """List and watch for ever; errors are repeated with a growing pause."""
        failures = 0
        while True:
            try:
                await self._follow()
                failures = 0
            except ExpiredError:
                failures = 0
            except ApiError as error:
                pause = PAUSES[min(failures, len(PAUSES) - 1)] * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
                failures += 1
                logger.log(quiet(error), "cannot watch the quarantine, retrying in %.1f s: %s", pause, error)
                await asyncio.sleep(pause)

    async def _follow(self) -> None:
        found, version = await self._client.list(CONFIGMAPS, self._namespace, field_selector=_SELECTOR)
        self._learn(found[0] if found else None)
        while True:
            async for event in self._client.watch(
                CONFIGMAPS, self._namespace, field_selector=_SELECTOR, resource_version=version
            ):
                version = event["object"]["metadata"]["resourceVersion"]
                self._see(event)

    def _see(self, event: dict[str, Any]) -> None:
        self._contact = self._clock()
        match event["type"]:
            case "ADDED" | "MODIFIED":
                self._learn(event["object"])
            case "DELETED":
                logger.warning("the quarantine ConfigMap was deleted: it no longer quarantines anything")
                self._learn(None)

    def _learn(self, body: dict[str, Any] | None) -> None:
        before = self._entries
        if self._is_news(body):
            self._take_in({key: str(why) for key, why in ((body or {}).get("data") or {}).items()})
        if not self._seen() and self._entries != before:
            self._on_change(_changed(before, self._entries))

    def _seen(self) -> bool:
        """Note that the API server was heard; wake everybody, and say so, where it had been silent for too long."""
        silent, self._contact = not self.synced, self._clock()
        if silent:
            self._on_change(None)
        return silent

    def _is_news(self, body: dict[str, Any] | None) -> bool:
        """The watch brings what our own write has told us already, and may bring what was before it."""
        known, version = self._version, version_of(body) if body else None
        if known is not None and version is not None and version <= known:
            return False
        self._version = version
        return True

    def _take_in(self, data: Mapping[str, str]) -> None:
        """Read what differs from what was read last: each change brings all the old entries again."""
        changed = {key for key, _ in data.items() ^ self._data.items()}
        entries = {scope: dict(digests) for scope, digests in self._entries.items()}
        for key in changed:
            before, now = _entry(key, self._data.get(key)), _entry(key, data.get(key))
            if before:
                entries[before.scope].pop(before.digest, None)
            if now:
                entries.setdefault(now.scope, {})[now.digest] = now.why
            elif key in data:
                self._warn(key)
        self._data, self._entries = data, {scope: digests for scope, digests in entries.items() if digests}

    def _warn(self, key: str) -> None:
        """Say once for each key that it quarantines nothing; whoever mistyped a digest must find out."""
        if key not in self._warned and len(self._warned) < WARNINGS:
            self._warned.add(key)
            shown = redact.line(key, 120)
            logger.warning("quarantine key %r is ignored: not [<namespace>.]sha256-<64 hex digits>", shown)

    async def _create(self, data: dict[str, str]) -> dict[str, Any]:
        body = {"metadata": {"name": QUARANTINE_CONFIG_MAP}, "data": data}
        try:
            return await self._client.create(CONFIGMAPS, self._namespace, body)
        except AlreadyExistsError as error:
            raise UnavailableError(status=409, reason="AlreadyExists", message=str(error)) from error


def _entry(key: str, why: str | None) -> Entry | None:
    """Return what one key says, or None if it says nothing, or is not there."""
    match = KEY.fullmatch(key)
    if match is None or why is None:
        return None
    digest, reason = f"sha256:{match['hex']}", redact.line(sentence(why)) or "no reason given"
    return Entry(scope=match["namespace"] or EVERYWHERE, digest=digest, why=reason)


def _entry_text(info: Mapping[str, Any]) -> str:
    """Return the value of an entry. All namespaces share one object of 1 MiB: nobody gets much of it for one digest."""
    short = {key: redact.line(str(value), _ENTRY_TEXT) for key, value in info.items() if value}
    return json.dumps(short, sort_keys=True, ensure_ascii=False)


def sentence(value: str) -> str:
    """Return why a digest is quarantined: a person writes a text, we write an object with a reason and an incident."""
    try:
        info = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if not isinstance(info, dict) or not isinstance(info.get("reason"), str):
        return value
    reason, incident = info["reason"], info.get("incident")
    return reason if not isinstance(incident, str) or incident in reason else f"{incident}: {reason}"


def _changed(before: _Entries, after: _Entries) -> frozenset[str]:
    """Return the digests of which two readings say different things."""
    different = [before.get(scope, {}).items() ^ after.get(scope, {}).items() for scope in before.keys() | after.keys()]
    return frozenset(digest for pairs in different for digest, _ in pairs)


def key_of(namespace: str | None, digest: str) -> str:
    """Return the ConfigMap key of a digest, which may hold no colon."""
    key = digest.replace(":", "-", 1)
    return f"{namespace}.{key}" if namespace else key
