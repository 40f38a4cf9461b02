"""What a test or a demo sees of a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.cluster.errors import ClusterError
from tests.cluster.process import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

CHOICES = ("local", "kind", "current")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running cluster: as a base class it knows only a kubeconfig and programs to use it with."""

    name: str
    profile: str  # "control-plane" | "node"
    directory: Path  # of its own; gone when the cluster is
    kubeconfig: Path  # of a member of system:masters
    server: str
    audit_log: Path | None
    programs: Path | None = None  # a folder with kubectl and helm, good for PATH; None: those of the user

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Return a kubeconfig of another, real user: only RBAC decides what it may do.

        Raises:
            ClusterError: this kind of cluster cannot make users.
        """
        raise ClusterError(f"cluster {self.name} cannot make user {user} {list(groups)}: use LASTGOOD_CLUSTER=local")

    def kubectl(
        self,
        *args: str,
        stdin: str | None = None,
        user: str | None = None,
        groups: Sequence[str] = (),
        check: bool = True,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator or as another user.

        Raises:
            ClusterError: it failed and `check` is set; the message has its words.
        """
        kubeconfig = self.kubeconfig_for(user, groups) if user else self.kubeconfig
        return self._run("kubectl", args, kubeconfig=kubeconfig, stdin=stdin, check=check, timeout=timeout)

    def helm(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run helm as administrator."""
        return self._run("helm", args, kubeconfig=self.kubeconfig, stdin=None, check=check, timeout=600)

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """Return an environment in which programs use this cluster, and kubectl and helm leave no traces at home."""
        folders = {f"HELM_{kind}_HOME": str(self.directory / "helm" / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        path = {"PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"} if self.programs else {}
        own = {"KUBECONFIG": str(kubeconfig or self.kubeconfig), "KUBECACHEDIR": str(self.directory / "kubectl")}
        return clean_environment({**own, **folders, **path})

    @property
    def gateway(self) -> str:
        """The address at which pods reach this machine.

        Raises:
            ClusterError: this kind of cluster has none that is known.
        """
        raise ClusterError(f"cluster {self.name} does not say how pods reach this machine: use LASTGOOD_CLUSTER=local")

    def load_image(self, archive: Path) -> None:
        """Give the node an image, an OCI or Docker archive."""
        raise ClusterError(f"cluster {self.name} has no node that could take {archive.name}: use the profile node")

    def audit(self) -> Iterator[dict[str, Any]]:
        """Yield the events of the audit log so far, in order."""
        if self.audit_log is None:
            raise ClusterError(f"the audit log of cluster {self.name} cannot be read: use a local one with audit=True")
        with self.audit_log.open() as lines:
            for line in lines:
                if line.endswith("\n"):  # else it is being written
                    yield json.loads(line)

    def pause(self, component: str) -> None:
        """Stop "etcd" or "kube-apiserver" as an outage would: connections stay, answers do not come."""
        raise ClusterError(f"cluster {self.name} cannot pause {component}: use LASTGOOD_CLUSTER=local")

    def resume(self, component: str) -> None:
        """Let a paused component go on."""
        raise ClusterError(f"cluster {self.name} cannot resume {component}: use LASTGOOD_CLUSTER=local")

    def exec_in_network(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs this command where Services and pods can be reached."""
        return list(argv)

    def _run(  # what a program's run has
        self,
        program: str,
        args: Sequence[str],
        *,
        kubeconfig: Path,
        stdin: str | None,
        check: bool,
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        result = run_text(
            [str(self.programs / program) if self.programs else program, *args],
            environment=self.environment(kubeconfig),
            stdin=stdin,
            timeout=timeout,
        )
        if check and result.returncode:
            said = result.stderr or result.stdout
            raise ClusterError(f"{program} {' '.join(args)} failed with {result.returncode}: {said}")
        return result


def run_text(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: str | None,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Run a command with text in and out; without input it reads nothing rather than the terminal."""
    return subprocess.run(
        list(argv),
        input=stdin or "",
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def to_stderr(sentence: str) -> None:
    """Show progress, the way that is used when nobody says otherwise."""
    print(f"cluster: {sentence}", file=sys.stderr, flush=True)  # noqa: T201  # the user waits for it


@contextmanager
def running(
    *,
    profile: str = "control-plane",
    name: str | None = None,
    pods: bool = False,
    audit: bool = True,
    progress: Callable[[str], None] = to_stderr,
) -> Iterator[Cluster]:
    """Run a cluster for as long as the block, and not longer than this process.

    Args:
        profile: "control-plane" (no pods, unless `pods` lets kwok pretend) or "node" (real pods).
        name: unique on this machine; made up if left out.
        pods: run a scheduler and kwok, so that the pods of Deployments become Ready. A node runs pods anyway.
        audit: have every write in the audit log before it is answered, which makes each slower.
        progress: gets a sentence now and then.

    Raises:
        ClusterError: it did not start; the message says why.
    """
    kind = chosen()
    if kind == "local":
        from tests.cluster.local import running_local as run  # noqa: PLC0415  # it imports this module
    elif kind == "kind":
        from tests.cluster.kind import running_kind as run  # noqa: PLC0415  # the same
    else:
        from tests.cluster.current import running_current as run  # noqa: PLC0415  # the same
    with run(profile=profile, name=name, pods=pods, audit=audit, progress=progress) as cluster:
        yield cluster


def chosen() -> str:
    """Return which way to a cluster the user chose."""
    kind = os.environ.get("LASTGOOD_CLUSTER", "local")
    if kind not in CHOICES:
        raise ClusterError(f"LASTGOOD_CLUSTER is {kind!r}; it must be one of {', '.join(CHOICES)}")
    return kind
