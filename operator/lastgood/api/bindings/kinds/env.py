"""An environment variable of a container or init container."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from lastgood.api.bindings.bindable import container_mistake, template_mistake, variable_mistake
from lastgood.api.bindings.binding import Binding
from lastgood.api.bindings.container import missing, owned_at
from lastgood.api.bindings.unbindable import variable_refusal
from lastgood.api.fields import Fields
from lastgood.api.names import Reason
from lastgood.api.workload.draft import Draft
from lastgood.api.workload.workload import Workload


@dataclass(frozen=True, kw_only=True)
class EnvBinding(Binding):
    """An environment variable of a container or init container."""

    kind: ClassVar[str] = "env"
    container: str
    name: str
    value: str

    @classmethod
    def read(cls, place: Fields, value: str) -> Self:
        """Read `container` and `name`."""
        container = place.text("container", limit=63, required=True)
        return cls(container=container, name=place.text("name", limit=256, required=True), value=value)

    @property
    def word(self) -> str:
        """The line with which the workload's owner allows it."""
        return f"env:{self.container}/{self.name}={self.value}"

    @property
    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """A name that changes how a program is loaded is refused, whatever the owner says."""
        refusal = variable_refusal(self.name)
        return (
            ("env.container", container_mistake(self.container)),
            ("env.name", variable_mistake(self.name)),
            ("env.name", f"{self.name} cannot be bound: {refusal}" if refusal else ""),
            ("value", template_mistake(self.value)),
        )

    def current(self, workload: Workload) -> str | None:
        """Return its literal value."""
        container = workload.containers.get(self.container)
        return container.env.get(self.name) if container else None

    def problem(self, workload: Workload) -> tuple[Reason, str] | None:
        """A variable that takes its value from elsewhere cannot take one from us: the API server refuses both."""
        if found := missing(workload, self.container):
            return found
        if self.name not in workload.containers[self.container].computed:
            return None
        told = f"variable {self.name!r} of {self.container!r} has valueFrom and cannot be bound"
        return Reason.VALUE_FROM, f"spec.bindings: {told}"

    def write(self, draft: Draft, value: str) -> None:
        """Variables merge by name: what else the container has stays."""
        draft.container(self.container).setdefault("env", []).append({"name": self.name, "value": value})

    def owned_at(self, workload: Workload) -> tuple[str, ...]:
        """Return the way to its value."""
        return *owned_at(workload, self.container), "f:env", f'k:{{"name":"{self.name}"}}', "f:value"

    @property
    def told(self) -> str:
        """What people call the field."""
        return f"variable {self.name} of container {self.container}"

    def handover(self, workload: Workload) -> str:  # noqa: ARG002 - the same for every workload
        """Return what its owner does."""
        return "leave the variable out of the manifest, and apply that server-side (kubectl apply --server-side)"


BINDING: Final = EnvBinding
