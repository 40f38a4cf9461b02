"""An annotation on the pod template."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from lastgood.api.bindings.bindable import annotation_mistake, template_mistake
from lastgood.api.bindings.binding import Binding
from lastgood.api.bindings.unbindable import annotation_refusal
from lastgood.api.fields import Fields
from lastgood.api.workload.draft import Draft
from lastgood.api.workload.workload import Workload


@dataclass(frozen=True, kw_only=True)
class AnnotationBinding(Binding):
    """An annotation on the pod template."""

    kind: ClassVar[str] = "annotation"
    name: str
    value: str

    @classmethod
    def read(cls, place: Fields, value: str) -> Self:
        """Read `name`."""
        return cls(name=place.text("name", limit=317, required=True), value=value)

    @property
    def word(self) -> str:
        """The line with which the workload's owner allows it."""
        return f"annotation:{self.name}={self.value}"

    @property
    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """A name that makes an admission webhook, or the kubelet, do something else is refused."""
        refusal = annotation_refusal(self.name)
        return (
            ("annotation.name", annotation_mistake(self.name)),
            ("annotation.name", f"{self.name} cannot be bound: {refusal}" if refusal else ""),
            ("value", template_mistake(self.value)),
        )

    def current(self, workload: Workload) -> str | None:
        """Return its value on the pod template."""
        return workload.template_annotations.get(self.name)

    def write(self, draft: Draft, value: str) -> None:
        """Put it beside our stamps."""
        draft.annotations[self.name] = value

    def owned_at(self, workload: Workload) -> tuple[str, ...]:  # noqa: ARG002 - the same in every workload
        """Return the way to it."""
        return "f:metadata", "f:annotations", f"f:{self.name}"

    @property
    def told(self) -> str:
        """What people call the field."""
        return f"pod template annotation {self.name}"


BINDING: Final = AnnotationBinding
