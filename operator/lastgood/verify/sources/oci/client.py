"""Asking a registry: tokens, and blobs that lie elsewhere.

OCI distribution specification v1.1; https://distribution.github.io/distribution/spec/auth/token/.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import urljoin

from lastgood.verify.errors import UnreadableError
from lastgood.verify.sources.credentials import Credentials
from lastgood.verify.sources.errors import CredentialsError, UnsupportedError
from lastgood.verify.sources.s3.sigv4 import query
from lastgood.verify.sources.urls import Origin, Url, parse_url
from lastgood.verify.sources.values import Check
from lastgood.verify.sources.wire import Answer, Web

_MAX_TOKEN: Final = 64 * 1024
_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_UNAUTHORIZED: Final = 401
_PARAMETER = re.compile(r'([a-zA-Z]+)="([^"\\]*)"')
_PRINTS = re.compile(r"[!-~]+")


@dataclass(kw_only=True)
class Registry:
    """One repository of a registry, and what it wants to hear before it answers."""

    origin: Origin
    repository: str
    web: Web = field(repr=False)
    credentials: Credentials | None = None
    _authorization: str = field(default="", repr=False, init=False)

    @contextmanager
    def get(self, path: str, check: Check, *, accept: str = "*/*") -> Iterator[Answer]:
        """Yield the answer to a GET below the repository, after a token exchange if it asks for one.

        Redirects are followed to any allowed address, but nothing secret goes along, and from https only to https.

        Raises:
            UnreadableError: if there is no answer.
            CredentialsError: if it wants credentials to be sent to another host than they are for.
        """
        url = Url(origin=self.origin, path=f"/v2/{self.repository}/{path}")
        with ExitStack() as stack:
            answer = stack.enter_context(self._asked(url, accept, check))
            for _ in range(_MAX_REDIRECTS):
                if answer.status not in _REDIRECTS:
                    break
                url = _location(url, answer)
                stack.close()
                answer = stack.enter_context(self.web.get(url, headers=dict, check=check))
            yield answer

    @contextmanager
    def _asked(self, url: Url, accept: str, check: Check) -> Iterator[Answer]:
        headers = partial(self._headers, accept)
        with ExitStack() as stack:
            answer = stack.enter_context(self.web.get(url, headers=headers, check=check))
            if answer.status == _UNAUTHORIZED:
                challenge = answer.headers.get("www-authenticate", "")
                stack.close()
                self._authorization = self._answer_to(challenge, check)
                answer = stack.enter_context(self.web.get(url, headers=headers, check=check))
            yield answer

    def _headers(self, accept: str) -> Mapping[str, str]:
        headers = {"Accept": accept}
        if self.credentials is not None:
            self.credentials.require(self.origin)
        if self._authorization:
            headers["Authorization"] = self._authorization
        return headers

    def _answer_to(self, challenge: str, check: Check) -> str:
        """Return the Authorization header that a registry asked for; empty if there is nothing to answer."""
        scheme, _, rest = challenge.partition(" ")
        if self.credentials is not None and (self.credentials.token or scheme.lower() == "basic"):
            return self.credentials.authorization()
        if scheme.lower() != "bearer":
            return ""
        return f"Bearer {self._token(dict(_PARAMETER.findall(rest)), check)}"

    def _token(self, challenge: Mapping[str, str], check: Check) -> str:
        realm = self._realm(challenge.get("realm", ""))
        values = {"scope": f"repository:{self.repository}:pull"}  # our own word, whatever the challenge asks for
        if "service" in challenge:
            values["service"] = challenge["service"]
        asked = "&".join(filter(None, (realm.query, query(values))))
        url = Url(origin=realm.origin, path=realm.path, query=asked)
        with self.web.get(url, headers=partial(self._basic, realm.origin), check=check) as answer:
            answer.require_ok()
            return _token_in(answer.body(_MAX_TOKEN), url.shown)

    def _basic(self, origin: Origin) -> Mapping[str, str]:
        if self.credentials is None:
            return {}
        self.credentials.require(origin)
        basic = self.credentials.basic()
        return {"Authorization": basic} if basic else {}

    def _realm(self, text: str) -> Url:
        """Return where tokens are given out: only at the registry itself, or where the credentials allow it."""
        try:
            realm = parse_url(text, "realm")
        except ValueError:
            raise UnsupportedError(f"{self.origin} requires a token, but does not say from where") from None
        if realm.origin not in {self.origin, self.credentials.token_origin if self.credentials else None}:
            raise CredentialsError(
                f"{self.origin} requires a token from {realm.origin}; credentials not sent: "
                "if you trust it, name it as tokenHost in the credentials"
            )
        return realm


def _location(url: Url, answer: Answer) -> Url:
    """Return where a redirect leads; its query is a secret of the registry's, so it is never shown."""
    text = answer.headers.get("location", "")
    try:
        target = parse_url(urljoin(f"{url.origin}{url.path}", text), "location")
    except ValueError:
        raise UnsupportedError(f"{url.shown} redirects to what is not a URL") from None
    if url.origin.scheme == "https" and target.origin.scheme != "https":
        raise UnsupportedError(f"{url.shown} redirects from https to http, which is not followed")
    return target


def _token_in(body: bytes, shown: str) -> str:
    try:
        document: Any = json.loads(body)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not _PRINTS.fullmatch(token):
        raise UnreadableError(f"{shown} answered without a token")
    return token
