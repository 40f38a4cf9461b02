"""What the operator writes into a status: the API server drops silently what a definition does not know."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lastgood.api.facts.alert import MAX_ALERTS, Alert, Resolved
from lastgood.api.facts.deployment_status import (
    Active,
    DeploymentStatus,
    Done,
    Held,
    Intent,
    Left,
    Served,
    TriggerReport,
)
from lastgood.api.facts.evidence import Capture, Finding, Forensics, PassedOver, Scan
from lastgood.api.facts.external import MAX_FINDINGS, MAX_SCANNERS, ExternalScan
from lastgood.api.facts.signature import Claims, Examined, Method, SignatureFact, SignatureProblem
from lastgood.api.meta import Condition
from lastgood.api.names import Digest, Outcome, Reason, RecordName, Severity, SnapshotName
from lastgood.api.specs.rollback import Candidate, CheckReport, RollbackSpec, RollbackStatus
from lastgood.api.specs.snapshot import QuarantineMark, SnapshotStatus, Verification
from tests.integration.manifests import DIGEST, RECORD, Body, deployment, put, rollback, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Cluster

NAMESPACE = "status"


@pytest.fixture(scope="module")
def cluster(api: Cluster) -> Iterator[Cluster]:
    """A cluster with the definitions, and a namespace that is gone afterwards."""
    api.kubectl("create", "namespace", NAMESPACE)
    yield api
    api.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
NAME, RECORD_NAME, SHA = SnapshotName("digits-v1"), RecordName(f"digits-{RECORD}"), Digest(DIGEST)
CONDITIONS = {"Ready": Condition(type="Ready", status="True", reason="Serving", message="m", since=NOW, generation=1)}
SPEC = RollbackSpec(deployment="digits", deployment_uid="u", source=NAME, source_digest=SHA, reason="why").as_body()
FACT = SignatureFact(
    method=Method.CERTIFICATE,
    key_id="c" * 64,
    root_id="d" * 64,
    identity="https://ci.example/release",
    not_before=NOW,
    not_after=NOW,
    claims=Claims(model="digits", version="1", trained_at=NOW, data_cutoff=NOW, signed_at=NOW),
    left_out=(".git/config",),
    index=1,
    outside=(0, 2),
)
PROBLEM = SignatureProblem(source="spec.signatures[1]", reason=Reason.SIGNATURE_INVALID, message="m")
FINDING = Finding(severity=Severity.HIGH, rule="pickle-import", file="a.pkl", evidence="os.system")
EXTERNAL = ExternalScan(
    scanner="acme",
    image="registry.example/acme:2",
    version="2.1",
    time=NOW,
    digest=SHA,
    verdict="Finding",
    complete=True,
    message="it left out 1 files: a: b",
    findings=(FINDING,) * MAX_FINDINGS,
    left_out=4,
)
FULL = [
    (
        snapshot("full"),
        SnapshotStatus(
            digest=SHA,
            size_bytes=2**62,
            file_count=9,
            first_seen=NOW,
            verification=Verification(
                reason="Verified",
                message="m",
                time=NOW,
                next_time=NOW,
                seconds=0.5,
                bytes_per_second=7,
                findings=("f",),
                verified_at=NOW,
                blake3=f"blake3:{'b' * 64}",
                copy="mirrors[1]",
                passed_over=(PassedOver(copy="source", reason="DigestMismatch", message="m"),),
            ),
            signatures=Examined(time=NOW, digest=SHA, anchors=DIGEST, facts=(FACT,), problems=(PROBLEM,)),
            scan=Scan(
                time=NOW,
                digest=SHA,
                verdict="Finding",
                formats=("pickle",),
                findings=(FINDING,),
                left_out=3,
                code=SHA,
            ),
            external=tuple(replace(EXTERNAL, scanner=f"s{number}") for number in range(MAX_SCANNERS)),
            capture=Capture(
                reason="Captured", time=NOW, path="sha256/ab/cd", claim="store", message="m", bytes_done=5, size_bytes=5
            ),
            quarantine=QuarantineMark(
                scope="All",
                by="mia",
                reason="r",
                incident="INC-1",
                since=NOW,
                forensics=Forensics(
                    reason="EvidenceFailed",
                    time=NOW,
                    path="evidence/1",
                    claim="store",
                    message="m",
                    attempts=2,
                    next_time=NOW,
                ),
            ),
            handled={"lastgood.dev/quarantine": "INC-1: r"},
            conditions=CONDITIONS,
            observed_generation=1,
        ),
    ),
    (
        deployment("full"),
        DeploymentStatus(
            observed_generation=1,
            snapshot=NAME,
            digest=SHA,
            desired="digits-v2",
            uid="0f2c8e1a-0000-4000-8000-000000000000",
            last_known_good="digits-v0",
            emergency_fallback="digits-v0",
            fallback="digits-v0 (emergency only)",
            available_at=NOW,
            placement=3,
            active=Active(
                name=RECORD_NAME,
                since=NOW,
                spec=SPEC,
                intent=Intent(target=NAME, digest=SHA, at=NOW, verification="Recent", verified_at=NOW),
            ),
            continues={"name": RECORD_NAME, "deeper": {"list": [1]}},
            held=Held(snapshot=NAME, digest=SHA, reason="r", rollback=RECORD_NAME, since=NOW),
            left=(Left(digest=SHA, snapshot=NAME, reason="r", at=NOW),) * 64,
            history=(Served(snapshot=NAME, digest=SHA, since=NOW, until=NOW, soaked_at=NOW, by="spec"),) * 50,
            rollbacks=(Done(name=RECORD_NAME, at=NOW, automatic=True, outcome="Succeeded", reason="r"),) * 20,
            triggers=(
                TriggerReport(
                    name="a",
                    severity="high",
                    verdict="Breached",
                    value="0.4",
                    value_at=NOW,
                    error="e",
                    error_kind="TimedOut",
                    error_at=NOW,
                    since=NOW,
                ),
            ),
            alerts=(Alert(reason="Suspended", about="a", message="m", since=NOW),) * MAX_ALERTS,
            resolved=(Resolved(reason="Suspended", about="a", until=NOW),) * MAX_ALERTS,
            signalled_at=NOW,
            handled={"lastgood.dev/rollback": "r"},
            conditions=CONDITIONS,
        ),
    ),
    (
        rollback("full"),
        RollbackStatus(
            deployment_uid="0a1b2c3d-0000-4000-8000-000000000000",
            source=NAME,
            source_digest=SHA,
            target=NAME,
            target_digest=SHA,
            candidates=(Candidate(snapshot=NAME, digest=SHA, verdict="PassedOver", reason="LeftBefore", message="m"),)
            * 100,
            candidates_left_out=2,
            verified_at=NOW,
            verification="Fresh",
            intent_at=NOW,
            switched_at=NOW,
            available_at=NOW,
            checks=(CheckReport(name="accuracy", verdict="Inconclusive", value="0.4", error="e"),),
            quarantined=(DIGEST,),
            outcome=Outcome.UNVALIDATED,
            outcome_reason="NoData",
            outcome_at=NOW,
            message="m",
            conditions=CONDITIONS,
        ),
    ),
]


@pytest.mark.parametrize(
    ("manifest", "status"), FULL, ids=lambda part: part.get("kind") if isinstance(part, dict) else ""
)
def test_everything_that_the_operator_writes_is_kept(
    cluster: Cluster, manifest: Body, status: SnapshotStatus | DeploymentStatus | RollbackStatus
) -> None:
    put(cluster, NAMESPACE, manifest, status.as_body())
    kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
    assert (
        json.loads(cluster.kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json").stdout)["status"]
        == status.as_body()
    )
