"""The door for bindings: how one field of a workload, or of an object beside it, is read, written and checked.

Each kind is one module in `kinds/`, found by the field of `spec.bindings[]` that declares it.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import ClassVar, Final, Self

from lastgood.api.doors import behind
from lastgood.api.fields import Fields
from lastgood.api.names import Reason
from lastgood.api.workload.companion import ObjectRef
from lastgood.api.workload.draft import Draft
from lastgood.api.workload.workload import Workload
from lastgood.errors import InvalidSpecError

_DOOR: Final = "lastgood.api.bindings.kinds"


class Binding(ABC):
    """One field of a workload, or of an object beside it, and the text that gives its value.

    Attributes:
        kind: the field of `spec.bindings[]` that declares it.
        runs: what it writes is code, which a trust policy has to allow.
        optional: a manifest can leave the field out. One that cannot be left out has two owners, which stops no switch.
        value: what is written, with placeholders for what the snapshot says.
    """

    kind: ClassVar[str]
    runs: ClassVar[bool] = False
    optional: ClassVar[bool] = True
    value: str

    @property
    def beside(self) -> ObjectRef | None:
        """The object beside the workload that has the field; None where the pod template has it.

        It is written before the pod template, in a request of its own.
        """
        return None

    @classmethod
    @abstractmethod
    def read(cls, place: Fields, value: str) -> Self:
        """Read it from the field that declares it.

        Raises:
            InvalidSpecError: if a field is missing or out of its bounds.
        """

    @property
    @abstractmethod
    def word(self) -> str:
        """The line with which the workload's owner allows it: the field, `=`, and the value if that may differ."""

    @property
    @abstractmethod
    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """What is wrong with its fields, by their names; a field without a mistake has an empty text."""

    @abstractmethod
    def current(self, workload: Workload) -> str | None:
        """Return the value that the field has now."""

    def problem(self, workload: Workload) -> tuple[Reason, str] | None:  # noqa: ARG002 - others need it
        """Return why the field cannot be written as the workload is, if so."""
        return None

    @abstractmethod
    def write(self, draft: Draft, value: str) -> None:
        """Put a value into what is written."""

    @abstractmethod
    def owned_at(self, workload: Workload) -> tuple[str, ...]:
        """Return the way to the field in `managedFields`, from the pod template, or the top of the object beside it."""

    @property
    @abstractmethod
    def told(self) -> str:
        """What people call the field."""

    def handover(self, workload: Workload) -> str:  # noqa: ARG002 - others need it
        """Return what whoever owns the field does, so that two do not write it in turn."""
        return "leave it out of the manifest, and apply that server-side (kubectl apply --server-side)"


@cache
def kinds() -> Mapping[str, type[Binding]]:
    """Return every kind of binding: one for each module behind the door, found by name."""
    return {binding.kind: binding for binding in behind(_DOOR, "BINDING")}


def read_bindings(spec: Fields) -> tuple[Binding, ...]:
    """Read `spec.bindings`.

    Raises:
        InvalidSpecError: if there is none, or one that may not be.
    """
    bindings = tuple(_binding(item) for item in spec.items("bindings", limit=16))
    if not bindings:
        raise InvalidSpecError("spec.bindings: must name at least one field of the workload")
    fields = Counter(binding.told for binding in bindings)
    if twice := next((field for field, number in fields.items() if number > 1), None):
        raise InvalidSpecError(f"spec.bindings: two bindings write {twice}: keep one of them")
    return bindings


def _binding(item: Fields) -> Binding:
    value = item.text("value", limit=1024, required=True)
    declared = [kind for name, kind in kinds().items() if item.has(name)]
    if len(declared) != 1:
        *names, last = sorted(kinds())
        raise InvalidSpecError(f"{item.path}: must have exactly one of {', '.join(names)} and {last}")
    binding = declared[0].read(item.child(declared[0].kind), value)
    if found := first_mistake(binding):
        raise InvalidSpecError(f"{item.at(found[0])}: {found[1]}")
    return binding


@lru_cache(maxsize=4096)  # each decision asks for each binding several times, and the tables are long
def first_mistake(binding: Binding) -> tuple[str, str] | None:
    """Return the first field of a binding that may not be so, and why."""
    return next(((name, wrong) for name, wrong in binding.mistakes if wrong), None)
