"""What the watch has told us, by key and by the three questions that are asked of it."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from lastgood.api.names import GROUP, OPT_IN_LABEL
from lastgood.kube.api.resources import DEPLOYMENTS, ROLLBACKS, SNAPSHOTS, WORKLOADS, Resource

Body = dict[str, Any]
Bodies = list[Body]  # named here, because Cache has a method of that name

_OURS: Final = f"f:{GROUP}/"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class Kind(StrEnum):
    """The four kinds that are watched."""

    SNAPSHOT = "ModelSnapshot"
    DEPLOYMENT = "ModelDeployment"
    ROLLBACK = "ModelRollback"
    WORKLOAD = "Deployment"


RESOURCES: Final[dict[Kind, Resource]] = {
    Kind.SNAPSHOT: SNAPSHOTS,
    Kind.DEPLOYMENT: DEPLOYMENTS,
    Kind.ROLLBACK: ROLLBACKS,
    Kind.WORKLOAD: WORKLOADS,
}


@dataclass(frozen=True)
class Key:
    """What the queue holds and the cache is asked for."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Cache:
    """The last seen body of every watched object."""

    def __init__(self) -> None:
        self.complete = False  # every first list is in
        self.on_change: Callable[[Kind, Body], None] = lambda _kind, _body: None
        self._bodies: dict[Key, Body] = {}
        self._names: defaultdict[tuple[Kind, str], dict[str, Key]] = defaultdict(dict)
        self._index: defaultdict[tuple[Kind, str, str], dict[Key, None]] = defaultdict(dict)
        self._digests: defaultdict[str, dict[Key, None]] = defaultdict(dict)

    def put(self, kind: Kind, body: Body) -> bool:
        """Keep a body unless a newer one is known; tell whether anything changed."""
        key = key_of(kind, body)
        known = self._bodies.get(key)
        if known is not None and not _newer(body, known):
            return False
        self._forget(key)
        self._bodies[key] = slim(kind, body)
        self._names[kind, key.namespace][key.name] = key
        self._index[_entry(kind, body)][key] = None
        if digest := _digest(kind, body):
            self._digests[digest][key] = None
        self.on_change(kind, body)
        return True

    def drop(self, key: Key, *, uid: str | None = None) -> bool:
        """Forget an object; with a uid, only if it is that very one and not its successor."""
        known = self._bodies.get(key)
        if known is None or uid not in (None, known["metadata"].get("uid")):
            return False
        self._forget(key)
        return True

    def get(self, key: Key) -> Body | None:
        """Return the last seen body."""
        return self._bodies.get(key)

    def list(self, kind: Kind, namespace: str) -> Bodies:
        """Return all objects of a kind in a namespace."""
        return [self._bodies[key] for key in self._names.get((kind, namespace), {}).values()]

    def related(self, kind: Kind, namespace: str, value: str) -> Bodies:
        """Return the objects that a name leads to.

        It is a model for snapshots and ModelDeployments, a ModelDeployment for rollbacks and workloads.
        """
        return [self._bodies[key] for key in self._index.get((kind, namespace, value), {})]

    def bearing(self, digest: str) -> tuple[Key, ...]:
        """Return the keys of the snapshots that declare a digest, and of the ModelDeployments that serve it."""
        return tuple(self._digests.get(digest, {}))

    def keys(self, kinds: Iterable[Kind] = Kind) -> tuple[Key, ...]:
        """Return the keys of all objects of these kinds."""
        wanted = frozenset(kinds)
        return tuple(key for key in self._bodies if key.kind in wanted)

    def copy(self) -> dict[Key, Body]:
        """Return the bodies as they are now, for another thread: a body is replaced, and never changed."""
        return self._bodies.copy()

    def _forget(self, key: Key) -> None:
        body = self._bodies.pop(key, None)
        if body is None:
            return
        _discard(self._names, (key.kind, key.namespace), key.name)
        _discard(self._index, _entry(key.kind, body), key)
        _discard(self._digests, _digest(key.kind, body), key)


def key_of(kind: Kind, body: Body) -> Key:
    """Return the key of an object."""
    metadata = body["metadata"]
    return Key(kind, metadata["namespace"], metadata["name"])


def related_name(kind: Kind, body: Body) -> str:
    """Return the name by which an object is related to others; empty if it has none."""
    match kind:
        case Kind.SNAPSHOT | Kind.DEPLOYMENT:
            return str(_path(body, "spec", "model"))
        case Kind.ROLLBACK:
            return str(_path(body, "spec", "deployment", "name"))
        case Kind.WORKLOAD:
            return str(_path(body, "metadata", "labels", OPT_IN_LABEL))


def _digest(kind: Kind, body: Body) -> str:
    """Return the digest that a snapshot declares, or that a ModelDeployment serves."""
    match kind:
        case Kind.SNAPSHOT:
            return str(_path(body, "spec", "digest"))
        case Kind.DEPLOYMENT:
            return str(_path(body, "status", "digest"))
        case Kind.ROLLBACK | Kind.WORKLOAD:
            return ""


def slim(kind: Kind, body: Body) -> Body:
    """Return the body without what nobody asks for, which is half of its bytes."""
    metadata = dict(body["metadata"])
    if kind is not Kind.WORKLOAD:  # there, managedFields say who else owns a bound field
        entries = metadata.pop("managedFields", None)
        if kind is Kind.DEPLOYMENT and (kept := [found for entry in entries or () if (found := _asking(entry))]):
            metadata["managedFields"] = kept
    annotations = metadata.get("annotations")
    if annotations and LAST_APPLIED in annotations:
        metadata["annotations"] = {key: text for key, text in annotations.items() if key != LAST_APPLIED}
    return {**body, "metadata": metadata}


def _asking(entry: Body) -> Body | None:
    """Return of an entry of managedFields when its manager set annotations of ours, and which; None where none."""
    owned = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
    ours: Body = {key: {} for key in owned if key.startswith(_OURS)}
    return {"time": entry.get("time"), "fieldsV1": {"f:metadata": {"f:annotations": ours}}} if ours else None


def version_of(body: Body) -> int | None:
    """Return the resourceVersion as a number, if it is one (on Kubernetes it is, and it grows)."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else None


def _newer(body: Body, known: Body) -> bool:
    ours, theirs = version_of(body), version_of(known)
    if ours is None or theirs is None:
        return bool(body["metadata"].get("resourceVersion") != known["metadata"].get("resourceVersion"))
    return ours > theirs


def _entry(kind: Kind, body: Body) -> tuple[Kind, str, str]:
    return kind, body["metadata"]["namespace"], related_name(kind, body)


def _discard(index: dict[Any, dict[Any, Any]], entry: Any, key: Any) -> None:  # noqa: ANN401  # keys of two indices
    known = index[entry]
    known.pop(key, None)
    if not known:
        del index[entry]


def _path(body: Body, *path: str) -> Any:  # noqa: ANN401  # decoded JSON is Any
    found: Any = body
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found if found is not None else ""
