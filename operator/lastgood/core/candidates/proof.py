"""How far a snapshot must have proven itself to be a target: the answer depends on who asks, and what is left."""

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum

from lastgood.api.facts.deployment_status import Served
from lastgood.api.specs.deployment import RollbackPolicy
from lastgood.api.specs.rollback import RollbackSpec
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.candidates.likeness import runtime
from lastgood.core.state import Observed
from lastgood.core.words import INTEGRITY


class Proof(IntEnum):
    """What a snapshot has shown here. More is better: the best candidate is one of the highest."""

    VERIFIED = 0  # its bytes are right, and nobody knows how it serves
    SERVED = 1  # and it served here, for however long
    SOAKED = 2  # and it stayed healthy for `spec.rollback.knownGood.soak`


Rule = Callable[[RollbackPolicy, RollbackSpec], Proof | None]


def named(_: RollbackPolicy, spec: RollbackSpec) -> Proof | None:
    """A person who names a snapshot answers for it."""
    return Proof.VERIFIED if spec.to else None


def _last_resort(_: RollbackPolicy, spec: RollbackSpec) -> Proof | None:
    """An emergency goes anywhere rather than nowhere: what is left may be an attack."""
    return Proof.VERIFIED if spec.emergency else None


def declared(policy: RollbackPolicy, _: RollbackSpec) -> Proof | None:
    """`require: Verified` is the owner's word for every snapshot of the model."""
    return None if policy.require_soaked else Proof.VERIFIED


def _by_a_person(_: RollbackPolicy, spec: RollbackSpec) -> Proof | None:
    """A person looks at what happens: what served before is better than what is bad now, soaked or not."""
    return None if spec.automatic else Proof.SERVED


def tampered(_: RollbackPolicy, spec: RollbackSpec) -> Proof | None:
    """What was tampered with, quarantined or revoked is known to be bad: not a doubt that a metric raised."""
    return Proof.SERVED if spec.trigger and spec.trigger.name == INTEGRITY else None


LEAST: tuple[Rule, ...] = (
    named,  # a word for one snapshot is more than any rule for all of them
    _last_resort,
    declared,
    _by_a_person,
    tampered,
)
"""The first that answers; what no rule answers, as a metric that fell, asks for `SOAKED`."""


def least(policy: RollbackPolicy, spec: RollbackSpec) -> Proof:
    """Return the least proof that is enough for the target of a rollback."""
    return next((found for rule in LEAST if (found := rule(policy, spec)) is not None), Proof.SOAKED)


def proof_of(observed: Observed, snapshot: ModelSnapshot) -> Proof:
    """Return what these bytes have shown here."""
    return shown_in(periods(observed, snapshot))


def shown_in(served: Sequence[Served]) -> Proof:
    """Return what bytes have shown that served in these periods."""
    if any(item.soaked_at for item in served):
        return Proof.SOAKED
    return Proof.SERVED if served else Proof.VERIFIED


def periods(observed: Observed, snapshot: ModelSnapshot) -> list[Served]:
    """Return when these bytes served here, or soaked under an object that was deleted since."""
    same = [item for item in observed.deployment.status.history if item.digest == snapshot.digest]
    here = [item for item in same if _is_it(item, snapshot) or _is_like(observed, item, snapshot)]
    return [*here, *_kept(observed, snapshot)]


def _kept(observed: Observed, snapshot: ModelSnapshot) -> Iterable[Served]:
    """What soaked under a ModelDeployment, or a snapshot, that was deleted since."""
    for item in observed.remembered.proven if observed.remembered else ():
        if item.digest == snapshot.digest and item.runtime == runtime(observed.deployment.bindings, snapshot) != "":
            yield Served(snapshot=snapshot.name, digest=item.digest, since=None, until=item.at, soaked_at=item.at)


def _is_it(item: Served, snapshot: ModelSnapshot) -> bool:
    """An object of the same name made anew is another one, whatever it says of itself; its image may be another."""
    return (item.snapshot, item.uid) == (snapshot.name, snapshot.meta.uid)


def _is_like(observed: Observed, item: Served, snapshot: ModelSnapshot) -> bool:
    """The same bytes under another name run just as well, if nothing else of what is run is different."""
    before = observed.snapshot(item.snapshot)
    if before is None or not _is_it(item, before) or before.digest != item.digest:
        return False
    bindings = observed.deployment.bindings
    return runtime(bindings, snapshot) == runtime(bindings, before) != ""
