"""What a pod loads is what was verified: the image as an init container, as in `examples/verify-init.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.team import SLOW, Team, looked, team, using

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import Cluster
    from tests.e2e.team import User
    from tests.integration.world import Body

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]  # the first test may build a cluster and images

GOOD, NEWER, SWAPPED = '{"accuracy": 0.97}\n', '{"accuracy": 0.61}\n', '{"accuracy": 6.66}\n'


@dataclass(frozen=True, kw_only=True)
class Story:
    """What came of a swap: the pods before it, a user all the time, and what was seen while a pod refused."""

    before: list[Body]
    user: User
    refused: list[Body]
    meanwhile: Body
    ready: Body
    record: Body


@pytest.fixture(scope="module")
def claims(operated: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The example, applied: digits-v1 on a claim serves, and its pods have looked at it themselves."""
    with team(operated, "claims", tmp_path_factory.mktemp("claims")) as there:
        there.write("digits/1.json", GOOD)
        there.write("digits/2.json", NEWER)
        there.bring("verify-init.yaml")
        there.served("digits-v1", within=SLOW)
        yield there


def test_each_pod_proves_what_it_loads(claims: Team) -> None:
    digest = claims.get("modelsnapshot", "digits-v1")["spec"]["digest"]
    assert claims.environment("verify") == {"MODEL_PATH": "/models/digits/1.json", "MODEL_DIGEST": digest}
    pods = claims.pods()
    assert [looked(pod)["exitCode"] for pod in pods] == [0, 0]
    for pod in pods:
        assert claims.kubectl("logs", pod["metadata"]["name"], "-c", "verify").startswith("Verified: ")
    assert claims.says(GOOD)


def test_a_scan_runs_in_the_image_without_root_or_a_place_to_write(claims: Team) -> None:
    code, said = claims.run("scan", "lastgood", "scan", "/models/digits")
    assert code == 0, said


def test_the_image_knows_whom_to_trust_with_https(claims: Team) -> None:
    program = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    code, said = claims.run("authorities", "python3", "-c", program)
    assert (code, int(said) > 50) == (0, True), said


@pytest.fixture(scope="module")
def story(claims: Team) -> Iterator[Story]:
    """Swap digits-v2 after its verification and before a pod starts, and see what comes of it."""
    before = claims.pods()
    with using(claims.url()) as user:
        refused = claims.swap("digits-v2", lambda: claims.write("digits/2.json", SWAPPED))
        meanwhile, ready = claims.status(), claims.condition("Ready")
        record = claims.rollback(within=SLOW)
        yield Story(before=before, user=user, refused=refused, meanwhile=meanwhile, ready=ready, record=record)


def test_a_snapshot_swapped_after_its_verification_is_refused_by_the_pod(story: Story, claims: Team) -> None:
    assert {ended["exitCode"] for ended in story.refused} == {1}
    assert "DigestMismatch: " in story.refused[0]["message"]
    assert claims.get("modelsnapshot", "digits-v2")["spec"]["digest"] in story.refused[0]["message"]


def test_the_service_keeps_its_old_pods_and_no_request_fails(story: Story, claims: Team) -> None:
    assert {pod["metadata"]["uid"] for pod in claims.pods()} == {pod["metadata"]["uid"] for pod in story.before}
    assert story.user.failed == []
    assert set(story.user.answers) == {GOOD}, "the swapped model has answered"


def test_what_no_pod_loads_is_never_called_available(story: Story, claims: Team) -> None:
    assert story.meanwhile["snapshot"] == "digits-v2"
    assert "availableAt" not in story.meanwhile
    assert story.ready["status"] == "False"
    history = claims.status()["history"]
    assert not any(period["snapshot"] == "digits-v2" and period.get("soakedAt") for period in history)


def test_the_workload_goes_back_to_what_serves_all_the_time(story: Story, claims: Team) -> None:
    record, status = story.record, claims.status()
    assert record["status"]["outcome"] == "Succeeded", record["status"]
    assert record["spec"]["trigger"]["name"] == "does-not-run"
    assert record["spec"]["from"]["snapshot"] == "digits-v2"
    assert claims.environment("verify")["MODEL_PATH"] == "/models/digits/1.json"
    assert (status["snapshot"], status["held"]["snapshot"]) == ("digits-v1", "digits-v2")


def test_who_asks_for_the_swapped_one_again_is_told_why_not(story: Story, claims: Team) -> None:
    generation = claims.generation()
    claims.annotate("modeldeployment/digits", "resume", "try it once more")
    claims.ready("NotVerified", within=SLOW)
    assert claims.condition("Verified", kind="modelsnapshot", name="digits-v2")["reason"] == "DigestMismatch"
    assert claims.generation() == generation
    assert story.user.failed == []
