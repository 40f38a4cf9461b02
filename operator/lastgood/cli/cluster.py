"""The API server as the plugin sees it: read an object, list objects, write one annotation."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from lastgood.api.names import GROUP, VERSION
from lastgood.kube.credentials import MALFORMED

SNAPSHOTS: Final = "modelsnapshots"
DEPLOYMENTS: Final = "modeldeployments"
ROLLBACKS: Final = "modelrollbacks"
_TIMEOUT: Final = 15  # seconds for one request
_FORBIDDEN, _NOT_FOUND, _UNAUTHORIZED = 403, 404, 401


class ClusterError(Exception):
    """The API server did not do what was asked; the message says what to do."""


class Cluster:
    """One namespace of the cluster that the kubeconfig names, for the custom objects of lastgood."""

    def __init__(self, *, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        from kubernetes import client, config  # noqa: PLC0415 - a third of a second that `--help` does without

        # urllib3 warns about each retry on stderr; what comes of it is one sentence of ours.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        try:
            untyped: Any = config  # the package has types for its generated part only
            api_client = untyped.new_client_from_config(kubeconfig, context)
            contexts, active = untyped.list_kube_config_contexts(kubeconfig)
        except config.ConfigException as error:
            raise ClusterError(f"kubeconfig: {error}; name another with --kubeconfig or --context") from error
        except OSError as error:
            raise ClusterError(f"kubeconfig: {error}; name another with --kubeconfig") from error
        except MALFORMED as error:
            told = f"kubeconfig: is none ({type(error).__name__}); name another with --kubeconfig"
            raise ClusterError(told) from error
        chosen = next((entry for entry in contexts if entry["name"] == context), active)
        self._api: Any = client.CustomObjectsApi(api_client)
        self.namespace = namespace or chosen["context"].get("namespace") or "default"

    def get(self, plural: str, name: str) -> Mapping[str, Any]:
        """Return an object.

        Raises:
            ClusterError: if it is not there, or may not be read.
        """
        with self._asking("get", plural, name):
            found: Mapping[str, Any] = self._api.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, plural, name, _request_timeout=_TIMEOUT
            )
        return found

    def find_all(self, plural: str, *, everywhere: bool = False) -> list[Mapping[str, Any]]:
        """Return all objects of a kind, in this namespace or in all.

        Raises:
            ClusterError: if they may not be read.
        """
        with self._asking("list", plural):
            if everywhere:
                found = self._api.list_cluster_custom_object(GROUP, VERSION, plural, _request_timeout=_TIMEOUT)
            else:
                found = self._api.list_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, plural, _request_timeout=_TIMEOUT
                )
        return list(found["items"])

    def annotate(self, plural: str, name: str, key: str, value: str) -> None:
        """Write one annotation, as `kubectl annotate --overwrite` does.

        Raises:
            ClusterError: if the object is not there, or may not be changed.
        """
        with self._asking("patch", plural, name):
            self._api.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                plural,
                name,
                {"metadata": {"annotations": {key: value}}},
                field_manager="kubectl-lastgood",
                _content_type="application/merge-patch+json",
                _request_timeout=_TIMEOUT,
            )

    @contextmanager
    def _asking(self, verb: str, plural: str, name: str = "") -> Iterator[None]:
        from kubernetes.client import ApiException  # noqa: PLC0415 - loaded by the constructor already
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the same

        try:
            yield
        except ApiException as error:
            raise ClusterError(self._explain(error.status, error.reason, verb, plural, name)) from error
        except HTTPError as error:
            raise ClusterError(f"the API server does not answer: {error}; nothing is known to be done") from error

    def _explain(self, status: int, reason: str, verb: str, plural: str, name: str) -> str:
        where = f"in namespace {self.namespace}"
        if status == _NOT_FOUND and name:
            return f"{plural}/{name} is not {where}; see `kubectl get {plural} -n {self.namespace}`"
        if status == _NOT_FOUND:
            return f"this cluster does not know {plural}.{GROUP}; install lastgood's CRDs first"
        if status in {_FORBIDDEN, _UNAUTHORIZED}:
            return f"you may not {verb} {plural} {where}; ask for a role that allows it"
        return f"the API server answered {status} {reason} to {verb} {plural} {where}"
