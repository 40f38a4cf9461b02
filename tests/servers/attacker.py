"""A server that somebody else runs: it says what a test tells it to, and remembers what it was told."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.servers.process import LOOPBACK

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

ANOTHER_HOST = "127.0.0.2"


class Request(BaseHTTPRequestHandler):
    """One request, and the means to answer it."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Write it down, and let the test answer."""
        self.server.seen.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
        self.server.answer(self)

    def say(
        self, status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None, *, length: int = -1
    ) -> None:
        """Answer; a length that is not the body's is a lie."""
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = length >= 0

    def log_message(self, *_: object) -> None:
        """Be quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that went away."""

    answer: Callable[[Request], None]
    seen: list[tuple[str, dict[str, str]]]


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """A server that runs, and all that it was sent."""

    url: str
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def attacker(
    answer: Callable[[Request], None], host: str = LOOPBACK, *, tls: ssl.SSLContext | None = None
) -> Iterator[Attacker]:
    """Run a server until the end of the context."""
    server = _Server((host, 0), Request)
    server.answer, server.seen = answer, []
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Attacker(url=f"http{'s' if tls else ''}://{host}:{server.server_port}", seen=server.seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
