"""Where a rollback would go now, and what is said of it before there is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.names import Reason, Type
from lastgood.api.specs.rollback import Candidate
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.candidates.proof import Proof, proof_of
from lastgood.core.candidates.selection import ask, best, select
from lastgood.core.requests.requests import base_spec
from lastgood.core.serving.soak import soak_end
from lastgood.core.serving.triggers import normal_question
from lastgood.core.state import Observed

Row = tuple[Type, bool | None, Reason | str, str]
_SHOWN: Final[Mapping[Proof, str]] = {
    Proof.VERIFIED: "which never served here",
    Proof.SERVED: "which served here, but did not complete its soak",
    Proof.SOAKED: "which completed its soak here, but cannot be verified now",
}


BY_QUESTION: Final = frozenset(
    {Reason.NOT_SOAKED, Reason.NEVER_SERVED, Reason.NOT_VERIFIED, Reason.UNREADABLE, Reason.DIGEST_MISMATCH}
)
"""Why an automatic rollback passes over what a person, or an emergency, may take; all else binds everybody."""


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """What an automatic rollback would take now; where that is nothing, what an emergency would take.

    `on_request` means that a person's rollback would go where an emergency goes. `candidates` are the snapshots of the
    model, each with why it is what `normal` names, or is not.
    """

    normal: ModelSnapshot | None = None
    emergency: ModelSnapshot | None = None
    proof: Proof = Proof.VERIFIED
    on_request: bool = False
    candidates: tuple[Candidate, ...] = ()

    @property
    def told(self) -> str:
        """The column: a name, and who alone may go there."""
        if self.normal or self.emergency is None:
            return self.normal.name if self.normal else ""
        return f"{self.emergency.name} ({'request or emergency only' if self.on_request else 'emergency only'})"


def fallback(observed: Observed) -> Fallback:
    """Return where a rollback would go now."""
    normal, candidates = select(observed, normal_question(observed))
    if normal:
        return Fallback(normal=normal, proof=proof_of(observed, normal), candidates=candidates)
    if not any(item.reason in BY_QUESTION for item in candidates):
        return Fallback(candidates=candidates)
    emergency = best(observed, emergency_question(observed))
    if emergency is None:
        return Fallback(candidates=candidates)
    proof = proof_of(observed, emergency)
    # What a person may take, an emergency may take as well: so the best for both is the same, or not for a person.
    on_request = ineligible(observed, ask(observed, base_spec(observed)), emergency) is None
    return Fallback(emergency=emergency, proof=proof, on_request=on_request, candidates=candidates)


def emergency_question(observed: Observed) -> Question:
    """Return the question that an emergency would ask now."""
    return ask(observed, base_spec(observed, emergency=True))


def known_good(observed: Observed, found: Fallback, deleted: str = "") -> Row:
    """Return the condition: where to, or why nowhere, and until when; `deleted` says that it was deleted."""
    type_ = Type.KNOWN_GOOD_AVAILABLE
    if not observed.complete:
        return type_, None, Reason.WAITING, "caches not synced"
    if found.normal:
        return type_, True, Reason.KNOWN_GOOD, f"a rollback would go to {found.normal.name}"
    if deleted:
        return type_, False, Reason.FALLBACK_DELETED, deleted
    waits, then = _waits(observed), _else(found)
    if not waits and found.emergency is None:
        return type_, False, Reason.NO_KNOWN_GOOD, "there is no rollback target"
    if not observed.deployment.rollback.require_soaked or found.proof == Proof.SOAKED:
        return type_, False, Reason.NO_KNOWN_GOOD, f"an automatic rollback has no target{then}"
    return type_, False, Reason.NOTHING_SOAKED, f"no rollback target has completed its soak{waits}{then}"


def _waits(observed: Observed) -> str:
    """Say when what serves will be known good: then the next version has something to go back to."""
    status, policy = observed.deployment.status, observed.deployment.rollback
    if not policy.require_soaked or not status.snapshot or _serving_soaked(status):
        return ""
    end = soak_end(observed)
    if end is None:
        return f"; {status.snapshot} is known good once it has served healthily for {_words(policy.soak)}"
    at = end.isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"; {status.snapshot} is known good at {at} if it stays healthy"


def _serving_soaked(status: DeploymentStatus) -> bool:
    return any(item.soaked_at and item.digest == status.digest for item in status.history)


def _else(found: Fallback) -> str:
    if found.emergency is None:
        return ""
    who = "a person's rollback, or an emergency," if found.on_request else "an emergency"
    return f"; {who} would go to {found.emergency.name}, {_SHOWN[found.proof]}"


def _words(duration: timedelta) -> str:
    """Return a duration as a manifest has it."""
    seconds = int(duration.total_seconds())
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
