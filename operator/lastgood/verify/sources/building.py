"""Sources from what a person wrote: the fields of a ModelSnapshot, or a URI on a command line."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from lastgood.verify.errors import RefusedEntryError
from lastgood.verify.sources.credentials import Credentials
from lastgood.verify.sources.disk.paths import take_path
from lastgood.verify.sources.http import HttpSource
from lastgood.verify.sources.oci.client import Registry
from lastgood.verify.sources.oci.oci import OciSource, parse_reference
from lastgood.verify.sources.s3.s3 import S3Source
from lastgood.verify.sources.urls import Origin, Url, parse_origin, parse_url
from lastgood.verify.sources.values import Allow
from lastgood.verify.sources.wire import Patience, Web

RemoteSource: TypeAlias = S3Source | OciSource | HttpSource
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DEFAULT_REGION: Final = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class Access:
    """What every source needs besides its own fields.

    Attributes:
        allow: gets every address in numbers before it is called, and raises an OSError to refuse it.
        credentials: a source uses those whose host is its own, and none that are for another host.
        strict: credentials that are for another host are a mistake: of a Secret that one source names.
    """

    allow: Allow
    credentials: Sequence[Credentials] = ()
    patience: Patience = dataclasses.field(default_factory=Patience)
    strict: bool = False

    def credentials_for(self, origin: Origin, field: str) -> Credentials | None:
        """Return the credentials for a host, if there are any.

        Raises:
            ValueError: if there are credentials, all for other hosts, and that is a mistake.
        """
        for credentials in self.credentials:
            if credentials.origin == origin:
                return credentials
        if self.strict and self.credentials:
            raise ValueError(f"{field}: is at {origin}, and the credentials are for {self.credentials[0].origin}")
        return None

    def web(self, credentials: Credentials | None) -> Web:
        """Return a client for one source."""
        authorities = credentials.authorities if credentials else ""
        return Web(allow=self.allow, patience=self.patience, authorities=authorities)


def source_of(fields: Mapping[str, Any], access: Access, field: str = "source") -> RemoteSource:
    """Return the source that exactly one of `s3`, `oci` and `http` describes, as in `spec.source` or a mirror.

    Raises:
        ValueError: if a field cannot be used; the message begins with its path, below `field`.
    """
    kinds = [kind for kind in _MAKERS if fields.get(kind) is not None]
    if len(kinds) != 1:
        raise ValueError(f"{field}: must have exactly one of s3, oci and http")
    inner = fields[kinds[0]]
    if not isinstance(inner, Mapping):
        raise ValueError(f"{field}.{kinds[0]}: must be an object")  # noqa: TRY004 - a wrong field, like the others
    return _MAKERS[kinds[0]](inner, access, f"{field}.{kinds[0]}")


def source_from_uri(uri: str, access: Access) -> RemoteSource:
    """Return the source that a URI names.

    `s3://bucket/prefix?endpoint=https://…&region=…`, `oci://registry/repository@sha256:…`, `https://host/file`.

    Raises:
        ValueError: if it cannot be used; it says what to write, and does not show the URI, which may hold a secret.
    """
    scheme, _, rest = uri.partition("://")
    match scheme:
        case "s3":
            return _s3(_s3_fields(uri), access, "URI")
        case "oci":
            return _oci({"reference": rest}, access, "URI")
        case "http" | "https":
            return _http({"url": uri}, access, "URI")
    raise ValueError("URI: must begin with s3://, oci://, https:// or http://")


def _s3_fields(uri: str) -> Mapping[str, str]:
    try:
        parts = urlsplit(uri)
        values = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("URI: must be s3://bucket/prefix?endpoint=https://…") from None
    if "@" in parts.netloc or parts.fragment or not values.keys() <= {"endpoint", "region"}:
        raise ValueError("URI: may have the parameters endpoint and region, and no user, password or fragment")
    return {"bucket": parts.netloc, "prefix": unquote(parts.path), **values}


def _s3(fields: Mapping[str, Any], access: Access, field: str) -> S3Source:
    bucket, region = _text(fields, "bucket", field), _text(fields, "region", field) or _DEFAULT_REGION
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{field}.bucket: must be a bucket's name")
    if not _REGION.fullmatch(region):
        raise ValueError(f"{field}.region: must be a region's name, such as {_DEFAULT_REGION}")
    endpoint = _text(fields, "endpoint", field) or f"https://s3.{region}.amazonaws.com"
    origin = parse_origin(endpoint, f"{field}.endpoint")
    credentials = access.credentials_for(origin, f"{field}.endpoint")
    prefix = _prefix(_text(fields, "prefix", field), field)
    return S3Source(
        endpoint=origin,
        bucket=bucket,
        prefix=prefix,
        region=region,
        web=access.web(credentials),
        credentials=credentials,
    )


def _prefix(text: str, field: str) -> str:
    prefix = text.strip("/")
    try:
        return take_path(prefix, "prefix") if prefix else ""
    except RefusedEntryError as error:
        raise ValueError(f"{field}.prefix: {error}") from None


def _oci(fields: Mapping[str, Any], access: Access, field: str) -> OciSource:
    reference = parse_reference(_text(fields, "reference", field), f"{field}.reference")
    origin = _registry_origin(reference.registry, access, f"{field}.reference")
    credentials = access.credentials_for(origin, f"{field}.reference")
    registry = Registry(
        origin=origin, repository=reference.repository, web=access.web(credentials), credentials=credentials
    )
    return OciSource(reference=reference, registry=registry)


def _registry_origin(registry: str, access: Access, field: str) -> Origin:
    """Return https, but http for this machine itself, and where credentials name the registry so and allow it."""
    origin = parse_origin(registry, field)
    plain = parse_origin(f"http://{registry}", field)
    allowed = any(given.origin == plain and given.allow_http for given in access.credentials)
    secure = any(given.origin == origin for given in access.credentials)
    return plain if allowed or (origin.loopback and not secure) else origin


def _http(fields: Mapping[str, Any], access: Access, field: str) -> HttpSource:
    url: Url = parse_url(_text(fields, "url", field), f"{field}.url")
    credentials = access.credentials_for(url.origin, f"{field}.url")
    return HttpSource(url=url, web=access.web(credentials), credentials=credentials)


def _text(fields: Mapping[str, Any], name: str, field: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{field}.{name}: must be text")  # noqa: TRY004 - a wrong field, like the others
    return value


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Any], Access, str], RemoteSource]]] = {
    "s3": _s3,
    "oci": _oci,
    "http": _http,
}
