"""A metrics endpoint that a test can make answer whatever it likes, as well or as badly."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.world import eventually


class Metrics:
    """What the endpoint answers by its path, and how often it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: dict[str, int] = {}
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.turns: dict[str, tuple[tuple[int, bytes], ...]] = {}
        self.gate = threading.Event()
        """While it is not set, paths below /slow do not answer."""

    def url(self, path: str = "metrics.json") -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def says(self, value: Any, path: str = "metrics.json") -> None:
        """Answer with a JSON value from now on."""
        self.raw(json.dumps(value).encode(), path)

    def raw(self, body: bytes, path: str = "metrics.json", *, status: int = 200, **headers: str) -> None:
        """Answer with these bytes from now on."""
        self.answers[path] = (status, body, headers)
        self.turns.pop(path, None)

    def alternates(self, *answers: tuple[int, bytes], path: str = "metrics.json") -> None:
        """Answer with these statuses and bytes in turn from now on."""
        self.turns[path] = answers

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Return what is answered to the look that was counted last."""
        if turns := self.turns.get(path):
            return (*turns[self.asked[path] % len(turns)], {})
        return self.answers.get(path, (404, b"", {}))

    def looked(self, times: int, path: str = "metrics.json", *, within: float = 40.0) -> None:
        """Wait until it was asked so many times more: what was said before has been heard."""
        until = self.asked.get(path, 0) + times
        eventually(lambda: self.asked.get(path, 0) >= until, what=f"{path} is asked {times} times", within=within)


@contextmanager
def metrics() -> Iterator[Metrics]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name is of http.server
            path = self.path.strip("/")
            found.asked[path] = found.asked.get(path, 0) + 1
            if path.startswith("slow"):
                found.gate.wait(timeout=30)
            status, body, headers = found.answer(path)
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                pass  # whoever asked has heard enough

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is of http.server
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Metrics(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
