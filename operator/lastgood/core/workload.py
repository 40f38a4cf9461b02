"""The workload as observed, and how a snapshot is bound to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.names import DIGEST_STAMP, FIELD_MANAGER, OPT_IN_LABEL, SNAPSHOT_STAMP, Reason
from lastgood.api.specs.bindable import PLACEHOLDER, field_of, granted, opt_in, text_mistake, word_mistake
from lastgood.api.specs.deployment import (
    AnnotationBinding,
    Binding,
    EnvBinding,
    ImageBinding,
    ModelDeployment,
    first_mistake,
)
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import Source

Problem = tuple[Reason, str]
OWNERSHIP = (Reason.OWNED_BY_ANOTHER, Reason.TARGET_SHARED)
"""Problems that go away when another ModelDeployment does: nobody wakes us for that."""


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
    """A Deployment, with what a decision needs of it.

    `rivals` are other ModelDeployments that target it; nobody looks for them where the label says whose it is.
    """

    meta: Meta
    containers: Mapping[str, Container] = field(default_factory=dict)
    template_annotations: Mapping[str, str] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    rollout: Rollout = field(default_factory=Rollout)
    owners: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    rivals: tuple[str, ...] = ()

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
    """Return the values that a snapshot gives the bound fields, or None where one of them has none that may be written.

    They lead to the copy that was good when it was last read, unless another place is named.
    """
    words = _words(snapshot, place or snapshot.place)
    filled = [(binding, *_filled(binding.value, words)) for binding in bindings]
    if any(wrong for _, _, wrong in filled):
        return None
    return tuple(Bound(binding=binding, value=value) for binding, value, _ in filled)


def unbound(bindings: Iterable[Binding], snapshot: ModelSnapshot) -> str:
    """Return why a snapshot gives one of the bound fields no value that may be written, or nothing."""
    words = _words(snapshot, snapshot.place)
    return next((wrong for binding in bindings if (wrong := _filled(binding.value, words)[1])), "")


def _words(snapshot: ModelSnapshot, place: Source) -> tuple[tuple[str, str], ...]:
    return (
        ("path", place.path),
        ("uri", place.uri),
        ("image", snapshot.image),
        ("digest", snapshot.digest),
        ("version", snapshot.version),
        ("name", snapshot.name),
    )


@lru_cache(maxsize=512)  # every pass asks for each snapshot several times, and for the same
def _filled(value: str, given: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Return a binding's value filled in, and why that may not be written, if so.

    It is looked at once more when it is whole: two harmless parts may make a reference to another variable, or a way
    out of the directory, together.
    """
    words, used = dict(given), PLACEHOLDER.findall(value)
    missing = next((word for word in used if not words[word]), None)
    if missing:
        where = "spec.runtime.image" if missing == "image" else f"$({missing})"
        return "", f"a binding needs a value that the snapshot does not have: {where}"
    odd = next(((word, wrong) for word in used if (wrong := word_mistake(word, words[word]))), None)
    if odd:
        return "", f"$({odd[0]}) would be {words[odd[0]][:128]!r}; where it is bound, it {odd[1]}"
    filled = PLACEHOLDER.sub(lambda match: words[match[1]], value)
    wrong = text_mistake(filled)
    return filled, f"a binding would write {filled[:128]!r}, which {wrong}" if wrong else ""


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
    if carried(workload, bindings, snapshot) is None:
        return False
    stamp = workload.template_annotations.get(DIGEST_STAMP)
    return stamp is None or (
        stamp == snapshot.digest and workload.template_annotations.get(SNAPSHOT_STAMP) == snapshot.name
    )


def carried(workload: Workload, bindings: Iterable[Binding], snapshot: ModelSnapshot) -> tuple[Bound, ...] | None:
    """Return the values that the bound fields have, if they are those of one of the snapshot's copies."""
    bindings = tuple(bindings)
    places = (*(place for _, place in snapshot.copies), snapshot.place)
    values = (render(bindings, snapshot, place) for place in places)
    return next((bound for bound in values if bound is not None and _has(workload, bound)), None)


def _has(workload: Workload, bound: Iterable[Bound]) -> bool:
    return all(current(workload, item.binding) == item.value for item in bound)


def stamped_as(workload: Workload, name: str, digest: str) -> bool:
    """Tell whether the pods carry our stamps of a snapshot, which need not be there any more."""
    found = workload.template_annotations
    return bool(name and digest) and (found.get(SNAPSHOT_STAMP), found.get(DIGEST_STAMP)) == (name, digest)


def stamped(workload: Workload, snapshot: ModelSnapshot) -> bool:
    """Tell whether our apply of a snapshot went through, whatever an admission webhook made of a bound value."""
    return stamped_as(workload, snapshot.name, snapshot.digest)


def template(
    bound: Iterable[Bound], stamp: ModelSnapshot | None = None, *, among: Mapping[str, Container] | None = None
) -> dict[str, Any]:
    """Return the apply configuration that binds a snapshot: every bound field, and the stamps, if of one.

    `among` are the workload's containers, which say which of them are init containers, and the order: an apply in
    another order would change that of init containers, which run one after another.
    """
    annotations = {SNAPSHOT_STAMP: str(stamp.name), DIGEST_STAMP: str(stamp.digest)} if stamp else {}
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
    if problem := _owner_problem(deployment, workload):
        return problem
    if workload.meta.labels.get(OPT_IN_LABEL) != deployment.meta.name:
        return Reason.NOT_OPTED_IN, f"Deployment {name!r} has not opted in; {_opt_in(deployment, workload)}"
    wrong = next((found for binding in deployment.bindings if (found := _binding_problem(workload, binding))), None)
    return wrong or _not_granted(deployment, workload)


def _not_granted(deployment: ModelDeployment, workload: Workload) -> Problem | None:
    """The label lends the workload; what of it may be written, and with which value, is the owner's word as well."""
    allowed = granted(workload.meta.annotations)
    missing = [field_of(binding.word) for binding in deployment.bindings if binding.word not in allowed]
    if not missing:
        return None
    told = f"Deployment {deployment.target!r} does not allow what spec.bindings would write to {', '.join(missing)}"
    return Reason.NOT_BINDABLE, f"{told}; {_opt_in(deployment, workload)}"


def _opt_in(deployment: ModelDeployment, workload: Workload) -> str:
    return opt_in(
        namespace=deployment.meta.namespace,
        workload=deployment.target,
        deployment=deployment.meta.name,
        words=(binding.word for binding in deployment.bindings),
        annotations=workload.meta.annotations,
    )


def _owner_problem(deployment: ModelDeployment, workload: Workload) -> Problem | None:
    """Say which other ModelDeployment has the workload, or asks for it as well. There is no command to paste here."""
    owner, name = workload.meta.labels.get(OPT_IN_LABEL, ""), deployment.target
    if owner == deployment.meta.name:
        return None
    if owner and owner in workload.rivals:
        return Reason.OWNED_BY_ANOTHER, (
            f"Deployment {name!r} has opted in to ModelDeployment {owner!r}, and can have only one. Nothing is "
            "written. Delete this one, or give it another spec.targetRef; to hand the workload over, delete the other "
            "one first"
        )
    if not owner and workload.rivals:
        others = ", ".join(repr(other) for other in workload.rivals[:5])
        return Reason.TARGET_SHARED, (
            f"Deployment {name!r} is the target of ModelDeployment {others} as well, and has opted in to none. It "
            "can have only one. Delete the others: the one that stays then says how to opt in"
        )
    return None


def _binding_problem(workload: Workload, binding: Binding) -> Problem | None:
    if mistake := first_mistake(binding):  # refused when it is read as well; here it is next to the write
        return Reason.INVALID_SPEC, f"spec.bindings: {mistake[0]}: {mistake[1]}"
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


def borrowed(workload: Workload, bindings: Iterable[Binding]) -> bool:
    """Tell whether a bound field is another manager's alone: a manifest that gives it up deletes it."""
    ours = [fields for manager, fields in workload.owners if manager == FIELD_MANAGER]
    return any(
        not any(_owns(fields, _field_path(binding, workload.containers)) for fields in ours)
        for binding, _ in conflicts(workload, bindings)
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
