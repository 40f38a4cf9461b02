"""Who needs a digest: whatever serves, is wanted, held or left, is known good, pinned, or part of an incident."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import Active, DeploymentStatus, Held, Intent, Left, Served
from lastgood.api.names import PIN, Digest, Outcome, RecordName, SnapshotName
from lastgood.api.specs.snapshot import ModelSnapshot, QuarantineMark
from lastgood.core.snapshot.retention import Found, Needs, needs
from tests.unit.core.builders import NOW, V1, V2, V3, deployment, digest, record

NAME = SnapshotName("digits-v2")


def found(status: DeploymentStatus | None = None, **changes: Any) -> Needs:
    """Return the needs where a ModelDeployment that wants v3 has a status."""
    own = replace(deployment(), status=status or DeploymentStatus())
    return needs(replace(Found(snapshots=(V1, V2, V3), deployments=(own,)), **changes))


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(DeploymentStatus(digest=digest(2)), id="the digest that serves"),
        pytest.param(DeploymentStatus(snapshot=NAME), id="the snapshot that serves"),
        pytest.param(DeploymentStatus(desired=NAME), id="the desired snapshot"),
        pytest.param(DeploymentStatus(left=(Left(digest=digest(2), snapshot=NAME, reason=""),)), id="what was left"),
        pytest.param(
            DeploymentStatus(held=Held(snapshot=NAME, digest=Digest(""), reason="", rollback=RecordName("rb"))),
            id="what is held, by name",
        ),
        pytest.param(
            DeploymentStatus(
                held=Held(snapshot=SnapshotName("gone"), digest=digest(2), reason="", rollback=RecordName("rb"))
            ),
            id="what is held, by digest",
        ),
        pytest.param(
            DeploymentStatus(
                history=(
                    Served(snapshot=NAME, digest=digest(2), since=NOW, until=NOW),
                    Served(snapshot=SnapshotName("digits-v3"), digest=digest(3), since=NOW),
                )
            ),
            id="what served just before",
        ),
    ],
)
def test_what_serves_or_is_wanted_is_needed(status: DeploymentStatus) -> None:
    assert digest(2) in found(status).serving
    assert digest(1) not in found(status).serving


def test_what_the_spec_names_is_needed_before_any_status() -> None:
    assert found().serving == {digest(3)}


def test_what_a_workload_carries_is_needed_also_without_a_model_deployment() -> None:
    """Whoever deletes a ModelDeployment does not take the weights from the pods that serve."""
    alone = found(deployments=(), carried=frozenset({digest(1), "", "sha256:nonsense"}))
    assert alone.serving == {digest(1)}


@pytest.mark.parametrize("what", ["active", "continues", "a record that waits"])
def test_while_a_rollback_is_under_way_everything_that_it_may_choose_is_needed(what: str) -> None:
    name = RecordName("rb-1")
    intent = Intent(target=NAME, digest=digest(2), at=NOW, verification="Fresh", verified_at=NOW)
    status = {
        "active": DeploymentStatus(active=Active(name=name, since=NOW, spec={}, intent=intent)),
        "continues": DeploymentStatus(continues={"record": name}),
    }.get(what)
    waiting = replace(record(), status=replace(record().status, outcome=None))
    records = (waiting,) if what == "a record that waits" else ()
    assert found(status, records=records).serving == {digest(1), digest(2), digest(3)}


def test_a_rollback_that_ended_needs_nothing() -> None:
    done = replace(record(), status=replace(record().status, outcome=Outcome.SUCCEEDED))
    assert found(records=(done,)).serving == {digest(3)}


def test_last_known_good_is_needed_by_its_name_in_its_own_namespace() -> None:
    assert found(DeploymentStatus(last_known_good="digits-v1")).last_known_good == {digest(1)}
    elsewhere = replace(V1, meta=replace(V1.meta, namespace="other"))
    status = DeploymentStatus(last_known_good="digits-v1")
    assert found(status, snapshots=(elsewhere,)).last_known_good == frozenset()


def pinned(of: ModelSnapshot, text: str) -> ModelSnapshot:
    return replace(of, meta=replace(of.meta, annotations={PIN: text}))


@pytest.mark.parametrize("text", ["INC-1: for the audit", "", "false"])
def test_a_pin_holds_whatever_it_says(text: str) -> None:
    assert found(snapshots=(pinned(V1, text), V2)).pins == {digest(1)}


def test_what_is_quarantined_is_evidence_by_its_mark_or_by_the_list() -> None:
    marked = replace(V1, status=replace(V1.status, quarantine=QuarantineMark(scope="Snapshot")))
    assert found(snapshots=(marked, V2), quarantined=frozenset({digest(2)})).evidence == {digest(1), digest(2)}


def test_equal_names_in_two_namespaces_are_two_models() -> None:
    """Else a team with many snapshots of `digits` would push another team's out."""
    elsewhere = replace(V1, meta=replace(V1.meta, namespace="other"))
    models = found(snapshots=(V1, elsewhere, V2)).models
    assert models == {digest(1): {"ml/digits", "other/digits"}, digest(2): {"ml/digits"}}
