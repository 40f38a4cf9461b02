"""An object beside a workload that a binding writes, such as a ConfigMap: which one, and as it was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lastgood.api.meta import Meta


@dataclass(frozen=True, order=True)
class ObjectRef:
    """An object in the namespace of the workload."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Return how people write it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Companion:
    """It as it was read; `body` has its fields, and `owners` the field managers, each with what it owns of them."""

    meta: Meta
    body: Mapping[str, Any] = field(default_factory=dict)
    owners: tuple[tuple[str, Mapping[str, Any]], ...] = ()
