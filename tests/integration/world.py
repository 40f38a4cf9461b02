"""A small world for integration tests: a namespace of a real API server, a store on disk, an operator process."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lastgood.verify import digest
from tests.cluster import Cluster
from tests.integration.reading import reader

Body = dict[str, Any]
# What the workload's owner lets be bound, unless a test says otherwise: more than most tests bind.
ALLOWED = (
    "env:server/MODEL_PATH=/models/$(path)",
    "env:server/MODEL_PATH=$(uri)",
    "annotation:lastgood-test/ready=$(version)",
)
SOON = 40.0  # generous: on a busy machine late is not wrong
FOLLOWED = SOON + 60.0  # what a signal says a second time within a minute is written when that is over


def eventually(look: Callable[[], Any], *, what: str, within: float = SOON) -> Any:
    """Return the first truthy answer; an assertion error with the last one when there is none in time."""
    end = time.monotonic() + within
    while not (answer := look()):
        assert time.monotonic() < end, f"not within {within:g} s: {what}; last: {answer!r}"
        time.sleep(0.05)
    return answer


@dataclass
class Operator:
    """The operator as a process, as a user runs it outside a cluster."""

    cluster: Cluster
    namespace: str
    store: Path
    logs: Path
    identity: str = "operator-0"
    kubeconfig: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    under: Sequence[str] = ()  # a program that runs it, such as a tracer
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; stdout is the security log."""
        command = [
            *(*self.under, sys.executable, "-m", "lastgood", "run", "--namespace", self.namespace),
            *("--operator-namespace", self.namespace, "--store", str(self.store), "--allow-loopback"),
            *("--kubeconfig", str(self.kubeconfig or self.cluster.kubeconfig), *self.arguments),
        ]
        settings = {"POD_NAME": self.identity, "LASTGOOD_LIVENESS": "", "LASTGOOD_LEASE_SECONDS": "6"}
        with (self.logs / "security.jsonl").open("ab") as out, (self.logs / "operator.log").open("ab") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=os.environ | settings | self.environment
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it and wait until it is gone."""
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(timeout=10)
        finally:
            self.process.kill()
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        """Stop it as a crash does."""
        self.stop(signal.SIGKILL)

    def tell(self) -> None:
        """Show the end of its log, which pytest keeps for a test that failed."""
        path = self.logs / "operator.log"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        sys.stderr.write("".join(lines[-40:]))

    def security_log(self) -> list[Body]:
        """Return the entries of the security log so far."""
        path = self.logs / "security.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass
class World:
    """What a test has: nouns of the domain, on a real API server."""

    cluster: Cluster
    namespace: str
    store: Path
    operator: Operator

    @classmethod
    @contextmanager
    def make(cls, cluster: Cluster, directory: Path) -> Iterator["World"]:
        """Make a namespace and a store; end the operator and the namespace afterwards."""
        namespace, store = f"t-{secrets.token_hex(4)}", directory / "store"
        store.mkdir()
        cluster.kubectl("create", "namespace", namespace)
        operator = Operator(cluster=cluster, namespace=namespace, store=store, logs=directory)
        try:
            yield cls(cluster=cluster, namespace=namespace, store=store, operator=operator)
        finally:
            operator.stop()
            operator.tell()
            cluster.kubectl("delete", "namespace", namespace, "--wait=false")

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl in the namespace and return what it prints."""
        return self.cluster.kubectl("-n", self.namespace, *arguments, stdin=stdin, check=check).stdout

    def apply(self, *bodies: Body) -> None:
        """Apply objects as a person does, client-side."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(bodies)}))

    def get(self, kind: str, name: str) -> Body:
        """Return an object, or an empty one."""
        return reader(self.cluster.kubeconfig).get(kind, self.namespace, name)

    def list(self, kind: str) -> list[Body]:
        """Return all objects of a kind in the namespace, oldest first."""
        items: list[Body] = reader(self.cluster.kubeconfig).get(kind, self.namespace)["items"]
        return sorted(items, key=lambda item: str(item["metadata"]["creationTimestamp"]))

    def weights(self, version: int | str, content: str | None = None) -> str:
        """Write a checkpoint into the store and return its digest."""
        directory = self.store / "digits" / str(version)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.bin").write_text(content or f"weights of {version}")
        return digest(directory).digest

    def snapshot(self, version: int | str, /, **spec: Any) -> Body:
        """Return a ModelSnapshot `digits-v<version>` of a checkpoint in the store, which is written if missing."""
        source = {"store": {"path": f"digits/{version}"}}
        given = spec.pop("digest", None)
        fields = {"model": "digits", "version": str(version), "source": source} | spec
        fields["digest"] = given or self.weights(version)
        return self.body("ModelSnapshot", f"digits-v{version}", fields)

    def workload(
        self, *, label: bool = True, allowed: Sequence[str] = ALLOWED, env: Sequence[Body] = (), **template: Any
    ) -> Body:
        """Return the Deployment `digits-server` with two pods and a container `server`."""
        labels = {"lastgood.dev/model-deployment": "digits"} if label else {}
        annotations = {"lastgood.dev/bindable": "\n".join(allowed)} if allowed else {}
        container = {"name": "server", "image": "localhost/none:1", **({"env": list(env)} if env else {})}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "digits-server", "labels": labels, "annotations": annotations},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "digits"}},
                "template": {
                    "metadata": {"labels": {"app": "digits"}, **template},
                    "spec": {"containers": [container]},
                },
            },
        }

    def deployment(self, snapshot: str, **spec: Any) -> Body:
        """Return the ModelDeployment `digits`, with times fit for a test."""
        good = {"soak": "0s"}
        fields = {
            "model": "digits",
            "snapshot": snapshot,
            "targetRef": {"name": "digits-server"},
            "bindings": [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}],
            "rollback": {"cooldown": "0s", "maxPerHour": 60, "knownGood": good},
        }
        return self.body("ModelDeployment", "digits", fields | spec)

    def body(self, kind: str, name: str, spec: Body) -> Body:
        """Return an object of ours."""
        return {"apiVersion": "lastgood.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    def serve(self, version: int | str) -> None:
        """Deploy a version, and wait until it serves and has soaked."""
        self.apply(self.snapshot(version), self.workload(), self.deployment(f"digits-v{version}"))
        self.served(f"digits-v{version}")

    def served(self, snapshot: str, *, within: float = SOON) -> Body:
        """Wait until a snapshot serves and has soaked, and return the ModelDeployment."""
        return dict(eventually(lambda: self._soaked(snapshot), what=f"{snapshot} serves and soaked", within=within))

    def _soaked(self, snapshot: str) -> Body:
        found = self.get("modeldeployment", "digits")
        history = found.get("status", {}).get("history") or [{}]
        return found if history[-1].get("snapshot") == snapshot and history[-1].get("soakedAt") else {}

    def status(self) -> Body:
        """Return the status of the ModelDeployment."""
        return dict(self.get("modeldeployment", "digits").get("status", {}))

    def condition(self, type_: str, *, kind: str = "modeldeployment", name: str = "digits") -> Body:
        """Return a condition of an object, or an empty one."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return dict(next((item for item in conditions if item["type"] == type_), {}))

    def model_path(self) -> str:
        """Return the value that the pods get."""
        container = self.get("deployment", "digits-server")["spec"]["template"]["spec"]["containers"][0]
        return str(next((item.get("value") for item in container.get("env", []) if item["name"] == "MODEL_PATH"), ""))

    def annotate(self, target: str, name: str, text: str) -> None:
        """Annotate an object as somebody on call does."""
        self.kubectl("annotate", "--overwrite", target, f"lastgood.dev/{name}={text}")

    def ready(self, reason: str, *, within: float = FOLLOWED) -> Body:
        """Wait until the ModelDeployment's Ready has a reason, for the spec as it is now, and return the condition."""

        def found() -> Body:
            body = self.get("modeldeployment", "digits")
            status, generation = body.get("status", {}), body.get("metadata", {}).get("generation")
            conditions = [item for item in status.get("conditions", []) if item["type"] == "Ready"]
            seen = status.get("observedGeneration") == generation
            return conditions[0] if seen and conditions and conditions[0]["reason"] == reason else {}

        return dict(eventually(found, what=f"Ready says {reason}", within=within))

    def becomes(self, type_: str, status: str, *, kind: str = "modeldeployment", name: str = "digits") -> Body:
        """Wait until a condition has a status, and return it."""

        def found() -> Body:
            condition = self.condition(type_, kind=kind, name=name)
            return condition if condition.get("status") == status else {}

        return dict(eventually(found, what=f"{type_} of {name} is {status}", within=FOLLOWED))

    def template(self) -> Body:
        """Return the workload's pod template."""
        return dict(self.get("deployment", "digits-server")["spec"]["template"])

    def generation(self) -> int:
        """Return how often the workload's spec was changed."""
        return int(self.get("deployment", "digits-server")["metadata"]["generation"])

    def managers(self) -> set[str]:
        """Return who has written the workload itself."""
        entries = self.get("deployment", "digits-server")["metadata"]["managedFields"]
        return {entry["manager"] for entry in entries if not entry.get("subresource")}

    def writes(self) -> tuple[Body, ...]:
        """Return the audit events of each time that the operator changed the workload, in order."""
        made: dict[int, Body] = {}
        for event in self.cluster.audit():
            about = event.get("objectRef", {})
            if (event["verb"], about.get("namespace"), about.get("resource")) != (
                "patch",
                self.namespace,
                "deployments",
            ):
                continue
            answer = event.get("responseObject", {})
            if "fieldManager=lastgood" in event["requestURI"] and answer.get("kind") == "Deployment":
                made.setdefault(answer["metadata"]["generation"], event)
        return tuple(made.values())

    def pods_become(self, fate: str) -> None:
        """Let the pods that there are fare otherwise (see tests/cluster/README.md); one may vanish meanwhile."""
        self.kubectl("annotate", "pods", "--all", "--overwrite", f"lastgood-test/ready={fate}", check=False)

    def trigger(self, name: str) -> Body:
        """Return what the status says of a trigger, or nothing."""
        return dict(next((item for item in self.status().get("triggers", []) if item["name"] == name), {}))

    def event(self, reason: str, text: str = "", *, about: str = "") -> Body:
        """Wait for an Event, and return it."""

        def found() -> Body:
            events = [item for item in self.list("event") if item["reason"] == reason and text in item["message"]]
            return next((item for item in events if item["involvedObject"]["name"] == (about or "digits")), {})

        return dict(eventually(found, what=f"an Event {reason} {text!r}"))

    def request(self, name: str, **spec: Any) -> None:
        """Create a ModelRollback as a person does."""
        fields = {"deployment": {"name": "digits"}, "reason": "it looks wrong"} | spec
        self.kubectl("create", "-f", "-", stdin=json.dumps(self.body("ModelRollback", name, fields)))

    def ended(self, name: str, *, within: float = SOON) -> Body:
        """Wait until a record has an outcome, and return it."""

        def found() -> Body:
            record = self.get("modelrollback", name)
            return record if record.get("status", {}).get("outcome") else {}

        return self._let_go(dict(eventually(found, what=f"ModelRollback {name} ends", within=within)))

    def _let_go(self, record: Body) -> Body:
        """Wait until the ModelDeployment has let go of a record: it does so in the write after the outcome."""
        name = record["metadata"]["name"]

        def free() -> bool:
            return bool((self.status().get("activeRollback") or {}).get("name") != name)

        eventually(free, what=f"the lock of {name} is free")
        return record

    def candidates(self, record: Body) -> dict[str, str]:
        """Return why each snapshot was chosen or passed over, by its name."""
        return {item["snapshot"]: item["reason"] for item in record["status"].get("candidates", [])}

    def rollback(self, *, number: int = 1, within: float = SOON) -> Body:
        """Wait until that many rollbacks have ended, and return the newest."""

        def ended() -> Body:
            done = [item for item in self.list("modelrollback") if item.get("status", {}).get("outcome")]
            return max(done, key=lambda item: str(item["status"]["outcomeAt"])) if len(done) >= number else {}

        return self._let_go(dict(eventually(ended, what=f"{number} rollbacks ended", within=within)))
