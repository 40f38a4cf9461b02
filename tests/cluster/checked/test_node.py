"""The node: real pods, Services and DNS, and nothing left on the machine afterwards."""

from __future__ import annotations

import signal
import time
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.cluster import Cluster, local, running
from tests.cluster.checked.test_cluster import gone_within, starter
from tests.cluster.machine.traces import Traces
from tests.cluster.made import images
from tests.cluster.spec import SUPERVISOR, read_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.node, pytest.mark.timeout(900)]
pytest_plugins = ["tests.cluster.fixture"]

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: IMAGE
          command: [python3, -u, -m, http.server, "8000"]
          readinessProbe: {httpGet: {path: /, port: 8000}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8000}]}
"""
READER = """
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  restartPolicy: Never
  containers:
    - name: reader
      image: IMAGE
      command: [python3, -c, "print(open('/model/weights').read())"]
      volumeMounts: [{name: model, mountPath: /model, readOnly: true}]
  volumes: [{name: model, hostPath: {path: FOLDER}}]
"""
CLIENT = "import urllib.request; print(urllib.request.urlopen('http://web.default.svc.cluster.local').status)"


@pytest.fixture(scope="module")
def web(node: Cluster) -> Iterator[Cluster]:
    """A node that runs a web server in Python behind a Service."""
    base = images.base_image()
    node.load_image(base.archive)
    node.kubectl("apply", "-f", "-", stdin=WEB.replace("IMAGE", base.tag))
    node.kubectl("rollout", "status", "deploy/web", "--timeout=90s", timeout=100)
    yield node
    node.kubectl("delete", "-f", "-", stdin=WEB)


def test_a_pod_reaches_a_service_by_its_name(web: Cluster) -> None:
    run = ("run", "client", "--restart=Never", f"--image={images.base_image().tag}")
    web.kubectl(*run, "--", "python3", "-c", CLIENT)
    web.kubectl("wait", "pod/client", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", timeout=70)
    assert web.kubectl("logs", "client").stdout == "200\n"


def test_the_host_reaches_a_service_by_its_address(web: Cluster) -> None:
    address = web.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}").stdout
    with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
        assert answer.status == 200


def test_logs_and_exec_reach_into_a_pod(web: Cluster) -> None:
    assert "GET / HTTP/1.1" in web.kubectl("logs", "deploy/web").stdout
    assert web.kubectl("exec", "deploy/web", "--", "python3", "-c", "print(6 * 7)").stdout == "42\n"


def test_a_pod_reads_a_folder_of_the_host(web: Cluster, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("0.5")
    manifest = READER.replace("IMAGE", images.base_image().tag).replace("FOLDER", str(tmp_path))
    web.kubectl("apply", "-f", "-", stdin=manifest)
    web.kubectl("wait", "pod/reader", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", timeout=70)
    assert web.kubectl("logs", "reader").stdout == "0.5\n"


def test_two_nodes_at_once_and_nothing_left_of_either() -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        nodes = [stack.enter_context(running(profile="node")) for _ in range(2)]
        print(f"two nodes: ready after {time.monotonic() - began:.1f} s")  # noqa: T201  # a measurement
        traces = [Traces(node) for node in nodes]
        assert all(trace.left() for trace in traces)
    assert [trace.left() for trace in traces] == [[], []]


def test_sigkill_of_the_starter_leaves_nothing_while_pods_run() -> None:
    base = images.base_image()
    with starter("node") as (process, cluster):
        cluster.load_image(base.archive)
        cluster.kubectl("apply", "-f", "-", stdin=WEB.replace("IMAGE", base.tag))
        cluster.kubectl("rollout", "status", "deploy/web", "--timeout=90s", timeout=100)
        traces = Traces(cluster)
        process.kill()
        assert gone_within(20, traces) == []


def test_sigkill_of_the_supervisor_ends_the_node_and_sweep_removes_the_rest() -> None:
    with starter("node") as (_, cluster):
        traces = Traces(cluster)
        supervisor = read_process(cluster.directory / SUPERVISOR)
        assert supervisor is not None
        supervisor.send(signal.SIGKILL)
        assert supervisor.gone_within(5)
        assert cluster.name in local.sweep()
        assert gone_within(20, traces) == []
