"""Signing a GET for an S3-compatible store: AWS Signature Version 4, in headers.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote

from lastgood.verify.sources.credentials import Credentials
from lastgood.verify.sources.urls import Url

_EMPTY: Final = hashlib.sha256(b"").hexdigest()


def encoded(text: str, safe: str = "") -> str:
    """Return text as a path segment or a query value has it: everything but RFC 3986 unreserved is encoded."""
    return quote(text, safe=f"{safe}~")


def query(values: Mapping[str, str]) -> str:
    """Return a query string in the order that is signed."""
    return "&".join(sorted(f"{encoded(name)}={encoded(value)}" for name, value in values.items()))


def signed_headers(
    url: Url, credentials: Credentials, *, region: str, now: datetime, extra: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers of a signed GET without a body.

    Args:
        url: whose path is encoded once, and whose query is sorted: as `encoded` and `query` make them.
        credentials: with an access key.
        region: of the bucket.
        now: in UTC.
        extra: further headers; they are signed too.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    headers = {"Host": url.origin.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp, **extra}
    if credentials.session_token:
        headers["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(name.lower() for name in headers))
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, _sha256(_canonical(url, headers, names))])
    signature = hmac.new(_key(credentials, scope), text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope},SignedHeaders={names},Signature={signature}"
    )
    return headers


def _canonical(url: Url, headers: Mapping[str, str], names: str) -> str:
    lines = sorted(f"{name.lower()}:{' '.join(text.split())}" for name, text in headers.items())
    return "\n".join(["GET", url.path, url.query, *lines, "", names, _EMPTY])


def _key(credentials: Credentials, scope: str) -> bytes:
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
