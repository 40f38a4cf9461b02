"""Plays the kubelet for the operator's Jobs: runs what their pods say, on a folder in the place of the claim.

The pods wait, for their claim is bound to no volume; what a container wrote at its end goes into the pod's status, as
much of it as a kubelet keeps. Our own Jobs run our own command; scanners are programs that a test gives.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lastgood.verify import digest
from tests.integration.world import World

Body = dict[str, Any]
CLAIM = "models"
KEPT = 4096  # bytes, of the end
LOG = "/dev/termination-log"


@dataclass
class Kubelet:
    """Runs the pods of one namespace; `programs` are the scanners by image, and may change while it runs."""

    world: World
    folder: Path
    programs: dict[str, Sequence[str]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda _: None
    _ended: threading.Event = field(default_factory=threading.Event)
    _done: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        """Make the claim, and begin."""
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM},
            "spec": {
                "storageClassName": "none",
                "accessModes": ["ReadOnlyMany"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        self.world.apply(claim)
        self._thread = threading.Thread(target=self._run, name="kubelet")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.1):
            for pod in self.world.list("pod"):
                if self._is_ours(pod):
                    self._play(pod)

    def _is_ours(self, pod: Body) -> bool:
        labels, uid = pod["metadata"].get("labels", {}), pod["metadata"]["uid"]
        if labels.get("app.kubernetes.io/managed-by") != "lastgood" or uid in self._done:
            return False
        (container,) = pod["spec"]["containers"]
        return container["name"] != "scan" or container["image"] in self.programs

    def _play(self, pod: Body) -> None:
        (container,) = pod["spec"]["containers"]
        self._done.add(pod["metadata"]["uid"])
        self.ran.append(container["image"] if container["name"] == "scan" else container["name"])
        self.before(self.ran[-1])
        log = self.folder.parent / f"log-{len(self.ran)}"
        log.touch()
        code = self._container(container, log)
        message = log.read_bytes()[-KEPT:].decode(errors="replace")
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
        status = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
        }
        body = {"status": {"phase": "Succeeded", "containerStatuses": [{**status, "state": {"terminated": ended}}]}}
        patch = ["--subresource=status", "--type=merge", "-p", json.dumps(body)]
        self.world.kubectl("patch", "pod", pod["metadata"]["name"], *patch, check=False)

    def _container(self, container: Body, log: Path) -> int:
        here = {"/data": str(self.folder), LOG: str(log)}
        given = {item["name"]: mapped(item["value"], here) for item in container.get("env", [])}
        program = self.programs.get(container["image"], [sys.executable, "-m", "lastgood"])
        arguments = [mapped(text, here) for text in container.get("args", [])]
        done = subprocess.run(
            [*program, *arguments], env=os.environ | given, capture_output=True, check=False, timeout=60
        )
        return done.returncode if done.returncode >= 0 else 128 - done.returncode  # as a runtime tells of signals

    def snapshot(self, version: int | str, /, *files: str, **spec: Any) -> Body:
        """Return a ModelSnapshot of a checkpoint on the claim, which is written if missing."""
        directory = self.folder / "digits" / str(version)
        if not directory.exists():
            directory.mkdir(parents=True)
            for name in (*files, "model.bin"):
                (directory / name).write_text(f"{name} of {version}")
        source = {"pvc": {"claimName": CLAIM, "path": f"digits/{version}"}}
        return self.world.snapshot(version, **{"source": source, "digest": digest(directory).digest} | spec)

    def workload(self) -> Body:
        """Return a Deployment that mounts the claim; its pods say their node, and so wait for no volume."""
        body = self.world.workload()
        node = self.world.cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
        volumes = [{"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}]
        body["spec"]["template"]["spec"] |= {"nodeName": node, "volumes": volumes}
        return body


def mapped(text: str, places: Mapping[str, str]) -> str:
    """Return a text with a path of the pod made one of this machine."""
    found = next((path for path in places if text == path or text.startswith(f"{path}/")), "")
    return places[found] + text.removeprefix(found) if found else text
