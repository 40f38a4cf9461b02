"""The model server of the demo: one classifier behind plain HTTP, and numbers about how well it does.

    POST /predict        {"pixels": [[...], ...], "labels": [...]} -> {"digits": [...], "version": "2"}
    GET  /healthz        200 while requests are welcome: no model bound yet, or about to stop, is 503
    GET  /metrics.json   accuracy over the last labelled images, the pipeline's claim to compare it with, p99
    GET  /test-accuracy  accuracy on the golden set, measured when the model was loaded

Labels are optional: where a caller knows the truth, the answer is scored. On SIGTERM the server says so in
`/healthz`, goes on answering while the endpoints of its Service catch up, and stops with no request cut off.

Environment: MODEL_PATH, GOLDEN_PATH, METRICS_DOWN (a file that, while it exists, makes both measuring
endpoints answer 503, as when monitoring is down), PORT, DRAIN_SECONDS.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from demo.model import Classifier

WINDOW = 300  # labelled images: about three seconds of the demo's traffic on one of two pods
ENOUGH = 100  # fewer say nothing yet
MOST_BODY_BYTES = 1 << 20

Answer = tuple[HTTPStatus, dict[str, Any]]


class RefusedError(Exception):
    """A request that is not answered, with the status and the sentence that say why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(kw_only=True)
class Scores:
    """What the server knows about its own answers; several threads write it."""

    right: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, right: list[bool], seconds: float) -> None:
        """Count one answered request."""
        with self.lock:
            self.right.extend(right)
            self.seconds.append(seconds)

    def accuracy(self) -> float | None:
        """Return the share of right answers in the window, or None while there are too few to say."""
        with self.lock:
            return sum(self.right) / len(self.right) if len(self.right) >= ENOUGH else None

    def p99_ms(self) -> float | None:
        """Return the 99th percentile of the time that a prediction took."""
        with self.lock:
            ordered = sorted(self.seconds)
        return ordered[int(0.99 * (len(ordered) - 1))] * 1000 if ordered else None


@dataclass(kw_only=True)
class Service:
    """What the endpoints do, free of HTTP."""

    model: Classifier | None
    test_accuracy: float | None = None
    metrics_down: Path | None = None
    scores: Scores = field(default_factory=Scores)
    draining: threading.Event = field(default_factory=threading.Event)

    def get(self, path: str) -> Answer:
        """Answer a GET."""
        match path:
            case "/healthz":
                return self.health()
            case "/metrics.json":
                return HTTPStatus.OK, self.metrics()
            case "/test-accuracy":
                return HTTPStatus.OK, {"accuracy": self.test_accuracy, "version": self.measured().version}
        raise RefusedError(HTTPStatus.NOT_FOUND, "no such page")

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Answer a POST."""
        if path != "/predict":
            raise RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        model = self.bound()
        started = time.perf_counter()
        digits = model.predict(body["pixels"])
        right = [digit == label for digit, label in zip(digits, body.get("labels", []), strict=False)]
        self.scores.add(right, time.perf_counter() - started)
        return HTTPStatus.OK, {"digits": digits, "version": model.version, "pod": socket.gethostname()}

    def health(self) -> Answer:
        """Say whether requests are welcome."""
        if self.draining.is_set():
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "about to stop")
        return HTTPStatus.OK, {"version": self.bound().version}

    def metrics(self) -> dict[str, Any]:
        """Return the numbers that a trigger looks at; too few labelled images yet is null, never a guess."""
        model = self.measured()
        return {
            "version": model.version,
            "current_accuracy": self.scores.accuracy(),
            "baseline_accuracy": model.baseline_accuracy,
            "labelled": len(self.scores.right),
            "p99_ms": self.scores.p99_ms(),
        }

    def bound(self) -> Classifier:
        """Return the model, which a Deployment has only once something has bound one to it."""
        if self.model is None:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "no model is bound yet: MODEL_PATH is not set")
        return self.model

    def measured(self) -> Classifier:
        """Return the model whose numbers are asked for, unless nobody should rely on them now."""
        if self.draining.is_set() or (self.metrics_down is not None and self.metrics_down.exists()):
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "no measurements now")
        return self.bound()


class Answering(Protocol):
    """What answers requests: a service, or whoever stands for several of them."""

    def get(self, path: str) -> Answer:
        """Answer a GET."""

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Answer a POST."""


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.0 on purpose: a connection for each request, so that two pods share the traffic."""

    timeout = 2.0  # seconds without a byte: a caller that vanished must not keep a pod from stopping

    def __init__(self, service: Answering, *args: Any) -> None:  # noqa: ANN401  what the base class hands on
        self.service = service
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer a GET."""
        self.answer(lambda: self.service.get(self.path))

    def do_POST(self) -> None:
        """Answer a POST."""
        self.answer(lambda: self.service.post(self.path, self.body()))

    def answer(self, make: Any) -> None:  # noqa: ANN401  a call without arguments that returns an Answer
        """Send what `make` returns, or the reason why it does not."""
        try:
            status, content = make()
        except RefusedError as refused:
            status, content = refused.status, {"error": str(refused)}
        except (KeyError, TypeError, ValueError) as wrong:
            status, content = HTTPStatus.BAD_REQUEST, {"error": f"not a request of ours: {wrong}"}
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> dict[str, Any]:
        """Return the request's JSON object."""
        length = int(self.headers.get("Content-Length", "0"))
        if length > MOST_BODY_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
        decoded = json.loads(self.rfile.read(length))
        if not isinstance(decoded, dict):
            raise TypeError("the body is not a JSON object")
        return decoded

    def log_message(self, *_: object) -> None:
        """Keep quiet: the client counts every request."""


class Server(ThreadingHTTPServer):
    """A thread for each request, all of them finished before the server is."""

    daemon_threads = False
    request_queue_size = 128


def load_service() -> Service:
    """Make the service that the environment describes."""
    down = os.environ.get("METRICS_DOWN")
    bound = os.environ.get("MODEL_PATH")
    if not bound:
        return Service(model=None)
    model = Classifier.load(Path(bound))
    golden = json.loads(Path(os.environ["GOLDEN_PATH"]).read_text())
    return Service(
        model=model,
        test_accuracy=golden_accuracy(model, golden),
        metrics_down=Path(down) if down else None,
    )


def golden_accuracy(model: Classifier, golden: dict[str, Any]) -> float:
    """Return the share of the golden set that the model names right."""
    digits = model.predict(golden["pixels"])
    right = [digit == label for digit, label in zip(digits, golden["labels"], strict=True)]
    return right.count(True) / len(right)


def main() -> None:
    """Serve until SIGTERM, then drain."""
    service = load_service()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Every address: inside a pod there is no other way to be reached.
    address = ("0.0.0.0", int(os.environ.get("PORT", "8080")))  # noqa: S104  see the line above
    with Server(address, partial(Handler, service)) as server:
        threading.Thread(target=server.serve_forever, name="serve", kwargs={"poll_interval": 0.05}).start()
        print(f"serving {service.model.version if service.model else 'no model yet'}", flush=True)
        stop.wait()
        service.draining.set()
        print("draining", flush=True)
        time.sleep(float(os.environ.get("DRAIN_SECONDS", "3")) if service.model else 0)
        server.shutdown()
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
