"""The workload as observed, and how a snapshot is bound to it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lastgood.api.deployment import AnnotationBinding, Binding, EnvBinding, ImageBinding, ModelDeployment
from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.names import DIGEST_STAMP, FIELD_MANAGER, OPT_IN_LABEL, SNAPSHOT_STAMP, Reason
from lastgood.api.snapshot import ModelSnapshot
from lastgood.api.sources import Source

Problem = tuple[Reason, str]
_PLACEHOLDER = re.compile(r"\$\((\w+)\)")


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container of the pod template; `computed` names the variables that take their value from elsewhere."""

    name: str
    init: bool = False
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    computed: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How far the workload's controller has come; `desired` and the counts are pods."""

    seen: bool = False
    desired: int = 0
    updated: int = 0
    available: int = 0
    total: int = 0
    deadline_exceeded: bool = False
    exceeded_at: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether every pod is of the newest template and available (as `kubectl rollout status` has it)."""
        return self.seen and self.total == self.updated == self.desired and self.available >= self.desired

    def exceeded(self, since: datetime | None) -> bool:
        """Tell whether the controller gave up on what is rolled out since then.

        What it said of an earlier template stays in its status until a pod of the newest one makes progress.
        """
        stale = self.exceeded_at is not None and since is not None and self.exceeded_at <= since
        return self.seen and self.deadline_exceeded and not stale


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Deployment, with what a decision needs of it."""

    meta: Meta
    containers: Mapping[str, Container] = field(default_factory=dict)
    template_annotations: Mapping[str, str] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    rollout: Rollout = field(default_factory=Rollout)
    owners: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "Workload":
        """Read an `apps/v1` Deployment."""
        whole = Fields(body, strict=False)
        template = whole.child("spec").child("template")
        pod = template.child("spec")
        return cls(
            meta=Meta.from_body(body),
            containers=_containers(pod),
            template_annotations=template.child("metadata").mapping("annotations"),
            claims=frozenset(
                item.child("persistentVolumeClaim").text("claimName")
                for item in pod.items("volumes", limit=1000)
                if item.has("persistentVolumeClaim")
            ),
            rollout=_rollout(whole),
            owners=_owners(whole),
            selector=whole.child("spec").child("selector").mapping("matchLabels"),
        )


def _containers(pod: Fields) -> dict[str, Container]:
    """Return them in their order, init containers first; the API server lets no two of a pod have one name."""
    first = [_container(item, init=True) for item in pod.items("initContainers")]
    return {item.name: item for item in (*first, *(_container(item) for item in pod.items("containers")))}


def _container(item: Fields, *, init: bool = False) -> Container:
    variables = list(item.items("env", limit=5000))
    return Container(
        name=item.text("name"),
        init=init,
        image=item.text("image"),
        env={variable.text("name"): variable.text("value", limit=1 << 20) for variable in variables},
        computed=frozenset(variable.text("name") for variable in variables if variable.has("valueFrom")),
    )


def _rollout(whole: Fields) -> Rollout:
    status = whole.child("status")
    progressing = [item for item in status.items("conditions") if item.text("type") == "Progressing"]
    exceeded = [item for item in progressing if item.text("reason") == "ProgressDeadlineExceeded"]
    return Rollout(
        seen=status.integer("observedGeneration", 0) >= whole.child("metadata").integer("generation", 0),
        desired=whole.child("spec").integer("replicas", 1),
        updated=status.integer("updatedReplicas", 0),
        available=status.integer("availableReplicas", 0),
        total=status.integer("replicas", 0),
        deadline_exceeded=bool(exceeded),
        exceeded_at=exceeded[0].time("lastUpdateTime") if exceeded else None,
    )


def _owners(whole: Fields) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    entries = whole.child("metadata").items("managedFields", limit=1000)
    return tuple(
        (entry.text("manager"), entry.child("fieldsV1").value) for entry in entries if not entry.text("subresource")
    )


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A field of the workload and the value that a snapshot gives it."""

    binding: Binding
    value: str


def render(
    bindings: Iterable[Binding], snapshot: ModelSnapshot, place: Source | None = None
) -> tuple[Bound, ...] | None:
    """Return the values that a snapshot gives the bound fields, or None where it has none for one of them.

    They lead to the copy that was good when it was last read, unless another place is named.
    """
    place = place or snapshot.place
    words = {
        "path": place.path,
        "uri": place.uri,
        "image": snapshot.image,
        "digest": snapshot.digest,
        "version": snapshot.version,
        "name": snapshot.name,
    }
    bound = []
    for binding in bindings:
        used = _PLACEHOLDER.findall(binding.value)
        if not all(words.get(word) for word in used):
            return None
        bound.append(Bound(binding=binding, value=_PLACEHOLDER.sub(lambda match: words[match[1]], binding.value)))
    return tuple(bound)


def current(workload: Workload, binding: Binding) -> str | None:
    """Return the value that a bound field has now."""
    if isinstance(binding, AnnotationBinding):
        return workload.template_annotations.get(binding.name)
    container = workload.containers.get(binding.container)
    if container is None:
        return None
    return container.image if isinstance(binding, ImageBinding) else container.env.get(binding.name)


def carries(workload: Workload, bindings: Iterable[Binding], snapshot: ModelSnapshot) -> bool:
    """Tell whether the workload's template is this snapshot's; a template without our stamp may be anyone's.

    Any of its copies will do: which of them was good last may change, and is no reason to start every pod anew.
    """
    bindings = tuple(bindings)
    places = (*(place for _, place in snapshot.copies), snapshot.place)
    if not any(_has(workload, render(bindings, snapshot, place)) for place in places):
        return False
    stamp = workload.template_annotations.get(DIGEST_STAMP)
    return stamp is None or (
        stamp == snapshot.digest and workload.template_annotations.get(SNAPSHOT_STAMP) == snapshot.name
    )


def _has(workload: Workload, bound: Iterable[Bound] | None) -> bool:
    return bound is not None and all(current(workload, item.binding) == item.value for item in bound)


def stamped(workload: Workload, snapshot: ModelSnapshot) -> bool:
    """Tell whether our apply of a snapshot went through, whatever an admission webhook made of a bound value."""
    stamps = workload.template_annotations
    return (stamps.get(SNAPSHOT_STAMP), stamps.get(DIGEST_STAMP)) == (snapshot.name, snapshot.digest)


def template(
    bound: Iterable[Bound], snapshot: ModelSnapshot, *, among: Mapping[str, Container] | None = None, stamp: bool = True
) -> dict[str, Any]:
    """Return the apply configuration that binds a snapshot: every bound field, and the stamps.

    `among` are the workload's containers, which say which of them are init containers, and the order: an apply in
    another order would change that of init containers, which run one after another.
    """
    annotations = {SNAPSHOT_STAMP: str(snapshot.name), DIGEST_STAMP: str(snapshot.digest)} if stamp else {}
    changed: dict[str, dict[str, Any]] = {}
    for item in bound:
        binding = item.binding
        if isinstance(binding, AnnotationBinding):
            annotations[binding.name] = item.value
            continue
        container = changed.setdefault(binding.container, {"name": binding.container})
        if isinstance(binding, ImageBinding):
            container["image"] = item.value
        else:
            container.setdefault("env", []).append({"name": binding.name, "value": item.value})
    pod = _pod(changed, among or {})
    return {"spec": {"template": {"metadata": {"annotations": annotations}, **({"spec": pod} if pod else {})}}}


def _pod(changed: Mapping[str, dict[str, Any]], among: Mapping[str, Container]) -> dict[str, list[dict[str, Any]]]:
    order = {name: place for place, name in enumerate(among)}
    pod: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(changed, key=lambda name: order.get(name, len(order))):
        pod.setdefault(container_list(among, name), []).append(changed[name])
    return pod


def container_list(among: Mapping[str, Container], name: str) -> str:
    """Return the list of the pod template that holds a container."""
    return "initContainers" if name in among and among[name].init else "containers"


def workload_problem(deployment: ModelDeployment, workload: Workload | None) -> Problem | None:
    """Say why nothing may be written to the workload, if so."""
    name = deployment.target
    if workload is None:
        return Reason.TARGET_NOT_FOUND, f"spec.targetRef: there is no Deployment {name!r} in this namespace"
    if workload.meta.labels.get(OPT_IN_LABEL) != deployment.meta.name:
        command = (
            f"kubectl label --overwrite -n {deployment.meta.namespace} deployment/{name} "
            f"{OPT_IN_LABEL}={deployment.meta.name}"
        )
        return Reason.NOT_OPTED_IN, f"Deployment {name!r} has not opted in; its owner does so with: {command}"
    return next((found for binding in deployment.bindings if (found := _binding_problem(workload, binding))), None)


def _binding_problem(workload: Workload, binding: Binding) -> Problem | None:
    if isinstance(binding, AnnotationBinding):
        return None
    container = workload.containers.get(binding.container)
    if container is None:
        names = ", ".join(sorted(workload.containers)) or "none"
        return (
            Reason.CONTAINER_NOT_FOUND,
            f"spec.bindings: there is no container {binding.container!r} (there are: {names})",
        )
    if isinstance(binding, EnvBinding) and binding.name in container.computed:
        return (
            Reason.VALUE_FROM,
            f"spec.bindings: variable {binding.name!r} of {binding.container!r} has valueFrom and cannot be bound",
        )
    return None


def conflicts(workload: Workload, bindings: Iterable[Binding]) -> tuple[tuple[Binding, str], ...]:
    """Return the bound fields that another field manager owns, with its name."""
    return tuple(
        (binding, manager)
        for binding in bindings
        for manager, fields in workload.owners
        if manager != FIELD_MANAGER and _owns(fields, _field_path(binding, workload.containers))
    )


def _owns(fields: Mapping[str, Any], path: Iterable[str]) -> bool:
    node: Any = fields
    for step in ("f:spec", "f:template", *path):
        node = node.get(step) if isinstance(node, Mapping) else None
    return node is not None


def _field_path(binding: Binding, among: Mapping[str, Container]) -> tuple[str, ...]:
    if isinstance(binding, AnnotationBinding):
        return "f:metadata", "f:annotations", f"f:{binding.name}"
    container = "f:spec", f"f:{container_list(among, binding.container)}", f'k:{{"name":"{binding.container}"}}'
    if isinstance(binding, ImageBinding):
        return *container, "f:image"
    return *container, "f:env", f'k:{{"name":"{binding.name}"}}', "f:value"
