"""The world in which the scenes play, and the hands that people in it have: Git, kubectl, a shared folder.

It reads the cluster as anybody could, and never tells the operator anything but through the API server.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, cast

from kubernetes import client, config

from demo import unprotected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from demo.traffic import Traffic
    from tests.cluster import Cluster

NAMESPACE = "digits"
DEPLOYMENT = "digits-server"
MODEL = "digits"
GROUP, VERSION = "lastgood.dev", "v1alpha1"
MANIFESTS = Path(__file__).parent / "manifests"
LOOK = 0.2  # seconds between two looks
SWITCH_OFF = "metrics-down"

Json = dict[str, Any]


class StoryError(Exception):
    """The story did not go as told; the message says what was awaited and what is there instead."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The demo's own folder, which the node's pods see as volumes."""

    root: Path

    @property
    def models(self) -> Path:
        """The checkpoints and the golden set."""
        return self.root / "models"

    @property
    def traffic(self) -> Path:
        """The client's samples and log, and the switch for the metrics endpoint."""
        return self.root / "traffic"

    @property
    def git(self) -> Path:
        """The manifests, as a Git repository would hold them."""
        return self.root / "git"

    def checkpoint(self, version: str) -> Path:
        """Return the folder of one version."""
        return self.models / MODEL / version

    def prepare(self) -> None:
        """Make the folders; the pods' user is not ours, and writes only to the traffic."""
        for path, mode in (
            (self.root, 0o755),
            (self.models, 0o755),
            (self.traffic, 0o777),
            (self.git, 0o755),
        ):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)


@dataclass(kw_only=True)
class World:
    """A cluster with the operator, a model server and its traffic."""

    cluster: Cluster
    folder: Folder
    traffic: Traffic
    unprotected: Traffic
    operator_alive: Callable[[], bool] = lambda: True
    operator_log: Callable[[], str] = lambda: ""
    start_traffic: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        """Connect a client beside kubectl, which is too much of a program to look five times a second."""
        connection: client.ApiClient = config.new_client_from_config(str(self.cluster.kubeconfig))  # type: ignore[no-untyped-call]  # the package types only what it generates
        self.objects = client.CustomObjectsApi(connection)
        self.apps = client.AppsV1Api(connection)
        self.core = client.CoreV1Api(connection)

    # What people do

    def render(self, names: tuple[str, ...], values: Mapping[str, str], moved: Mapping[str, str]) -> None:
        """Fill the manifests in and put them where Git would; `moved` replaces addresses."""
        for name in names:
            text = Template((MANIFESTS / name).read_text()).safe_substitute(values)
            for old, new in moved.items():
                text = text.replace(old, new)
            (self.folder.git / name).write_text(text)

    def apply(self, *, server_side: bool = False) -> None:
        """Apply the repository as it is, the one way or the other."""
        how = ("--server-side",) if server_side else ()
        self.cluster.kubectl("apply", *how, "-f", str(self.folder.git))

    def desire(self, version: str) -> None:
        """Name another version in Git, for both servers, and apply."""
        manifest = self.folder.git / "model.yaml"
        lines = manifest.read_text().splitlines(keepends=True)
        renamed = [f"  snapshot: {snapshot(version)}\n" if "  snapshot: " in line else line for line in lines]
        manifest.write_text("".join(renamed))
        self.put(version)

    def put(self, version: str) -> None:
        """Put the server without lastgood to a version, as its team does in Git, and apply."""
        text = unprotected.manifest((self.folder.git / "server.yaml").read_text(), f"/models/{MODEL}/{version}")
        (self.folder.git / unprotected.FILE).write_text(text)
        self.apply()

    def remove_pods(self, names: Iterable[str]) -> None:
        """Remove pods, which end in their own time; their Deployments make others."""
        self.cluster.kubectl("delete", "pods", *names, "-n", NAMESPACE, "--wait=false")

    def annotate(self, what: str, annotation: str, text: str) -> None:
        """Annotate an object of the model's namespace as a person would."""
        self.cluster.kubectl("annotate", "--overwrite", "-n", NAMESPACE, what, f"{annotation}={text}")

    def tamper(self, version: str) -> None:
        """Change a few weights in place: same size, same header, another model."""
        with (self.folder.checkpoint(version) / "model.safetensors").open("r+b") as weights:
            weights.seek(-64, 2)
            there = weights.read(64)
            weights.seek(-64, 2)
            weights.write(bytes(byte ^ 0x5A for byte in there))

    def metrics_down(self, *, down: bool) -> None:
        """Take the measuring endpoints of every server down, or bring them back."""
        switch = self.folder.traffic / SWITCH_OFF
        if down:
            switch.touch()
        else:
            switch.unlink(missing_ok=True)

    # What people see

    def get(self, plural: str, name: str) -> Json:
        """Return one of lastgood's objects."""
        return cast("Json", self.objects.get_namespaced_custom_object(GROUP, VERSION, NAMESPACE, plural, name))

    def records(self) -> list[Json]:
        """Return every ModelRollback, oldest first."""
        listed = self.objects.list_namespaced_custom_object(GROUP, VERSION, NAMESPACE, "modelrollbacks")
        return sorted(cast("Json", listed)["items"], key=lambda record: str(record["metadata"]["creationTimestamp"]))

    def status(self) -> Json:
        """Return the status of the ModelDeployment, empty as long as it has none."""
        return dict(self.get("modeldeployments", MODEL).get("status") or {})

    def trigger(self) -> Json:
        """Return what status says about the demo's trigger."""
        triggers = self.status().get("triggers") or [{}]
        return dict(triggers[0])

    def condition(self, plural: str, name: str, kind: str) -> Json:
        """Return one condition of an object, empty if it has none of that type."""
        conditions = (self.get(plural, name).get("status") or {}).get("conditions") or []
        return next((dict(each) for each in conditions if each["type"] == kind), {})

    def served(self, name: str = DEPLOYMENT) -> str:
        """Return the path that a workload's pods are given, once all of them have it; else nothing."""
        workload: Any = self.apps.read_namespaced_deployment(name, NAMESPACE)
        return bound_path(workload) if rolled_out(workload) else ""

    def pods(self, name: str) -> dict[str, str]:
        """Return the path that each ready pod of a workload was given, by the pod's name."""
        listed: Any = self.core.list_namespaced_pod(NAMESPACE, label_selector=f"app={name}")
        ready = (pod for pod in listed.items if is_ready(pod))
        return {str(pod.metadata.name): path_of(pod.spec) for pod in ready}

    def all_new(self, name: str, removed: Iterable[str]) -> bool:
        """Tell whether a workload has all of its pods again, without these."""
        workload: Any = self.apps.read_namespaced_deployment(name, NAMESPACE)
        return len(self.pods(name).keys() - set(removed)) == int(workload.spec.replicas)

    def both_serve(self, version: str) -> bool:
        """Tell whether both servers have this version in every pod."""
        unguarded = self.served(unprotected.NAME)
        return self.serves(version) and unguarded.endswith(f"/{MODEL}/{version}")

    def keeps(self, version: str) -> bool:
        """Tell whether this version is what status names and new pods would load, however the pods are just now."""
        workload: Any = self.apps.read_namespaced_deployment(DEPLOYMENT, NAMESPACE)
        named = self.status().get("snapshot") == snapshot(version)
        return named and bound_path(workload).endswith(f"/{MODEL}/{version}")

    def serves(self, version: str) -> bool:
        """Tell whether this version serves: says status, says the live workload, and nothing is under way."""
        status = self.status()
        return (
            status.get("snapshot") == snapshot(version)
            and not status.get("activeRollback")
            and self.served().endswith(f"/{MODEL}/{version}")
        )

    def soaked(self, version: str) -> bool:
        """Tell whether this version has served and stayed healthy long enough."""
        history = self.status().get("history") or []
        return any(each["snapshot"] == snapshot(version) and each.get("soakedAt") for each in history)

    def alerts(self) -> dict[str, str]:
        """Return the reason of every Warning Event about lastgood's objects, by the Event's name."""
        listed: Any = self.core.list_namespaced_event(NAMESPACE, field_selector="type=Warning")
        return {
            str(event.metadata.name): str(event.reason)
            for event in listed.items
            if str(event.involved_object.api_version).startswith(GROUP)
        }

    def until(self, what: str, done: Callable[[], object], *, seconds: float = 60) -> None:
        """Wait until something is so.

        Raises:
            StoryError: it did not come to be; the message has what is there instead.
        """
        deadline = time.monotonic() + seconds
        while not done():
            if not self.operator_alive():
                raise StoryError(f"the operator ended while waiting: {what}")
            if time.monotonic() > deadline:
                raise StoryError(f"{what}: not within {seconds:.0f} s\n{self.describe()}")
            time.sleep(LOOK)

    def describe(self) -> str:
        """Return what a person would look at when something did not happen."""
        shown = self.cluster.kubectl("get", "mdep,msnap,mroll,pods", "-n", NAMESPACE, "-o", "wide", check=False)
        return f"{shown.stdout}{shown.stderr}"


def snapshot(version: str) -> str:
    """Return the name of a version's ModelSnapshot."""
    return f"{MODEL}-v{version}"


def bound_path(workload: Any) -> str:  # noqa: ANN401  the kubernetes package returns a union of everything
    """Return the path in the workload's template, empty if it has none."""
    return path_of(workload.spec.template.spec)


def is_ready(pod: Any) -> bool:  # noqa: ANN401  the same
    """Tell whether a pod answers."""
    conditions = pod.status.conditions or []
    ready = any(each.type == "Ready" and each.status == "True" for each in conditions)
    return ready and pod.metadata.deletion_timestamp is None


def path_of(pod: Any) -> str:  # noqa: ANN401  the same
    """Return the path that the spec of a pod has, empty if it has none."""
    environment = pod.containers[0].env or []
    return next((str(variable.value) for variable in environment if variable.name == "MODEL_PATH"), "")


def rolled_out(workload: Any) -> bool:  # noqa: ANN401  the same
    """Tell whether every replica is of the newest template and available."""
    status, wanted = workload.status, workload.spec.replicas
    return bool(
        (status.observed_generation or 0) >= workload.metadata.generation
        and status.updated_replicas == status.replicas == status.available_replicas == wanted
    )
