"""What went wrong with a request, as a sentence of ours: a library's text may repeat what it read, or say nothing."""

import socket
import ssl
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from lastgood.api.names import LookError
from lastgood.signals.errors import RefusedAddressError, StandInError

_MESH: Final = "a service mesh may require mTLS: add the operator to the mesh, or allow plain text on this port"
_ASKS: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE")

Row = tuple[tuple[type[BaseException], ...], LookError, str]
_ROWS: Final[tuple[Row, ...]] = (
    (
        (StandInError,),
        LookError.HOST_NOT_ALLOWED,
        (
            "is not called: this Service is of type ExternalName; an administrator must allow that host "
            "(--trigger-host, chart: triggers.hosts)"
        ),
    ),
    (
        (ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError),
        LookError.NOT_TRUSTED,
        "has a certificate that is not trusted, or not for this host",
    ),
    ((ssl.SSLError,), LookError.TLS_FAILED, "failed the TLS handshake; is it an http port?"),
    (
        (socket.gaierror, aiohttp.ClientConnectorDNSError),
        LookError.NAME_NOT_FOUND,
        "has no address: the name does not resolve; does the Service exist?",
    ),
    (
        (ConnectionRefusedError,),
        LookError.CONNECTION_REFUSED,
        "cannot be reached: connection refused; is the server running?",
    ),
    (
        (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, aiohttp.ServerDisconnectedError),
        LookError.CONNECTION_CLOSED,
        f"gave no usable answer: it closed the connection; {_MESH}",
    ),
    ((TimeoutError,), LookError.TIMED_OUT, "cannot be reached: it timed out; does a NetworkPolicy block it?"),
    ((aiohttp.InvalidURL,), LookError.INVALID_URL, "is not called: the address is malformed"),
    (
        (aiohttp.ClientPayloadError,),
        LookError.CONNECTION_CLOSED,
        "gave no usable answer: the body is truncated, or not HTTP",
    ),
    (
        (aiohttp.ClientResponseError, HttpProcessingError),
        LookError.NOT_HTTP,
        "gave no usable answer: it is not HTTP, or exceeds its limits",
    ),
    ((OSError, aiohttp.ClientConnectionError), LookError.UNREACHABLE, "cannot be reached"),
)
"""By the kind of error, the narrow ones before the wide."""


def failure(error: BaseException) -> tuple[LookError, str]:
    """Return the kind of an error, and what to say of an endpoint after its name."""
    # Of a connection that could not be made, the cause says more than the wrapping.
    causes = (error.os_error, error) if isinstance(error, aiohttp.ClientConnectorError) else (error,)
    for cause in causes:
        if isinstance(cause, RefusedAddressError) and not isinstance(cause, StandInError):
            return LookError.ADDRESS_REFUSED, f"is not called: {cause}"  # our own sentence
        if isinstance(cause, ssl.SSLError) and any(word in _reason(cause) for word in _ASKS):
            what = "refused the TLS connection: it may require a client certificate, as a service mesh does"
            return LookError.TLS_FAILED, what
    narrow = next((row for row in _ROWS[:-1] for cause in causes if isinstance(cause, row[0])), None)
    found = narrow or (_ROWS[-1] if isinstance(error, _ROWS[-1][0]) else None)
    return found[1:] if found else (LookError.FAILED, "gave no usable answer")


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's word for an error; aiohttp's errors of certificates are of that class and have none."""
    return str(getattr(error, "reason", None) or "")
