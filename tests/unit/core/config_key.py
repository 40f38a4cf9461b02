"""A binding of a key of a ConfigMap beside the workload: it is no kind of ours, and shows what the door lets one do."""

from dataclasses import dataclass
from typing import ClassVar, Self

from lastgood.api.bindings.bindable import template_mistake
from lastgood.api.bindings.binding import Binding
from lastgood.api.fields import Fields
from lastgood.api.names import Reason
from lastgood.api.workload.companion import ObjectRef
from lastgood.api.workload.draft import Draft
from lastgood.api.workload.workload import Workload


@dataclass(frozen=True, kw_only=True)
class ConfigKey(Binding):
    """One key of a ConfigMap that the pods read when they start."""

    kind: ClassVar[str] = "configKey"
    config_map: str
    key: str
    value: str

    @classmethod
    def read(cls, place: Fields, value: str) -> Self:
        """Read `name` and `key`."""
        name, key = (place.text(field, limit=253, required=True) for field in ("name", "key"))
        return cls(config_map=name, key=key, value=value)

    @property
    def beside(self) -> ObjectRef:
        """The ConfigMap."""
        return ObjectRef("ConfigMap", self.config_map)

    @property
    def word(self) -> str:
        """The line with which the workload's owner allows it."""
        return f"configmap:{self.config_map}/{self.key}={self.value}"

    @property
    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """It holds a placeholder, and is not in an object of ours."""
        ours = "must not begin with lastgood-: the operator writes those itself"
        wrong = ours if self.config_map.startswith("lastgood-") else ""
        return ("configKey.name", wrong), ("value", template_mistake(self.value))

    def current(self, workload: Workload) -> str | None:
        """Return the value of the key."""
        there = workload.companions.get(self.beside)
        return Fields(there.body, strict=False).mapping("data").get(self.key) if there else None

    def problem(self, workload: Workload) -> tuple[Reason, str] | None:
        """The ConfigMap must be there."""
        if workload.companions.get(self.beside):
            return None
        return Reason.TARGET_NOT_FOUND, f"spec.bindings: there is no {self.beside} in this namespace"

    def write(self, draft: Draft, value: str) -> None:
        """Put it into the ConfigMap."""
        draft.companion(self.beside).setdefault("data", {})[self.key] = value

    def owned_at(self, workload: Workload) -> tuple[str, ...]:  # noqa: ARG002 - the same for every workload
        """Return the way to it."""
        return "f:data", f"f:{self.key}"

    @property
    def told(self) -> str:
        """What people call the field."""
        return f"key {self.key} of {self.beside}"
