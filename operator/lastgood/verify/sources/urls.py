"""URLs, taken apart once: where something is, and to whom a secret may be told."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from lastgood.verify.reading.printable import printable

_PORTS: Final = {"https": 443, "http": 80}
_PRINTS = re.compile(r"[!-\[\]-~]+")  # ASCII without spaces, control characters and the backslash
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_MAX: Final = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Scheme, host and port: RFC 6454. Two places are the same only if all three are equal.

    Attributes:
        host: in lower case; an IPv6 address has its brackets.
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def netloc(self) -> str:
        """Return the host, and the port if it is not the scheme's own: the value of a Host header."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Tell whether it is this machine by its very name (RFC 6761 section 6.3), so nobody can listen on the way."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Url:
    """Where a request goes. The query may hold a secret, so only `shown` is for people."""

    origin: Origin
    path: str
    query: str = ""

    @property
    def target(self) -> str:
        """Return what the request line says."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def shown(self) -> str:
        """Return it without its query, printable and bounded."""
        return printable(f"{self.origin}{self.path}")


def parse_url(text: str, field: str = "url") -> Url:
    """Return a URL's parts.

    Raises:
        ValueError: if it is no plain http or https URL; names the field, and never shows the URL.
    """
    if not _PRINTS.fullmatch(text) or len(text) > _MAX:
        raise ValueError(f"{field}: must be a URL of printable ASCII characters, at most {_MAX}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{field}: cannot be read as a URL") from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"{field}: must begin with https:// (or http://)")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError(f"{field}: must not hold a user, a password or a fragment; put credentials into the Secret")
    host = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(host) or port == 0 or parts.netloc.endswith(":"):
        raise ValueError(f"{field}: must name a host")
    origin = Origin(scheme=parts.scheme, host=host, port=port or _PORTS[parts.scheme])
    return Url(origin=origin, path=parts.path or "/", query=parts.query)


def parse_origin(text: str, field: str) -> Origin:
    """Return the origin that `https://host[:port]`, or `host[:port]` for https, stands for.

    Raises:
        ValueError: if there is more than that, such as a path; names the field.
    """
    url = parse_url(text if "://" in text else f"https://{text}", field)
    if url.target != "/":
        raise ValueError(f"{field}: must be scheme, host and port only, such as https://models.example.com:9000")
    return url.origin
