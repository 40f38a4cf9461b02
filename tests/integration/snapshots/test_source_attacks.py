"""Servers that want a secret, our network, our memory or our patience; each is named after what it tries."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.verify import Verdict
from lastgood.verify.sources import Credentials, Patience, source_from_uri, source_of, verify_source
from tests.cluster.plane.credentials import issue, make_authority
from tests.servers.attacker import ANOTHER_HOST, Request, attacker
from tests.servers.registry import digest_of
from tests.servers.samples import PATIENT, access, s3_keys, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from lastgood.verify import Result

BODY = b"weights" * 1000
DIGEST = sha256_of(BODY)
SECRET = "s3cret"
ETAG = {"ETag": '"1"'}


def ask(url: str, *credentials: Credentials, patience: Patience = PATIENT, **more: Any) -> Result:
    return verify_source(source_of({"http": {"url": url}}, access(*credentials, patience=patience)), DIGEST, **more)


def test_a_file_behind_a_url_is_verified_and_a_changed_one_is_tampered() -> None:
    with attacker(lambda request: request.say(body=BODY if request.path == "/good" else BODY[:-1] + b"!")) as server:
        assert ask(f"{server.url}/good").verdict is Verdict.VERIFIED
        assert ask(f"{server.url}/changed").verdict is Verdict.MISMATCH


@pytest.mark.parametrize("status", [204, 206, 301, 302, 307, 401, 403, 404, 410, 412, 418, 500, 503])
def test_a_status_is_unreadable_with_a_sentence_and_never_tampered(status: int) -> None:
    with attacker(lambda request: request.say(status, headers={"Location": "/x"})) as server:
        result = ask(f"{server.url}/f?token={SECRET}")
        assert result.verdict is Verdict.UNREADABLE
        assert str(status) in result.message
        assert SECRET not in repr(result)
        assert len(server.seen) == (3 if status >= 500 else 1)


def test_a_busy_server_is_asked_again() -> None:
    with attacker(lambda request: request.say(503 if len(server.seen) < 3 else 200, BODY)) as server:
        assert ask(f"{server.url}/f").verdict is Verdict.VERIFIED


def test_credentials_are_not_carried_to_where_a_redirect_leads() -> None:
    with attacker(lambda request: request.say(body=BODY), ANOTHER_HOST) as thief:
        with attacker(lambda request: request.say(307, headers={"Location": f"{thief.url}/f"})) as server:
            result = ask(f"{server.url}/f", Credentials(host=server.url, token=SECRET))
            assert server.seen[0][1]["authorization"] == f"Bearer {SECRET}"
        assert result.verdict is Verdict.UNREADABLE
        assert "not followed" in result.message
        assert thief.seen == []


def test_a_session_token_is_not_carried_to_where_an_s3_store_redirects() -> None:
    with attacker(lambda request: request.say(body=BODY), ANOTHER_HOST) as thief:
        with attacker(lambda request: request.say(307, headers={"Location": f"{thief.url}/f"})) as store:
            keys = s3_keys(store.url, session_token=SECRET)
            fields = {"s3": {"bucket": "models", "prefix": "a", "endpoint": store.url}}
            result = verify_source(source_of(fields, access(keys)), DIGEST)
            assert store.seen[0][1]["x-amz-security-token"] == SECRET
        assert (result.verdict, thief.seen) == (Verdict.UNREADABLE, [])


def test_credentials_for_one_host_are_not_sent_to_another() -> None:
    with attacker(lambda request: request.say(body=BODY)) as server:
        other = access(Credentials(host="https://models.example", token=SECRET), strict=False)
        assert verify_source(source_from_uri(f"{server.url}/f", other), DIGEST).verdict is Verdict.VERIFIED
        assert "authorization" not in server.seen[0][1]


def test_credentials_are_not_sent_in_the_clear_to_another_machine() -> None:
    result = ask("http://models.example/f", Credentials(host="http://models.example", token=SECRET))
    assert result.verdict is Verdict.UNREADABLE
    assert "which is not https" in result.message
    assert SECRET not in repr(result)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "0.0.0.1", "0xa9fea9fe"]
)
def test_a_metadata_address_is_not_called_however_it_is_spelled(host: str) -> None:
    result = ask(f"http://{host}/latest/meta-data/")
    assert result.verdict is Verdict.UNREADABLE
    assert "is never called" in result.message


def test_a_name_that_changes_its_address_after_the_check_is_called_at_the_checked_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        """Be the attacker's name server: first an allowed address, from then on the metadata service."""
        if host != "rebind.example":
            return real(host, port, *args, **more)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "169.254.169.254", port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with attacker(lambda request: request.say(body=BODY)) as server:
        url = f"http://rebind.example:{server.url.rpartition(':')[2]}/f"
        assert ask(url).verdict is Verdict.VERIFIED
    assert asked == ["rebind.example"]
    result = ask(url)
    assert "is never called" in result.message


def test_a_body_that_ends_early_is_unreadable_and_not_tampered() -> None:
    with attacker(lambda request: request.say(body=BODY[:-1], length=len(BODY))) as server:
        assert ask(f"{server.url}/f").verdict is Verdict.UNREADABLE


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Content-Encoding": "gzip"}, id="packed"),
        pytest.param({"Content-Length": "-5"}, id="a negative length"),
        pytest.param({"Content-Length": "9" * 30}, id="a length beyond all numbers"),
    ],
)
def test_a_body_that_says_nothing_reliable_of_its_length_is_unreadable(headers: dict[str, str]) -> None:
    with attacker(lambda request: request.say(body=BODY, headers=headers)) as server:
        assert ask(f"{server.url}/f").verdict is Verdict.UNREADABLE


def without_length(request: Request) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(BODY)
    request.close_connection = True


def test_a_body_without_a_length_is_unreadable() -> None:
    with attacker(without_length) as server:
        assert "Content-Length" in ask(f"{server.url}/f").message


def stalling(request: Request) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(BODY)))
    request.end_headers()
    request.wfile.write(BODY[:10])
    request.wfile.flush()
    time.sleep(8)
    request.close_connection = True


def dripping(request: Request) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(BODY)))
    request.end_headers()
    for number in range(80):
        request.wfile.write(BODY[number : number + 1])
        request.wfile.flush()
        time.sleep(0.1)
    request.close_connection = True


def test_a_server_that_falls_silent_ends_by_the_stall_timeout() -> None:
    with attacker(stalling) as server:
        started = time.monotonic()
        result = ask(f"{server.url}/f", patience=Patience(stall=2))
        assert (result.verdict, "stopped sending data" in result.message) == (Verdict.UNREADABLE, True)
        assert time.monotonic() - started < 7


def test_a_server_that_drips_ends_by_the_total_limit() -> None:
    from lastgood.verify import Limits  # noqa: PLC0415 - beside what it limits

    with attacker(dripping) as server:
        result = ask(f"{server.url}/f", limits=Limits(max_seconds=2))
        assert (result.verdict, "limit of 2 seconds" in result.message) == (Verdict.UNREADABLE, True)


def test_a_wait_for_a_silent_server_can_be_stopped() -> None:
    with attacker(stalling) as server:
        started = time.monotonic()
        result = ask(f"{server.url}/f", cancelled=lambda: time.monotonic() - started > 1)
        assert (result.verdict, "stopped" in result.message) == (Verdict.UNREADABLE, True)
        assert time.monotonic() - started < 7


LISTING = (
    "<ListBucketResult><Contents><Key>{key}</Key><Size>7000</Size><ETag>&quot;1&quot;</ETag></Contents>"
    "{more}</ListBucketResult>"
)


@pytest.mark.parametrize("key", ["a/../../etc/cron.d/evil", "a//evil", "b/evil", "a/./evil", "a/%00"])
def test_an_object_whose_key_climbs_out_is_refused(key: str) -> None:
    body = LISTING.format(key=key, more="<EncodingType>url</EncodingType>").encode()
    with attacker(lambda request: request.say(body=body)) as store:
        fields = {"s3": {"bucket": "models", "prefix": "a", "endpoint": store.url}}
        result = verify_source(source_of(fields, access()), DIGEST)
        assert result.verdict is Verdict.MISMATCH


def test_a_listing_without_an_end_is_unreadable() -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>"
    body = LISTING.format(key="a/b", more=more).encode()
    with attacker(lambda request: request.say(body=body)) as store:
        fields = {"s3": {"bucket": "models", "prefix": "a", "endpoint": store.url}}
        result = verify_source(source_of(fields, access()), DIGEST)
        assert "in circles" in result.message


def test_a_listing_of_gigabytes_is_not_read_into_memory() -> None:
    with attacker(lambda request: request.say(body=b"<a>" + b" " * (17 * 2**20))) as store:
        fields = {"s3": {"bucket": "models", "prefix": "a", "endpoint": store.url}}
        result = verify_source(source_of(fields, access()), DIGEST)
        assert "more than 16777216 bytes" in result.message


def oci(url: str, *credentials: Credentials) -> Result:
    reference = f"{url.removeprefix('http://')}/models/m@{DIGEST}"
    return verify_source(source_of({"oci": {"reference": reference}}, access(*credentials)), DIGEST)


def test_a_registry_cannot_send_the_password_to_a_token_server_of_its_choice() -> None:
    with attacker(lambda request: request.say(body=b'{"token": "t"}'), ANOTHER_HOST) as thief:
        challenge = {"WWW-Authenticate": f'Bearer realm="{thief.url}/token",service="s"'}
        with attacker(lambda request: request.say(401, headers=challenge)) as registry:
            result = oci(registry.url, Credentials(host=registry.url, username="me", password=SECRET))
            allowed = Credentials(host=registry.url, username="me", password=SECRET, token_host=thief.url)
            assert (result.verdict, thief.seen) == (Verdict.UNREADABLE, [])
            assert "tokenHost" in result.message
            assert SECRET not in repr(result)
            oci(registry.url, allowed)
        assert thief.seen[0][0] == "/token?scope=repository%3Amodels%2Fm%3Apull&service=s"


def test_a_blob_elsewhere_is_fetched_without_credentials_and_only_so_far() -> None:
    layer = {
        "mediaType": "a/b",
        "digest": DIGEST,
        "size": len(BODY),
        "annotations": {"org.opencontainers.image.title": "f"},
    }
    manifest = str({"schemaVersion": 2, "layers": [layer]}).replace("'", '"').encode()

    def answer(request: Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {SECRET}":
            request.say(401, headers={"WWW-Authenticate": "Bearer"})
        elif "/manifests/" in request.path:
            request.say(body=manifest)
        else:
            request.say(307, headers={"Location": f"{store.url}/blob?signature={SECRET}"})

    def store_answer(request: Request) -> None:
        if loops:
            request.say(307, headers={"Location": "/again"})
        else:
            request.say(body=BODY)

    loops: list[bool] = []
    with attacker(store_answer, ANOTHER_HOST) as store, attacker(answer) as registry:
        credentials = Credentials(host=registry.url, token=SECRET)
        reference = f"{registry.url.removeprefix('http://')}/models/m@{digest_of(manifest)}"
        source = source_of({"oci": {"reference": reference}}, access(credentials))
        result = verify_source(source, DIGEST)
        assert result.files[0].path == "f"
        assert store.seen
        assert all("authorization" not in headers for _, headers in store.seen)
        loops.append(True)
        store.seen.clear()
        result = verify_source(source, DIGEST)
        assert (result.verdict, len(store.seen)) == (Verdict.UNREADABLE, 3)
        assert SECRET not in repr(result)


def test_a_manifest_that_is_not_the_pinned_one_is_tampered() -> None:
    with attacker(lambda request: request.say(body=b'{"schemaVersion": 2, "layers": []}')) as registry:
        result = oci(registry.url)
        assert (result.verdict, "the reference names sha256:" in result.message) == (Verdict.MISMATCH, True)


def test_a_server_whose_certificate_nobody_vouches_for_is_unreadable_until_its_authority_is_named(
    tmp_path: Path,
) -> None:
    make_authority(tmp_path)
    issue(tmp_path, "server", "server", hosts=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    authorities = (tmp_path / "ca.crt").read_text()
    with attacker(lambda request: request.say(body=BODY), tls=context) as server:
        trusting = Credentials(host=server.url, token=SECRET, authorities=authorities)
        assert ask(f"{server.url}/f", trusting).verdict is Verdict.VERIFIED
        doubting = Credentials(host=server.url, token=SECRET)
        result = ask(f"{server.url}/f", doubting)
        assert (result.verdict, "certificate verify failed" in result.message) == (Verdict.UNREADABLE, True)
        assert len(server.seen) == 1


def test_a_certificate_for_another_name_is_not_enough(tmp_path: Path) -> None:
    make_authority(tmp_path)
    issue(tmp_path, "server", "server", hosts=("other.example",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with attacker(lambda request: request.say(body=BODY), tls=context) as server:
        authorities = (tmp_path / "ca.crt").read_text()
        result = ask(f"{server.url}/f", Credentials(host=server.url, token=SECRET, authorities=authorities))
        assert (result.verdict, server.seen) == (Verdict.UNREADABLE, [])


def test_debug_logs_hold_no_header(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        attacker(lambda request: request.say(body=BODY, headers={"X-Set": SECRET})) as server,
    ):
        assert ask(f"{server.url}/f", Credentials(host=server.url, token=SECRET)).verdict is Verdict.VERIFIED
    assert SECRET not in caplog.text


def test_a_registry_cannot_lead_a_blob_from_https_to_http(tmp_path: Path) -> None:
    layer = {"mediaType": "a/b", "digest": DIGEST, "size": len(BODY)}
    layers = [{**layer, "annotations": {"org.opencontainers.image.title": "f"}}]
    manifest = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
    make_authority(tmp_path)
    issue(tmp_path, "server", "server", hosts=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")

    def answer(request: Request) -> None:
        if "/manifests/" in request.path:
            request.say(body=manifest)
        else:
            request.say(307, headers={"Location": f"{thief.url}/blob"})

    with (
        attacker(lambda request: request.say(body=BODY), ANOTHER_HOST) as thief,
        attacker(answer, tls=context) as registry,
    ):
        credentials = Credentials(host=registry.url, authorities=(tmp_path / "ca.crt").read_text())
        reference = f"{registry.url.removeprefix('https://')}/models/m@{digest_of(manifest)}"
        result = verify_source(source_of({"oci": {"reference": reference}}, access(credentials)), DIGEST)
    assert (result.verdict, "from https to http" in result.message) == (Verdict.UNREADABLE, True)
    assert thief.seen == []


def test_a_server_whose_bytes_are_others_each_time_is_unreadable_and_not_tampered() -> None:
    with attacker(lambda request: request.say(body=b"%07d" % len(server.seen) * 1000)) as server:
        result = ask(f"{server.url}/f")
        assert (result.verdict, "different bytes" in result.message) == (Verdict.UNREADABLE, True)
