"""The door for targets: how a workload of a kind is read, and where its pod template is written.

Each kind is one module in `kinds/`, found by the name that `spec.targetRef.kind` has for it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Final

from lastgood.api.doors import behind
from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.workload.workload import Container, Rollout, Workload
from lastgood.errors import InvalidSpecError

_DOOR: Final = "lastgood.api.workload.kinds"


class Target(ABC):
    """A kind of workload.

    Attributes:
        kind: what `spec.targetRef.kind` calls it.
        template: the way to its pod template, from the top of the object.
    """

    kind: ClassVar[str]
    template: ClassVar[tuple[str, ...]] = ("spec", "template")

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Workload:
        """Read an object of this kind; it never fails, whatever is in it."""
        whole = Fields(body, strict=False)
        template = whole
        for step in cls.template:
            template = template.child(step)
        pod = template.child("spec")
        return Workload(
            meta=Meta.from_body(body),
            kind=cls.kind,
            containers=_containers(pod),
            template_annotations=template.child("metadata").mapping("annotations"),
            claims=frozenset(
                item.child("persistentVolumeClaim").text("claimName")
                for item in pod.items("volumes", limit=1000)
                if item.has("persistentVolumeClaim")
            ),
            rollout=cls.rollout(whole),
            owners=tuple(
                (entry.text("manager"), _owned(entry, cls.template))
                for entry in whole.child("metadata").items("managedFields", limit=1000)
                if not entry.text("subresource")
            ),
            selector=whole.child("spec").child("selector").mapping("matchLabels"),
        )

    @classmethod
    @abstractmethod
    def rollout(cls, whole: Fields) -> Rollout:
        """Return how far its controller has come with the newest pod template."""

    @classmethod
    def body(cls, template: Mapping[str, Any]) -> dict[str, Any]:
        """Return the apply configuration that writes a pod template, and nothing else."""
        found: dict[str, Any] = dict(template)
        for step in reversed(cls.template):
            found = {step: found}
        return found


@cache
def targets() -> Mapping[str, type[Target]]:
    """Return every kind of workload, by what `spec.targetRef.kind` calls it."""
    return {target.kind: target for target in behind(_DOOR, "TARGET")}


def read_target(reference: Fields) -> tuple[str, str]:
    """Read `spec.targetRef`, and return kind and name.

    Raises:
        InvalidSpecError: if the kind is not known, or there is no name.
    """
    kind = reference.text("kind", "Deployment")
    if kind not in targets():
        raise InvalidSpecError(f"{reference.at('kind')}: must be {' or '.join(sorted(targets()))}")
    return kind, reference.text("name", limit=253, required=True)


def _owned(entry: Fields, template: tuple[str, ...]) -> Mapping[str, Any]:
    """Return what an entry of `managedFields` owns of the pod template."""
    found = entry.child("fieldsV1")
    for step in template:
        found = found.child(f"f:{step}")
    return found.value


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
