"""The rights that are asked for now and then, before they are needed."""

import pytest

from lastgood.controller.runtime import needed_rights
from lastgood.kube.shared.remembered import names_for
from lastgood.settings import Settings


@pytest.mark.parametrize(
    ("namespaces", "names"),
    [
        (("ml", "nlp"), {"lastgood-quarantine", *names_for("ml"), *names_for("nlp")}),
        (None, {"lastgood-quarantine", ""}),
    ],
)
def test_right_to_write_what_outlives_a_modeldeployment_is_missed_before_a_rollback_needs_it(
    namespaces: tuple[str, ...] | None, names: set[str]
) -> None:
    rights = needed_rights(Settings(namespaces=namespaces, operator_namespace="ops", identity="x"))
    kept = [right for right in rights if right.resource == "configmaps" and right.verb == "patch"]
    assert {right.name for right in kept} == names
    assert all(right.needed and right.namespace == "ops" for right in kept)
