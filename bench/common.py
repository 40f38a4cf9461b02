"""What every benchmark needs: a cluster, an operator as users run it, percentiles, and one way to print them."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lastgood.verify import digest
from tests.cluster import Cluster

Body = dict[str, Any]
Figures = Mapping[str, float | str]
ROOT: Final = Path(__file__).parents[1]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of all values does not exceed."""
    if not values:
        raise ValueError("no values were measured")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def show(figures: Figures, *, as_json: bool, title: str, meaning: Mapping[str, str]) -> None:
    """Print one JSON object, or a table with what each figure means."""
    if as_json:
        print(json.dumps(figures))
        return
    print(title)
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        digits = 2 if name.endswith("_ratio") else 1
        shown = f"{value:.{digits}f}" if isinstance(value, float) else str(value)
        print(f"  {name:<{width}}  {shown:>9}  {meaning.get(name, '')}".rstrip())


def to_stderr(sentence: str) -> None:
    """Say how far it is: a benchmark takes a while, and stdout is for its figures."""
    print(sentence, file=sys.stderr, flush=True)


def circumstances() -> dict[str, float | str]:
    """Return what else the figures depend on."""
    return {"cpus": str(os.cpu_count()), "load_before": os.getloadavg()[0]}


def compared(now: Figures, before: Figures) -> Figures:
    """Return each figure of this checkout and of another commit, and `ratio`: above 1 is more than before."""
    found: dict[str, float | str] = {}
    for name, later in now.items():
        earlier = before[name]
        found |= {f"{name}_before": earlier, f"{name}_now": later}
        found[f"{name}_ratio"] = round(float(later) / float(earlier), 3) if float(earlier) else "-"
    return found


@contextmanager
def checked_out(ref: str) -> Iterator[Path]:
    """Check out another commit for as long as the block."""
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "before"
        subprocess.run(("git", "worktree", "add", "--quiet", "--detach", str(other), ref), cwd=ROOT, check=True)
        try:
            yield other
        finally:
            subprocess.run(("git", "worktree", "remove", "--force", str(other)), cwd=ROOT, check=True)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A running operator."""

    process: subprocess.Popen[bytes]

    @property
    def resident_mb(self) -> float:
        """Its resident memory now, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))

    @property
    def cpu_seconds(self) -> float:
        """How much processor time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def account(cluster: Cluster, namespace: str, directory: Path) -> Path:
    """Make a service account for the operator, as it has in a cluster, and return a kubeconfig with its token."""
    cluster.kubectl("create", "serviceaccount", "lastgood", "--namespace", namespace)
    subject = f"--serviceaccount={namespace}:lastgood"
    cluster.kubectl("create", "clusterrolebinding", "lastgood", "--clusterrole=cluster-admin", subject)
    token = cluster.kubectl("create", "token", "lastgood", "--namespace", namespace, "--duration=2h").stdout.strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    path = directory / "operator.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@contextmanager
def operator(
    cluster: Cluster, namespace: str, directory: Path, *, profile: str | None = None, tree: Path = ROOT
) -> Iterator[Operator]:
    """Run the operator of a checkout as a user does outside a cluster; its store and its logs are in the directory."""
    profiler = ("-m", "cProfile", "-o", profile) if profile else ()
    command = [
        *(sys.executable, *profiler, "-m", "lastgood", "run"),
        *("--kubeconfig", str(account(cluster, namespace, directory))),
        *("--namespace", namespace, "--operator-namespace", namespace),
        *("--store", str(directory), "--allow-loopback", "--liveness", ""),
    ]
    environment = os.environ | {"PYTHONPATH": str(tree / "operator")}
    with (directory / "security.jsonl").open("wb") as out, (directory / "operator.log").open("wb") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, stdin=subprocess.DEVNULL, env=environment)
    try:
        yield Operator(process=process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        finally:
            process.kill()
            process.wait()


def snapshot(store: Path, model: str, version: int) -> Body:
    """Write a small checkpoint and return its ModelSnapshot."""
    path = f"{model}/{version}"
    file = store / path / "model.bin"
    file.parent.mkdir(parents=True)
    file.write_text(path, encoding="utf-8")
    spec = {"model": model, "version": str(version), "source": {"store": {"path": path}}}
    return {
        "metadata": {"name": f"{model}-v{version}"},
        "spec": {**spec, "digest": digest(file.parent).digest},
    }


def workload(model: str, *, replicas: int) -> Body:
    """Return a Deployment that has opted in."""
    container = {"name": "server", "image": "localhost/none:1"}
    return {
        "metadata": {
            "name": model,
            "labels": {"lastgood.dev/model-deployment": model},
            "annotations": {"lastgood.dev/bindable": "env:server/MODEL_PATH=/models/$(path)"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": model}},
            "template": {"metadata": {"labels": {"app": model}}, "spec": {"containers": [container]}},
        },
    }


def deployment(model: str, version: int, **spec: Any) -> Body:  # noqa: ANN401  # any field of a spec
    """Return a ModelDeployment."""
    fields = {
        "model": model,
        "snapshot": f"{model}-v{version}",
        "targetRef": {"name": model},
        "bindings": [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}],
    }
    return {"metadata": {"name": model}, "spec": {**fields, **spec}}
