"""What strangers write: URLs, Secrets, listings, manifests; what people write: fields and URIs."""

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from lastgood.api.fields import Fields
from lastgood.api.specs.sources import read_source
from lastgood.verify import Limits, RefusedEntryError, UnreadableError
from lastgood.verify.sources import (
    Access,
    Credentials,
    CredentialsError,
    OciSource,
    S3Source,
    UnsupportedError,
    credentials_of,
    source_from_uri,
    source_of,
)
from lastgood.verify.sources.disk.paths import take_all, take_path
from lastgood.verify.sources.oci.manifest import Form, parse_manifest
from lastgood.verify.sources.s3.listing import parse_page
from lastgood.verify.sources.s3.sigv4 import signed_headers
from lastgood.verify.sources.urls import parse_origin, parse_url
from lastgood.verify.sources.values import Entry

HEX = "0" * 64


def anywhere(_: str) -> None:
    """Allow every address: nothing is called here."""


ACCESS = Access(allow=anywhere)


@pytest.mark.parametrize(
    "text",
    [
        "ftp://a/b",
        "https://user:password@a/b",
        "https:///b",
        "https://a/b c",
        "https://a\\@b/",
        "https://a/\r\nHost: b",
        "https://a:0/",
        "https://a:99999/",
        "https://a/#b",
        "https://\u0430/",
        "https://a/" + "b" * 9000,
    ],
)
def test_a_url_that_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="url: ") as error:
        parse_url(text)
    assert "password" not in str(error.value).replace("a password or a fragment", "")


def test_a_url_is_shown_without_its_query_which_may_be_a_secret() -> None:
    url = parse_url("https://A.example:443/b?token=s3cret")
    assert (url.shown, url.target) == ("https://a.example/b", "/b?token=s3cret")


def test_places_are_the_same_only_with_scheme_host_and_port() -> None:
    same = parse_origin("a.example", "host")
    assert same == parse_origin("https://A.example:443", "host")
    for other in ("http://a.example", "https://a.example:8443", "https://b.a.example", "https://a.example.b"):
        assert parse_origin(other, "host") != same


@pytest.mark.parametrize(
    ("host", "asked", "allow_http", "sent"),
    [
        ("a.example", "https://a.example", False, True),
        ("a.example", "https://evil.example", False, False),
        ("a.example", "https://a.example:8443", False, False),
        ("a.example", "http://a.example", True, False),
        ("http://a.example", "http://a.example", False, False),
        ("http://a.example", "http://a.example", True, True),
        ("http://127.0.0.1:9", "http://127.0.0.1:9", False, True),
        ("http://127.0.0.1.evil.example", "http://127.0.0.1.evil.example", False, False),
    ],
)
def test_credentials_go_to_one_place_and_not_in_the_clear(host: str, asked: str, allow_http: bool, sent: bool) -> None:  # noqa: FBT001 - a row of a table
    credentials = Credentials(host=host, token="s3cret", allow_http=allow_http)
    if sent:
        credentials.require(parse_origin(asked, "host"))
        return
    with pytest.raises(CredentialsError) as error:
        credentials.require(parse_origin(asked, "host"))
    assert "s3cret" not in str(error.value)


def test_a_secret_is_in_no_repr() -> None:
    data: dict[str, str | bytes] = {
        "host": "a.example",
        "username": "s3cret-1",
        "password": "s3cret-2",
        "token": "s3cret-3",
        "accessKeyId": "s3cret-4",
        "secretAccessKey": b"s3cret-5\n",
        "sessionToken": "s3cret-6",
        "other": "s3cret-7",
    }
    credentials = credentials_of(data)
    assert credentials.secret_access_key == "s3cret-5"
    source = source_of(
        {"http": {"url": "https://a.example/m?s3cret"}}, Access(allow=anywhere, credentials=[credentials])
    )
    assert "s3cret" not in repr(credentials) + str(credentials) + source.describe()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"token": "s3cret"}, "host"),
        ({"host": "a/b", "token": "s3cret"}, "host"),
        ({"host": "a", "token": "s3cret\r\nHost: b"}, "token"),
        ({"host": "a", "token": "s3cret\u00e9"}, "token"),
        ({"host": "a", "username": "s3cret:b"}, "username"),
        ({"host": "a", "password": b"s3cret\xff"}, "password"),
        ({"host": "a", "accessKeyId": "s3cret"}, "secretAccessKey"),
        ({"host": "a", "allowHttp": "s3cret"}, "allowHttp"),
        ({"host": "a", "token": "s3cret" * 20_000}, "token"),
    ],
)
def test_a_secret_that_cannot_be_sent_names_its_key_and_not_its_value(data: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named) as error:
        credentials_of(data)
    assert "s3cret" not in str(error.value)


def test_credentials_of_a_snapshot_for_another_host_are_a_mistake() -> None:
    given = Credentials(host="b.example", token="s3cret")
    with pytest.raises(ValueError, match=r"source\.http\.url: is at https://a\.example.*for https://b\.example"):
        source_of({"http": {"url": "https://a.example/m"}}, Access(allow=anywhere, credentials=[given], strict=True))


@pytest.mark.parametrize("name", ["", ".", "..", "/a", "a//b", "a/../b", "a/", "a/.", "a\0b", "a\udcff", "a" * 256])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(RefusedEntryError):
        take_path(name, "the object")


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b")])
def test_two_files_in_one_place_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(RefusedEntryError, match="twice"):
        take_all([Entry(path=path, size=1) for path in paths], Limits())


def test_a_path_deeper_than_the_limit_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="deeper"):
        take_all([Entry(path="a/" * 33 + "b", size=1)], Limits())


def test_a_request_is_signed_as_in_amazons_own_example() -> None:
    url = parse_url("https://examplebucket.s3.amazonaws.com/test.txt")
    keys = Credentials(
        host=str(url.origin),
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed_headers(url, keys, region="us-east-1", now=moment, extra={"Range": "bytes=0-9"})
    expected = "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert headers["Authorization"].endswith(expected)


def page(inner: str) -> bytes:
    return f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3/">{inner}</ListBucketResult>'.encode()


def test_a_listing_says_keys_sizes_and_where_it_goes_on() -> None:
    row = "<Contents><Key>a%2Bb+c%FF</Key><Size>7</Size><ETag>&quot;x&quot;</ETag></Contents>"
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    found = parse_page(page(f"<EncodingType>url</EncodingType>{more}{row}"))
    assert (found.objects[0].key, found.objects[0].size, found.objects[0].etag) == ("a+b c\udcff", 7, '"x"')
    assert found.next == "t"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html/>",
        b"\xff\xfe",
        b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult>&b;</ListBucketResult>',
        page("<Contents><Key>a</Key></Contents>"),
        page("<Contents><Key>a</Key><Size>-1</Size></Contents>"),
        page("<Contents><Key>a</Key><Size>\u0661</Size></Contents>"),
        page("<IsTruncated>true</IsTruncated>"),
        page("<a>" * 20 + "</a>" * 20),
        page(f"<Contents><Key>{'a' * 20_000}</Key><Size>1</Size></Contents>"),
    ],
)
def test_a_listing_that_is_none_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError, match="listing"):
        parse_page(body)


def manifest(*layers: Any, **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "layers": layers, **more}).encode()


def layer(**changed: Any) -> dict[str, Any]:
    usual = {
        "mediaType": "application/vnd.cncf.model.weight.v1.raw",
        "digest": f"sha256:{HEX}",
        "size": 1,
        "annotations": {"org.cncf.model.filepath": "a"},
    }
    return {**usual, **changed}


def test_what_oras_packed_as_a_directory_is_unpacked() -> None:
    notes = {"org.opencontainers.image.title": "d", "io.deis.oras.content.unpack": "true"}
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    (found,) = parse_manifest(manifest(layer(mediaType=kind, annotations=notes)), Limits())
    assert (found.form, found.path) == (Form.TAR_GZIP, "")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"schemaVersion": 2, "layers": [], "layers": []}',
        b"[" * 100_000,
        b'{"schemaVersion": NaN}',
        manifest(),
        manifest(1),
        json.dumps({"schemaVersion": 2}).encode(),
        manifest(layer(size=-1)),
        manifest(layer(size=True)),
        manifest(layer(size=2**60)),
        manifest(layer(annotations={})),
        manifest(layer(annotations=["a"])),
        manifest(layer(annotations={"org.cncf.model.filepath": "../../etc/passwd"})),
        manifest(layer(annotations={"org.opencontainers.image.title": "/etc/passwd"})),
    ],
)
def test_a_manifest_that_is_broken_or_climbs_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedEntryError):
        parse_manifest(body, Limits())


@pytest.mark.parametrize(
    "body",
    [
        manifest(layer(mediaType="application/vnd.cncf.model.weight.v1.tar+zstd")),
        manifest(layer(digest="sha512:" + HEX * 2)),
        manifest(mediaType="application/vnd.oci.image.index.v1+json"),
        manifest(manifests=[]),
        manifest(layer(), mediaType="application/vnd.docker.distribution.manifest.v2+json"),
        manifest(layer(), schemaVersion=1),
    ],
)
def test_a_manifest_of_another_kind_is_unsupported(body: bytes) -> None:
    with pytest.raises(UnsupportedError):
        parse_manifest(body, Limits())


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://b-1/p/q?endpoint=https://s.example:9000&region=eu-1", "s3://b-1/p/q at https://s.example:9000"),
        ("s3://b-1/", "s3://b-1/ at https://s3.us-east-1.amazonaws.com"),
        (f"oci://r.example/m/d:v1@sha256:{HEX}", f"oci://r.example/m/d@sha256:{HEX}"),
        ("https://h.example/f?sig=s3cret", "https://h.example/f"),
    ],
)
def test_a_uri_names_a_source(uri: str, shown: str) -> None:
    assert source_from_uri(uri, ACCESS).describe() == shown


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "s3://",
        "s3://user:s3cret@b",
        "s3://b-1/../c",
        "s3://b-1/a?endpoint=file:///",
        "s3://b-1/a?s3cret=1",
        "oci://r.example/m:tag",
        f"oci://r.example/m@sha256:{HEX}0",
        f"oci://r.example/../m@sha256:{HEX}",
        f"oci://user:s3cret@r.example/m@sha256:{HEX}",
        "https://user:s3cret@h/",
    ],
)
def test_a_uri_that_names_none_is_refused_without_being_shown(uri: str) -> None:
    with pytest.raises(ValueError, match=r"URI") as error:
        source_from_uri(uri, ACCESS)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("fields", [{}, {"s3": {}, "oci": {}}, {"s3": "b"}, {"s3": {"bucket": 1}}, {"oci": {}}])
def test_fields_that_name_no_source_begin_with_their_path(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^spec\.source"):
        source_of(fields, ACCESS, "spec.source")


def test_a_registry_is_asked_by_https_unless_it_is_this_machine_or_allowed() -> None:
    def scheme(registry: str, *credentials: Credentials) -> str:
        access = Access(allow=anywhere, credentials=credentials)
        source = source_of({"oci": {"reference": f"{registry}/m@sha256:{HEX}"}}, access)
        assert isinstance(source, OciSource)
        return source.registry.origin.scheme

    assert scheme("r.example") == "https"
    assert scheme("localhost:5000") == "http"
    assert scheme("r.example", Credentials(host="http://r.example")) == "https"
    assert scheme("r.example", Credentials(host="http://r.example", allow_http=True)) == "http"


def test_a_prefix_is_taken_without_the_slashes_around_it() -> None:
    source = source_of({"s3": {"bucket": "b-1", "prefix": "/a/b/"}}, ACCESS)
    assert isinstance(source, S3Source)
    assert source.prefix == "a/b"


@pytest.mark.parametrize(
    "fields",
    [
        {"s3": {"bucket": "models", "prefix": "a b/ü?&%41", "endpoint": "https://s.example:9", "region": "eu-1"}},
        {"oci": {"reference": f"r.example:5000/m/d@sha256:{HEX}"}},
        {"http": {"url": "https://h.example/f?a=b"}},
    ],
)
def test_the_uri_of_a_snapshots_source_names_the_same_source(fields: dict[str, Any]) -> None:
    uri = read_source(Fields(fields, "spec.source")).uri
    assert source_from_uri(uri, ACCESS).describe() == source_of(fields, ACCESS).describe()


def test_listing_with_a_million_names_is_refused_before_it_fills_the_memory() -> None:
    names = "".join(f"<a{number:x}/>" for number in range(200_000))
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError):
            parse_page(page(names))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**24


def test_manifest_whose_kind_is_a_list_is_refused_and_no_failure_of_ours() -> None:
    with pytest.raises(RefusedEntryError, match="mediaType is not a string"):
        parse_manifest(json.dumps({"schemaVersion": 2, "mediaType": [], "layers": []}).encode(), Limits())
