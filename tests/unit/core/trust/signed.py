"""The good world under trust policies, with snapshots that Alice signed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from lastgood.api.facts.signature import Claims, Examined, Method, SignatureFact
from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot, PathBundle
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.state import Observed
from lastgood.core.trust.policy import Trust, TrustedKey, anchors_digest
from tests.unit.core.builders import (
    ago,
    digest,
    name,
    snapshot,
    world,
)

KEY = "a" * 64
POLICY = Trust(
    name="ModelTrustPolicy release", models=("digits",), required=True, keys=(TrustedKey(name="alice", key_id=KEY),)
)
REVOKED_KEY = replace(POLICY, keys=(replace(POLICY.keys[0], revoked=ago(minutes=1)),))
LEAVING = Question(leaving=name(3), leaving_digest=digest(3))
DAY = timedelta(days=1)


def fact(of: ModelSnapshot, **claims: Any) -> SignatureFact:
    said = Claims(model=of.model, version=of.version, trained_at=of.trained_at, data_cutoff=of.data_cutoff)
    return SignatureFact(method=Method.KEY, key_id=KEY, claims=replace(said, **claims))


def examined(of: ModelSnapshot, *facts: SignatureFact) -> Examined:
    return Examined(time=ago(hours=1), digest=of.digest, anchors=anchors_digest([POLICY]), facts=facts or (fact(of),))


def signed(number: int, *facts: SignatureFact, **changes: Any) -> ModelSnapshot:
    """Return a snapshot with a signature of Alice's over its bytes."""
    good = snapshot(number, signatures=(PathBundle(path="model.sig"),), **changes)
    return replace(good, status=replace(good.status, signatures=examined(good, *facts)))


def trusting(*policies: Trust, **changes: Any) -> Observed:
    """Return the good world under policies, all its snapshots signed."""
    return replace(
        world(snapshots=tuple(signed(number) for number in range(4)), trust=policies or (POLICY,)), **changes
    )


def why(observed: Observed, number: int = 2, question: Question = LEAVING) -> Reason | None:
    of = observed.snapshot(name(number))
    assert of is not None
    found = ineligible(observed, question, of)
    return found[0] if found else None
