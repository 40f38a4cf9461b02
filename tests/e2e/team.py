"""A team's namespace on the real node: its claim, its manifests (the examples), its service, and a user of it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from demo import node as stage
from tests.integration.world import Body, Operator, World, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from tests.cluster import Cluster

ROOT = Path(__file__).parents[2]
RELEASE, OPERATOR_NAMESPACE = "lastgood-e2e", "lastgood-e2e"
NAMESPACES = ("claims", "signed", "remote", "jobs")
SCANNER = "localhost/no-pickles:e2e"
SECRETS = ("models-s3", "models-registry")
STAMP = "lastgood.dev/snapshot"
SLOW = 180.0  # a pod of a busy node
# What an example says, and what it is here: images that were built a minute ago, and seconds for hours.
LOCAL = {
    "ghcr.io/lastgood/lastgood:0.1.0": stage.OPERATOR,
    "docker.io/library/python:3.12-slim-bookworm": stage.SERVER,
    "soak: 30s": "soak: 1s",
}
VALUES: Mapping[str, Any] = {
    "image": {"repository": stage.OPERATOR.rpartition(":")[0], "tag": stage.OPERATOR.rpartition(":")[2]},
    "watch": {"namespaces": list(NAMESPACES)},
    "sources": {"secrets": list(SECRETS)},
    "store": {"kind": "emptyDir", "captureClaim": "models"},
    "scanners": [{"name": "no-pickles", "image": SCANNER}],
    "crds": {"install": False},  # the demo's release has them; see adopt
    "rbac": {"userRoles": False},
    "reverifyInterval": "1h",  # what these tests swap, nobody looks at again by himself
}


@dataclass
class Team(World):
    """A namespace; `store` is the folder behind its claim `models`, and the operator is not ours to start."""

    def bring(self, name: str, *, kinds: Collection[str] = (), changed: Mapping[str, str] | None = None) -> None:
        """Apply an example as it is in the repository, or some kinds of its objects."""
        text = (ROOT / "examples" / name).read_text()
        for said, here in {**LOCAL, **(changed or {})}.items():
            text = text.replace(said, here)
        self.apply(*(body for body in yaml.safe_load_all(text) if not kinds or body["kind"] in kinds))

    def provide(self) -> None:
        """Give the namespace a volume over the folder."""
        self.store.chmod(0o755)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{self.namespace}-models"},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": self.namespace, "name": "models"},
                "hostPath": {"path": str(self.store), "type": "Directory"},
            },
        }
        self.apply(volume)

    def write(self, path: str, content: str) -> Path:
        """Write a file of the claim, which everybody may read."""
        file = self.store / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def desire(self, snapshot: str) -> None:
        """Name another snapshot."""
        patch = json.dumps({"spec": {"snapshot": snapshot}})
        self.kubectl("patch", "modeldeployment", "digits", "--type=merge", "-p", patch)

    def deploy(self, snapshot: str) -> None:
        """Name a snapshot, and wait until it serves and has soaked."""
        self.desire(snapshot)
        self.served(snapshot, within=SLOW)

    def go_back(self, snapshot: str) -> Body:
        """Ask for a snapshot by name as somebody on call does; return the record once it has ended."""
        before = len(self.list("modelrollback"))
        self.annotate("modeldeployment/digits", "rollback", f"to={snapshot}: the newer one looks wrong")
        return self.rollback(number=before + 1, within=SLOW)

    def pods(self) -> list[Body]:
        """Return the pods of the model server, without those that are being deleted."""
        found = json.loads(self.kubectl("get", "pods", "-l", "app=digits-server", "-o", "json"))["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def swap(self, snapshot: str, swap: Callable[[], object]) -> list[Body]:
        """Name a snapshot, and swap its bytes after its verification and before any pod of it starts.

        Returns:
            How the init containers ended that found what is wrong.
        """
        self.kubectl("rollout", "pause", "deployment/digits-server")
        self.desire(snapshot)
        what = f"{snapshot} is verified, and named to the workload"
        eventually(lambda: self.template()["metadata"]["annotations"][STAMP] == snapshot, what=what, within=SLOW)
        swap()
        self.kubectl("rollout", "resume", "deployment/digits-server")
        return list(eventually(self.refusals, what="an init container refuses", within=SLOW))

    def refusals(self) -> list[Body]:
        """Return how the init containers ended that did not end well."""
        return [ended for pod in self.pods() if (ended := looked(pod)).get("exitCode")]

    def environment(self, container: str) -> dict[str, str]:
        """Return the variables that an init container of new pods gets."""
        spec = self.template()["spec"]["initContainers"]
        env = next(item for item in spec if item["name"] == container).get("env", [])
        return {item["name"]: item["value"] for item in env}

    def url(self) -> str:
        """Return where the service is for this machine."""
        return "http://" + self.kubectl("get", "service", "digits-server", "-o", "jsonpath={.spec.clusterIP}")

    def says(self, expected: str, path: str = "/") -> bool:
        """Wait until the service says this and nothing else: an old pod may answer until its address is forgotten."""
        url = self.url() + path

        def settled() -> bool:
            answers = {httpx.get(url, timeout=10, trust_env=False).text for _ in range(5)}
            return answers == {expected}

        return bool(eventually(settled, what=f"{path} says {expected}"))

    def run(self, name: str, *command: str) -> tuple[int, str]:
        """Run a command in a pod of the operator's image, as tight as the examples; return exit code and log."""
        self.apply(pod(name, list(command)))

        def ended() -> Body:
            statuses = self.get("pod", name).get("status", {}).get("containerStatuses") or [{}]
            return dict(statuses[0].get("state", {}).get("terminated") or {})

        code = int(eventually(ended, what=f"pod {name} ends", within=SLOW)["exitCode"])
        return code, self.kubectl("logs", name)


def looked(pod: Body) -> Body:
    """Return how the init container of a pod ended last, if it has."""
    (status,) = pod["status"].get("initContainerStatuses") or [{}]
    ended = (status.get(when, {}).get("terminated") for when in ("state", "lastState"))
    return dict(next((found for found in ended if found), {}))


def pod(name: str, command: list[str]) -> Body:
    """Return a pod that runs once: no root, no capability, nothing to write to, the claim to read."""
    tight = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "once",
        "image": stage.OPERATOR,
        "command": command,
        "securityContext": tight,
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@dataclass
class User:
    """Somebody who asks all the time; each answer, or what went wrong."""

    url: str
    answers: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """Ask until it is enough, each time over a connection of its own."""
        while not self.stop.wait(0.05):
            try:
                self.answers.append(httpx.get(self.url, timeout=5, trust_env=False).raise_for_status().text)
            except httpx.HTTPError as error:
                self.failed.append(repr(error))


@contextmanager
def using(url: str) -> Iterator[User]:
    """Ask a service as long as the block lasts."""
    user = User(url=url)
    thread = threading.Thread(target=user.ask, name="user", daemon=True)
    thread.start()
    try:
        yield user
    finally:
        user.stop.set()
        thread.join()


@contextmanager
def operating(cluster: Cluster, folder: Path) -> Iterator[Cluster]:
    """Install an operator of its own beside the demo's, for namespaces of its own."""
    for archive in stage.build_images(print):
        cluster.load_image(archive)
    adopt(cluster)
    for namespace in (OPERATOR_NAMESPACE, *NAMESPACES):
        cluster.kubectl("create", "namespace", namespace)
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(dict(VALUES)))
    chart = str(ROOT / "charts" / "lastgood")
    where = f"--namespace={OPERATOR_NAMESPACE}"
    cluster.helm("upgrade", "--install", RELEASE, chart, where, f"--values={values}", "--wait", "--timeout=3m")
    try:
        yield cluster
    finally:
        shown = cluster.kubectl("logs", f"deployment/{RELEASE}", "-n", OPERATOR_NAMESPACE, "--tail=-1", check=False)
        (folder / "operator.log").write_text(shown.stdout)
        cluster.helm("uninstall", RELEASE, where, check=False)
        later = ("--ignore-not-found", "--wait=false")
        cluster.kubectl("delete", "namespace", OPERATOR_NAMESPACE, *NAMESPACES, *later, check=False)


def adopt(cluster: Cluster) -> None:
    """Make the definitions where they are missing, as the demo's release would have: it may come later."""
    if cluster.kubectl("get", "crd", "modelsnapshots.lastgood.dev", check=False).returncode == 0:
        return
    made = cluster.kubectl("create", "-f", str(ROOT / "crds"), "-o", "name").stdout.split()
    cluster.kubectl("label", *made, "app.kubernetes.io/managed-by=Helm")
    owner = ("meta.helm.sh/release-name=lastgood", f"meta.helm.sh/release-namespace={stage.OPERATOR_NAMESPACE}")
    cluster.kubectl("annotate", *made, *owner)
    cluster.kubectl("wait", "--for=condition=Established", *made)


@contextmanager
def team(cluster: Cluster, namespace: str, folder: Path) -> Iterator[Team]:
    """Settle in a namespace; its pods end before the folder does that they mount."""
    nobody = Operator(cluster=cluster, namespace=namespace, store=folder, logs=folder)
    there = Team(cluster=cluster, namespace=namespace, store=folder, operator=nobody)
    there.provide()
    try:
        yield there
    finally:
        there.kubectl("delete", "deployments,replicasets", "--all", "--cascade=orphan", check=False)
        there.kubectl("delete", "pods", "--all", "--grace-period=1", "--timeout=45s", check=False)
        cluster.kubectl("delete", "persistentvolume", f"{namespace}-models", "--wait=false", check=False)
