"""What the pods say about a crash loop."""

from typing import Any

import pytest

from lastgood.signals.workload import crash_looping


def pod(name: str, *containers: dict[str, Any], template: str = "new", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"pod-template-hash": template}, **more}
    return {"metadata": metadata, "status": {"containerStatuses": list(containers)}}


def container(state: dict[str, Any], restarts: int = 5) -> dict[str, Any]:
    return {"name": "server", "restartCount": restarts, "state": state}


BACK_OFF = container({"waiting": {"reason": "CrashLoopBackOff"}})
RUNNING = container({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
ENDED = container({"terminated": {"exitCode": 1, "reason": "Error"}}, restarts=2)


def test_a_back_off_is_a_crash_loop() -> None:
    assert crash_looping([pod("x", BACK_OFF)]) == "pod x: container server waiting CrashLoopBackOff (5 restarts)"


def test_the_moment_between_two_back_offs_is_one_too() -> None:
    assert crash_looping([pod("x", ENDED)]) == "pod x: container server ended with exit code 1 (2 restarts)"


def test_an_init_container_counts() -> None:
    body = pod("x", RUNNING)
    body["status"]["initContainerStatuses"] = [BACK_OFF | {"name": "fetch"}]
    assert crash_looping([body]) == "pod x: container fetch waiting CrashLoopBackOff (5 restarts)"


def test_the_first_by_name_is_named_whatever_the_order() -> None:
    pods = [pod("b", BACK_OFF), pod("c"), pod("a", RUNNING, BACK_OFF | {"name": "proxy"})]
    assert crash_looping(pods) == crash_looping(pods[::-1])
    assert str(crash_looping(pods)).startswith("pod a: container proxy")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pod("x", RUNNING), id="running"),
        pytest.param(pod("x", container({"waiting": {"reason": "ContainerCreating"}})), id="starting"),
        pytest.param(pod("x", container({"waiting": {"reason": "ImagePullBackOff"}})), id="no image"),
        pytest.param(pod("x", container({"terminated": {"exitCode": 1}}, restarts=0)), id="its first end"),
        pytest.param(pod("x", container({"terminated": {"exitCode": 0}})), id="ended well"),
        pytest.param(pod("x", BACK_OFF, deletionTimestamp="2026-01-01T00:00:00Z"), id="being deleted"),
        pytest.param(pod("x"), id="no containers"),
        pytest.param({}, id="nothing"),
        pytest.param({"metadata": None, "status": {"containerStatuses": [{"state": None}]}}, id="nulls"),
    ],
)
def test_this_is_no_crash_loop(body: dict[str, Any]) -> None:
    assert crash_looping([body]) is None


def test_only_pods_of_the_template_in_question_count() -> None:
    pods = [pod("old", BACK_OFF, template="old"), pod("new", RUNNING)]
    assert crash_looping(pods, template_hash="new") is None
    assert crash_looping(pods, template_hash="old") is not None
    assert crash_looping(pods) is not None
