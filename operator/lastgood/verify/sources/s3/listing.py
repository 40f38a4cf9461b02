"""One page of a bucket's listing, from XML that a stranger may have written.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from lastgood.verify.errors import UnreadableError

_MAX_TEXT: Final = 16 * 1024
_MAX_DEPTH: Final = 16
_MAX_ELEMENTS: Final = 40_000  # 1,000 objects with all that a server may say of one; each costs memory
_TOP: Final = frozenset({"EncodingType", "IsTruncated", "NextContinuationToken"})
_WANTED: Final = frozenset({"Key", "Size", "ETag"})
_ROOT: Final = "ListBucketResult"


@dataclass(frozen=True, kw_only=True, slots=True)
class Object:
    """One object as it is listed; its key is not checked."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some objects, and where the next page begins; an empty `next` is the end."""

    objects: tuple[Object, ...]
    next: str


def parse_page(body: bytes) -> Page:
    """Return what a page says.

    Raises:
        UnreadableError: if it is no listing, or lacks what one must have.
    """
    reader = _Reader()
    try:
        reader.parse(body)
        encoded = reader.top.get("EncodingType", "") == "url"
        objects = tuple(_object(row, encoded) for row in reader.rows)
    except (expat.ExpatError, ValueError, KeyError) as error:
        raise UnreadableError(f"the listing of the bucket cannot be read: {type(error).__name__}") from None
    more = reader.top.get("IsTruncated") == "true"
    token = reader.top.get("NextContinuationToken", "")
    if more and not (token and objects):
        raise UnreadableError("the listing of the bucket does not say where its next page begins")
    return Page(objects=objects, next=token if more else "")


def _object(row: dict[str, str], encoded: bool) -> Object:  # noqa: FBT001 - of one page, passed on
    size = row["Size"]
    if not (size.isascii() and size.isdecimal()):
        raise ValueError("Size")
    raw = unquote_to_bytes(row["Key"].replace("+", " ")) if encoded else row["Key"].encode()
    # A key that is not UTF-8 arrives as surrogates (PEP 383), and is refused where names become paths.
    return Object(key=raw.decode("utf-8", "surrogateescape"), size=int(size), etag=row.get("ETag", ""))


@dataclass
class _Reader:
    """Collects the few elements that matter; a document type, and with it every entity, is refused."""

    path: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    length: int = 0
    count: int = 0
    top: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)

    def parse(self, body: bytes) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.Parse(body, True)  # noqa: FBT003 - the C function takes no keyword

    def _doctype(self, *_: Any) -> None:  # noqa: ANN401 - four texts that nobody looks at
        raise ValueError("document type")

    def _start(self, name: str, _: dict[str, str]) -> None:
        self.path.append(name)
        self.count += 1
        if len(self.path) > _MAX_DEPTH or self.path[0] != _ROOT or self.count > _MAX_ELEMENTS:
            raise ValueError("elements")
        if self.path == [_ROOT, "Contents"]:
            self.rows.append({})
        self.text, self.length = [], 0

    def _data(self, text: str) -> None:
        self.length += len(text)
        if self.length > _MAX_TEXT:
            raise ValueError("text")
        self.text.append(text)

    def _end(self, name: str) -> None:
        match self.path:
            case [_, "Contents", _] if name in _WANTED:
                self.rows[-1][name] = "".join(self.text)
            case [_, _] if name in _TOP:
                self.top[name] = "".join(self.text)
        self.path.pop()
