"""A server as a process: on a free port, waited for, and ended by its pid whatever happens."""

from __future__ import annotations

import random
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.cluster.process import spawn, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

LOOPBACK = "127.0.0.1"
_SECONDS = 60.0  # a machine may be busy
_PORTS = range(12_000, 19_000)  # below those of the clusters, and of outgoing connections


@contextmanager
def served(
    argv: Callable[[int], Sequence[str]],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    host: str = LOOPBACK,
) -> Iterator[int]:
    """Yield the port of a server that answers at an address; the kernel kills it if we die first."""
    port = free_port(host)
    process = spawn(argv(port), log, environment)
    try:
        _wait((host, port), lambda: process.poll() is None, log)
        yield port
    finally:
        process.kill()
        process.wait()


def free_port(host: str = LOOPBACK) -> int:
    """Return a port of an address that nothing listens at now."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError("there is no free port")


def _wait(address: tuple[str, int], alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and alive():
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the server did not start:\n{tail(log)}")
