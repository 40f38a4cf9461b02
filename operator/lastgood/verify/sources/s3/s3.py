"""The objects below a prefix of a bucket, in any store that speaks S3."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from lastgood.verify.errors import RefusedEntryError, UnreadableError
from lastgood.verify.reading.printable import printable
from lastgood.verify.reading.tree import require_count
from lastgood.verify.sources.credentials import Credentials
from lastgood.verify.sources.disk.paths import take_all, take_path
from lastgood.verify.sources.s3.listing import Object, Page, parse_page
from lastgood.verify.sources.s3.sigv4 import encoded, query, signed_headers
from lastgood.verify.sources.urls import Origin, Url
from lastgood.verify.sources.values import Check, Chunk, Entry, exactly, go_on, listed
from lastgood.verify.sources.wire import Answer, Web
from lastgood.verify.values import Limits

_MAX_PAGE: Final = 16 * 2**20  # 1,000 keys of 1,024 bytes, each byte encoded as three, with their sizes and ETags


@dataclass(frozen=True, kw_only=True)
class S3Source:
    """A checkpoint in a bucket: the object that is named `prefix`, or all objects below `prefix/`.

    Attributes:
        endpoint: of the store; requests go to `endpoint/bucket/key` (path style).
        prefix: without slashes around it; empty for the whole bucket.
        credentials: None for a bucket that everybody may read.
    """

    endpoint: Origin
    bucket: str
    prefix: str = ""
    region: str = "us-east-1"
    web: Web = field(repr=False)
    credentials: Credentials | None = None

    def describe(self) -> str:
        """Return bucket, prefix and store."""
        return printable(f"s3://{self.bucket}/{self.prefix} at {self.endpoint}")

    def entries(self, limits: Limits, *, check: Check = go_on) -> tuple[Entry, ...]:
        """List all pages; an object whose key cannot be a path is refused."""
        exact = self._exact(check)
        below = self._below(limits, check)
        if exact is not None and below:
            raise RefusedEntryError(f"{self.describe()} is an object and has objects below it")
        if exact is None and not below:
            raise UnreadableError(f"{self.describe()} has no objects")
        return take_all([exact] if exact is not None else below, limits)

    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        """Yield an object, if it still is the version that was listed."""
        key = "/".join(part for part in (self.prefix, entry.path) if part)
        url = self._url("/" + encoded(key, safe="/"))
        shown = printable(entry.path or self.describe())
        with self.web.get(url, headers=partial(self._headers, url, entry.version), check=check) as answer:
            answer.require_ok()
            if not _same(answer, entry):
                raise UnreadableError(f"{shown} changed between listing and reading")
            yield from exactly(answer.chunks(), entry.size, shown)

    def files(self, limits: Limits, *, check: Check = go_on) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        """Yield each object, and list again at the end: what came or went meanwhile is no part of this."""
        before = self.entries(limits, check=check)
        yield from listed(self, before, check)
        changed = set(before) ^ set(self.entries(limits, check=check))
        if changed:
            shown = printable(min(entry.path for entry in changed)) or self.describe()
            raise UnreadableError(f"{shown} changed while the checkpoint was read")

    def _exact(self, check: Check) -> Entry | None:
        """Return the object whose key is the prefix itself: the first of all keys that begin with it."""
        if not self.prefix:
            return None
        for item in self._page({"prefix": self.prefix, "max-keys": "1"}, check).objects:
            if item.key == self.prefix:
                return Entry(path="", size=item.size, version=item.etag)
        return None

    def _below(self, limits: Limits, check: Check) -> list[Entry]:
        prefix = f"{self.prefix}/" if self.prefix else ""
        found = []
        for item in self._objects(prefix, limits, check):
            if not item.key.startswith(prefix):
                raise RefusedEntryError(f"the object {printable(item.key)} is not below {printable(prefix)}")
            if item.key.endswith("/") and not item.size:
                continue  # how consoles keep an empty directory; those do not count
            path = take_path(item.key.removeprefix(prefix), "the object")
            found.append(Entry(path=path, size=item.size, version=item.etag))
        return found

    def _objects(self, prefix: str, limits: Limits, check: Check) -> Iterable[Object]:
        token, count = "", 0
        while True:
            values = {"prefix": prefix, **({"continuation-token": token} if token else {})}
            page = self._page(values, check)
            count += len(page.objects)
            require_count(count, limits)
            yield from page.objects
            if not page.next:
                return
            if page.next == token:
                raise UnreadableError("the listing of the bucket goes in circles")
            token = page.next

    def _page(self, values: Mapping[str, str], check: Check) -> Page:
        url = self._url("", {"list-type": "2", "encoding-type": "url", **values})
        with self.web.get(url, headers=partial(self._headers, url), check=check) as answer:
            answer.require_ok()
            return parse_page(answer.body(_MAX_PAGE))

    def _url(self, path: str, values: Mapping[str, str] | None = None) -> Url:
        return Url(origin=self.endpoint, path=f"/{encoded(self.bucket)}{path}", query=query(values or {}))

    def _headers(self, url: Url, version: str = "") -> Mapping[str, str]:
        headers = {"If-Match": version} if version else {}
        if self.credentials is None:
            return headers
        self.credentials.require(url.origin)
        if not self.credentials.access_key_id:
            return headers
        now = datetime.now(UTC)
        return signed_headers(url, self.credentials, region=self.region, now=now, extra=headers)


def _same(answer: Answer, entry: Entry) -> bool:
    tag = answer.headers.get("etag", "")
    return answer.size() == entry.size and (not entry.version or tag == entry.version)
