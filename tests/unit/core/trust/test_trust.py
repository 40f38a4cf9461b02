"""Whose signatures count: each test is what an attacker would do, or what an administrator did not mean."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.api.facts.signature import Method, SignatureFact, SignatureProblem
from lastgood.api.names import Reason
from lastgood.core.trust.policy import (
    MAX_FACTS,
    Trust,
    TrustedKey,
    TrustedRoot,
    anchors_digest,
    judge,
)
from tests.unit.core.builders import NOW, ago
from tests.unit.core.trust.signers import (
    ALICE,
    BOB,
    BY_ALICE,
    BY_BOB,
    BY_CI,
    CI,
    EVE,
    EXPECTED,
    POLICY,
    TWO,
    alice,
    asked,
    ci,
    claiming,
    later,
)


@pytest.mark.parametrize("fact", [BY_ALICE, BY_BOB, BY_CI, claiming()])
def test_trusted_signer_suffices(fact: SignatureFact) -> None:
    judged = asked(fact)
    assert (judged.signed, judged.reason, len(judged.signers)) == (True, Reason.SIGNATURE_TRUSTED, 1)


@pytest.mark.parametrize(
    ("facts", "trust", "reason", "words"),
    [
        pytest.param((), POLICY, Reason.SIGNATURE_MISSING, "no signature", id="signature stripped"),
        pytest.param(
            (replace(BY_ALICE, key_id=EVE),),
            POLICY,
            Reason.SIGNATURE_UNTRUSTED,
            "no trusted key",
            id="signed by a stranger",
        ),
        pytest.param(
            (BY_ALICE,),
            alice(revoked=ago(days=1)),
            Reason.KEY_REVOKED,
            "'alice' was revoked",
            id="signed with a revoked key",
        ),
        pytest.param(
            (replace(BY_CI, key_id=ALICE),),
            alice(revoked=ago(days=1)),
            Reason.KEY_REVOKED,
            "'alice' was revoked",
            id="certificate for a revoked key",
        ),
        pytest.param((BY_CI,), ci(revoked=NOW), Reason.KEY_REVOKED, "'ci' was revoked", id="revoked root"),
        pytest.param(
            (claiming(signed_at=ago(days=9)),),
            alice(revoked=ago(days=1)),
            Reason.KEY_REVOKED,
            "was revoked",
            id="stolen key that says it signed before it was revoked",
        ),
        pytest.param(
            (BY_ALICE,),
            replace(POLICY, keys=(*alice(revoked=ago(days=1)).keys, TrustedKey(name="alice-again", key_id=ALICE))),
            Reason.KEY_REVOKED,
            "was revoked",
            id="revoked key listed once more under another name",
        ),
        pytest.param(
            (BY_ALICE,), alice(not_after=ago(days=1)), Reason.KEY_NOT_VALID, "not valid after", id="expired key"
        ),
        pytest.param(
            (BY_ALICE,),
            alice(not_before=later(days=1)),
            Reason.KEY_NOT_VALID,
            "not valid before",
            id="key not yet valid",
        ),
        pytest.param(
            (replace(BY_CI, not_after=ago(minutes=1)),),
            POLICY,
            Reason.KEY_NOT_VALID,
            "not valid after",
            id="expired certificate",
        ),
        pytest.param(
            (replace(BY_CI, not_before=later(minutes=1)),),
            POLICY,
            Reason.KEY_NOT_VALID,
            "not valid before",
            id="certificate not yet valid",
        ),
        pytest.param(
            (replace(BY_CI, not_after=None),),
            POLICY,
            Reason.KEY_NOT_VALID,
            "no validity period",
            id="certificate without a term",
        ),
        pytest.param(
            (replace(BY_CI, identity="https://ci.example/pull-request"),),
            POLICY,
            Reason.SIGNATURE_UNTRUSTED,
            "who is not trusted",
            id="certificate of the same authority for somebody else",
        ),
        pytest.param(
            (replace(BY_CI, identity=CI.upper()),),
            POLICY,
            Reason.SIGNATURE_UNTRUSTED,
            "who is",
            id="identity in other case",
        ),
        pytest.param(
            (replace(BY_CI, identity=CI + "/x"),),
            POLICY,
            Reason.SIGNATURE_UNTRUSTED,
            "who is",
            id="identity as a prefix",
        ),
        pytest.param(
            (replace(BY_CI, root_id=EVE),),
            POLICY,
            Reason.SIGNATURE_UNTRUSTED,
            "no trusted certificate",
            id="own authority",
        ),
        pytest.param(
            (replace(BY_ALICE, key_id="r" * 64),),
            POLICY,
            Reason.SIGNATURE_UNTRUSTED,
            "no trusted key",
            id="root's id as a key",
        ),
        pytest.param(
            (replace(BY_CI, key_id=ALICE, root_id=EVE),),
            POLICY,
            Reason.SIGNATURE_UNTRUSTED,
            "no trusted certificate",
            id="trusted key in a certificate of a stranger",
        ),
        pytest.param(
            (BY_ALICE, BY_ALICE), TWO, Reason.TOO_FEW_SIGNATURES, "only by alice", id="two signatures by one key"
        ),
        pytest.param(
            (BY_CI, replace(BY_CI, key_id="d" * 64)),
            TWO,
            Reason.TOO_FEW_SIGNATURES,
            "only by ci",
            id="two certificates for one identity",
        ),
        pytest.param(
            (BY_ALICE, replace(BY_CI, key_id=ALICE)),
            TWO,
            Reason.TOO_FEW_SIGNATURES,
            "only by alice",
            id="one key, bare and in a certificate",
        ),
        pytest.param(
            (claiming(model="fraud"),), POLICY, Reason.CLAIMS_MISMATCH, "model 'fraud'", id="signature of another model"
        ),
        pytest.param(
            (claiming(version="1"),), POLICY, Reason.CLAIMS_MISMATCH, "version '1'", id="old version under a new name"
        ),
        pytest.param(
            (claiming(data_cutoff=ago(days=1)),), POLICY, Reason.CLAIMS_MISMATCH, "dataCutoff", id="manifest dated back"
        ),
        pytest.param(
            (claiming(trained_at=ago(days=1)),), POLICY, Reason.CLAIMS_MISMATCH, "trainedAt", id="training dated back"
        ),
        pytest.param(
            (replace(BY_ALICE, left_out=(".git/hooks/post-checkout",)),),
            POLICY,
            Reason.FILES_LEFT_OUT,
            ".git/hooks",
            id="payload where the signature does not look",
        ),
        pytest.param(
            (BY_ALICE,), replace(POLICY, threshold=0), Reason.POLICY_INVALID, "threshold", id="threshold of zero"
        ),
        pytest.param(
            (BY_ALICE,), replace(POLICY, threshold=-1), Reason.POLICY_INVALID, "threshold", id="threshold below zero"
        ),
        pytest.param(
            (BY_ALICE,), replace(POLICY, keys=(), roots=()), Reason.POLICY_INVALID, "has no key", id="policy emptied"
        ),
        pytest.param(
            (BY_ALICE,),
            replace(POLICY, problem="spec: x"),
            Reason.POLICY_INVALID,
            "spec: x",
            id="policy made unreadable",
        ),
    ],
)
def test_does_not_count(facts: tuple[SignatureFact, ...], trust: Trust, reason: Reason, words: str) -> None:
    judged = asked(*facts, trust=trust)
    assert (judged.signed, judged.reason) == (False, reason)
    assert words in judged.message
    assert trust.name in judged.message


def test_revocation_acts_from_its_moment_on_and_not_before() -> None:
    trust = alice(revoked=NOW)
    assert asked(BY_ALICE, trust=trust, now=ago(seconds=1)).signed is True
    assert asked(BY_ALICE, trust=trust).signed is False


def test_last_moment_of_a_term_counts() -> None:
    trust = alice(not_before=NOW, not_after=NOW)
    assert asked(BY_ALICE, trust=trust).signed is True


def test_different_signers_reach_a_threshold() -> None:
    assert asked(BY_ALICE, BY_BOB, trust=TWO).signers == ("alice", "bob")
    assert asked(BY_CI, BY_BOB, trust=TWO).signed is True


def test_bad_signature_beside_enough_good_ones_does_no_harm() -> None:
    stranger = replace(BY_ALICE, key_id=EVE)
    broken = SignatureProblem(source="spec.signatures[2]", reason=Reason.SIGNATURE_INVALID, message="it was changed")
    assert asked(stranger, BY_ALICE, problems=(broken,)).signed is True


def test_why_a_bundle_proves_nothing_is_told() -> None:
    broken = SignatureProblem(source="spec.signatures[0]", reason=Reason.SIGNATURE_INVALID, message="1.bin differs")
    judged = asked(problems=(broken,))
    assert (judged.signed, judged.reason) == (False, Reason.SIGNATURE_INVALID)
    assert "1.bin differs" in judged.message


def test_bundle_that_cannot_be_read_is_not_tampered_and_no_pass() -> None:
    unread = SignatureProblem(source="spec.signatures[0]", reason=Reason.UNREADABLE, message="timed out")
    assert asked(problems=(unread,)).signed is None


def test_gravest_refusal_is_told() -> None:
    assert asked(claiming(BY_BOB, model="x"), BY_ALICE, trust=alice(revoked=NOW)).reason == Reason.KEY_REVOKED


def test_left_out_files_may_be_allowed() -> None:
    fact = replace(BY_ALICE, left_out=(".git/config",))
    assert asked(fact, trust=replace(POLICY, allow_left_out=True)).signed is True


def test_flood_of_signatures_is_cut_off() -> None:
    flood = [replace(BY_ALICE, key_id=f"{number:064x}") for number in range(MAX_FACTS)]
    assert asked(*flood, BY_ALICE).signed is False


def test_date_counts_if_as_many_signed_it_as_the_policy_asks_for() -> None:
    assert asked(claiming()).data_cutoff == EXPECTED.data_cutoff
    assert asked(BY_ALICE).data_cutoff is None
    assert asked(claiming(), BY_BOB, trust=TWO).data_cutoff is None
    assert asked(claiming(), claiming(BY_BOB), trust=TWO).trained_at == EXPECTED.trained_at


def test_signers_who_contradict_each_other_sign_no_date() -> None:
    undated = replace(EXPECTED, data_cutoff=None)
    facts = (claiming(), claiming(BY_BOB, data_cutoff=ago(days=90)))
    assert judge(facts, TWO, now=NOW, expected=undated).data_cutoff is None


def test_anchors_are_named_by_their_ids_alone() -> None:
    assert anchors_digest([POLICY]) == anchors_digest([alice(revoked=NOW, name="x"), ci(identity="somebody")])
    assert anchors_digest([POLICY]) != anchors_digest([replace(POLICY, roots=())])
    assert anchors_digest([replace(POLICY, keys=(), roots=())]) == ""


facts = st.lists(
    st.builds(
        SignatureFact,
        method=st.sampled_from(Method),
        key_id=st.sampled_from([ALICE, BOB, EVE]),
        root_id=st.sampled_from(["", "r" * 64, EVE]),
        identity=st.sampled_from(["", CI]),
        not_before=st.sampled_from([None, ago(days=1)]),
        not_after=st.sampled_from([None, ago(hours=1), later(days=1)]),
        claims=st.sampled_from([None, EXPECTED, replace(EXPECTED, model="x")]),
        left_out=st.sampled_from([(), (".git/x",)]),
    ),
    max_size=6,
)


@given(facts, st.integers(-1, 4))
def test_never_fewer_keys_than_the_threshold(found: list[SignatureFact], threshold: int) -> None:
    judged = asked(*found, trust=replace(POLICY, threshold=threshold))
    if judged.signed:
        assert threshold >= 1
        assert len({fact.key_id for fact in found if not fact.left_out}) >= threshold
        assert len(set(judged.signers)) == len(judged.signers) >= threshold


@given(facts, facts)
def test_more_signatures_never_take_trust_away(found: list[SignatureFact], more: list[SignatureFact]) -> None:
    if asked(*found).signed:
        assert asked(*found, *more).signed


def test_one_identity_under_an_old_and_a_new_root_is_one_signer() -> None:
    """While roots are rotated, whoever has one identity has certificates of both."""
    roots = (*POLICY.roots, TrustedRoot(name="ci-new", root_id="n" * 64, identity=CI))
    twice = replace(BY_CI, key_id="d" * 64, root_id="n" * 64)
    found = asked(BY_CI, twice, trust=replace(TWO, roots=roots))
    assert (found.signed, found.reason) == (False, Reason.TOO_FEW_SIGNATURES)
    assert asked(BY_CI, BY_ALICE, trust=replace(TWO, roots=roots)).signed is True
