"""Snapshots in a real S3 store, a real registry and behind a URL, verified and deployed by the operator."""

import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lastgood.verify import manifest_digest
from tests.integration.rights import with_rights_of_the_chart
from tests.integration.signing import Signer, policy, says
from tests.integration.snapshots.remote import (
    SHARD,
    URI,
    Body,
    assert_nowhere,
    in_registry,
    in_s3,
    remote,
    s3_secret,
    s3_source,
    secret,
    serve_remote,
    verification,
)
from tests.integration.world import World, eventually
from tests.servers.attacker import Attacker, Request, attacker
from tests.servers.registry import PASSWORD, USER, RegistryServer
from tests.servers.s3 import SECRET_KEY, S3Server
from tests.servers.samples import DIGEST, FILES, entries, sha256_of

FILE = FILES[SHARD]
TOKEN = "a-token-of-this-minute"
RELEASE, MALLORY = Signer(name="release"), Signer(name="mallory")


def only_for(token: str) -> Any:
    """Return a server's answer: a file for whoever has the token, if one is asked for."""

    def answer(request: Request) -> None:
        if token and request.headers.get("Authorization") != f"Bearer {token}":
            request.say(401, b"who are you?")
        else:
            request.say(200, FILE)

    return answer


@pytest.fixture
def web() -> Iterator[Attacker]:
    """A server with one file, for whoever has the token."""
    with attacker(only_for(TOKEN)) as server:
        yield server


def test_a_snapshot_in_s3_is_verified_and_deployed(world: World, s3: S3Server) -> None:
    world.apply(s3_secret(s3))
    serve_remote(world, "s3", in_s3(s3, "digits/1"), DIGEST)

    assert world.model_path() == f"s3://models/digits/1?endpoint={quoted(s3.endpoint)}"
    found = world.get("modelsnapshot", "digits-vs3")["status"]
    assert (found["digest"], found["fileCount"]) == (DIGEST, len(FILES))
    assert found["verification"]["copy"] == "source"
    assert_nowhere(world, SECRET_KEY)


def quoted(url: str) -> str:
    """Return a URL as a parameter."""
    return url.replace(":", "%3A").replace("/", "%2F")


def test_a_snapshot_in_a_registry_is_verified_and_deployed(
    world: World, registry: RegistryServer, private_registry: RegistryServer
) -> None:
    host = f"http://{private_registry.host}"
    world.apply(secret("registry", host=host, username=USER, password=PASSWORD))
    public, private = in_registry(registry, "models/digits"), in_registry(private_registry, "models/digits", "registry")
    world.apply(remote(world, "public", public, DIGEST))
    serve_remote(world, "private", private, DIGEST)

    says(world, "public", "Verified", "Verified")
    assert world.model_path() == f"oci://{private['oci']['reference']}"
    assert_nowhere(world, PASSWORD)


def test_a_file_behind_a_url_is_verified_and_deployed(world: World, web: Attacker) -> None:
    world.apply(secret("web", host=web.url, token=TOKEN))
    serve_remote(world, "web", {"http": {"url": f"{web.url}/model", "secretRef": {"name": "web"}}}, sha256_of(FILE))

    assert world.model_path() == f"{web.url}/model"
    assert_nowhere(world, TOKEN)


def bad_secret(name: str, server: S3Server) -> list[Body]:
    """Return a Secret with one thing wrong, or none at all."""
    wrong = {
        "the Secret is not there": None,
        "for another host": s3_secret(server, host="https://elsewhere.example"),
        "without a host": secret("store", accessKeyId="tester", secretAccessKey=SECRET_KEY),
        "half of it": secret("store", host=server.endpoint, secretAccessKey=SECRET_KEY),
        "the wrong key": s3_secret(server, secretAccessKey="another-secret-of-this-minute"),
        "what cannot be sent": s3_secret(server, secretAccessKey=f"{SECRET_KEY}\nX: y"),
    }[name]
    return [wrong] if wrong else []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("the Secret is not there", "spec.source.s3.secretRef: the Secret store in"),
        ("for another host", "the credentials are for https://elsewhere.example"),
        ("without a host", "host: is missing"),
        ("half of it", "accessKeyId: must come together with secretAccessKey"),
        ("the wrong key", "403"),
        ("what cannot be sent", "holds characters that cannot be sent"),
    ],
)
def test_credentials_that_do_not_fit_leave_it_unreadable_with_a_sentence(
    world: World, s3: S3Server, name: str, sentence: str
) -> None:
    snapshot = remote(world, "1", in_s3(s3, "digits/credentials"), DIGEST)
    world.apply(*bad_secret(name, s3), snapshot, world.workload(), world.deployment("digits-v1", bindings=URI))

    told = says(world, 1, "Verified", "Unreadable")
    assert told["status"] == "Unknown", "what could not be read is not called tampered"
    assert sentence in told["message"]
    world.ready("NotVerified")
    assert world.generation() == 1
    assert_nowhere(world, SECRET_KEY, "another-secret-of-this-minute")


def test_only_the_secrets_that_an_administrator_named_are_read(still_world: World, s3: S3Server) -> None:
    world = still_world
    named, other = in_s3(s3, "digits/named"), in_s3(s3, "digits/other-secret", secret_name="other")
    with with_rights_of_the_chart(world, "sources.secrets={store}"):
        world.operator.start()
        world.apply(s3_secret(s3), s3_secret(s3, "other"), remote(world, "2", other, DIGEST))
        serve_remote(world, "1", named, DIGEST)

        told = says(world, "2", "Verified", "Unreadable")["message"]
        assert "the Secret other in" in told
        assert "RBAC does not allow the operator to get it; list it in sources.secrets (chart)" in told
        assert_nowhere(world, SECRET_KEY)


def test_a_secret_is_not_sent_to_the_host_of_another_source(world: World, s3: S3Server, web: Attacker) -> None:
    """Whoever may write a ModelSnapshot could else have every Secret sent to a server of theirs."""
    world.apply(s3_secret(s3))
    world.apply(remote(world, "1", {"http": {"url": f"{web.url}/x", "secretRef": {"name": "store"}}}, sha256_of(FILE)))

    assert "the credentials are for" in says(world, 1, "Verified", "Unreadable")["message"]
    assert web.seen == []


def test_an_object_that_was_tampered_with_is_found_and_not_deployed(world: World, s3: S3Server) -> None:
    world.apply(s3_secret(s3))
    source = in_s3(s3, "digits/tampered")
    flip(s3, f"digits/tampered/{SHARD}")
    world.apply(remote(world, "1", source, DIGEST), world.workload(), world.deployment("digits-v1", bindings=URI))

    told = says(world, 1, "Verified", "DigestMismatch")
    assert (told["status"], DIGEST in told["message"]) == ("False", True)
    world.ready("NotVerified")
    assert world.generation() == 1


def flip(server: S3Server, key: str) -> None:
    """Change one byte on the store's disk, as a thief does."""
    path = server.bucket / key
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("loss", ["destroyed", "tampered"])
def test_where_the_first_copy_is_bad_the_pods_get_the_good_one(
    world: World, s3: S3Server, registry: RegistryServer, loss: str
) -> None:
    world.apply(s3_secret(s3))
    source, mirror = in_s3(s3, f"digits/{loss}"), in_registry(registry, "models/mirror")
    if loss == "tampered":
        flip(s3, f"digits/{loss}/{SHARD}")
    else:
        for path in FILES:
            s3.delete(f"digits/{loss}/{path}")
    serve_remote(world, "1", source, DIGEST, mirrors=[mirror])

    assert world.model_path() == f"oci://{mirror['oci']['reference']}"
    found = verification(world, "1")
    assert (found["reason"], found["copy"]) == ("Verified", "mirrors[0]")
    (passed,) = found["passedOver"]
    reason = "DigestMismatch" if loss == "tampered" else "Unreadable"
    assert (passed["copy"], passed["reason"]) == ("source", reason)
    assert f"digits/{loss}" in passed["message"]
    assert says(world, "1", "Restorable", "ReadWhole")["message"] == "all of it was read from mirrors[0]"


def test_a_copy_that_goes_bad_while_it_serves_restarts_nobody_and_the_next_switch_takes_the_good_one(
    still_world: World, s3: S3Server
) -> None:
    world = still_world
    world.operator.environment = {"LASTGOOD_REVERIFY_INTERVAL": "2s"}
    world.operator.start()
    world.apply(s3_secret(s3))
    source, mirror = in_s3(s3, "digits/first"), in_s3(s3, "digits/mirror")
    serve_remote(world, "1", source, DIGEST, mirrors=[mirror])
    before = world.generation()
    flip(s3, f"digits/first/{SHARD}")
    eventually(lambda: verification(world, "1").get("copy") == "mirrors[0]", what="the mirror is the good copy")

    assert world.list("modelrollback") == [], "a bad copy with a good mirror is no reason to roll back"
    assert world.generation() == before, "nor to start every pod anew"
    other = {**FILES, "config.json": b"{}"}
    serve_remote(world, "2", in_s3(s3, "digits/other", files=other), manifest_of(other))
    world.annotate("modeldeployment/digits", "rollback", "back to the first")
    assert world.rollback()["status"]["target"]["snapshot"] == "digits-v1"
    assert "digits/mirror" in world.model_path()


def test_where_no_copy_is_good_all_of_them_are_told(world: World, s3: S3Server) -> None:
    world.apply(s3_secret(s3))
    source, mirror = in_s3(s3, "digits/bad"), in_s3(s3, "digits/bad-too")
    flip(s3, f"digits/bad/{SHARD}")
    flip(s3, f"digits/bad-too/{SHARD}")
    gone = s3_source(s3, "digits/gone")
    world.apply(remote(world, "1", source, DIGEST, mirrors=[mirror]))
    world.apply(remote(world, "2", source, DIGEST, mirrors=[gone]))

    told = says(world, 1, "Verified", "DigestMismatch")["message"]
    assert "source: DigestMismatch" in told
    assert "mirrors[0]: DigestMismatch" in told
    mixed = says(world, 2, "Verified", "Unreadable")["message"]
    assert "source: DigestMismatch" in mixed, "it may be good tomorrow: not called tampered, and yet told"
    assert "mirrors[0]: Unreadable" in mixed


def test_what_is_in_s3_is_signed_inside_and_scanned_as_what_is_here(world: World, s3: S3Server) -> None:
    world.apply(s3_secret(s3), policy(world, RELEASE.entry(), scan={"required": True}))
    harmless = {"config.json": FILES["config.json"], "notes.txt": b"for digits"}
    good, stranger = signed_inside(harmless), signed_inside(harmless, MALLORY)
    pickled = signed_inside({**harmless, "data.pkl": pickle.dumps(print)})
    for name, files in (("good", good), ("pickled", pickled), ("stranger", stranger)):
        source = in_s3(s3, f"digits/{name}", files=files)
        world.apply(remote(world, name, source, manifest_of(files), signatures=[{"path": "model.sig"}]))

    assert says(world, "good", "Ready", "Verified")["status"] == "True"
    assert says(world, "good", "Signed", "SignatureTrusted")["message"].startswith("signed by release")
    assert "data.pkl" in says(world, "pickled", "Ready", "ScanFinding")["message"]
    says(world, "stranger", "Ready", "SignatureUntrusted")


def signed_inside(files: dict[str, bytes], signer: Signer = RELEASE) -> dict[str, bytes]:
    """Return files with a bundle over all the others among them."""
    return {**files, "model.sig": signer.bundle(entries(files), ignored=("model.sig",)).encode()}


@pytest.mark.parametrize(
    "source",
    [
        {"http": {"url": "http://169.254.169.254/latest/meta-data/iam"}},
        {"http": {"url": "http://[fd00:ec2::254]/latest/meta-data/iam"}},
        {"s3": {"bucket": "models", "prefix": "x", "endpoint": "http://169.254.169.254"}},
        {"oci": {"reference": f"169.254.169.254/models/x@sha256:{'0' * 64}"}},
    ],
    ids=["http", "IPv6", "s3", "oci"],
)
def test_an_address_of_cloud_metadata_is_never_called(world: World, source: Body) -> None:
    world.apply(remote(world, "1", source, f"sha256:{'0' * 64}"))
    assert "never called" in says(world, 1, "Verified", "Unreadable", within=10)["message"]


def test_an_emergency_with_snapshots_in_s3(world: World, s3: S3Server) -> None:
    world.apply(s3_secret(s3))
    other = {**FILES, "config.json": b'{"model_type": "backdoor"}'}
    serve_remote(world, "1", in_s3(s3, "emergency/good"), DIGEST)
    serve_remote(world, "2", in_s3(s3, "emergency/next", files=other), manifest_of(other))
    started = time.monotonic()
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-9: backdoor in v2")
    eventually(lambda: "emergency/good" in world.model_path(), what="the pods are pointed at the good one")
    seconds = time.monotonic() - started
    record = world.rollback()

    assert record["status"]["outcome"] == "Succeeded"
    assert record["status"]["target"]["snapshot"] == "digits-v1"
    print(f"emergency with snapshots in S3, annotation to switch, kubectl included: {seconds:.2f} s")  # noqa: T201  # a number for whoever asks
    assert_nowhere(world, SECRET_KEY)


def manifest_of(files: dict[str, bytes]) -> str:
    """Return the digest of a directory with these files."""
    return manifest_digest(entries(files))
