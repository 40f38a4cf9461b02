"""`--wait`: from an annotation to the outcome of its record, with a word for whoever watches."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lastgood.api.fields import Fields
from lastgood.api.names import Outcome
from lastgood.cli.oncall.cluster import DEPLOYMENTS, ROLLBACKS, Cluster, MissingError, UnreachableError
from lastgood.cli.parser import Exit

EVERY: Final = 0.5  # seconds
QUIET: Final = 2.0  # what is faster needs no word
_REMIND: Final = 15.0
CODES: Final[Mapping[str, Exit]] = {
    Outcome.SUCCEEDED: Exit.OK,
    Outcome.UNVALIDATED: Exit.UNVALIDATED,
    Outcome.FAILED: Exit.FAILED,
    Outcome.REJECTED: Exit.REJECTED,
    Outcome.SUPERSEDED: Exit.REJECTED,
}
_NOT_TAKEN: Final = "the operator has not picked it up yet"


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look found: an outcome with its sentence, or how far it is."""

    stage: str
    code: Exit | None = None


class Waiter:
    """Follows one request to its outcome, also over the records that go on where one failed."""

    def __init__(self, cluster: Cluster, name: str, key: str) -> None:
        self._cluster = cluster
        self._name = name
        self._key = key
        self._record = ""
        self._told: list[str] = []

    def look(self) -> Look:
        """Ask once how far it is."""
        body = Fields(self._cluster.get(DEPLOYMENTS, self._name), strict=False).child("status")
        handled = body.mapping("handledRequests").get(self._key, "")
        if handled in ("rejected", "found"):
            return Look(stage=_refused(body), code=Exit.REJECTED)
        self._record = self._record or handled
        if not self._record:
            return Look(stage=_NOT_TAKEN)
        try:
            record = self._cluster.get(ROLLBACKS, self._record)
        except MissingError:
            return Look(stage=f"ModelRollback {self._record} is being written")
        return self._of(body, Fields(record, strict=False).child("status"))

    def _of(self, deployment: Fields, status: Fields) -> Look:
        outcome = status.text("outcome")
        if not outcome:
            return Look(stage=f"ModelRollback {self._record}: {_stage(status)}")
        told = f"{outcome} ({status.text('outcomeReason')}): {status.text('message')}\nModelRollback {self._record}"
        if outcome != Outcome.FAILED:
            return Look(stage=told, code=CODES.get(outcome, Exit.FAILED))
        if deployment.child("activeRollback").text("name") == self._record:
            return Look(stage=f"ModelRollback {self._record}: {outcome}, finishing")  # what follows is not known yet
        follower = self._follower(deployment)
        if follower is None:
            return Look(stage=told, code=Exit.FAILED)
        stage = f"ModelRollback {self._record}: {outcome}: {status.text('message')}; another one continues"
        self._record = follower or self._record
        return Look(stage=stage)

    def _follower(self, deployment: Fields) -> str | None:
        """Return the record that goes on from ours; empty while it is awaited, None where none does."""
        for record in self._cluster.find_all(ROLLBACKS):
            whole = Fields(record, strict=False)
            if whole.child("spec").text("continues") == self._record:
                return whole.child("metadata").text("name")
        awaited = deployment.child("continues").text("record") == self._record
        return "" if awaited else None


def _refused(status: Fields) -> str:
    ready = next((item for item in status.items("conditions") if item.text("type") == "Ready"), None)
    why = ready.text("message") if ready and ready.text("reason") == "RequestRejected" else ""
    return f"Rejected (RequestRejected): {why or 'the annotation was refused; see the Events of the ModelDeployment'}"


def _stage(status: Fields) -> str:
    target = status.child("target").text("snapshot")
    if status.has("availableAt"):
        return f"{target} is available; it is being validated"
    if status.has("switchedAt"):
        return f"switched to {target}; waiting for its pods"
    if status.has("intentAt"):
        return f"switching to {target}"
    return "choosing and verifying a snapshot"


def wait(
    waiter: Waiter,
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> Look:
    """Look until there is an outcome, or the time is up; an API server that is away is asked again."""
    started, last, spoken = clock(), "", float("-inf")
    while True:
        try:
            found = waiter.look()
        except UnreachableError as error:
            found = Look(stage=str(error))
        if found.code is not None:
            return found
        passed = clock() - started
        if passed >= seconds:
            told = f"no outcome within {seconds:g} s; the request stays active. Last: {found.stage}"
            return Look(stage=told, code=Exit.TIMED_OUT)
        if passed >= QUIET and (found.stage != last or passed - spoken >= _REMIND):
            say(f"{passed:3.0f} s: {found.stage}")
            last, spoken = found.stage, passed
        sleep(min(EVERY, seconds - passed))
