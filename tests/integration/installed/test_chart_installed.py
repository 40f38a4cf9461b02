"""What installing, upgrading and uninstalling the Helm chart does to a cluster."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import yaml

from deploy import sync
from tests.cluster import Cluster, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESPACE = "lastgood-system"
MODELS = ("modelsnapshots", "modeldeployments", "modelrollbacks")
SNAPSHOT = {
    "apiVersion": "lastgood.dev/v1alpha1",
    "kind": "ModelSnapshot",
    "metadata": {"name": "digits-v1", "namespace": NAMESPACE},
    "spec": {"model": "digits", "version": "1", "source": {"store": {"path": "1"}}, "digest": f"sha256:{'0' * 64}"},
}


def older_chart(folder: Path) -> Path:
    """Return a chart whose definition of snapshots does not know the short name yet."""
    chart = folder / "lastgood"
    shutil.copytree(sync.CHART, chart)
    crd = chart / "templates" / "crds" / "modelsnapshots.yaml"
    crd.write_text(crd.read_text().replace("shortNames: [msnap]", "shortNames: []"))
    return chart


def short_names(cluster: Cluster) -> list[str]:
    crd = json.loads(cluster.kubectl("get", "crd", "modelsnapshots.lastgood.dev", "-o", "json").stdout)
    names: list[str] = crd["spec"]["names"].get("shortNames", [])
    return names


def kept(cluster: Cluster) -> list[str]:
    names = ["pvc/lastgood-store", "configmap/lastgood-quarantine", "modelsnapshots.lastgood.dev/digits-v1"]
    return cluster.kubectl("-n", NAMESPACE, "get", *names, "-o", "name").stdout.split()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of its own: CRDs belong to the whole cluster, and here they come and change."""
    with running(profile="control-plane") as fresh:
        yield fresh


@pytest.fixture(scope="module")
def upgraded(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster where an older chart was installed and used, and then upgraded."""
    where = ["--namespace", NAMESPACE, "--create-namespace"]
    cluster.helm(
        "install", "lastgood", str(older_chart(tmp_path_factory.mktemp("chart"))), *where, "--set=store.kind=claim"
    )
    assert short_names(cluster) == []
    cluster.kubectl("wait", "--for=condition=Established", "crd", "modelsnapshots.lastgood.dev")
    cluster.kubectl("create", "-f", "-", stdin=yaml.safe_dump(SNAPSHOT))
    data = json.dumps({"data": {f"sha256-{'1' * 64}": "INC-1234"}})
    cluster.kubectl("-n", NAMESPACE, "patch", "configmap", "lastgood-quarantine", "--type=merge", "-p", data)
    cluster.helm("upgrade", "lastgood", str(sync.CHART), *where)
    return cluster


def test_upgrade_changes_the_definitions(upgraded: Cluster) -> None:
    assert short_names(upgraded) == ["msnap"]


def test_upgrade_keeps_a_store_that_an_earlier_release_made(upgraded: Cluster) -> None:
    found = upgraded.kubectl("-n", NAMESPACE, "get", "deployment", "lastgood", "-o", "json").stdout
    volumes = json.loads(found)["spec"]["template"]["spec"]["volumes"]
    store = next(volume for volume in volumes if volume["name"] == "store")
    assert store["persistentVolumeClaim"]["claimName"] == "lastgood-store"


def test_upgrade_leaves_the_quarantine_alone(upgraded: Cluster) -> None:
    found = upgraded.kubectl("-n", NAMESPACE, "get", "configmap", "lastgood-quarantine", "-o", "json").stdout
    assert json.loads(found)["data"] == {f"sha256-{'1' * 64}": "INC-1234"}


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        ("patch", "deployments.apps", True),
        ("patch", "modelsnapshots.lastgood.dev/status", True),
        ("create", "jobs.batch", True),
        ("list", "configmaps/lastgood-quarantine", True),
        ("get", "secrets", False),
        ("get", "configmaps/another", True),  # bundles of signatures are in ConfigMaps of any name
        ("patch", "configmaps/another", False),
        ("list", "configmaps", False),
        ("patch", "modeldeployments.lastgood.dev", False),
        ("delete", "modelsnapshots.lastgood.dev", False),
        ("create", "pods", False),
        ("delete", "deployments.apps", False),
    ],
)
def test_installed_operator_is_allowed(upgraded: Cluster, verb: str, resource: str, *, allowed: bool) -> None:
    resource, _, sub = resource.partition("/")
    extra = [f"--subresource={sub}"] if sub == "status" else [sub] if sub else []
    resource = f"{resource}/{extra.pop()}" if extra and not extra[0].startswith("--") else resource
    account = f"system:serviceaccount:{NAMESPACE}:lastgood"
    done = upgraded.kubectl("auth", "can-i", verb, resource, *extra, "--as", account, "-n", NAMESPACE, check=False)
    assert done.stdout.strip() == ("yes" if allowed else "no")


def test_uninstall_keeps_definitions_snapshots_quarantine_and_store(upgraded: Cluster) -> None:
    upgraded.helm("uninstall", "lastgood", "--namespace", NAMESPACE)
    crds = upgraded.kubectl("get", "crd", "-o", "name").stdout
    assert all(f"{kind}.lastgood.dev" in crds for kind in MODELS)
    assert len(kept(upgraded)) == 3
    assert "lastgood" not in upgraded.kubectl("-n", NAMESPACE, "get", "deployment", "-o", "name").stdout
    upgraded.helm("install", "lastgood", str(sync.CHART), "--namespace", NAMESPACE)
    assert len(kept(upgraded)) == 3
