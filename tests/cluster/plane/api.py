"""The few calls to the API server that starting a cluster needs, with nothing but the standard library."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 5


class Api:
    """A client with an administrator's certificate."""

    def __init__(self, url: str, keys: Path) -> None:
        """Remember the URL and read the certificates."""
        self._url = url
        context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
        context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
        # No proxy: the cluster is on this machine, whatever the environment says.
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def ready(self) -> bool:
        """Tell whether the API server answers "ok"."""
        try:
            self._call("GET", "/readyz", None)
        except OSError:
            return False
        return True

    def get(self, path: str) -> dict[str, Any] | None:
        """Return an object, or None if it is not there (yet)."""
        try:
            found: dict[str, Any] = json.loads(self._call("GET", path, None))
        except OSError:
            return None
        return found

    def create(self, path: str, body: dict[str, Any]) -> None:
        """Create an object."""
        self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(f"{self._url}{path}", data=body, method=method, headers=headers)  # noqa: S310  # our own https URL
        with self._opener.open(request, timeout=TIMEOUT) as answer:
            content: bytes = answer.read()
        return content
