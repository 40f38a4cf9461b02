"""Snapshots on a claim with results of external scanners, and what is decided of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from lastgood.api.facts.evidence import Finding
from lastgood.api.facts.external import ExternalScan
from lastgood.api.names import Reason, Severity
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource, StoreSource
from lastgood.core.actions import UpdateSnapshot
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.snapshot.decide import decide_snapshot
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import Decision
from lastgood.core.trust.policy import Scanner, Trust
from tests.unit.core.builders import NOW, V2, ago, digest, name, swapped, world

ACME, BETA = Scanner(name="acme", image="acme:1"), Scanner(name="beta", image="beta:1")
POLICY = Trust(name="ModelTrustPolicy scanned", models=("digits",), external=(ACME,))
LEAVING = Question(leaving=name(3), leaving_digest=digest(3))
DAY = timedelta(days=1)
STORE = StoreSource(path="digits/2")
ON_CLAIM = PvcSource(claim="models", path="digits/2")
FOUND = Finding(severity=Severity.HIGH, rule="acme/trigger", file="m.safetensors", evidence="a pattern")
LOW = replace(FOUND, severity=Severity.LOW)
GOOD = ExternalScan(
    scanner="acme",
    image="acme:1",
    version="2.1",
    time=ago(hours=1),
    digest=V2.digest,
    verdict="NoFinding",
    complete=True,
)
FAILED = replace(GOOD, verdict="Unreadable", complete=False, version="", message="OOMKilled, exit code 137")


def claimed(*scans: ExternalScan, **changes: Any) -> ModelSnapshot:
    """Return v2 on a claim, with what external scanners said of it."""
    return replace(V2, source=ON_CLAIM, status=replace(V2.status, external=scans), **changes)


def seen(of: ModelSnapshot, *policies: Trust, **changes: Any) -> ObservedSnapshot:
    trust = policies or (POLICY,)
    return replace(ObservedSnapshot(now=NOW, snapshot=of, interval=DAY, trust=trust), **changes)


def decided(of: ModelSnapshot, *policies: Trust, **changes: Any) -> Decision:
    """Return what is decided once the conditions are written."""
    return decide_snapshot(seen(settled(of, *policies), *policies, **changes))


def settled(of: ModelSnapshot, *policies: Trust, **changes: Any) -> ModelSnapshot:
    """Return a snapshot after all that there is to write about it was written."""
    for _ in range(5):
        action = decide_snapshot(seen(of, *policies, **{"scanning": True} | changes)).action
        if not isinstance(action, UpdateSnapshot):
            return of
        of = replace(of, status=action.status)
    raise AssertionError("it is written again and again")


def why(of: ModelSnapshot, *policies: Trust, question: Question = LEAVING) -> tuple[Reason | str, str] | None:
    """Return why a rollback passes v2 over."""
    observed = replace(swapped(world(), of), trust=policies or (POLICY,))
    workload = observed.workload
    assert workload is not None
    return ineligible(replace(observed, workload=replace(workload, claims=frozenset({"models"}))), question, of)
