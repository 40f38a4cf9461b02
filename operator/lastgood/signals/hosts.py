"""Which hosts a trigger or a check may ask: Services of its own namespace, and what an administrator lists.

Whoever writes a ModelDeployment chooses the URL, and the operator asks with its own network. So a host is read by a
grammar of our own, narrower than any URL library's, and what is not understood is refused. A Service becomes an
absolute name: no search domain of the operator's pod has a say in where it leads.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from yarl import URL

from lastgood.api.names import LookError
from lastgood.signals.addresses import Address, Network
from lastgood.signals.errors import UnusableUrlError
from lastgood.signals.sentences import one_sentence

MOST_HOSTS: Final = 64
LONGEST_NAME: Final = 253
HIGHEST_PORT: Final = 65535
DEFAULT_DOMAIN: Final = "cluster.local"

_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SERVICE: Final = r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?"  # RFC 1035: no number in disguise is one
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LAST_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # `127.1` and the like: an address to some
_URL: Final = re.compile(r"(https?)://([^/?#]*)([/?#].*)?", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?")
_RULE: Final = re.compile(r"(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is asked: `url` names the host without doubt, `host` is what the server and its certificate are told."""

    url: URL
    host: str
    port: int

    @property
    def place(self) -> str:
        """What may be shown of it: a path or a query may hold a secret."""
        return one_sentence(f"{self.host}:{self.port}", 128)

    @property
    def header(self) -> str:
        """Return the `Host` header."""
        return self.host if self.port == _PORTS[self.url.scheme] else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class _HostRule:
    """One entry of the administrator's list: a name, every name below one, or addresses; on one port or on all."""

    name: str = ""
    below: bool = False
    network: Network | None = None
    port: int | None = None

    def admits(self, host: str | Address, port: int) -> bool:
        """Tell whether a host, absolute and without its last dot, is meant."""
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return not isinstance(host, str) and host in self.network
        return isinstance(host, str) and (host.endswith(f".{self.name}") if self.below else host == self.name)


def parse_rule(text: str, domain: str = DEFAULT_DOMAIN) -> _HostRule:
    """Read `HOST`, `*.SUFFIX`, an address or a CIDR range, each but the last with `:PORT` if only one is meant.

    Raises:
        ValueError: it is none of these.
    """
    lowered = text.strip().lower()
    if "/" in lowered:
        return _HostRule(network=_network(lowered))
    match = _RULE.fullmatch(lowered)
    if match is None:
        raise ValueError(_RULE_HELP)
    port = _port(match[3]) if match[3] else None
    address = _address(match[2])
    if address is not None and not match[1]:
        return _HostRule(network=ipaddress.ip_network(address), port=port)
    name = _absolute(match[2].removesuffix("."), domain)
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME or _LAST_NUMERIC.fullmatch(name) or "." not in name:
        raise ValueError(_RULE_HELP)
    return _HostRule(name=name, below=bool(match[1]), port=port)


_RULE_HELP: Final = (
    "must be HOST[:PORT] (a host has a dot), *.SUFFIX[:PORT], ADDRESS[:PORT] (in [] if IPv6), or a range as 10.0.0.0/8"
)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(_RULE_HELP) from None


def _port(text: str) -> int:
    if not 1 <= int(text) <= HIGHEST_PORT:
        raise ValueError("must have a port from 1 to 65535")
    return int(text)


def _address(text: str) -> Address | None:
    """Return an address that is written as usual: nobody reads it otherwise."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return address if (address.version == 6) == text.startswith("[") else None  # noqa: PLR2004 the version of IP


def _absolute(name: str, domain: str) -> str:
    """Return a name of a Service as DNS has it; other names as they are."""
    return f"{name}.{domain}" if name == "svc" or name.endswith(".svc") else name


@dataclass(frozen=True, kw_only=True)
class HostPolicy:
    """What may be asked by a trigger or a check of a namespace.

    Attributes:
        rules: what an administrator lists beside the Services of that namespace.
        domain: the DNS domain of the cluster.
        allow_loopback: this machine may be asked by its usual names: for tests, and an operator outside a cluster.
    """

    rules: tuple[_HostRule, ...] = ()
    domain: str = DEFAULT_DOMAIN
    allow_loopback: bool = False

    def target(self, text: str, namespace: str) -> Target:
        """Return what a URL in a ModelDeployment of that namespace leads to.

        Raises:
            UnusableUrlError: it is no URL that we use, or names a host that is not allowed; what to do about it.
        """
        scheme, host, port = _parts(text)
        bare = host.removesuffix(".")
        address = _address(bare)
        if address is not None:
            absolute = bare
            allowed = (self.allow_loopback and address.is_loopback) or self._listed(address, port)
        else:
            absolute, allowed = self._named(bare, namespace, port)
        if not allowed:
            raise UnusableUrlError(self._refusal(bare, port, namespace), LookError.HOST_NOT_ALLOWED)
        return Target(url=_rebuilt(text, scheme, absolute, port), host=bare, port=port)

    def is_service(self, host: str) -> bool:
        """Tell whether an absolute name is that of a Service of this cluster."""
        return host.removesuffix(".").endswith(f".svc.{self.domain}")

    def _named(self, host: str, namespace: str, port: int) -> tuple[str, bool]:
        """Return the absolute name of a host, and whether it may be asked."""
        if host == "localhost":
            return host, self.allow_loopback
        if service := self._own(host, namespace):
            return f"{service}.{namespace}.svc.{self.domain}.", True
        name = _absolute(host, self.domain)
        fits = _NAME.fullmatch(name) and len(name) <= LONGEST_NAME and not _LAST_NUMERIC.fullmatch(name)
        return f"{name}.", bool(fits) and self._listed(name, port)

    def _own(self, host: str, namespace: str) -> str:
        """Return the name of a Service of the namespace, where the host is written as one."""
        if not namespace:
            return ""
        rest = rf"(?:\.{re.escape(namespace)}(?:\.svc(?:\.{re.escape(self.domain)})?)?)?"
        match = re.fullmatch(rf"({_SERVICE}){rest}", host)
        return match[1] if match else ""

    def _listed(self, host: str | Address, port: int) -> bool:
        return any(rule.admits(host, port) for rule in self.rules)

    def _refusal(self, host: str, port: int, namespace: str) -> str:
        shown = one_sentence(host, 80)
        own = f"NAME, NAME.{namespace} or NAME.{namespace}.svc" if namespace else "NAME"
        return (
            f"host {shown} is not called: it is not a Service of this namespace ({own}); an administrator can allow it "
            f"with --trigger-host {shown}:{port} (chart: triggers.hosts)"
        )


def parse_rules(texts: Iterable[str], domain: str = DEFAULT_DOMAIN) -> tuple[_HostRule, ...]:
    """Read the administrator's list.

    Raises:
        ValueError: too many, or one that is none; it is named.
    """
    given = list(texts)
    if len(given) > MOST_HOSTS:
        raise ValueError(f"must name at most {MOST_HOSTS} hosts")
    return tuple(_rule(text, domain) for text in given)


def _rule(text: str, domain: str) -> _HostRule:
    try:
        return parse_rule(text, domain)
    except ValueError as error:
        raise ValueError(f"{one_sentence(text, 80)!r} {error}") from None


def _parts(text: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL, by a grammar that leaves nothing to interpretation."""
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise _unusable("the URL has invalid characters")
    match = _URL.fullmatch(text)
    if match is None or not match[2]:
        raise _unusable("the URL is not an http or https URL with a host")
    if "@" in match[2]:
        raise _unusable("the URL has a user or a password in it, which is not supported")
    authority = _AUTHORITY.fullmatch(match[2])
    port = int(authority[2]) if authority and authority[2] else _PORTS[match[1]]
    if authority is None or not 1 <= port <= HIGHEST_PORT:
        raise _unusable("the URL has an invalid host or port")
    return match[1], authority[1].lower(), port


def _unusable(sentence: str) -> UnusableUrlError:
    return UnusableUrlError(sentence, LookError.INVALID_URL)


def _rebuilt(text: str, scheme: str, host: str, port: int) -> URL:
    """Return the URL with that very host; the path and the query stay as they are."""
    match = _URL.fullmatch(text)
    rest = match[3] or "/" if match else "/"
    try:
        url = URL(f"{scheme}://{host}:{port}{rest if rest[0] == '/' else '/' + rest}")
        usable = (url.raw_host or "") == host.strip("[]") or _address(host) is not None
    except ValueError:
        usable = False
    if not usable:
        raise _unusable("the URL cannot be read")
    return url
