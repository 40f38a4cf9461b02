"""A policy that trusts Alice, Bob and a CI, and what they signed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lastgood.api.facts.signature import Claims, Method, SignatureFact
from lastgood.core.trust.policy import (
    Judgement,
    Trust,
    TrustedKey,
    TrustedRoot,
    judge,
)
from tests.unit.core.builders import NOW, ago

ALICE, BOB, EVE = "a" * 64, "b" * 64, "e" * 64
CI = "https://ci.example/release"
EXPECTED = Claims(model="digits", version="2", trained_at=ago(days=30), data_cutoff=ago(days=40))
POLICY = Trust(
    name="ModelTrustPolicy release",
    required=True,
    keys=(TrustedKey(name="alice", key_id=ALICE), TrustedKey(name="bob", key_id=BOB)),
    roots=(TrustedRoot(name="ci", root_id="r" * 64, identity=CI),),
)
BY_ALICE = SignatureFact(method=Method.KEY, key_id=ALICE)
BY_BOB = SignatureFact(method=Method.KEY, key_id=BOB)
BY_CI = SignatureFact(
    method=Method.CERTIFICATE,
    key_id="c" * 64,
    root_id="r" * 64,
    identity=CI,
    not_before=ago(days=1),
    not_after=NOW + timedelta(days=1),
)


def later(**how_long: float) -> datetime:
    return NOW + timedelta(**how_long)


def asked(*facts: SignatureFact, trust: Trust = POLICY, now: datetime = NOW, **more: Any) -> Judgement:
    return judge(facts, trust, now=now, expected=EXPECTED, **more)


def alice(**changes: Any) -> Trust:
    """Return the policy with other words about Alice's key."""
    return replace(POLICY, keys=(replace(POLICY.keys[0], **changes), POLICY.keys[1]))


def ci(**changes: Any) -> Trust:
    return replace(POLICY, roots=(replace(POLICY.roots[0], **changes),))


def claiming(fact: SignatureFact = BY_ALICE, **changes: Any) -> SignatureFact:
    return replace(fact, claims=replace(EXPECTED, **changes))


TWO = replace(POLICY, threshold=2)
