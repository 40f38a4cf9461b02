"""Credentials that know the only place they may be sent to."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lastgood.verify.sources.errors import CredentialsError
from lastgood.verify.sources.urls import Origin, parse_origin

_MAX_VALUE: Final = 64 * 1024
_MAX_AUTHORITIES: Final = 1024 * 1024
_TOKEN = re.compile(r"[!-~]*")
_PASSWORD = re.compile(r"[^\x00-\x1f\x7f]*")
KEYS: Final[Mapping[str, str]] = {  # the keys of a Secret, and the fields they fill
    "host": "host",
    "username": "username",
    "password": "password",
    "token": "token",
    "accessKeyId": "access_key_id",
    "secretAccessKey": "secret_access_key",
    "sessionToken": "session_token",
    "tokenHost": "token_host",
    "allowHttp": "allow_http",
    "ca.crt": "authorities",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A secret, and the one host that may get it; it is in no repr, error, log or status.

    Attributes:
        host: `https://host[:port]`, or `host[:port]` for https: scheme, host and port must all be the source's.
        username, password: HTTP Basic, and how a registry's token is asked for.
        token: sent as a bearer token.
        access_key_id, secret_access_key, session_token: how requests to an S3 store are signed.
        token_host: a second host, which a registry may name as the one that gives out its tokens.
        allow_http: send them over plain http too, where everybody on the way can read them.
        authorities: certificates (PEM) that may sign the host's certificate, besides the system's.
    """

    host: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    token_host: str = ""
    allow_http: bool = False
    authorities: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not be sent, before anybody tries.

        Raises:
            ValueError: naming the field, and never its value.
        """
        _ = self.origin, self.token_origin
        for name in ("token", "access_key_id", "secret_access_key", "session_token"):
            _require(_TOKEN, name, getattr(self, name))
        _require(_PASSWORD, "username", self.username)
        _require(_PASSWORD, "password", self.password)
        if ":" in self.username:
            raise ValueError("username: must not hold a colon (RFC 7617 section 2)")
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("accessKeyId: must come together with secretAccessKey")
        if len(self.authorities) > _MAX_AUTHORITIES:
            raise ValueError("ca.crt: is longer than 1 MiB")

    @property
    def origin(self) -> Origin:
        """Return the only place they may be sent to."""
        return parse_origin(self.host, "host")

    @property
    def token_origin(self) -> Origin | None:
        """Return the second place, if there is one."""
        return parse_origin(self.token_host, "tokenHost") if self.token_host else None

    def require(self, origin: Origin) -> None:
        """Make sure that they may be sent to a place.

        Raises:
            CredentialsError: if it is another place, or everybody on the way could read them.
        """
        if origin not in {self.origin, self.token_origin}:
            raise CredentialsError(f"the credentials are for {self.origin} and were not sent to {origin}")
        if origin.scheme != "https" and not origin.loopback and not self.allow_http:
            raise CredentialsError(f"the credentials were not sent to {origin}, which is not https")

    def basic(self) -> str:
        """Return the value of an Authorization header (RFC 7617), or nothing."""
        if not self.username and not self.password:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def authorization(self) -> str:
        """Return the value of an Authorization header by what there is: a token, a name and password, or nothing."""
        return f"Bearer {self.token}" if self.token else self.basic()


def credentials_of(data: Mapping[str, str | bytes]) -> Credentials:
    """Return the credentials in a Secret's decoded data, by the keys that `KEYS` lists; others are not looked at.

    Raises:
        ValueError: if the host is missing or a value cannot be used; names the key, and never the value.
    """
    found = {name: _text(key, data[key]) for key, name in KEYS.items() if key in data}
    if not found.get("host"):
        raise ValueError("host: is missing; it names the only host that the credentials may be sent to")
    allow = found.pop("allow_http", "false")
    if allow not in {"true", "false"}:
        raise ValueError("allowHttp: must be true or false")
    return Credentials(**found, allow_http=allow == "true")


def _text(key: str, value: str | bytes) -> str:
    limit = _MAX_AUTHORITIES if key == "ca.crt" else _MAX_VALUE
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise ValueError(f"{key}: must be text") from None
    if len(text) > limit:
        raise ValueError(f"{key}: is longer than {limit} characters")
    return text.strip("\r\n")  # what `echo` and editors add to a file


def _require(pattern: re.Pattern[str], name: str, value: str) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(f"{name}: holds characters that cannot be sent")
