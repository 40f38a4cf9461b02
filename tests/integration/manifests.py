"""Small good manifests that a test changes in one place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.cluster import Cluster

DIGEST = f"sha256:{'0' * 64}"
RECORD = "00007a-5f2c9a1b7e"
Body = dict[str, Any]
ENV = {"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}


def body(kind: str, name: str, spec: Body) -> Body:
    return {"apiVersion": "lastgood.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def snapshot(name: str = "digits-v1", **changes: Any) -> Body:
    spec = {"model": "digits", "version": "1", "source": {"store": {"path": "digits/1"}}, "digest": DIGEST}
    return body("ModelSnapshot", name, {**spec, **changes})


def deployment(name: str = "digits", **changes: Any) -> Body:
    spec = {"model": "digits", "snapshot": "digits-v1", "targetRef": {"name": "server"}, "bindings": [ENV]}
    return body("ModelDeployment", name, {**spec, **changes})


def rollback(name: str = "digits-1", **changes: Any) -> Body:
    spec = {"deployment": {"name": "digits"}, "reason": "wrong digits since noon"}
    return body("ModelRollback", name, {**spec, **changes})


def put(cluster: Cluster, namespace: str, manifest: Body, status: Body) -> None:
    """Make an object and write its status, as the operator does."""
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    patch = ["--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
    name = manifest["metadata"]["name"]
    cluster.kubectl("-n", namespace, "patch", manifest["kind"].lower(), name, *patch)
