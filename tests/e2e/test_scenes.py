"""The demo's three scenes on a real node, in the order in which they build on each other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from demo import scenes
from demo.story import passed_over
from demo.world import NAMESPACE, snapshot

if TYPE_CHECKING:
    from demo.story import Moment, Scene
    from demo.world import World

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]  # the first test may build a cluster and images


def tell(moment: Moment) -> None:
    sys.stdout.write(f"{moment.what}: {moment.detail}\n")


@pytest.fixture(scope="module")
def poisoned(world: World) -> Scene:
    return scenes.poisoned(world, tell)


@pytest.fixture(scope="module")
def tampered(world: World, poisoned: Scene) -> Scene:
    assert not poisoned.problems
    return scenes.tampered(world, tell)


@pytest.fixture(scope="module")
def emergency(world: World, tampered: Scene) -> Scene:
    assert not tampered.problems
    return scenes.emergency(world, tell)


def reasons(scene: Scene) -> dict[str, str]:
    return {each["snapshot"]: each["reason"] for each in passed_over(scene.record)}


def test_poisoned_training_data_is_rolled_back_and_stays_away(poisoned: Scene) -> None:
    assert poisoned.problems == []
    assert poisoned.tally.failed == 0, poisoned.tally.errors
    spec = poisoned.record["spec"]
    assert spec["automatic"] is True
    assert spec["trigger"]["name"] == "accuracy-degradation"
    assert spec["from"]["snapshot"] == snapshot("3")


def test_the_record_says_when_everything_happened(poisoned: Scene) -> None:
    times = [poisoned.when(name) for name in ("intentAt", "switchedAt", "availableAt", "outcomeAt")]
    assert all(times)
    assert times == sorted(times)
    assert poisoned.status["verification"] == "Fresh"


def test_tampered_weights_are_left_and_refused(tampered: Scene, world: World) -> None:
    assert tampered.problems == []
    assert world.condition("modelsnapshots", snapshot("2"), "Verified")["reason"] == "DigestMismatch"


def test_an_emergency_needs_no_metrics(emergency: Scene, world: World) -> None:
    assert emergency.problems == []
    assert emergency.tally.failed == 0, emergency.tally.errors
    assert emergency.record["spec"]["incident"] == "INC-2026-042"
    assert emergency.record["spec"]["emergency"] is True
    assert "Unvalidated" in world.alerts().values()


def test_every_candidate_that_was_passed_over_has_its_reason(emergency: Scene) -> None:
    assert reasons(emergency) == {
        snapshot("1"): "BeingLeft",
        snapshot("2"): "DigestMismatch",
        snapshot("3"): "LeftBefore",
    }


def test_every_rollback_changed_the_workload_once(emergency: Scene, world: World) -> None:
    listed = world.cluster.kubectl("get", "replicasets", "-n", NAMESPACE, "-l", "app=digits-server", "-o", "name")
    # Nothing bound yet, v0, v1, v2, v3: the way back uses the very templates of the way there.
    assert len(listed.stdout.split()) == 5, emergency.title
