"""One pass over one object: what is looked at, read afresh and written, in which order.

It is a generator that does nothing itself: whoever drives it carries out what it yields, and may stop after any of it.
The reconciler drives it with the API server, the simulation of the tests with faults. So what the tests interrupt is
what runs.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Generic, TypeVar

from lastgood.core.actions import (
    Action,
    Adopt,
    CreateRecord,
    DeleteRecord,
    Prepare,
    QuarantineDigest,
    Remember,
    RunChecks,
    Switch,
    SwitchFirst,
    UpdateDeployment,
    UpdateRecord,
    Verify,
)
from lastgood.core.state import Decision
from lastgood.core.workload import Problem
from lastgood.errors import RefusedError, TransientError

Seen = TypeVar("Seen")
MOST_STEPS: Final = 40
MOST_CONFLICTS: Final = 5


class What(Enum):
    """What can be read afresh: the object of the pass, its workload, its open records, the quarantine."""

    OBJECT = auto()
    WORKLOAD = auto()
    RECORDS = auto()
    QUARANTINE = auto()


Needs = Mapping[type[Action], frozenset[What]]
ALL: Final = frozenset(What)
NEEDS: Final[Needs] = {
    CreateRecord: frozenset(),  # its name is derived from what was seen: on a stale view, it is there already
    Verify: frozenset(),  # these two only look
    RunChecks: frozenset(),
    # The workload is not read: the switch is bound to the version that was seen, and refused for any other (ADR 14).
    SwitchFirst: frozenset({What.OBJECT, What.RECORDS, What.QUARANTINE}),
    Switch: ALL,
    Prepare: ALL,
    Adopt: ALL,
    UpdateDeployment: ALL,
    UpdateRecord: ALL,
    DeleteRecord: ALL,
    QuarantineDigest: ALL,
    Remember: ALL,
}
"""What must have been read in a pass before an action on a ModelDeployment: a watch is never fresh enough to act on."""
FOR_GONE: Final[Needs] = {action: frozenset({What.OBJECT, What.RECORDS}) for action in (Remember, UpdateRecord)}
"""The same for a ModelDeployment that is not there: its records may be seen before it is."""
FOR_SNAPSHOTS: Final[Needs] = {}
"""The same for a ModelSnapshot: its writes are bound to its version, and each is harmless twice."""

_ANSWERED: Final[Needs] = {
    CreateRecord: frozenset({What.RECORDS}),
    UpdateDeployment: frozenset({What.OBJECT}),
    Switch: frozenset({What.WORKLOAD}),
    SwitchFirst: frozenset({What.WORKLOAD}),
}
"""What the answer to a write shows as it is now."""


class Answer(Enum):
    """What became of a turn. What the API server refused is a fact that is seen at the next look."""

    DONE = auto()
    CONFLICT = auto()


@dataclass(frozen=True, kw_only=True)
class Look:
    """Say what is observed now, or None where the object is gone."""


@dataclass(frozen=True, kw_only=True)
class Turn(Generic[Seen]):
    """Read these afresh, and carry these actions out, all of it together and in any order; `then` comes after."""

    observed: Seen
    decision: Decision
    reads: frozenset[What] = frozenset()
    actions: tuple[Action, ...] = ()
    then: tuple[Action, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rest(Generic[Seen]):
    """Nothing is to be done at once; both are None where the object is gone."""

    observed: Seen | None = None
    decision: Decision | None = None

    @property
    def after(self) -> float | None:
        """In how many seconds the next pass is due, if one is."""
        return self.decision.requeue_after if self.decision else None


Pass = Generator[Look | Turn[Seen], Any, Rest[Seen]]
"""A Look is answered with what is observed, a Turn with an Answer."""


def _nobody(_: object, __: Action) -> Problem | None:
    return None


def execute(
    decide: Callable[[Seen], Decision],
    needs: Needs = NEEDS,
    refused: Callable[[Seen, Action], Problem | None] = _nobody,
) -> Pass[Seen]:
    """Look, decide, read what the decision needs, decide again on that, write; until there is nothing to do at once.

    `refused` has the last word on each action that goes out.

    Raises:
        TransientError: it comes to no end, or somebody else writes the object all the time.
        RefusedError: a decision asks for what may not be done.
    """
    known: frozenset[What] = frozenset()
    conflicts = 0
    for _ in range(MOST_STEPS):
        observed: Seen | None = yield Look()
        decision = decide(observed) if observed is not None else None
        if observed is None or decision is None or not decision.actions:
            return Rest(observed=observed, decision=decision)
        turn = _turn(observed, decision, known, needs)
        for action in (*turn.actions, *turn.then):
            if problem := refused(observed, action):
                raise RefusedError(f"{type(action).__name__} ({decision.reason}) was refused: {': '.join(problem)}")
        if (yield turn) is Answer.CONFLICT:
            conflicts += 1
            if conflicts == MOST_CONFLICTS:
                raise TransientError("write conflicts: another client keeps updating the object")
            yield Turn(observed=observed, decision=decision, reads=ALL)
            known = ALL
            continue
        known |= turn.reads | _answered((*turn.actions, *turn.then))
        if any(isinstance(action, RunChecks) for action in turn.actions):
            return Rest(observed=observed, decision=decision)
    raise TransientError(f"did not converge after {MOST_STEPS} steps")


def _turn(observed: Seen, decision: Decision, known: frozenset[What], needs: Needs) -> Turn[Seen]:
    """Return what goes out next: the reads that are missing, or the writes."""
    first = decision.actions[0]  # the lock beside a new record is about nothing older, and bound to the version seen
    missing = needs.get(type(first), frozenset()) - known
    if missing:
        return Turn(observed=observed, decision=decision, reads=missing)
    reads = _meanwhile(decision.actions)
    return Turn(observed=observed, decision=decision, reads=reads, actions=decision.actions, then=decision.then)


def _meanwhile(actions: tuple[Action, ...]) -> frozenset[What]:
    """Return what is read while a record is written: what its switch needs, or else whatever comes next."""
    first = actions[0]
    if not isinstance(first, CreateRecord):
        return frozenset()
    return (NEEDS[SwitchFirst] if first.intent else ALL) - _answered(actions)


def _answered(actions: tuple[Action, ...]) -> frozenset[What]:
    return frozenset().union(*(_ANSWERED.get(type(action), ()) for action in actions))
