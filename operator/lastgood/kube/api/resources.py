"""The resources that the operator reads and writes, and where the API server keeps them."""

import re
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import GROUP, VERSION
from lastgood.kube.api.problems import InvalidError

LONGEST_NAME: Final = 253
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind of object, by the names that a URL needs."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return what an object of this kind carries as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of an object, or of the collection if no name is given.

        Raises:
            InvalidError: a name is none: with a slash in it, it would lead to another object.
        """
        for given in (namespace, name):
            _require_name(given)
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace is not None else ""
        return "/".join(part for part in (f"{root}{scope}/{self.plural}", name, subresource) if part)


def _require_name(name: str | None) -> None:
    """Refuse what is no name of an object or a namespace, wherever it came from.

    Raises:
        InvalidError: it is none.
    """
    if name is not None and not (_NAME.fullmatch(name) and len(name) <= LONGEST_NAME):
        raise InvalidError(status=422, reason="Invalid", message=f"{name[:64]!r} is not the name of an object")


SNAPSHOTS: Final = Resource(group=GROUP, version=VERSION, plural="modelsnapshots", kind="ModelSnapshot")
DEPLOYMENTS: Final = Resource(group=GROUP, version=VERSION, plural="modeldeployments", kind="ModelDeployment")
ROLLBACKS: Final = Resource(group=GROUP, version=VERSION, plural="modelrollbacks", kind="ModelRollback")
WORKLOADS: Final = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
PODS: Final = Resource(group="", version="v1", plural="pods", kind="Pod")
JOBS: Final = Resource(group="batch", version="v1", plural="jobs", kind="Job")
EVENTS: Final = Resource(group="", version="v1", plural="events", kind="Event")
CONFIGMAPS: Final = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
LEASES: Final = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
SECRETS: Final = Resource(group="", version="v1", plural="secrets", kind="Secret")
TRUST_POLICIES: Final = Resource(group=GROUP, version=VERSION, plural="modeltrustpolicies", kind="ModelTrustPolicy")
ACCESS_REVIEWS: Final = Resource(
    group="authorization.k8s.io", version="v1", plural="selfsubjectaccessreviews", kind="SelfSubjectAccessReview"
)
CLUSTER_TRUST_POLICIES: Final = Resource(
    group=GROUP, version=VERSION, plural="clustermodeltrustpolicies", kind="ClusterModelTrustPolicy"
)
