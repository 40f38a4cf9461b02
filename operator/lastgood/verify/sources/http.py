"""One file over HTTP."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from lastgood.verify.errors import UnreadableError
from lastgood.verify.sources.credentials import Credentials
from lastgood.verify.sources.disk.paths import take_all
from lastgood.verify.sources.urls import Url
from lastgood.verify.sources.values import Check, Chunk, Entry, exactly, go_on
from lastgood.verify.sources.wire import Answer, Web
from lastgood.verify.values import Limits


@dataclass(frozen=True, kw_only=True)
class HttpSource:
    """A checkpoint of one file behind a URL. No redirect is followed: it would be another place than the one named."""

    url: Url
    web: Web = field(repr=False)
    credentials: Credentials | None = None

    def describe(self) -> str:
        """Return the URL without its query."""
        return self.url.shown

    def entries(self, limits: Limits, *, check: Check = go_on) -> tuple[Entry, ...]:
        """Ask for the file's size, by a GET whose body is not read: HEAD is often refused where GET is not."""
        with self.web.get(self.url, headers=self._headers, check=check) as answer:
            return take_all([self._entry(answer)], limits)

    def read(self, entry: Entry, *, check: Check = go_on) -> Iterator[Chunk]:
        """Yield the file, if it still is the one that was asked for before."""
        with self.web.get(self.url, headers=partial(self._headers, entry.version), check=check) as answer:
            if self._entry(answer) != entry:
                raise UnreadableError(f"{self.describe()} changed between listing and reading")
            yield from exactly(answer.chunks(), entry.size, self.describe())

    def files(self, limits: Limits, *, check: Check = go_on) -> Iterator[tuple[Entry, Iterator[Chunk]]]:
        """Yield the file, asked for once."""
        with self.web.get(self.url, headers=self._headers, check=check) as answer:
            (entry,) = take_all([self._entry(answer)], limits)
            yield entry, exactly(answer.chunks(), entry.size, self.describe())

    def _entry(self, answer: Answer) -> Entry:
        answer.require_ok()
        tag = answer.headers.get("etag", "")
        return Entry(path="", size=answer.size(), version="" if tag.startswith("W/") else tag)

    def _headers(self, version: str = "") -> Mapping[str, str]:
        headers = {"If-Match": version} if version else {}
        if self.credentials is not None:
            self.credentials.require(self.url.origin)
            if authorization := self.credentials.authorization():
                headers["Authorization"] = authorization
        return headers
