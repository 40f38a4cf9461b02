"""One GET at a time, to an address that was checked: no redirect, proxy, cookie or .netrc has a say in it.

httpcore is the engine below httpx, and has none of the conveniences that a client must not have here. Its
network backend is the hook: a name is resolved, all its addresses are checked, and the connection goes to one
of these very addresses, so that a name server cannot answer differently the second time (DNS rebinding).
"""

import logging
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import httpcore

from lastgood.verify.errors import UnreadableError
from lastgood.verify.reading.printable import printable
from lastgood.verify.sources.errors import UnsupportedError
from lastgood.verify.sources.urls import Url
from lastgood.verify.sources.values import Allow, Check, go_on

_SLICE: Final = 1.0  # seconds; how long a wait goes on before somebody may stop it
_PAUSES: Final = (0.5, 2.0)  # seconds before the second and the third attempt
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_OK: Final = 200
_REDIRECTS: Final = range(300, 400)
_HEADERS: Final = {
    "User-Agent": f"lastgood/{version('lastgood')}",
    "Accept-Encoding": "identity",  # and nothing else is unpacked: a small body cannot grow
}
_WORDS: Final = {
    401: "refused the credentials, or requires some (401)",
    403: "denied access (403)",
    404: "was not found (404)",
    412: "changed while it was read (412)",
    429: "is rate limited (429)",
}
_check: ContextVar[Check] = ContextVar("_check", default=go_on)  # of the request that this thread waits for

# At DEBUG it writes response headers, and with them the address and signature that a redirect carries.
logging.getLogger("httpcore").setLevel(logging.INFO)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a silent server is waited for, in seconds.

    Attributes:
        connect: until a connection stands; for each address of a name.
        stall: between two pieces of an answer.
    """

    connect: float = 10.0
    stall: float = 30.0


class Answer:
    """The head of an answer, and its body as a stream."""

    def __init__(self, response: httpcore.Response, shown: str, check: Check) -> None:
        self._response = response
        self._shown = shown
        self._check = check
        self.status = response.status
        self.headers = {name.lower().decode("latin-1"): text.decode("latin-1") for name, text in response.headers}

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            UnreadableError: if it stalls, breaks, or ends before its Content-Length.
        """
        with _told(self._shown):
            stream = self._response.iter_stream()
            while True:
                _check.set(self._check)
                chunk = next(stream, None)
                if chunk is None:
                    return
                yield chunk

    def body(self, limit: int) -> bytes:
        """Return the whole of a small body.

        Raises:
            UnreadableError: if it is larger than the limit, or as for `chunks`.
        """
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise UnreadableError(f"{self._shown} answered with more than {limit} bytes")
        return bytes(body)

    def size(self) -> int:
        """Return the Content-Length.

        Raises:
            UnreadableError: if there is none: then nobody can tell a whole body from a part of one.
        """
        text = self.headers.get("content-length", "")
        if not text.isascii() or not text.isdecimal() or len(text) > 19:  # noqa: PLR2004 - the digits of 2**63
            raise UnreadableError(f"{self._shown} does not say how long the file is (Content-Length)")
        return int(text)

    def require_ok(self) -> None:
        """Make sure that this is the file, as it is.

        Raises:
            UnreadableError: one sentence with the status; nothing of what the server wrote.
        """
        if self.status in _REDIRECTS:
            raise UnsupportedError(f"{self._shown} redirects to another place ({self.status}), which is not followed")
        if self.status != _OK:
            words = _WORDS.get(self.status, f"answered with status {self.status}")
            raise UnreadableError(f"{self._shown} {words}")
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            told = f"answered with Content-Encoding {printable(encoding, 60)}, which is not supported"
            raise UnsupportedError(f"{self._shown} {told}")


class Web:
    """A client for one source; it keeps connections between requests."""

    def __init__(self, *, allow: Allow, patience: Patience | None = None, authorities: str = "") -> None:
        """Make a client; it opens nothing before its first request.

        Args:
            allow: gets every address before it is called, in numbers, and raises an OSError to refuse it.
            patience: how long to wait.
            authorities: certificates (PEM) to trust besides the system's.

        Raises:
            ValueError: if the certificates cannot be read.
        """
        self._patience = patience or Patience()
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(authorities),
            network_backend=_Backend(allow),
            max_keepalive_connections=2,
            keepalive_expiry=15,
        )
        weakref.finalize(self, self._pool.close)  # connections end with the source, without anybody closing it

    @contextmanager
    def get(self, url: Url, *, headers: Callable[[], Mapping[str, str]], check: Check) -> Iterator[Answer]:
        """Send a GET, again after a pause if the server is busy or out of reach, and yield its answer.

        Args:
            url: where to.
            headers: makes the headers anew for each attempt, because a signature carries the time.
            check: is called while it waits.

        Raises:
            UnreadableError: if there is no answer at all.
        """
        response = self._response(url, headers, check)
        try:
            yield Answer(response, url.shown, check)
        finally:
            response.close()

    def _response(self, url: Url, headers: Callable[[], Mapping[str, str]], check: Check) -> httpcore.Response:
        for pause in _PAUSES:
            try:
                response = self._once(url, headers(), check)
            except _UnreachableError:
                pass
            else:
                if response.status not in _AGAIN:
                    return response
                response.close()
            _sleep(pause, check)
        return self._once(url, headers(), check)

    def _once(self, url: Url, headers: Mapping[str, str], check: Check) -> httpcore.Response:
        _check.set(check)
        with _told(url.shown):
            return self._pool.handle_request(self._request(url, {"Host": url.origin.netloc, **_HEADERS, **headers}))

    def _request(self, url: Url, headers: Mapping[str, str]) -> httpcore.Request:
        origin, patience = url.origin, self._patience
        timeout = {"connect": patience.connect, "read": patience.stall, "write": patience.stall, "pool": patience.stall}
        return httpcore.Request(
            "GET",
            httpcore.URL(
                scheme=origin.scheme.encode(),
                host=origin.host.strip("[]").encode(),
                port=origin.port,
                target=url.target.encode(),
            ),
            headers=[(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
            extensions={"timeout": timeout},
        )


class _UnreachableError(UnreadableError):
    """There was no connection, so a second attempt harms nobody."""


@contextmanager
def _told(shown: str) -> Iterator[None]:
    """Turn what httpcore raises into a sentence; nothing that was sent is in it."""
    try:
        yield
    except httpcore.LocalProtocolError:
        # Its text shows the header that it refused, which may be the secret one.
        raise UnreadableError(f"{shown}: the request could not be sent") from None
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        raise _UnreachableError(f"{shown} cannot be reached: {_said(error)}") from None
    except httpcore.TimeoutException:
        raise UnreadableError(f"{shown} stopped sending data") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError) as error:
        raise UnreadableError(f"the connection to {shown} broke: {_said(error)}") from None


def _said(error: Exception) -> str:
    return printable(str(error) or type(error).__name__)


def _sleep(seconds: float, check: Check) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, _SLICE))


def _tls(authorities: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities:
        try:
            context.load_verify_locations(cadata=authorities)
        except (ssl.SSLError, ValueError):
            raise ValueError("ca.crt: must be certificates in PEM form") from None
    return context


class _Backend(httpcore.NetworkBackend):
    def __init__(self, allow: Allow) -> None:
        self._allow = allow
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to one of a name's addresses, all of which may be called."""
        failed: Exception = httpcore.ConnectError("the name has no address")
        for address in self._addresses(host, port):
            _check.get()()
            try:
                # The certificate is checked against the name all the same: httpcore has it from the URL.
                stream = self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Stream(stream)
        raise failed

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("its name has no address") from None
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        for address in addresses:  # all before the first is called: a name that mixes them is no mistake
            self._require(host, address)
        return addresses

    def _require(self, host: str, address: str) -> None:
        try:
            self._allow(address)
        except OSError as error:
            raise UnsupportedError(f"{printable(host)} is not called: {_said(error)}") from None


class _Stream(httpcore.NetworkStream):
    """A connection whose waits are short ones, with a look in between whether to go on."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what there is."""
        end = time.monotonic() + (timeout or _SLICE)
        while True:
            _check.get()()
            try:
                return self._inner.read(max_bytes, _SLICE)
            except httpcore.ReadTimeout:
                if time.monotonic() >= end:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it: a request's head, which fits the kernel's buffer."""
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Close it."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return it with TLS, for the name in the URL."""
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> object:
        """Return what the kernel says about it."""
        return self._inner.get_extra_info(info)
