"""What is behind a door is known to the API server and to the docs: the CRD has each kind, and its rules name it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lastgood.api.bindings import binding
from lastgood.api.specs import signals
from lastgood.api.workload.target import targets

ROOT = Path(__file__).parents[2]
SPEC = yaml.safe_load((ROOT / "crds" / "modeldeployments.yaml").read_text(encoding="utf-8"))["spec"]["versions"][0][
    "schema"
]["openAPIV3Schema"]["properties"]["spec"]["properties"]
CHECKS = SPEC["validation"]["properties"]["checks"]["items"]
SIGNALS = sorted(signals.kinds())
BINDINGS = sorted(binding.kinds())


def ruled(schema: Any, kind: str) -> list[str]:
    return [item["rule"] for item in schema["x-kubernetes-validations"] if f"has(self.{kind})" in item["rule"]]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [(SPEC["triggers"]["items"], kind) for kind in SIGNALS] + [(SPEC["bindings"]["items"], kind) for kind in BINDINGS],
)
def test_crd_declares_each_kind_and_wants_just_one(schema: Any, kind: str) -> None:
    assert kind in schema["properties"]
    assert any(rule.endswith(".exists_one(given, given)") for rule in ruled(schema, kind))


@pytest.mark.parametrize("kind", SIGNALS)
def test_crd_says_of_each_kind_of_signal_whether_it_has_a_condition(kind: str) -> None:
    wanted = "has(self.failureCondition)" if signals.kinds()[kind].conditional else "!has(self.failureCondition)"
    assert f"!has(self.{kind}) || {wanted}" in ruled(SPEC["triggers"]["items"], kind)


def test_crd_has_no_kind_that_is_not_there() -> None:
    common = {"name", "severity", "failureCondition", "interval", "timeout", "failureThreshold"}
    assert set(SPEC["triggers"]["items"]["properties"]) - set(SIGNALS) >= common
    assert [kind for kind in SIGNALS if signals.kinds()[kind].for_checks] == [
        kind for kind in SIGNALS if kind in CHECKS["properties"]
    ]
    assert set(SPEC["bindings"]["items"]["properties"]) == {*BINDINGS, "value"}
    assert SPEC["targetRef"]["properties"]["kind"]["enum"] == sorted(targets())


@pytest.mark.parametrize(("page", "kinds"), [("triggers.md", SIGNALS), ("modeldeployment.md", BINDINGS)])
def test_page_has_each_kind(page: str, kinds: list[str]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert [kind for kind in kinds if not re.search(rf"`{kind}`|\b{kind}:", text)] == []
