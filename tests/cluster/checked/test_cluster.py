"""The control plane: `pytest tests/cluster`. Every test runs real processes; none is left when it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.cluster import Cluster, ClusterError, local, running
from tests.cluster.machine.traces import Traces
from tests.cluster.paths import ROOT, clusters
from tests.cluster.process import wait_stopped
from tests.cluster.spec import SUPERVISOR, read_process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
pytest_plugins = ["tests.cluster.fixture"]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 2
  selector: {matchLabels: {app: NAME}}
  template:
    metadata:
      labels: {app: NAME}
      annotations: {lastgood-test/ready: "READY"}
    spec:
      containers: [{name: model, image: example/model:1}]
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: NAME}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {lastgood-test/ready: "READY", lastgood-test/termination-message: "digest: as said"}
    spec:
      restartPolicy: Never
      containers: [{name: verify, image: example/verify:1}]
"""


@contextmanager
def starter(profile: str) -> Iterator[tuple[subprocess.Popen[str], Cluster]]:
    """Run a cluster whose owner is another process."""
    name = f"victim-{uuid4().hex[:6]}"
    argv = [sys.executable, "-m", "tests.cluster.plane.starter", profile, name]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process, local.find(name)
        finally:
            process.kill()
            process.wait()
            local.down(name)


def gone_within(seconds: float, traces: Traces) -> list[str]:
    """Return what is still there after this time."""
    deadline = time.monotonic() + seconds
    while (left := traces.left()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def pods(cluster: Cluster, app: str) -> list[dict[str, object]]:
    items: list[dict[str, object]]
    items = json.loads(cluster.kubectl("get", "pods", "-l", f"app={app}", "-o", "json").stdout)["items"]
    return items


def test_a_control_plane_comes_up_and_goes_without_a_trace() -> None:
    began = time.monotonic()
    with running() as cluster:
        print(f"control plane: ready after {time.monotonic() - began:.1f} s")  # noqa: T201  # a measurement
        assert "v1.36.3" in cluster.kubectl("version").stdout
        traces = Traces(cluster)
        assert traces.left()
    assert traces.left() == []


def test_a_deployment_becomes_available(control_plane: Cluster) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("NAME", "good").replace("READY", ""))
    control_plane.kubectl("wait", "deploy/good", "--for=condition=Available", "--timeout=30s")


def test_a_pod_that_shall_never_be_ready_is_not_until_it_may(control_plane: Cluster) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("NAME", "slow").replace("READY", "never"))
    control_plane.kubectl("wait", "pods", "-l", "app=slow", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
    waiting = control_plane.kubectl("wait", "deploy/slow", "--for=condition=Available", "--timeout=2s", check=False)
    assert waiting.returncode != 0
    control_plane.kubectl("annotate", "pods", "-l", "app=slow", "lastgood-test/ready-")
    control_plane.kubectl("wait", "deploy/slow", "--for=condition=Available", "--timeout=30s")


def test_a_ready_pod_can_stop_being_ready(control_plane: Cluster) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("NAME", "sick").replace("READY", ""))
    control_plane.kubectl("wait", "deploy/sick", "--for=condition=Available", "--timeout=30s")
    control_plane.kubectl("annotate", "pods", "-l", "app=sick", "lastgood-test/ready=never", "--overwrite")
    control_plane.kubectl("wait", "deploy/sick", "--for=condition=Available=False", "--timeout=30s")


def test_a_pod_that_shall_crash_is_in_back_off(control_plane: Cluster) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("NAME", "bad").replace("READY", "crash"))
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff"
    control_plane.kubectl("wait", "pods", "-l", "app=bad", f"--for={reason}", "--timeout=30s")
    restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    assert control_plane.kubectl("get", "pods", "-l", "app=bad", "-o", restarts).stdout == "5 5"


@pytest.mark.parametrize(("ready", "condition"), [("", "Complete"), ("fail", "Failed")])
def test_a_job_ends_as_it_is_told(control_plane: Cluster, ready: str, condition: str) -> None:
    name = f"job-{condition.lower()}"
    control_plane.kubectl("apply", "-f", "-", stdin=JOB.replace("NAME", name).replace("READY", ready))
    control_plane.kubectl("wait", f"job/{name}", f"--for=condition={condition}", "--timeout=30s")
    message = "jsonpath={.items[0].status.containerStatuses[0].state.terminated.message}"
    found = control_plane.kubectl("get", "pods", "-l", f"job-name={name}", "-o", message).stdout
    assert found == "digest: as said"


def test_rbac_holds_for_another_user(control_plane: Cluster) -> None:
    denied = control_plane.kubectl("get", "secrets", user="alice", check=False)
    assert 'User "alice" cannot list resource "secrets"' in denied.stderr
    control_plane.kubectl("create", "clusterrolebinding", "readers", "--clusterrole=view", "--group=team-a")
    assert control_plane.kubectl("get", "pods", user="alice", groups=["team-a"]).returncode == 0


def test_the_audit_log_has_every_write_with_its_content(control_plane: Cluster) -> None:
    control_plane.kubectl("create", "configmap", "audited", "--from-literal=key=value")
    events = [event for event in control_plane.audit() if event["objectRef"].get("name") == "audited"]
    assert [(event["verb"], event["requestObject"]["data"]) for event in events] == [("create", {"key": "value"})]


def test_a_kubectl_that_fails_says_why(control_plane: Cluster) -> None:
    with pytest.raises(ClusterError, match='"nothing" not found'):
        control_plane.kubectl("get", "configmap", "nothing")


def test_helm_talks_to_the_cluster(control_plane: Cluster) -> None:
    assert "NAMESPACE" in control_plane.helm("list").stdout


@pytest.mark.parametrize("component", ["etcd", "kube-apiserver"])
def test_an_outage_can_be_made_and_ended(component: str) -> None:
    with running() as cluster:
        cluster.pause(component)
        assert cluster.kubectl("get", "secrets", "--request-timeout=2s", check=False).returncode != 0
        cluster.resume(component)
        cluster.kubectl("get", "secrets", "--request-timeout=30s")


def test_two_clusters_at_once_know_nothing_of_each_other() -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(running()) for _ in range(2))
        one.kubectl("create", "configmap", "here")
        assert two.kubectl("get", "configmap", "here", check=False).returncode != 0


def test_a_name_is_given_once_and_the_first_survives_the_second(control_plane: Cluster) -> None:
    with pytest.raises(ClusterError, match="exists"), running(name=control_plane.name):
        pass
    assert control_plane.kubectl("get", "namespaces").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "Ctrl-C"])
def test_the_end_of_the_starter_is_the_end_of_the_cluster(number: signal.Signals) -> None:
    with starter("control-plane") as (process, cluster):
        traces = Traces(cluster)
        process.send_signal(number)
        assert gone_within(10, traces) == []


def test_a_killed_supervisor_leaves_a_folder_that_sweep_removes() -> None:
    with starter("control-plane") as (_, cluster):
        traces = Traces(cluster)
        supervisor = read_process(cluster.directory / SUPERVISOR)
        assert supervisor is not None
        supervisor.send(signal.SIGKILL)
        assert supervisor.gone_within(5)
        assert cluster.name in local.sweep()
        assert gone_within(5, traces) == []


def test_the_command_line_starts_a_cluster_that_outlives_it() -> None:
    name, command = f"cli-{uuid4().hex[:6]}", [sys.executable, "-m", "tests.cluster"]
    up = subprocess.run([*command, "up", "--name", name], cwd=ROOT, check=True, capture_output=True, text=True)
    try:
        assert up.stdout.strip() == str(clusters() / name / "admin.kubeconfig")
        assert local.find(name).kubectl("get", "namespaces").returncode == 0
    finally:
        subprocess.run([*command, "down", "--name", name], cwd=ROOT, check=True)
    assert name not in local.names()


@pytest.mark.parametrize("name", ["..", "../elsewhere", "", "a/b"])
def test_a_name_that_leads_elsewhere_deletes_nothing(name: str) -> None:
    with pytest.raises(ClusterError, match="no name for a cluster"):
        local.down(name)


def test_an_unknown_way_is_refused_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LASTGOOD_CLUSTER", "minikube")
    with pytest.raises(ClusterError, match="local, kind, current"), running():
        pass


def test_paused_is_stopped_and_not_only_told_to_stop() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(TimeoutError, match="does not stop"):
                wait_stopped(process.pid, seconds=0.1)
            process.send_signal(signal.SIGSTOP)
            wait_stopped(process.pid)
        finally:
            process.kill()
