"""What every Kubernetes object has: identity, and conditions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lastgood.api.fields import Fields, format_time
from lastgood.api.names import GROUP, Type

_OWNED: Final = f"f:{GROUP}/"


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The identity of an object, and the texts that people attach to it.

    `annotated` is when our annotations were set at the latest, by the clock of the API server, in whole seconds.
    """

    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    deleting: bool = False
    annotated: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> "Meta":
        """Read `metadata`."""
        meta = Fields(body, strict=False).child("metadata")
        return cls(
            namespace=meta.text("namespace"),
            name=meta.text("name"),
            uid=meta.text("uid"),
            resource_version=meta.text("resourceVersion"),
            generation=meta.integer("generation", 0),
            labels=meta.mapping("labels"),
            annotations=meta.mapping("annotations"),
            created=meta.time("creationTimestamp"),
            deleting=meta.has("deletionTimestamp"),
            annotated=_annotated(meta),
        )


def _annotated(meta: Fields) -> dict[str, datetime]:
    """Return when each annotation of ours was set: an entry's time is that of the last change by its manager."""
    found: dict[str, datetime] = {}
    for entry in meta.items("managedFields", limit=1000):
        time, owned = entry.time("time"), entry.child("fieldsV1").child("f:metadata").child("f:annotations").value
        if time is not None:
            found |= {key[2:]: time for key in owned if key.startswith(_OWNED)}
    return found


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition as `metav1.Condition` has it; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str = ""
    since: datetime | None = None
    generation: int = 0

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return {
            "type": str(self.type),
            "status": self.status,
            "reason": str(self.reason),
            "message": self.message,
            "lastTransitionTime": format_time(self.since),
            "observedGeneration": self.generation,
        }


Conditions = Mapping[str, Condition]
_OURS: Final = frozenset(Type)


def read_conditions(status: Fields) -> dict[str, Condition]:
    """Read a list of conditions by their types."""
    return {
        item.text("type"): Condition(
            type=item.text("type"),
            status=item.text("status", "Unknown"),
            reason=item.text("reason"),
            message=item.text("message", limit=32768),
            since=item.time("lastTransitionTime"),
            generation=item.integer("observedGeneration", 0),
        )
        for item in status.items("conditions", limit=64)
    }


def merge_conditions(old: Conditions, new: Iterable[Condition], now: datetime) -> dict[str, Condition]:
    """Return conditions with new ones in; the time changes only where the status does (KEP-1623)."""
    merged = {type_: condition for type_, condition in old.items() if type_ in _OURS}  # ours, and nobody else's
    for condition in new:
        before = old.get(condition.type)
        same = before is not None and before.status == condition.status and before.since is not None
        since = before.since if same and before else now
        merged[str(condition.type)] = Condition(
            type=str(condition.type),
            status=condition.status,
            reason=str(condition.reason),
            message=condition.message[:1024],
            since=since,
            generation=condition.generation,
        )
    return merged


def truth(value: bool | None) -> str:  # noqa: FBT001 - the word for a value, not a switch
    """Return the API's word for yes, no and not known."""
    return {True: "True", False: "False", None: "Unknown"}[value]
