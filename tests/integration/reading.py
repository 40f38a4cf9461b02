"""Reads of the API server without starting kubectl for each: tests look many times a second, on few cores."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from kubernetes import client, config

Body = dict[str, Any]
OURS = "/apis/lastgood.dev/v1alpha1"
PATHS = {
    "modelsnapshot": (OURS, "modelsnapshots"),
    "modeldeployment": (OURS, "modeldeployments"),
    "modelrollback": (OURS, "modelrollbacks"),
    "deployment": ("/apis/apps/v1", "deployments"),
    "replicaset": ("/apis/apps/v1", "replicasets"),
    "pod": ("/api/v1", "pods"),
    "event": ("/api/v1", "events"),
    "configmap": ("/api/v1", "configmaps"),
}
NOT_FOUND = 404


@lru_cache(maxsize=4)
def reader(kubeconfig: Path) -> "Reader":
    """Return the one reader of a cluster; its connections are kept."""
    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings)  # type: ignore[no-untyped-call]  # theirs
    settings.proxy = None
    return Reader(settings)


class Reader:
    """Gets objects as they are."""

    def __init__(self, settings: client.Configuration) -> None:
        self._host = settings.host
        token = settings.get_api_key_with_prefix("authorization")
        self._headers = {"Accept": "application/json"} | ({"Authorization": token} if token else {})
        self._client = client.ApiClient(settings).rest_client

    def get(self, kind: str, namespace: str, name: str = "") -> Body:
        """Return an object (empty where there is none), or a list without a name."""
        group, plural = PATHS[kind]
        path = f"{group}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")
        answer = self._client.request("GET", self._host + path, headers=self._headers)  # type: ignore[no-untyped-call]  # theirs
        body: Body = json.loads(answer.read())
        assert answer.status in (200, NOT_FOUND), body
        return body if answer.status != NOT_FOUND else {}
