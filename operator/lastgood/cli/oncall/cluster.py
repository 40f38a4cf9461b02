"""The API server as the plugin sees it: read an object, list objects, write one annotation."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from lastgood.api.names import GROUP, VERSION
from lastgood.errors import TerminalError
from lastgood.kube.api.credentials import MALFORMED
from lastgood.kube.api.kubeconfig import library


@dataclass(frozen=True, kw_only=True)
class Plural:
    """A kind of object, by the names that a URL needs."""

    name: str
    group: str = GROUP
    version: str = VERSION

    def __str__(self) -> str:
        return self.name


SNAPSHOTS: Final = Plural(name="modelsnapshots")
DEPLOYMENTS: Final = Plural(name="modeldeployments")
ROLLBACKS: Final = Plural(name="modelrollbacks")
POLICIES: Final = Plural(name="modeltrustpolicies")
CLUSTER_POLICIES: Final = Plural(name="clustermodeltrustpolicies")
WORKLOADS: Final = Plural(name="deployments", group="apps", version="v1")
LEASES: Final = Plural(name="leases", group="coordination.k8s.io", version="v1")
_TIMEOUT: Final = 15  # seconds for one request
_FORBIDDEN, _NOT_FOUND, _UNAUTHORIZED, _TOO_MANY, _SERVER_ERROR = 403, 404, 401, 429, 500


class ClusterError(Exception):
    """The API server did not do what was asked; the message says what to do."""


class MissingError(ClusterError):
    """The object is not there; `now` is the API server's time."""

    def __init__(self, message: str, now: datetime) -> None:
        super().__init__(message)
        self.now = now


class UnreachableError(ClusterError):
    """The API server does not answer, or not now: what was asked may work in a moment."""


class Cluster:
    """One namespace of the cluster that the kubeconfig names, for the custom objects of lastgood."""

    def __init__(self, *, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
        kubernetes = _library()
        config = kubernetes.config
        # urllib3 warns about each retry on stderr; what comes of it is one sentence of ours.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        try:
            api_client = config.new_client_from_config(kubeconfig, context)
            contexts, active = config.list_kube_config_contexts(kubeconfig)
        except config.ConfigException as error:
            raise ClusterError(f"kubeconfig: {error}; name another with --kubeconfig or --context") from error
        except OSError as error:
            raise ClusterError(f"kubeconfig: {error}; name another with --kubeconfig") from error
        except MALFORMED as error:
            told = f"kubeconfig: not a kubeconfig ({type(error).__name__}); name another with --kubeconfig"
            raise ClusterError(told) from error
        chosen = next((entry for entry in contexts if entry["name"] == context), active)
        self._api: Any = kubernetes.client.CustomObjectsApi(api_client)
        self.namespace = namespace or chosen["context"].get("namespace") or "default"

    def get(self, plural: Plural, name: str) -> Mapping[str, Any]:
        """Return an object.

        Raises:
            ClusterError: if it is not there, or may not be read.
        """
        return self.get_from(plural, name, self.namespace)[0]

    def get_from(self, plural: Plural, name: str, namespace: str) -> tuple[Mapping[str, Any], datetime]:
        """Return an object of a namespace, and the API server's time.

        Raises:
            ClusterError: if it is not there, or may not be read.
        """
        with self._asking("get", plural, name, namespace):
            found, _, headers = self._api.get_namespaced_custom_object_with_http_info(
                plural.group, plural.version, namespace, plural.name, name, _request_timeout=_TIMEOUT
            )
        return found, _time(headers)

    def find_all(self, plural: Plural, *, everywhere: bool = False) -> list[Mapping[str, Any]]:
        """Return all objects of a kind, in this namespace or in all.

        Raises:
            ClusterError: if they may not be read.
        """
        with self._asking("list", plural, namespace="" if everywhere else self.namespace):
            kind = plural.group, plural.version
            if everywhere:
                found = self._api.list_cluster_custom_object(*kind, plural.name, _request_timeout=_TIMEOUT)
            else:
                found = self._api.list_namespaced_custom_object(
                    *kind, self.namespace, plural.name, _request_timeout=_TIMEOUT
                )
        return list(found["items"])

    def leases(self, name: str) -> tuple[list[Mapping[str, Any]], datetime]:
        """Return the Leases of a name in all namespaces, and the API server's time.

        Raises:
            ClusterError: if they may not be read.
        """
        with self._asking("list", LEASES, namespace=""):
            found, _, headers = self._api.list_cluster_custom_object_with_http_info(
                LEASES.group,
                LEASES.version,
                LEASES.name,
                field_selector=f"metadata.name={name}",
                _request_timeout=_TIMEOUT,
            )
        return list(found["items"]), _time(headers)

    def annotate(self, plural: Plural, name: str, key: str, value: str) -> None:
        """Write one annotation, as `kubectl annotate --overwrite` does.

        Raises:
            ClusterError: if the object is not there, or may not be changed.
        """
        with self._asking("patch", plural, name):
            self._api.patch_namespaced_custom_object(
                plural.group,
                plural.version,
                self.namespace,
                plural.name,
                name,
                {"metadata": {"annotations": {key: value}}},
                field_manager="kubectl-lastgood",
                _content_type="application/merge-patch+json",
                _request_timeout=_TIMEOUT,
            )

    @contextmanager
    def _asking(self, verb: str, plural: Plural, name: str = "", namespace: str | None = None) -> Iterator[None]:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - the Kubernetes client brings it

        place = self.namespace if namespace is None else namespace
        try:
            yield
        except _library().client.ApiException as error:
            raise _explained(error, verb, plural, name, place) from error
        except HTTPError as error:
            told = f"the API server does not answer: {error}; the request may not have arrived"
            raise UnreachableError(told) from error


def _explained(error: Any, verb: str, plural: Plural, name: str, namespace: str) -> ClusterError:  # noqa: ANN401 - the package has no types for its errors
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    if error.status == _NOT_FOUND and name:
        told = f"{plural}/{name} is not {where}; see `kubectl get {plural} -n {namespace}`"
        return MissingError(told, _time(error.headers))
    if error.status == _NOT_FOUND:
        return ClusterError(f"this cluster has no {plural}.{plural.group}; install lastgood's CRDs first")
    if error.status in {_FORBIDDEN, _UNAUTHORIZED}:
        return ClusterError(f"you may not {verb} {plural} {where}; ask for a role that allows it")
    told = f"the API server answered {error.status} {error.reason} to {verb} {plural} {where}"
    busy = error.status >= _SERVER_ERROR or error.status == _TOO_MANY
    return UnreachableError(told) if busy else ClusterError(told)


def _time(headers: Mapping[str, str] | None) -> datetime:
    """Return the API server's time: a clock of one's own may be wrong."""
    try:
        return parsedate_to_datetime((headers or {})["Date"])
    except (KeyError, ValueError, TypeError):
        return datetime.now(UTC)


def _library() -> Any:  # noqa: ANN401  # the package has types for its generated part only
    try:
        return library()
    except TerminalError as error:
        raise ClusterError(str(error)) from error
