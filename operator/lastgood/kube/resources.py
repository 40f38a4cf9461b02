"""The resources that the operator reads and writes, and where the API server keeps them."""

from dataclasses import dataclass
from typing import Final

from lastgood.api.names import GROUP, VERSION


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
        """Return the URL path of an object, or of the collection if no name is given."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace is not None else ""
        return "/".join(part for part in (f"{root}{scope}/{self.plural}", name, subresource) if part)


SNAPSHOTS: Final = Resource(group=GROUP, version=VERSION, plural="modelsnapshots", kind="ModelSnapshot")
DEPLOYMENTS: Final = Resource(group=GROUP, version=VERSION, plural="modeldeployments", kind="ModelDeployment")
ROLLBACKS: Final = Resource(group=GROUP, version=VERSION, plural="modelrollbacks", kind="ModelRollback")
WORKLOADS: Final = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
PODS: Final = Resource(group="", version="v1", plural="pods", kind="Pod")
JOBS: Final = Resource(group="batch", version="v1", plural="jobs", kind="Job")
EVENTS: Final = Resource(group="", version="v1", plural="events", kind="Event")
CONFIGMAPS: Final = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
LEASES: Final = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
