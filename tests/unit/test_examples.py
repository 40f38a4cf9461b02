"""The examples say what is true: digests of the files that they tell to make, a signature by the key they trust."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood.api.bindings.kinds.env import EnvBinding
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.trust import ModelTrustPolicy
from lastgood.api.workload.kinds.deployment import Deployment
from lastgood.cli.app import build
from lastgood.core.workload import render, workload_problem
from lastgood.verify import FileEntry, manifest_digest
from lastgood.verify.signing import examine, load_public_key

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
WITH_IMAGE = ("fetch-s3.yaml", "verify-init.yaml")
MADE = re.compile(r"^#\s+printf '(.*)\\n' > (\S+)$", re.MULTILINE)

Body = dict[str, Any]


def bodies(name: str, kind: str = "") -> list[Body]:
    found = list(yaml.safe_load_all((EXAMPLES / name).read_text()))
    return [body for body in found if not kind or body["kind"] == kind]


def digests(name: str) -> set[str]:
    """Return the digests of the files that an example tells to make, alone and as the only file of a directory."""
    found = set()
    for text, path in MADE.findall((EXAMPLES / name).read_text()):
        content = f"{text}\n".encode()
        file = FileEntry(path=Path(path).name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        found |= {f"sha256:{file.sha256}", manifest_digest((file,))}
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if MADE.search((EXAMPLES / name).read_text())])
def test_digests_are_those_of_the_files_that_the_example_makes(name: str) -> None:
    declared = {body["spec"]["digest"] for body in bodies(name, "ModelSnapshot")}
    assert declared
    assert declared <= digests(name)


@pytest.mark.parametrize("name", [name for name in NAMES if bodies(name, "ModelDeployment")])
def test_each_binding_is_of_a_container_that_is_there_and_gets_a_value(name: str) -> None:
    (deployment,) = (ModelDeployment.from_body(body) for body in bodies(name, "ModelDeployment"))
    (workload,) = (Deployment.read(body) for body in bodies(name, "Deployment"))
    assert workload_problem(deployment, workload) is None
    for body in bodies(name, "ModelSnapshot"):
        assert render(deployment.bindings, ModelSnapshot.from_body(body)) is not None


def test_workload_of_the_demo_allows_what_its_model_deployment_binds() -> None:
    manifests = EXAMPLES.parent / "demo" / "manifests"
    deployment = ModelDeployment.from_body(yaml.safe_load((manifests / "model.yaml").read_text()))
    servers = [
        body for body in yaml.safe_load_all((manifests / "server.yaml").read_text()) if body["kind"] == "Deployment"
    ]
    (workload,) = (Deployment.read(body) for body in servers)
    assert workload_problem(deployment, workload) is None


@pytest.mark.parametrize("name", WITH_IMAGE)
def test_what_an_init_container_is_given_is_a_command_that_is_understood(name: str) -> None:
    (deployment,) = (ModelDeployment.from_body(body) for body in bodies(name, "ModelDeployment"))
    snapshot = ModelSnapshot.from_body(bodies(name, "ModelSnapshot")[0])
    (workload,) = bodies(name, "Deployment")
    (container,) = workload["spec"]["template"]["spec"]["initContainers"]
    values = {
        item.binding.name: item.value
        for item in render(deployment.bindings, snapshot) or ()
        if isinstance(item.binding, EnvBinding) and item.binding.container == container["name"]
    }
    arguments = [re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], text) for text in container["args"]]
    parsed = build().parse_args(arguments)
    assert parsed.digest == snapshot.digest


@pytest.mark.parametrize("name", WITH_IMAGE)
def test_pods_of_an_example_run_without_root_and_with_nothing_to_write_to(name: str) -> None:
    (workload,) = bodies(name, "Deployment")
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["initContainers"], *pod["containers"]):
        tight = container["securityContext"]
        assert (tight["readOnlyRootFilesystem"], tight["allowPrivilegeEscalation"]) == (True, False)


def test_signature_of_the_example_is_by_the_key_that_its_policy_trusts() -> None:
    (bundle,) = (body["data"]["model.sig"] for body in bodies("signed.yaml", "ConfigMap"))
    (snapshot,) = (ModelSnapshot.from_body(body) for body in bodies("signed.yaml", "ModelSnapshot"))
    (policy,) = (ModelTrustPolicy.from_body(body) for body in bodies("signed.yaml", "ModelTrustPolicy"))
    (key,) = policy.keys
    files = [FileEntry(path=".", size=19, sha256=snapshot.digest.removeprefix("sha256:"))]
    trusted = load_public_key(key.pem.encode())
    fact = examine(bundle.encode(), files, keys=[trusted], roots=[], at=datetime.now(UTC))
    assert fact.key_id == trusted.key_id
    assert fact.claims is not None
    assert (fact.claims.model, fact.claims.version) == (snapshot.model, snapshot.version)
    assert (fact.claims.trained_at, fact.claims.data_cutoff) == (snapshot.trained_at, snapshot.data_cutoff)
