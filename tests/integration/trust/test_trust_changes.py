"""A trust policy changes: what it says takes effect at once, and no byte is read again for it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastgood.verify import manifest_digest
from tests.cluster import Cluster
from tests.integration.rights import listed, rendered, with_rights_of_the_chart
from tests.integration.signing import (
    CLUSTER_POLICY,
    POLICY,
    Signer,
    looked,
    patch,
    policy,
    says,
    serve_signed,
    signed,
    told,
    write,
)
from tests.integration.world import World, eventually
from tests.servers.samples import entries

RELEASE = Signer(name="release")
SECOND = Signer(name="second")
PAST = "2026-01-01T00:00:00Z"
AT_ONCE = 10.0  # seconds; a minute is promised, and it takes less than one second on a machine that is not busy


def revoke(world: World, *, cluster: bool = False, name: str = "release") -> float:
    """Revoke the first key of a policy that has two, and return when."""
    kind = CLUSTER_POLICY if cluster else POLICY
    keys = [RELEASE.entry(revokedAt=PAST), SECOND.entry()]
    patch(world, kind, name, {"signatures": {"keys": keys}})
    return time.monotonic()


def test_a_revoked_key_takes_its_snapshots_out_at_once_and_reads_no_byte(world: World) -> None:
    world.apply(policy(world, RELEASE.entry(), SECOND.entry()))
    serve_signed(world, 0, SECOND)
    serve_signed(world, 1, RELEASE)
    serve_signed(world, 2, RELEASE)
    before = [looked(world, version) for version in range(3)]
    (world.store / "digits").rename(world.store / "elsewhere")
    revoked_at = revoke(world)
    for version in (1, 2):
        assert says(world, version, "Ready", "KeyRevoked", within=AT_ONCE)["status"] == "False"
        assert says(world, version, "Signed", "KeyRevoked", within=AT_ONCE)["status"] == "False"
    seconds = time.monotonic() - revoked_at
    (world.store / "elsewhere").rename(world.store / "digits")

    assert [looked(world, version) for version in range(3)] == before
    assert world.event("KeyRevoked", about="digits-v2")["type"] == "Warning"
    assert world.event("KeyRevoked", about="digits")["type"] == "Warning"
    assert says(world, 0, "Ready", "Verified")["status"] == "True"
    assert (world.list("modelrollback"), world.model_path()) == ([], "/models/digits/2")
    print(f"revocation to Ready=False of two snapshots: {seconds:.2f} s")  # noqa: T201  # a number for whoever asks

    world.annotate("modeldeployment/digits", "rollback", "that key was stolen")
    record = world.rollback()
    assert record["status"]["target"]["snapshot"] == "digits-v0"
    assert world.candidates(record)["digits-v1"] == "KeyRevoked"
    assert "'release' was revoked" in told(record, 1)


def test_code_is_deployed_once_a_policy_allows_exactly_this_code_and_no_byte_is_read_for_it(world: World) -> None:
    handler = write(world, 1, "handler.py", b"import os\n")
    world.apply(policy(world, scan={}), world.snapshot(1))
    said = says(world, 1, "Ready", "ScanFinding", within=90)["message"]
    code = world.get("modelsnapshot", "digits-v1")["status"]["scan"]["code"]
    assert "code-file (high) in 'handler.py'" in said
    assert f"add {code} to spec.scan.allowedCode of ModelTrustPolicy release" in said
    assert code == manifest_digest(entries({"handler.py": handler.read_bytes()}))

    before = looked(world, 1)
    patch(world, POLICY, "release", {"scan": {"allowedCode": [code]}})
    assert says(world, 1, "Ready", "Verified", within=AT_ONCE)["status"] == "True"
    assert looked(world, 1) == before
    world.apply(world.workload(), world.deployment("digits-v1"))
    world.served("digits-v1")

    write(world, 2, "handler.py", b"import os, evil\n")
    world.apply(world.snapshot(2), world.deployment("digits-v2"))
    says(world, 2, "Ready", "ScanFinding")
    assert world.model_path() == "/models/digits/1"


def test_a_revoked_key_binds_an_emergency_that_names_the_snapshot_too(world: World) -> None:
    world.apply(policy(world, RELEASE.entry(), SECOND.entry()))
    serve_signed(world, 1, RELEASE)
    serve_signed(world, 2, SECOND)
    revoke(world)
    world.annotate("modeldeployment/digits", "emergency-rollback", "to=digits-v1: INC-1: at once")
    record = world.rollback()

    assert (record["status"]["outcome"], record["status"]["outcomeReason"]) == ("Rejected", "KeyRevoked")
    assert world.candidates(record)["digits-v1"] == "KeyRevoked"
    assert world.model_path() == "/models/digits/2"


def test_a_key_ends_by_time_alone(world: World) -> None:
    world.apply(policy(world, RELEASE.entry(), SECOND.entry()))
    world.apply(*signed(world, 1, RELEASE))
    says(world, 1, "Ready", "Verified")
    before = looked(world, 1)
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4))
    patch(world, POLICY, "release", {"signatures": {"keys": [RELEASE.entry(notAfter=end), SECOND.entry()]}})

    assert "not valid after" in says(world, 1, "Ready", "KeyNotValidNow", within=20)["message"]
    assert looked(world, 1) == before


def test_a_new_key_has_the_bytes_read_once_and_a_deleted_policy_refuses_nothing(world: World) -> None:
    world.apply(policy(world, RELEASE.entry()), *signed(world, 1, SECOND))
    says(world, 1, "Ready", "SignatureUntrusted")
    before = looked(world, 1)
    world.apply(policy(world, RELEASE.entry(), SECOND.entry()))
    assert says(world, 1, "Ready", "Verified", within=60)["status"] == "True"
    assert says(world, 1, "Signed", "SignatureTrusted")["message"].startswith("signed by second")
    assert looked(world, 1) > before

    world.apply(policy(world, RELEASE.entry()))
    says(world, 1, "Ready", "SignatureUntrusted", within=AT_ONCE)
    world.kubectl("delete", POLICY, "release")
    assert says(world, 1, "Ready", "Verified", within=AT_ONCE)["status"] == "True"
    assert says(world, 1, "Signed", "NoTrustPolicy")["status"] == "Unknown"


def test_a_policy_that_cannot_be_used_trusts_nobody(world: World) -> None:
    serve_signed(world, 1, RELEASE)
    world.apply(*signed(world, 2, RELEASE))
    says(world, 2, "Ready", "Verified")
    world.apply(policy(world, RELEASE.entry(), RELEASE.entry() | {"name": "again"}))

    assert "same key" in says(world, 2, "Ready", "TrustPolicyInvalid", within=AT_ONCE)["message"]
    world.apply(world.deployment("digits-v2"))
    world.ready("TrustPolicyInvalid")
    assert world.model_path() == "/models/digits/1"


def test_a_revoked_digest_is_left_and_never_comes_back_while_it_is_revoked(world: World) -> None:
    world.apply(policy(world, RELEASE.entry()))
    serve_signed(world, 1, RELEASE)
    serve_signed(world, 2, RELEASE)
    revoked = [{"digest": world.status()["digest"], "reason": "INC-7: backdoor"}]
    patch(world, POLICY, "release", {"revokedDigests": revoked})
    record = world.rollback()

    fired = record["spec"]["trigger"]
    assert (fired["name"], fired["condition"]) == ("snapshot-integrity", "DigestRevoked")
    assert "INC-7: backdoor" in fired["value"]
    assert (record["status"]["outcome"], world.model_path()) == ("Succeeded", "/models/digits/1")
    assert says(world, 2, "Ready", "DigestRevoked")["status"] == "False"
    world.annotate("modeldeployment/digits", "resume", "I am in a hurry")
    assert "INC-7: backdoor" in world.ready("DigestRevoked")["message"]

    patch(world, POLICY, "release", {"revokedDigests": None})
    world.served("digits-v2")


@pytest.fixture
def two(api: Cluster, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two namespaces with one operator, which is the first one's."""
    for name in "ab":
        (tmp_path / name).mkdir()
    with World.make(api, tmp_path / "a") as first, World.make(api, tmp_path / "b") as second:
        second.store = first.store
        first.operator.arguments = ("--namespace", second.namespace)
        first.operator.start()
        try:
            yield first, second
        finally:
            api.kubectl("delete", CLUSTER_POLICY, "everywhere", "--ignore-not-found")


def test_a_cluster_policy_holds_in_every_namespace_that_is_watched(two: tuple[World, World]) -> None:
    worlds = two
    worlds[0].apply(policy(worlds[0], RELEASE.entry(), SECOND.entry(), name="everywhere", cluster=True))
    for world in worlds:
        world.apply(*signed(world, 1, RELEASE))
    for world in worlds:
        says(world, 1, "Ready", "Verified")
    before = [looked(world, 1) for world in worlds]
    revoke(worlds[0], cluster=True, name="everywhere")
    for world in worlds:
        assert says(world, 1, "Ready", "KeyRevoked", within=AT_ONCE)["message"].startswith("ClusterModelTrustPolicy")
    assert [looked(world, 1) for world in worlds] == before

    worlds[0].kubectl("delete", CLUSTER_POLICY, "everywhere")
    for world in worlds:
        says(world, 1, "Ready", "Verified", within=AT_ONCE)


def test_a_policy_of_one_namespace_is_nothing_to_another(two: tuple[World, World]) -> None:
    here, there = two
    here.apply(policy(here, SECOND.entry()))
    for world in two:
        world.apply(*signed(world, 1, RELEASE))
    says(here, 1, "Ready", "SignatureUntrusted")
    says(there, 1, "Ready", "Verified")


def test_nothing_is_deployed_or_gone_back_to_while_a_policy_list_cannot_be_read(still_world: World) -> None:
    """A policy that was not read yet may be the one that revokes a key."""
    world = still_world
    world.operator.start()
    world.serve(1)
    world.serve(2)
    world.operator.stop()
    with with_rights_of_the_chart(world, keep=lambda body: not body["metadata"]["name"].endswith("-trust")):
        world.operator.start()
        world.apply(world.snapshot(3), world.deployment("digits-v3"))
        world.annotate("modeldeployment/digits", "emergency-rollback", "INC-1: v2 is bad")
        says(world, 3, "Verified", "Verified")
        assert world.condition("Ready", kind="modelsnapshot", name="digits-v3")["status"] == "Unknown"
        eventually(
            lambda: "in all namespaces, to list clustermodeltrustpolicies" in log(world),
            what="the operator says so",
        )
        time.sleep(3)
        assert world.model_path() == "/models/digits/2"

        missing = [body for body in rendered(world) if body["metadata"]["name"].endswith("-trust")]
        world.apply(*missing)
        assert world.rollback()["status"]["target"]["snapshot"] == "digits-v1"
        says(world, 3, "Ready", "Verified")
        world.cluster.kubectl("delete", "-f", "-", stdin=json.dumps(listed(missing)))


def log(world: World) -> str:
    """Return what the operator wrote to stderr."""
    return (world.operator.logs / "operator.log").read_text()
