"""Signatures beside a checkpoint: only one that counts may be left out of what another signs."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.facts.signature import SignatureFact
from lastgood.api.names import Reason
from lastgood.core.trust.policy import (
    Trust,
    TrustedRoot,
    vouched,
)
from tests.unit.core.builders import NOW, ago
from tests.unit.core.trust.signers import (
    BY_ALICE,
    BY_BOB,
    BY_CI,
    CI,
    POLICY,
    TWO,
    asked,
    later,
)

FIRST, SECOND = replace(BY_ALICE, index=0, outside=(1,)), replace(BY_BOB, index=1)
ONLY_ALICE = replace(POLICY, keys=POLICY.keys[:1], roots=())
ONLY_BOB = replace(POLICY, name="ModelTrustPolicy bob", keys=POLICY.keys[1:], roots=())


def bob(**changes: Any) -> Trust:
    return replace(ONLY_BOB, keys=(replace(ONLY_BOB.keys[0], **changes),))


def test_signature_beside_that_counts_may_be_unsigned() -> None:
    assert asked(FIRST, SECOND, trust=TWO).signed is True


@pytest.mark.parametrize(
    ("facts", "policies"),
    [
        pytest.param((FIRST,), (ONLY_ALICE, ONLY_BOB), id="the other signature is in no list"),
        pytest.param((FIRST, SECOND), (ONLY_ALICE,), id="by nobody who counts"),
        pytest.param((FIRST, SECOND), (ONLY_ALICE, bob(revoked=NOW)), id="by a key that is revoked since"),
        pytest.param((FIRST, SECOND), (ONLY_ALICE, bob(not_after=ago(days=1))), id="by a key that has expired since"),
        pytest.param((FIRST, SECOND), (ONLY_ALICE, ONLY_BOB, bob(revoked=NOW)), id="by a key that one policy revokes"),
        pytest.param((FIRST, SECOND), (ONLY_ALICE, replace(ONLY_BOB, problem="x")), id="by a policy that is unusable"),
        pytest.param((replace(FIRST, outside=(-1,)), SECOND), (TWO,), id="nonsense in a status"),
        pytest.param(
            (FIRST, replace(BY_CI, index=1, not_after=ago(minutes=1))), (POLICY,), id="by a certificate that expired"
        ),
    ],
)
def test_file_beside_that_nobody_who_counts_has_signed_is_not_exempt(
    facts: tuple[SignatureFact, ...], policies: tuple[Trust, ...]
) -> None:
    judged = asked(*facts, trust=ONLY_ALICE, beside=vouched(facts, policies, now=NOW))
    assert (judged.signed, judged.reason) == (False, Reason.FILES_LEFT_OUT)
    assert "a file that signature 1 does not cover" in judged.message


def test_signer_of_another_policy_may_sign_beside() -> None:
    facts = (FIRST, SECOND)
    assert asked(*facts, trust=ONLY_ALICE, beside=vouched(facts, (ONLY_ALICE, ONLY_BOB), now=NOW)).signed is True


def test_certificate_that_leads_to_the_roots_of_two_policies_counts_for_each_by_its_own() -> None:
    ours, theirs = BY_CI, replace(BY_CI, root_id="n" * 64, not_after=later(days=900))
    lax = replace(POLICY, keys=(), roots=(TrustedRoot(name="ci", root_id="n" * 64, identity=CI),))
    much_later = later(days=2)
    assert asked(ours, theirs, trust=lax, now=much_later).signed is True
    assert asked(ours, theirs, now=much_later).reason == Reason.KEY_NOT_VALID
