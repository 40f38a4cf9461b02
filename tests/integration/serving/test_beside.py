"""A switch that is more than one write: a kind of binding that is not ours writes keys of two ConfigMaps as well."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from lastgood.api.names import FIELD_MANAGER
from tests.cluster import Cluster
from tests.integration.audited import events
from tests.integration.world import ALLOWED, Body, World, eventually
from tests.unit.core.config_key import ConfigKey

ROOT = Path(__file__).parents[3]
BESIDE = (
    ConfigKey(config_map="paths", key="model", value="/models/$(path)"),
    ConfigKey(config_map="versions", key="digits", value="$(version)"),
)
BINDINGS = [
    {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"},
    *({"configKey": {"name": item.config_map, "key": item.key}, "value": item.value} for item in BESIDE),
]


@pytest.fixture
def declared(api: Cluster) -> Iterator[None]:
    """The CRD knows the kind, for as long as the test."""
    crd = yaml.safe_load((ROOT / "crds" / "modeldeployments.yaml").read_text(encoding="utf-8"))
    (version,) = crd["spec"]["versions"]
    item = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["bindings"]["items"]
    text = {"type": "string", "maxLength": 253}
    item["properties"]["configKey"] = {"type": "object", "properties": {"name": text, "key": text}}
    first = item["x-kubernetes-validations"][0]
    first["rule"] = first["rule"].replace("has(self.env)", "has(self.env), has(self.configKey)")
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(crd))
    yield
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", "crds/modeldeployments.yaml")


def behind_the_door(folder: Path) -> dict[str, str]:
    """Put the kind behind the door of an operator that is started with this environment."""
    kinds = folder / "kinds"
    kinds.mkdir(parents=True)
    (kinds / "config_key.py").write_text("from tests.unit.core.config_key import ConfigKey as BINDING\n")
    (folder / "sitecustomize.py").write_text(
        dedent(f"""
        from lastgood.api.bindings import kinds

        kinds.__path__.append({str(kinds)!r})
        """)
    )
    return {"PYTHONPATH": f"{folder}:{ROOT}"}


def held(world: World) -> list[str]:
    """Return what the ConfigMaps and the pod template hold."""
    data = [world.get("configmap", item.config_map)["data"][item.key] for item in BESIDE]
    return [*data, world.model_path()]


def patched(world: World, began: int) -> Iterator[str]:
    """Yield the names of the ConfigMaps and of the workload, in the order in which they were written since."""
    log: Any = world.cluster.audit_log
    for event in events(log, began):
        what: Body = event.get("objectRef") or {}
        ours = what.get("namespace") == world.namespace and event.get("userAgent") == "lastgood"
        if ours and what.get("name") in ("paths", "versions", "digits-server") and not what.get("subresource"):
            yield what["name"]


@pytest.mark.usefixtures("declared")
def test_objects_beside_the_workload_are_written_before_the_pod_template(still_world: World, tmp_path: Path) -> None:
    world = still_world
    world.operator.environment = behind_the_door(tmp_path / "door")
    world.operator.start()
    for item in BESIDE:
        world.kubectl("create", "configmap", item.config_map, "--from-literal=other=mine")
    workload = world.workload(allowed=(*ALLOWED, *(item.word for item in BESIDE)))
    world.apply(world.snapshot(1), world.snapshot(2), workload, world.deployment("digits-v1", bindings=BINDINGS))
    world.served("digits-v1")
    assert held(world) == ["/models/digits/1", "1", "/models/digits/1"]
    world.apply(world.deployment("digits-v2", bindings=BINDINGS))
    world.served("digits-v2")
    assert held(world) == ["/models/digits/2", "2", "/models/digits/2"]

    began = world.cluster.audit_log.stat().st_size if world.cluster.audit_log else 0
    world.annotate("modeldeployment/digits", "emergency-rollback", "INC-1: backdoor found")
    assert world.rollback()["status"]["outcome"] == "Succeeded"
    assert held(world) == ["/models/digits/1", "1", "/models/digits/1"]
    for item in BESIDE:
        found = world.get("configmap", item.config_map)
        assert found["data"]["other"] == "mine", "what is not bound is not written"
    assert list(patched(world, began))[:3] == ["paths", "versions", "digits-server"]

    world.kubectl("delete", "configmap", "paths")
    world.kubectl("create", "configmap", "paths")
    eventually(
        lambda: world.get("configmap", "paths").get("data", {}).get("model") == "/models/digits/1",
        what="it is written again",
        within=100.0,
    )
    owners = {entry["manager"] for entry in world.get("configmap", "paths")["metadata"]["managedFields"]}
    assert FIELD_MANAGER in owners
