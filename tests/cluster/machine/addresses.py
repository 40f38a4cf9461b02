"""Chooses ports and networks that nothing else on this machine uses."""

from __future__ import annotations

import json
import random
import socket
import subprocess
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from tests.cluster.errors import ClusterError
from tests.cluster.paths import clusters
from tests.cluster.spec import SPEC, Addresses, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
PORTS = 5
# Below the ports that the kernel hands out to outgoing connections (32768 and up): those may be taken any moment.
RANGE = range(20_000, 32_000, 10)
SECOND_BYTES = range(200, 255)  # networks 10.200.0.0/16 to 10.254.0.0/16
LOCK = ".addresses.lock"


def on_loopback() -> Addresses:
    """Return free ports on the loopback interface. Call it with the lock held until they are recorded."""
    taken = {addresses["api"] for addresses in _recorded()}
    for first in random.sample(RANGE, len(RANGE)):
        if first not in taken and all(_free(first + offset) for offset in range(PORTS)):
            return _loopback(first)
    raise ClusterError("there are no free ports between 20000 and 32000")


def _loopback(first: int) -> Addresses:
    return Addresses(
        server=LOOPBACK,
        bind=LOOPBACK,
        api=first,
        etcd=first + 1,
        etcd_peer=first + 2,
        controller_manager=first + 3,
        scheduler=first + 4,
        gateway=LOOPBACK,
        pods="10.0.0.0/16",
        services="10.96.0.0/16",
    )


def on_own_network() -> Addresses:
    """Return a network that this machine has no route to yet. Call it with the lock held until it is made."""
    routes = list(_routes())
    taken = {addresses["gateway"] for addresses in _recorded()}
    for second in SECOND_BYTES:
        prefix = f"10.{second}"
        network = IPv4Network(f"{prefix}.0.0/16")
        if f"{prefix}.0.1" not in taken and not any(network.overlaps(route) for route in routes):
            return _network(prefix)
    raise ClusterError("all networks from 10.200.0.0/16 to 10.254.0.0/16 are in use here")


def _network(prefix: str) -> Addresses:
    return Addresses(
        server=f"{prefix}.0.2",
        bind="0.0.0.0",  # noqa: S104  # in a network namespace of its own
        api=6443,
        etcd=2379,
        etcd_peer=2380,
        controller_manager=10257,
        scheduler=10259,
        gateway=f"{prefix}.0.1",
        pods=f"{prefix}.1.0/24",
        services=f"{prefix}.2.0/24",
    )


def _recorded() -> Iterator[dict[str, Any]]:
    """Yield the addresses of the other clusters: they may be chosen and not in use yet."""
    for path in clusters().glob(f"*/{SPEC}"):
        if addresses := read_json(path).get("addresses"):
            yield addresses


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _routes() -> Iterator[IPv4Network]:
    output = subprocess.run(["ip", "-json", "-4", "route"], check=True, capture_output=True, text=True).stdout
    for route in json.loads(output or "[]"):
        if route["dst"] != "default":
            yield IPv4Network(route["dst"], strict=False)
