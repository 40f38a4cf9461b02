"""What is packaged agrees with its sources; no cluster and no Helm is needed to see it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deploy import sync
from lastgood.api.names import API_VERSION, Outcome, Severity
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.settings import NAMES
from lastgood.signals.kinds.workload import FAULTS
from tests.cluster.made import dockerignore

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = sync.ROOT
DOCKERFILE = ROOT / "Dockerfile"
Schema = dict[str, Any]


def schema(plural: str) -> Schema:
    crd = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


KINDS = ("modelsnapshots", "modeldeployments", "modelrollbacks", "modeltrustpolicies", "clustermodeltrustpolicies")
SCHEMAS = {plural: schema(plural) for plural in KINDS}


def fields(node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield every field below a schema with its path."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields(child, f"{path}.{name}")
    for word, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(node.get(word), dict):
            yield f"{path}{suffix}", node[word]
            yield from fields(node[word], f"{path}{suffix}")


FIELDS = [field for plural, root in SCHEMAS.items() for field in fields(root, plural)]


def bounded(node: Schema) -> bool:
    """Tell whether a value of this schema has an upper bound, or needs none."""
    match node["type"]:
        case "string":
            return "maxLength" in node or "enum" in node
        case "array":
            return "maxItems" in node
        case "integer" | "number":
            return "minimum" in node
        case "object" if "properties" not in node:
            return "maxProperties" in node
    return True


def test_copies_of_the_crds_equal_their_source() -> None:
    stale = [str(path.relative_to(ROOT)) for path in sync.differences(helm=None)]
    assert not stale, f"run `python deploy/sync.py`: {stale}"


def test_template_language_in_a_crd_is_text_in_the_chart() -> None:
    assert '{{ "{{" }} .Values }}' in sync.chart_crd("x.yaml", "a: {{ .Values }}\n")


def test_chart_keeps_every_crd_on_uninstall() -> None:
    copies = list((sync.CHART / "templates" / "crds").glob("*.yaml"))
    assert len(copies) == len(SCHEMAS)
    assert all("helm.sh/resource-policy: keep" in copy.read_text() for copy in copies)


def test_every_field_has_a_bound() -> None:
    assert not [path for path, node in FIELDS if not bounded(node)]


def test_every_field_says_what_it_is_for() -> None:
    unsaid = [path for path, node in FIELDS if not node.get("description") and not path.endswith(("[]", ".*"))]
    assert not unsaid


def test_unknown_fields_are_kept_only_where_the_operator_keeps_a_record() -> None:
    open_ones = {path for path, node in FIELDS if node.get("x-kubernetes-preserve-unknown-fields")}
    assert open_ones == {"modeldeployments.status.activeRollback.spec", "modeldeployments.status.continues"}


def test_every_rule_has_a_message_that_says_what_to_do() -> None:
    roots = list(SCHEMAS.items())
    rules = [rule for _, node in [*roots, *FIELDS] for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 30
    assert not [rule for rule in rules if len(rule.get("message", "")) < 40]


def at(plural: str, *path: str) -> Schema:
    node = SCHEMAS[plural]
    for name in path:
        node = node["items"] if name == "[]" else node["properties"][name]
    return node


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (at("modelrollbacks", "status", "outcome"), set(Outcome)),
        (at("modelrollbacks", "spec", "trigger", "severity"), set(Severity)),
        (at("modeldeployments", "spec", "triggers", "[]", "severity"), set(Severity)),
        (at("modeldeployments", "spec", "triggers", "[]", "workload", "on", "[]"), set(FAULTS)),
    ],
)
def test_words_of_the_crds_are_those_of_the_operator(node: Schema, words: set[str]) -> None:
    assert set(node["enum"]) == words


def defaulted(node: Schema, value: Any) -> Any:
    """Return a value as the API server stores it: with the defaults of the schema."""
    if isinstance(value, dict):
        missing = {name: child["default"] for name, child in node.get("properties", {}).items() if "default" in child}
        value = {**missing, **value}
        return {name: defaulted(node.get("properties", {}).get(name, {}), item) for name, item in value.items()}
    if isinstance(value, list):
        return [defaulted(node.get("items", {}), item) for item in value]
    return value


def test_defaults_of_the_crd_are_those_of_the_operator() -> None:
    spec = {
        "model": "digits",
        "snapshot": "digits-v1",
        "targetRef": {"name": "server"},
        "bindings": [{"image": {"container": "server"}, "value": "$(image)"}],
        "triggers": [
            {"name": "a", "http": {"url": "http://server/"}, "failureCondition": "result.x > 1"},
            {"name": "b", "workload": {}},
        ],
        "validation": {"checks": [{"name": "c", "http": {"url": "http://server/"}, "successCondition": "true"}]},
    }
    body = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": {"name": "digits"}, "spec": spec}
    stored = {**body, "spec": defaulted(at("modeldeployments", "spec"), spec)}
    assert stored != body
    assert ModelDeployment.from_body(stored) == ModelDeployment.from_body(body)


def test_policies_of_namespaces_and_of_the_cluster_say_the_same() -> None:
    one, other = (dict(SCHEMAS[plural]) for plural in ("modeltrustpolicies", "clustermodeltrustpolicies"))
    assert one.pop("description") != other.pop("description")
    assert one == other


def test_chart_sets_only_variables_that_the_operator_reads() -> None:
    template = (sync.CHART / "templates" / "deployment.yaml").read_text()
    assert set(re.findall(r"- name: ([A-Z_]+)", template)) <= set(NAMES.values())


def test_version_of_the_chart_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((sync.CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == project["version"]


def test_image_is_made_of_the_sources_and_nothing_else() -> None:
    parts = {path.relative_to(ROOT).as_posix() for path in dockerignore.files(ROOT, DOCKERFILE)}
    known = {"pyproject.toml", "README.md", "LICENSE", "requirements/runtime.txt", "requirements/scan.txt"}
    known |= {"deploy/build-requirements.txt", "deploy/image_root.py"}
    assert {part for part in parts if not part.startswith("operator/lastgood/")} <= known
    assert "operator/lastgood/__main__.py" in parts


def test_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE.read_text(), re.MULTILINE)[-1] == "65532:65532"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_example_teaches_before_it_shows(path: Path) -> None:
    assert path.read_text().startswith("# ")
    kinds = [manifest["kind"] for manifest in yaml.safe_load_all(path.read_text())]
    assert any(kind.startswith("Model") for kind in kinds)
