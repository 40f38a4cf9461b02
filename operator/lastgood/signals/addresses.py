"""Which addresses are called, whatever name or spelling led to them."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from lastgood.signals.errors import RefusedAddressError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


# Never called. Private ranges are not here: they are where a cluster's metrics live.
_REFUSED: dict[str, tuple[Network, ...]] = {
    # Before link-local, for the better sentence. AWS, Google, Alibaba, Azure, Oracle.
    "a cloud metadata": _networks(
        "169.254.169.254/32",
        "169.254.170.2/32",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
    ),
    "a link-local": _networks("169.254.0.0/16", "fe80::/10"),
    "a multicast": _networks("224.0.0.0/4", "ff00::/8"),
    "an unspecified": _networks("0.0.0.0/8", "::/128"),
    "a broadcast": _networks("255.255.255.255/32"),
    "an ambiguous translated": _networks("64:ff9b:1::/48"),  # NAT64 with a local layout: it cannot be read
}
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")

# IPv6 networks that stand for IPv4 addresses, and how far from the right those 32 bits are.
_EMBEDDING: tuple[tuple[ipaddress.IPv6Network, int], ...] = (
    (ipaddress.IPv6Network("::/96"), 0),  # compatible (RFC 4291 2.5.5.1)
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped (RFC 4291 2.5.5.2)
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # translated (RFC 2765)
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052)
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
    (ipaddress.IPv6Network("2001::/32"), 64),  # Teredo's server (RFC 4380)
)
_TEREDO = ipaddress.IPv6Network("2001::/32")
_IPV4 = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """What may be called.

    Attributes:
        allow_loopback: call this machine itself: for tests, and for an operator that runs outside a cluster.
    """

    allow_loopback: bool = False

    def check(self, text: str) -> None:
        """Refuse an address that is never called.

        Args:
            text: an address in numbers, as a resolver or a socket gives it.

        Raises:
            RefusedAddressError: with what the address is.
        """
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise RefusedAddressError(f"{text!r} is not an IP address") from None
        for meant in _meanings(address):
            self._check_one(meant, text)

    def _check_one(self, address: Address, text: str) -> None:
        for kind, networks in _REFUSED.items():
            if any(address in network for network in networks):
                raise RefusedAddressError(f"{text} is {kind} address, which is never called")
        if not self.allow_loopback and any(address in network for network in _LOOPBACK):
            raise RefusedAddressError(f"{text} is a loopback address, which is not called here")


def _meanings(address: Address) -> Iterator[Address]:
    """Yield the address, and each IPv4 address that it carries inside."""
    yield address
    if isinstance(address, ipaddress.IPv4Address) or address in _LOOPBACK[1]:
        return  # ::1 would be 0.0.0.1 in the compatible form; it is the loopback
    for network, shift in _EMBEDDING:
        if address in network:
            yield ipaddress.IPv4Address(int(address) >> shift & _IPV4)
    if address in _TEREDO:
        yield ipaddress.IPv4Address(int(address) & _IPV4 ^ _IPV4)  # the client, its bits flipped
