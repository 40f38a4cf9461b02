"""What a binding writes beside the workload: before the pod template, one object after the other, and only then."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.meta import Meta
from lastgood.api.names import BINDABLE, FIELD_MANAGER, Reason
from lastgood.api.workload.companion import Companion, ObjectRef
from lastgood.controller.reconciler import facts_of
from lastgood.core.actions import Adopt, Prepare, Switch, SwitchFirst, before_its_lock
from lastgood.core.candidates.likeness import runtime
from lastgood.core.decide import decide
from lastgood.core.gate import refused
from lastgood.core.serving.drift import adopt
from lastgood.core.state import Observed
from lastgood.core.workload import borrowed, carries, conflicts, unprepared, workload_problem
from tests.unit.core.builders import BINDINGS, NAMESPACE, V3, checked, declaring, name, record, snapshot, swapped, world
from tests.unit.core.config_key import ConfigKey
from tests.unit.core.moments import EMERGENCY

PATHS = ConfigKey(config_map="paths", key="model", value="/models/$(path)")
VERSIONS = ConfigKey(config_map="versions", key="digits", value="$(version)")
V4 = snapshot(4)
SWITCH = Switch(snapshot=V4)


def there(item: ConfigKey, value: str, owner: str = FIELD_MANAGER) -> Companion:
    """Return a ConfigMap with a key, and who owns it."""
    fields: dict[str, Any] = {"f:data": {f"f:{item.key}": {}}}
    meta = Meta(namespace=NAMESPACE, name=item.config_map, uid="1")
    return Companion(meta=meta, body={"data": {item.key: value}}, owners=((owner, fields),))


def wanting(paths: str, versions: str) -> Observed:
    """Return a world in which v4 is verified and wanted, and the ConfigMaps hold this."""
    return having(there(PATHS, paths), there(VERSIONS, versions))


def having(paths: Companion | None, versions: Companion) -> Observed:
    """Return the same with these ConfigMaps."""
    found = replace(swapped(world(), V4), checked=checked(V4))
    assert found.workload is not None
    bindings = (*BINDINGS, PATHS, VERSIONS)
    words = "\n".join(binding.word for binding in bindings)
    workload = replace(
        found.workload,
        meta=replace(found.workload.meta, annotations={BINDABLE: words}),
        companions={PATHS.beside: paths, VERSIONS.beside: versions},
    )
    return declaring(replace(found, workload=workload), snapshot=name(4), bindings=bindings)


@pytest.mark.parametrize(
    ("observed", "ref"),
    [
        pytest.param(wanting("/models/digits/3", "3"), PATHS.beside, id="none has it"),
        pytest.param(wanting("/models/digits/4", "3"), VERSIONS.beside, id="the first has it"),
        pytest.param(wanting("/models/digits/3", "4"), PATHS.beside, id="the second has it"),
    ],
)
def test_each_is_written_before_the_pod_template(observed: Observed, ref: ObjectRef) -> None:
    assert decide(observed).actions == (Prepare(switch=SWITCH, ref=ref),)
    assert refused(observed, Prepare(switch=SWITCH, ref=ref)) is None
    assert refused(observed, SWITCH) == (Reason.WAITING, f"{ref} does not have what digits-v4 needs")


def test_then_the_pod_template_is() -> None:
    observed = wanting("/models/digits/4", "4")
    assert decide(observed).actions == (SWITCH,)
    assert refused(observed, SWITCH) is None


def test_nothing_is_written_beside_a_workload_for_what_may_not_be_switched_to() -> None:
    observed = replace(wanting("/models/digits/3", "3"), quarantined={V4.digest: "INC-1"})
    assert decide(observed).action is None or not isinstance(decide(observed).action, Prepare)
    problem = refused(observed, Prepare(switch=SWITCH, ref=PATHS.beside))
    assert problem is not None
    assert problem[0] == Reason.QUARANTINED


def test_one_that_is_missing_is_said_and_nothing_is_written() -> None:
    observed = having(None, there(VERSIONS, "3"))
    problem = workload_problem(observed.deployment, observed.workload)
    assert problem == (Reason.TARGET_NOT_FOUND, "spec.bindings: there is no ConfigMap paths in this namespace")
    assert not isinstance(decide(observed).action, Prepare | Switch)


def test_what_serves_and_what_is_the_same_go_by_them_as_well() -> None:
    observed = wanting("/models/digits/3", "3")
    workload, bindings = observed.workload, observed.deployment.bindings
    assert workload is not None
    assert carries(workload, bindings, V3)
    assert unprepared(workload, bindings, V3) is None
    half = wanting("/models/digits/4", "3").workload
    assert half is not None
    assert not carries(half, bindings, V3)
    with_another = (*BINDINGS, replace(VERSIONS, value="$(digest)"))
    assert len({runtime(each, V3) for each in (BINDINGS, bindings, with_another)}) == 3


def test_who_else_owns_a_key_is_told_as_for_a_field_of_the_workload() -> None:
    observed = having(there(PATHS, "/models/digits/3", owner="argocd"), there(VERSIONS, "3"))
    workload = observed.workload
    assert workload is not None
    assert conflicts(workload, (PATHS, VERSIONS)) == ((PATHS, "argocd"),)
    assert borrowed(workload, (PATHS, VERSIONS)) == (PATHS,)
    assert borrowed(workload, (VERSIONS,)) == ()
    step = adopt(observed, V3)
    assert step is not None
    assert step.action == Adopt(snapshot=V3, ref=PATHS.beside), "that object is written, and no other"


def test_the_record_of_an_emergency_is_known_while_it_prepares_its_switch() -> None:
    """The security log names it, and Events wait, as in the switch itself."""
    urgent = record("urgent", EMERGENCY)
    first = SwitchFirst(snapshot=V4, record=urgent)
    assert before_its_lock(Prepare(switch=first, ref=PATHS.beside)) == before_its_lock(first) == urgent
    assert before_its_lock(Prepare(switch=SWITCH, ref=PATHS.beside)) is None
    facts = facts_of(wanting("", ""), Prepare(switch=first, ref=PATHS.beside))
    assert (facts["rollback"], facts["requestedBy"]) == ("urgent", "ann")
