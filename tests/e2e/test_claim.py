"""A snapshot on a claim: verified by a Job that mounts it read-only, in the namespace of the workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from demo.stage import digest
from demo.world import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo.world import World

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]  # the first test may build a cluster and images

MANIFEST = """
apiVersion: lastgood.dev/v1alpha1
kind: ModelSnapshot
metadata: {{name: {name}, namespace: digits}}
spec:
  model: digits
  version: "1"
  source: {{pvc: {{claimName: models, path: {path}}}}}
  digest: "{digest}"
"""


@pytest.fixture
def declared(world: World) -> Iterator[Callable[[str, str], None]]:
    """Declare snapshots of v1's files on the claim, and remove them afterwards."""
    names: list[str] = []

    def declare(name: str, digest: str) -> None:
        names.append(name)
        manifest = MANIFEST.format(name=name, path="digits/1", digest=digest)
        world.cluster.kubectl("apply", "-f", "-", stdin=manifest)

    yield declare
    world.cluster.kubectl("delete", "modelsnapshots", "-n", NAMESPACE, *names)


def verified(world: World, name: str) -> dict[str, str]:
    """Return the condition once a Job has found something."""
    world.until(
        f"{name} has been looked at",
        lambda: world.condition("modelsnapshots", name, "Verified").get("status") in ("True", "False"),
        seconds=90,
    )
    return world.condition("modelsnapshots", name, "Verified")


def test_a_claim_is_verified_by_a_job(world: World, declared: Callable[[str, str], None]) -> None:
    declared("claimed", digest(world.folder, "1"))
    assert verified(world, "claimed")["status"] == "True"
    status = world.get("modelsnapshots", "claimed")["status"]
    assert status["fileCount"] == 2
    assert status["digest"] == digest(world.folder, "1")


def test_a_wrong_digest_on_a_claim_is_said_with_both_digests(
    world: World, declared: Callable[[str, str], None]
) -> None:
    wrong = "sha256:" + "0" * 64
    declared("claimed-wrong", wrong)
    condition = verified(world, "claimed-wrong")
    assert (condition["status"], condition["reason"]) == ("False", "DigestMismatch")
    assert wrong in condition["message"]
    assert digest(world.folder, "1") in condition["message"]


def test_no_job_stays_behind(world: World) -> None:
    jobs = ("get", "jobs", "-n", NAMESPACE, "-o", "name")
    world.until("the Jobs are gone with their snapshots", lambda: not world.cluster.kubectl(*jobs).stdout)
