"""The image of a container or init container."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from lastgood.api.bindings.bindable import IMAGE, container_mistake
from lastgood.api.bindings.binding import Binding
from lastgood.api.bindings.container import missing, owned_at
from lastgood.api.fields import Fields
from lastgood.api.names import Reason
from lastgood.api.workload.draft import Draft
from lastgood.api.workload.workload import Workload, container_list


@dataclass(frozen=True, kw_only=True)
class ImageBinding(Binding):
    """The image of a container or init container."""

    kind: ClassVar[str] = "image"
    runs: ClassVar[bool] = True
    optional: ClassVar[bool] = False
    container: str
    value: str

    @classmethod
    def read(cls, place: Fields, value: str) -> Self:
        """Read `container`."""
        return cls(container=place.text("container", limit=63, required=True), value=value)

    @property
    def word(self) -> str:
        """The line with which the workload's owner allows it."""
        return f"image:{self.container}"

    @property
    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """Only the snapshot says which image."""
        wrong = "" if self.value == IMAGE else f"must be {IMAGE} and nothing else: the snapshot says which image"
        return ("image.container", container_mistake(self.container)), ("value", wrong)

    def current(self, workload: Workload) -> str | None:
        """Return the image as the template has it."""
        container = workload.containers.get(self.container)
        return container.image if container else None

    def problem(self, workload: Workload) -> tuple[Reason, str] | None:
        """The container must be there."""
        return missing(workload, self.container)

    def write(self, draft: Draft, value: str) -> None:
        """Name it in the container."""
        draft.container(self.container)["image"] = value

    def owned_at(self, workload: Workload) -> tuple[str, ...]:
        """Return the way to it."""
        return *owned_at(workload, self.container), "f:image"

    @property
    def told(self) -> str:
        """What people call the field."""
        return f"the image of container {self.container}"

    def handover(self, workload: Workload) -> str:
        """Return what its owner does: no manifest can leave it out, so a GitOps tool has to look away."""
        containers = container_list(workload.containers, self.container)
        return (
            "add to ignoreDifferences "
            f"jqPathExpressions: ['.spec.template.spec.{containers}[] "
            f'| select(.name == "{self.container}") '
            "| .image'] (Argo CD, with RespectIgnoreDifferences=true) or spec.ignore (Flux)"
        )


BINDING: Final = ImageBinding
