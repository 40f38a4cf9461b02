"""What is kept of a ModelDeployment where no deletion of it, or of its snapshots, reaches; by digest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lastgood.api.facts.deployment_status import MAX_HANDLED, MAX_LEFT, MAX_NAME, Held, Left, read_held, read_left
from lastgood.api.fields import Fields, compact, format_time
from lastgood.api.names import Digest
from lastgood.errors import InvalidSpecError

MAX_PROVEN: Final = 32
_MAX_REASON: Final = 120
_MAX_KEY: Final = 128
MAX_TEXT: Final = 128 * 1024


@dataclass(frozen=True, kw_only=True)
class Proven:
    """Bytes that soaked here, with what else was run; see `core/candidates/likeness.py` for `runtime`."""

    digest: Digest
    runtime: str
    at: datetime

    def as_body(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {"digest": self.digest, "runtime": self.runtime, "at": format_time(self.at)}


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What a ModelDeployment of the same name goes by when it is made anew.

    Attributes:
        held: the desired snapshot that a rollback has left.
        left: the digests that rollbacks have left for what they are.
        handled: the annotations that were acted upon; one that comes back from a backup is not acted upon again.
        proven: what has soaked, the newest last.
    """

    held: Held | None = None
    left: tuple[Left, ...] = ()
    handled: Mapping[str, str] = field(default_factory=dict)
    proven: tuple[Proven, ...] = ()

    def as_text(self) -> str:
        """Return the value of a ConfigMap's key: bounded, the newest of each list."""
        newest = list(self.handled.items())[-MAX_HANDLED:]
        body = {
            "held": _short(self.held.as_body()) if self.held else None,
            "left": [_short(item.as_body()) for item in self.left[-MAX_LEFT:]] or None,
            "handled": {key[:_MAX_KEY]: what[:MAX_NAME] for key, what in newest} or None,
            "proven": [item.as_body() for item in self.proven[-MAX_PROVEN:]] or None,
        }
        return json.dumps(compact(body), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Remembered":
        """Read it.

        Raises:
            InvalidSpecError: it cannot be understood, which is not the same as nothing.
        """
        body = _decoded(text)
        return cls(
            held=read_held(body.child("held")),
            left=tuple(read_left(item) for item in body.items("left", limit=MAX_LEFT)),
            handled=dict(list(body.mapping("handled").items())[-MAX_HANDLED:]),
            proven=tuple(item for each in body.items("proven", limit=MAX_PROVEN) if (item := _proven(each))),
        )

    @property
    def written(self) -> "Remembered":
        """This as it is read back: what is kept is shorter than what is known."""
        return Remembered.from_text(self.as_text())


NOTHING: Final = Remembered()


def _decoded(text: str) -> Fields:
    try:
        found = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidSpecError(f"must be a JSON object of at most {MAX_TEXT} characters")
    return Fields(found)


def _short(body: Mapping[str, Any]) -> dict[str, Any]:
    return {**body, "reason": str(body.get("reason") or "")[:_MAX_REASON]}


def _proven(item: Fields) -> Proven | None:
    at = item.time("at")
    if at is None:
        return None
    return Proven(digest=Digest(item.text("digest")), runtime=item.text("runtime"), at=at)
