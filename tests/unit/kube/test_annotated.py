"""When an annotation of ours was set, as the API server has it in managedFields, survives the cache and the parser."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lastgood.api.meta import Meta
from lastgood.api.names import EMERGENCY, ROLLBACK
from lastgood.kube.cache import Kind, slim

FIRST, THEN = "2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z"


def entry(time: Any, *annotations: str) -> dict[str, Any]:
    names: dict[str, Any] = {f"f:{name}": {} for name in annotations}
    owned = {"f:metadata": {"f:annotations": {".": {}, **names}}, "f:spec": {}}
    return {"manager": "kubectl-annotate", "operation": "Update", "time": time, "fieldsV1": owned}


def annotated(kind: Kind, *entries: Any) -> dict[str, datetime]:
    body = {"metadata": {"name": "digits", "namespace": "ml", "managedFields": list(entries)}, "spec": {"model": "m"}}
    return dict(Meta.from_body(slim(kind, body)).annotated)


@pytest.mark.parametrize("kind", [Kind.DEPLOYMENT, Kind.WORKLOAD])
def test_time_is_that_of_the_manager_that_set_it(kind: Kind) -> None:
    found = annotated(kind, entry(FIRST, EMERGENCY, "example.com/other"), entry(THEN, ROLLBACK), entry(THEN, "a/b"))
    assert found == {
        EMERGENCY: datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
        ROLLBACK: datetime(2026, 3, 1, 12, 5, tzinfo=UTC),
    }


def test_nothing_else_of_managed_fields_is_kept_of_a_modeldeployment() -> None:
    entries = [entry(FIRST, "a/b"), entry(FIRST, EMERGENCY)]
    body = {"metadata": {"name": "a", "namespace": "ml", "managedFields": entries}}
    kept = slim(Kind.DEPLOYMENT, body)["metadata"]["managedFields"]
    assert kept == [{"time": FIRST, "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{EMERGENCY}": {}}}}}]
    assert "managedFields" not in slim(Kind.ROLLBACK, body)["metadata"]


@pytest.mark.parametrize("nonsense", [None, "soon", 7])
def test_time_that_cannot_be_read_is_none(nonsense: object) -> None:
    assert annotated(Kind.DEPLOYMENT, entry(nonsense, EMERGENCY)) == {}
