"""Where a checkpoint's bytes are: the kinds of source, parsed once, none of them with a credential in it."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from lastgood.api.fields import Fields
from lastgood.errors import InvalidSpecError

_MAX_PATH = 1024
MAX_MIRRORS = 8
_REFERENCE = re.compile(
    r"[a-z0-9]([a-z0-9.-]{0,253}[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*){1,16}(:[\w][\w.-]{0,127})?"
    r"@sha256:[0-9a-f]{64}",
    re.ASCII,
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{1,63}")


class _OnVolume:
    """What a pod can mount needs no credentials."""

    secret = ""


class _Remote:
    """What is fetched has no path that a pod could mount."""

    path = ""


@dataclass(frozen=True, kw_only=True)
class StoreSource(_OnVolume):
    """A path in the operator's own snapshot store."""

    path: str

    @property
    def uri(self) -> str:
        """How a binding names it."""
        return f"store://{self.path}"


@dataclass(frozen=True, kw_only=True)
class PvcSource(_OnVolume):
    """A path on a PersistentVolumeClaim in the snapshot's namespace."""

    claim: str
    path: str

    @property
    def uri(self) -> str:
        """How a binding names it."""
        return f"pvc://{self.claim}/{self.path}"


@dataclass(frozen=True, kw_only=True)
class S3Source(_Remote):
    """Objects below a prefix of a bucket; an empty `endpoint` is AWS, an empty `secret` is anonymous."""

    bucket: str
    prefix: str
    endpoint: str = ""
    region: str = ""
    secret: str = ""

    @property
    def uri(self) -> str:
        """How a binding names it, and `lastgood fetch` reads it."""
        given = {key: value for key, value in (("endpoint", self.endpoint), ("region", self.region)) if value}
        return f"s3://{self.bucket}/{quote(self.prefix)}" + (f"?{urlencode(given)}" if given else "")


@dataclass(frozen=True, kw_only=True)
class OciSource(_Remote):
    """An artifact in a registry, pinned by its digest: a tag alone may point elsewhere tomorrow."""

    reference: str
    secret: str = ""

    @property
    def uri(self) -> str:
        """How a binding names it, and `lastgood fetch` reads it."""
        return f"oci://{self.reference}"


@dataclass(frozen=True, kw_only=True)
class UrlSource(_Remote):
    """A file behind a URL; credentials are in the Secret and never in the URL."""

    url: str
    secret: str = ""

    @property
    def uri(self) -> str:
        """How a binding names it, and `lastgood fetch` reads it."""
        return self.url


Source = StoreSource | PvcSource | S3Source | OciSource | UrlSource
KINDS = ("store", "pvc", "s3", "oci", "http")


def read_source(source: Fields) -> Source:
    """Read a source.

    Raises:
        InvalidSpecError: with the path of the field that is wrong.
    """
    kinds = [kind for kind in KINDS if source.has(kind)]
    if len(kinds) != 1:
        raise InvalidSpecError(f"{source.path}: must have exactly one of store, pvc, s3, oci and http")
    place = source.child(kinds[0])
    match kinds[0]:
        case "store":
            return StoreSource(path=read_path(place))
        case "pvc":
            return PvcSource(claim=place.text("claimName", limit=253, required=True), path=read_path(place))
        case "s3":
            return _s3(place)
        case "oci":
            return _oci(place)
        case _:
            return UrlSource(url=_url(place, "url"), secret=_secret(place))


def _s3(place: Fields) -> S3Source:
    return S3Source(
        bucket=_matching(place, "bucket", _BUCKET, "the name of a bucket: 3 to 63 of a-z, 0-9, '.' and '-'"),
        prefix=read_path(place, "prefix"),
        endpoint=_url(place, "endpoint") if place.has("endpoint") else "",
        region=_matching(place, "region", _REGION, "a region such as eu-central-1") if place.has("region") else "",
        secret=_secret(place),
    )


def _oci(place: Fields) -> OciSource:
    expected = "registry/repository@sha256: and 64 hex digits; a tag alone names other bytes tomorrow"
    return OciSource(reference=_matching(place, "reference", _REFERENCE, expected), secret=_secret(place))


def _matching(place: Fields, name: str, pattern: re.Pattern[str], expected: str) -> str:
    value = place.text(name, limit=512, required=True)
    if not pattern.fullmatch(value):
        raise InvalidSpecError(f"{place.at(name)}: must be {expected}")
    return value


def _secret(place: Fields) -> str:
    return place.child("secretRef").text("name", limit=253, required=place.has("secretRef"))


def _url(place: Fields, name: str) -> str:
    """Read a URL; whether its host may be called is decided where it is resolved, at the edge."""
    value = place.text(name, required=True)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidSpecError(f"{place.at(name)}: must be a URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidSpecError(f"{place.at(name)}: must start with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise InvalidSpecError(f"{place.at(name)}: must hold no user or password; put them into a Secret (secretRef)")
    if parts.fragment or not value.isprintable() or " " in value or "\\" in value:
        raise InvalidSpecError(f"{place.at(name)}: must hold no fragment, space, backslash or invisible character")
    require_literal(value, place.at(name))
    return value


def read_path(holder: Fields, name: str = "path") -> str:
    """Read a path that stays inside its root.

    Raises:
        InvalidSpecError: if it could lead out of it.
    """
    path = holder.text(name, limit=_MAX_PATH, required=True)
    if any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable() or "\\" in path:
        raise InvalidSpecError(f"{holder.at(name)}: must be relative, without '..', '.' or empty segments")
    return require_literal(path, holder.at(name))


def require_literal(text: str, field: str) -> str:
    """Refuse what Kubernetes would expand in a pod's variable, after it was verified as it stands.

    Raises:
        InvalidSpecError: it holds `$(` or `$$`.
    """
    if "$(" in text or "$$" in text:
        raise InvalidSpecError(f"{field}: must not hold $( or $$, which a pod would take for a variable")
    return text
