"""The three kinds, parsed once: what is written is read back, and nonsense in a status stops nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lastgood.api.bindings.kinds.annotation import AnnotationBinding
from lastgood.api.bindings.kinds.env import EnvBinding
from lastgood.api.bindings.kinds.image import ImageBinding
from lastgood.api.facts.deployment_status import Active, DeploymentStatus, Done, Held, Left, Served, TriggerReport
from lastgood.api.facts.evidence import Capture, Finding, PassedOver, Scan
from lastgood.api.facts.signature import Claims, Examined, Method, SignatureFact, SignatureProblem
from lastgood.api.fields import Fields, compact
from lastgood.api.meta import Condition
from lastgood.api.names import Digest, Outcome, Reason, RecordName, Severity, SnapshotName
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import (
    Candidate,
    CheckReport,
    FiredTrigger,
    ModelRollback,
    RollbackSpec,
    RollbackStatus,
)
from lastgood.api.specs.snapshot import (
    ModelSnapshot,
    QuarantineMark,
    SnapshotStatus,
    Verification,
)
from lastgood.api.specs.sources import PvcSource, StoreSource
from lastgood.errors import InvalidSpecError
from lastgood.signals.kinds.http import HttpSource

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DIGEST = Digest(f"sha256:{'a' * 64}")
V1, V2 = SnapshotName("digits-v1"), SnapshotName("digits-v2")
META = {"namespace": "ml", "name": "digits", "uid": "u", "resourceVersion": "9", "generation": 2}

DEPLOYMENT: dict[str, Any] = {
    "metadata": META,
    "spec": {
        "model": "digits",
        "snapshot": "digits-v2",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "digits-server"},
        "bindings": [
            {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"},
            {"image": {"container": "server"}, "value": "$(image)"},
            {"annotation": {"name": "team/model"}, "value": "$(version)"},
        ],
        "triggers": [
            {"name": "accuracy", "http": {"url": "http://x/m"}, "failureCondition": "result.a < 1", "timeout": "2s"},
            {"name": "pods", "workload": {"on": ["CrashLoop"]}, "severity": "critical", "onNoData": "Alert"},
        ],
        "validation": {
            "checks": [{"name": "smoke", "http": {"url": "https://x"}, "successCondition": "result.ok"}],
            "onFailure": "Alert",
        },
        "rollback": {"automatic": ["critical"], "knownGood": {"require": "Soaked", "soak": "1h"}, "maxPerHour": 60},
        "suspend": True,
    },
}
SNAPSHOT: dict[str, Any] = {
    "metadata": META,
    "spec": {
        "model": "digits",
        "version": "2",
        "source": {"pvc": {"claimName": "models", "path": "digits/2"}},
        "digest": DIGEST,
        "trainedAt": "2026-02-01T00:00:00Z",
        "runtime": {"image": "registry/server:2"},
    },
}
ROLLBACK: dict[str, Any] = {"metadata": META, "spec": {"deployment": {"name": "digits"}, "reason": "x"}}


def changed(body: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return a body with one field of its spec changed; None removes it."""
    first, _, rest = path.partition(".")
    inner = body.get(first, {})
    new = changed(inner, rest, value) if rest else value
    return compact({**body, first: new})


def test_deployment_is_read_whole() -> None:
    read = ModelDeployment.from_body(DEPLOYMENT)
    assert (read.model, read.snapshot, read.target, read.suspend) == ("digits", "digits-v2", "digits-server", True)
    assert read.bindings == (
        EnvBinding(container="server", name="MODEL_PATH", value="/models/$(path)"),
        ImageBinding(container="server", value="$(image)"),
        AnnotationBinding(name="team/model", value="$(version)"),
    )
    assert [item.name for item in read.triggers] == ["accuracy", "pods"]
    assert read.triggers[0].source == HttpSource(url="http://x/m", timeout=timedelta(seconds=2))
    assert (read.triggers[0].severity, read.triggers[1].severity) == ("high", "critical")
    assert (read.triggers[1].alert_on_no_data, read.triggers[1].failure_condition) == (True, "")
    assert (read.rollback.require_soaked, read.rollback.soak) == (True, timedelta(hours=1))
    assert (read.rollback.automatic, read.rollback.max_per_hour) == (("critical",), 60)
    assert (read.next_on_failure, read.checks[0].success_condition) == (False, "result.ok")


def test_defaults_of_a_deployment() -> None:
    spec = {key: DEPLOYMENT["spec"][key] for key in ("model", "snapshot", "targetRef", "bindings")}
    read = ModelDeployment.from_body({"metadata": META, "spec": spec})
    policy = read.rollback
    assert (read.triggers, read.checks, read.next_on_failure, read.suspend) == ((), (), True, False)
    assert (policy.automatic, policy.require_soaked, policy.soak) == (
        ("critical", "high"),
        True,
        timedelta(minutes=10),
    )
    assert (policy.cooldown, policy.max_per_hour, policy.history_limit) == (timedelta(minutes=5), 3, 20)
    assert (policy.max_verification_age, policy.progress_deadline) == (timedelta(hours=24), timedelta(minutes=10))
    assert policy.soak == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("spec.model", None, "spec.model: must be a string of 1 to 63 characters"),
        ("spec.snapshot", "", "spec.snapshot: must be a string of 1 to 253 characters"),
        ("spec.targetRef.name", None, "spec.targetRef.name: must be a string"),
        ("spec.targetRef.kind", "StatefulSet", "spec.targetRef.kind: must be Deployment"),
        ("spec.bindings", [], "spec.bindings: must name at least one field of the workload"),
        ("spec.bindings", [{}], "spec.bindings[0].value: must be a string"),
        ("spec.bindings", [{"value": "x"}], "spec.bindings[0]: must have exactly one of "),
        (
            "spec.bindings",
            [{"value": "x", "env": {}, "image": {}}],
            "spec.bindings[0]: must have exactly one of ",
        ),
        ("spec.bindings", [{"value": "x", "env": {"container": "a"}}], "spec.bindings[0].env.name: must be a string"),
        (
            "spec.bindings",
            [{"value": "x" * 1025, "image": {}}],
            "spec.bindings[0].value: must be a string of 1 to 1024",
        ),
        ("spec.bindings", [{}] * 17, "spec.bindings: must be a list of at most 16 objects"),
        ("spec.triggers", [{"name": "a"}], "spec.triggers[0]: must have exactly one of "),
        (
            "spec.triggers",
            [{"name": "a", "http": {"url": "http://x"}}],
            "spec.triggers[0].failureCondition: must be a string",
        ),
        (
            "spec.triggers",
            [{"name": "a", "http": {"url": "file:///etc/passwd"}, "failureCondition": "x"}],
            "spec.triggers[0].http.url: must start with http:// or https://",
        ),
        (
            "spec.triggers",
            [{"name": "a", "workload": {}, "severity": "urgent"}],
            "spec.triggers[0].severity: must be critical, high, medium or low",
        ),
        ("spec.triggers", [{"name": "a", "workload": {}, "failureThreshold": 0}], "failureThreshold: must be a whole"),
        ("spec.rollback.cooldown", "5 minutes", "spec.rollback.cooldown: must be a duration"),
        ("spec.rollback.maxPerHour", 61, "spec.rollback.maxPerHour: must be a whole number from 1 to 60"),
        ("spec.suspend", "yes", "spec.suspend: must be true or false"),
        ("spec", "x", "spec: must be an object"),
    ],
)
def test_deployment_is_refused_with_a_sentence(path: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        ModelDeployment.from_body(changed(DEPLOYMENT, path, value))
    assert sentence in str(refused.value)


def test_interval_is_never_shorter_than_a_second() -> None:
    body = changed(DEPLOYMENT, "spec.triggers", [{"name": "a", "workload": {}, "interval": "1ms"}])
    assert ModelDeployment.from_body(body).triggers[0].interval == timedelta(seconds=1)


def test_snapshot_is_read_whole() -> None:
    read = ModelSnapshot.from_body(SNAPSHOT)
    assert (read.name, read.model, read.version, read.image) == ("digits", "digits", "2", "registry/server:2")
    assert (read.source, read.digest) == (PvcSource(claim="models", path="digits/2"), DIGEST)
    assert (read.trained_at, read.data_cutoff) == (datetime(2026, 2, 1, tzinfo=UTC), None)
    stored = changed(SNAPSHOT, "spec.source", {"store": {"path": "digits/2"}})
    assert ModelSnapshot.from_body(stored).source == StoreSource(path="digits/2")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("spec.digest", "sha256:abc", "spec.digest: must be sha256: and 64 lower-case hex digits"),
        ("spec.digest", DIGEST.upper(), "spec.digest: must be sha256:"),
        ("spec.digest", f"{DIGEST}\n", "spec.digest: must be"),
        ("spec.digest", None, "spec.digest: must be a string"),
        ("spec.source", {}, "spec.source: must have exactly one of store, pvc, s3, oci and http"),
        ("spec.source", {"store": {"path": "a"}, "pvc": {"path": "a"}}, "spec.source: must have exactly one of"),
        ("spec.source", {"pvc": {"path": "a"}}, "spec.source.pvc.claimName: must be a string"),
        ("spec.trainedAt", "in spring", "spec.trainedAt: must be an RFC 3339 time"),
        ("spec.version", "v" * 129, "spec.version: must be a string of 1 to 128"),
    ],
)
def test_snapshot_is_refused_with_a_sentence(path: str, value: object, sentence: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        ModelSnapshot.from_body(changed(SNAPSHOT, path, value))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "path",
    ["/etc", "..", "../x", "a/../b", "a//b", "a/", "./a", "a/.", "a\\b", "a\x00b", "a\nb", "a\u202eb", "", "x" * 1025],
)
def test_path_out_of_its_root_is_refused(path: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.source\.store\.path: must be"):
        ModelSnapshot.from_body(changed(SNAPSHOT, "spec.source", {"store": {"path": path}}))


@pytest.mark.parametrize("path", ["a", "a/b/c", "a..b/c", ".hidden", "...", "a b", "模型/2"])
def test_ordinary_path_is_read(path: str) -> None:
    body = changed(SNAPSHOT, "spec.source", {"store": {"path": path}})
    assert ModelSnapshot.from_body(body).source == StoreSource(path=path)


def test_rollback_is_read_with_its_defaults() -> None:
    read = ModelRollback.from_body(ROLLBACK)
    assert read.spec == RollbackSpec(deployment="digits", reason="x")
    assert read.spec.requested_by == "unknown"


# What is written is read back

CONDITIONS = {"Ready": Condition(type="Ready", status="True", reason="Serving", message="m", since=NOW, generation=2)}
FIRED = FiredTrigger(name="accuracy", severity="high", value="0.5", condition="x")
SPEC = RollbackSpec(
    deployment="digits",
    deployment_uid="u",
    source=V2,
    source_digest=DIGEST,
    to=V1,
    before=NOW,
    reason="wrong answers",
    trigger=FIRED,
    incident="INC-1",
    emergency=True,
    automatic=True,
    requested_by="ann",
    continues=RecordName("rb-0"),
)
STATUS = DeploymentStatus(
    observed_generation=2,
    snapshot=V2,
    digest=DIGEST,
    desired="digits-v3",
    last_known_good="digits-v1",
    available_at=NOW,
    placement=7,
    active=Active(name=RecordName("rb-1"), since=NOW, spec=SPEC.as_body()),
    continues={"record": "rb-0"},
    held=Held(snapshot=V2, digest=DIGEST, reason="x", rollback=RecordName("rb-0"), since=NOW),
    left=(Left(digest=DIGEST, snapshot=V1, reason="x", at=NOW),),
    history=(Served(snapshot=V1, digest=DIGEST, since=NOW, until=NOW, soaked_at=NOW, by="forward"),),
    rollbacks=(Done(name=RecordName("rb-0"), at=NOW, automatic=True, outcome="Failed", reason="NoKnownGood"),),
    triggers=(TriggerReport(name="a", severity="high", verdict="Healthy", value="1", error="e", since=NOW),),
    handled={"rollback.1": "rb-0"},
    conditions=CONDITIONS,
)
RECORD_STATUS = RollbackStatus(
    target=V1,
    target_digest=DIGEST,
    candidates=(Candidate(snapshot=V1, digest=DIGEST, verdict="Chosen", reason="Chosen", message="m"),),
    candidates_left_out=3,
    verified_at=NOW,
    verification="Fresh",
    intent_at=NOW,
    switched_at=NOW,
    available_at=NOW,
    checks=(CheckReport(name="smoke", verdict="Healthy", value="v", error="e"),),
    quarantined=(DIGEST,),
    outcome=Outcome.FAILED,
    outcome_reason="NoKnownGood",
    outcome_at=NOW,
    message="m",
    conditions=CONDITIONS,
)
FACT = SignatureFact(
    method=Method.CERTIFICATE,
    key_id="a" * 64,
    root_id="b" * 64,
    identity="https://ci.example/release",
    not_before=NOW,
    not_after=NOW,
    claims=Claims(model="digits", version="2", trained_at=NOW, data_cutoff=NOW, signed_at=NOW, image="r.example/x@y"),
    left_out=(".git/config",),
    index=1,
    outside=(0, 2),
)
SNAPSHOT_STATUS = SnapshotStatus(
    digest=DIGEST,
    signatures=Examined(
        time=NOW,
        digest=DIGEST,
        anchors=DIGEST,
        facts=(FACT, SignatureFact(method=Method.KEY, key_id="c" * 64)),
        problems=(
            SignatureProblem(source="spec.signatures[1]", reason=Reason.SIGNATURE_INVALID, message="1.bin differs"),
        ),
    ),
    scan=Scan(
        time=NOW,
        digest=DIGEST,
        verdict="Finding",
        formats=("pickle", "json"),
        findings=(Finding(severity=Severity.HIGH, rule="pickle-import", file="a.pkl", evidence="os.system"),),
        left_out=7,
        code=DIGEST,
    ),
    capture=Capture(reason="Captured", time=NOW, path="ab/cd", claim="store", message="m", bytes_done=5, size_bytes=5),
    size_bytes=5,
    file_count=2,
    first_seen=NOW,
    verification=Verification(
        reason="Verified",
        message="m",
        time=NOW,
        next_time=NOW,
        seconds=0.5,
        bytes_per_second=9,
        findings=("f",),
        verified_at=NOW,
        blake3="ab" * 32,
        copy="mirrors[1]",
        passed_over=(PassedOver(copy="source", reason="DigestMismatch", message="m"),),
    ),
    quarantine=QuarantineMark(scope="All", by="ann", reason="x", incident="INC-1", since=NOW),
    handled={"quarantine.1": "quarantined"},
    conditions=CONDITIONS,
    observed_generation=2,
)


def test_status_of_a_deployment_survives_writing_and_reading() -> None:
    assert DeploymentStatus.from_body({"status": compact(STATUS.as_body())}) == STATUS
    assert DeploymentStatus.from_body({"status": compact(DeploymentStatus().as_body())}) == DeploymentStatus()


def test_record_survives_writing_and_reading() -> None:
    assert RollbackSpec.from_fields(Fields(SPEC.as_body())) == SPEC
    assert RollbackStatus.from_fields(Fields(compact(RECORD_STATUS.as_body()))) == RECORD_STATUS
    assert RollbackStatus.from_fields(Fields(compact(RollbackStatus().as_body()))) == RollbackStatus()


def test_status_of_a_snapshot_survives_writing_and_reading() -> None:
    body = {**SNAPSHOT, "status": compact(SNAPSHOT_STATUS.as_body())}
    assert ModelSnapshot.from_body(body).status == SNAPSHOT_STATUS


def test_lists_in_status_keep_the_newest() -> None:
    many = replace(
        STATUS,
        left=STATUS.left * 99,
        history=STATUS.history * 99,
        rollbacks=(*STATUS.rollbacks * 99, STATUS.rollbacks[0]),
    ).as_body()
    assert (len(many["left"]), len(many["history"]), len(many["rollbacks"])) == (64, 50, 60)


@pytest.mark.parametrize(
    ("condition", "digest", "verified"),
    [("True", DIGEST, True), ("Unknown", DIGEST, False), ("False", DIGEST, False), ("True", "sha256:other", False)],
)
def test_verified_needs_the_condition_and_the_digest(condition: str, digest: str, verified: bool) -> None:  # noqa: FBT001 - a column of the table
    status = {"digest": digest, "conditions": [{"type": "Verified", "status": condition, "reason": "x"}]}
    assert ModelSnapshot.from_body({**SNAPSHOT, "status": status}).verified is verified
