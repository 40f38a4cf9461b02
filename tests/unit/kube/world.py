"""An API server of plain values: enough of one to elect a leader, to follow a ConfigMap, to sweep, to run a Job."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

from lastgood.kube.api.problems import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from lastgood.kube.api.resources import Resource

Body = dict[str, Any]


class Server:
    """Keeps objects, counts writes, and can be told to fail."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Body] = {}
        self.writes: list[str] = []
        self.down = False
        self.before: Callable[[str], None] = lambda _: None
        self._versions = itertools.count(100)
        self._uids = itertools.count(1)

    async def get(self, resource: Resource, namespace: str | None, name: str, *, metadata_only: bool = False) -> Body:
        self._reach("get")
        return cut(copy.deepcopy(self._found(resource, namespace, name)), metadata_only=metadata_only)

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> tuple[list[Body], str]:
        self._reach("list")
        found = [body for key, body in self.objects.items() if key[0] == resource.plural]
        scoped = [body for body in found if namespace in (None, body["metadata"]["namespace"])]
        chosen = [body for body in scoped if selected(body, label_selector, field_selector)]
        return [cut(body, metadata_only=metadata_only) for body in chosen], str(next(self._versions))

    async def create(self, resource: Resource, namespace: str | None, body: Body) -> Body:
        self._write("create")
        key = (resource.plural, namespace or "", body["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExistsError(status=409, reason="AlreadyExists", message=f"{key[2]} already exists")
        metadata = {**body["metadata"], "namespace": namespace, "uid": f"uid-{next(self._uids)}"}
        self.objects[key] = self._stamped({**copy.deepcopy(body), "metadata": metadata})
        return copy.deepcopy(self.objects[key])

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, body: Body, *, metadata_only: bool = False
    ) -> Body:
        self._write("patch")
        found = self._found(resource, namespace, name)
        wanted, uid = (body.get("metadata", {}).get(key) for key in ("resourceVersion", "uid"))
        if uid not in (None, found["metadata"].get("uid")):
            raise ConflictError(status=409, reason="Conflict", message="the UID in the precondition differs")
        if wanted not in (None, found["metadata"]["resourceVersion"]):
            raise ConflictError(status=409, reason="Conflict", message="the object has been modified")
        merged = merge(found, body)
        self.objects[resource.plural, namespace or "", name] = self._stamped(merged)
        answer = copy.deepcopy(self.objects[resource.plural, namespace or "", name])
        return {"metadata": answer["metadata"]} if metadata_only else answer

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        self._write("delete")
        if uid not in (None, self._found(resource, namespace, name)["metadata"]["uid"]):
            raise ConflictError(status=409, reason="Conflict", message="the UID in the precondition differs")
        del self.objects[resource.plural, namespace or "", name]

    def put(self, resource: Resource, body: Body) -> Body:
        """Change the world behind everybody's back."""
        metadata = body["metadata"]
        key = (resource.plural, metadata["namespace"], metadata["name"])
        self.objects[key] = self._stamped(copy.deepcopy(body))
        return copy.deepcopy(self.objects[key])

    def _stamped(self, body: Body) -> Body:
        body["metadata"] = {**body["metadata"], "resourceVersion": str(next(self._versions))}
        return body

    def _found(self, resource: Resource, namespace: str | None, name: str) -> Body:
        try:
            return self.objects[resource.plural, namespace or "", name]
        except KeyError:
            raise NotFoundError(status=404, reason="NotFound", message=f"{name} not found") from None

    def _write(self, verb: str) -> None:
        self._reach(verb)
        self.writes.append(verb)

    def _reach(self, verb: str) -> None:
        self.before(verb)
        if self.down:
            raise UnavailableError(status=503, reason="ServiceUnavailable", message="etcd is not there")


def merge(old: Any, new: Any) -> Any:
    """Return what a JSON merge patch makes."""
    if not isinstance(new, dict) or not isinstance(old, dict):
        return copy.deepcopy(new)
    merged = {key: merge(old.get(key), value) if key in new else value for key, value in old.items()}
    added = {key: merge({}, value) for key, value in new.items() if key not in old}
    whole = merged | added | {key: merge(old[key], new[key]) for key in old if key in new}
    return {key: value for key, value in whole.items() if value is not None}


def selected(body: Body, label_selector: str, field_selector: str) -> bool:
    """Tell whether the one label, or the one name, that is asked for is there."""
    labels = body["metadata"].get("labels", {})
    name, _, value = label_selector.partition("=")
    labelled = not name or (labels.get(name) == value if value else name in labels)
    return labelled and field_selector in ("", f"metadata.name={body['metadata']['name']}")


def cut(body: Body, *, metadata_only: bool) -> Body:
    """Return a copy, of the metadata only if that is all that is wanted."""
    return copy.deepcopy({"metadata": body["metadata"]} if metadata_only else body)
