"""Two policies for one model: what one says of its roots changes nothing of what the other says of its own."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lastgood.api.names import Reason
from lastgood.core.trust.policy import Judgement, judge
from lastgood.verify import digest
from lastgood.verify.inspection import Bundle, Question, inspect
from lastgood.verify.signing import Claims, load_certificates, sign
from lastgood.verify.trust_ids import TrustPolicy, anchors, read_policy
from tests.unit.verify.signing.makers import DAY, IDENTITY, NOW, Holder, Wish, authority, make

EVIL = authority("evil")
SAID = Claims(model="digits", version="2")


def policy(root: Holder, namespace: str = "", **entry: Any) -> TrustPolicy:
    """Return a policy that trusts a root; without a namespace it holds for the cluster."""
    meta = {"name": "release"} | ({"namespace": namespace} if namespace else {})
    certificate = {"name": "ci", "root": root.pem.decode(), "identity": IDENTITY, **entry}
    found = read_policy({"metadata": meta, "spec": {"signatures": {"certificates": [certificate]}}})
    assert not found.trust.problem
    return found


def judged(
    folder: Path, policies: Sequence[TrustPolicy], chain: Sequence[Holder], later: timedelta = timedelta()
) -> list[Judgement]:
    """Look at a signed checkpoint with the roots of all policies, and let each judge what was found."""
    (folder / "model.bin").write_bytes(b"weights")
    found = digest(folder)
    bundle = sign(found.files, chain[0].signer, certificates=[holder.trusted for holder in chain])
    known = anchors(policies, "digits")
    question = Question(
        digest=found.digest,
        at=NOW,
        bundles=(Bundle(name="spec.signatures[0]", data=bundle),),
        keys=known.keys,
        roots=known.roots,
        anchors=known.digest,
    )
    examined = inspect(folder, ".", question).examined
    assert examined
    facts, problems = examined.facts, examined.problems
    return [judge(facts, item.trust, now=NOW + later, expected=SAID, problems=problems) for item in policies]


def lifted(root: Holder, **changes: Any) -> Holder:
    """Return what takes no secret: another authority's certificate for the public key of a root."""
    return make(
        Wish(
            name="root",
            issuer=EVIL,
            key=root.key,
            ca=True,
            usage=None,
            extended=(),
            identities=(),
            start=NOW - 30 * DAY,
            end=NOW + 900 * DAY,
            **changes,
        )
    )


Order = Callable[[Sequence[TrustPolicy]], Sequence[TrustPolicy]]
BOTH_WAYS = pytest.mark.parametrize("order", [list, lambda found: found[::-1]], ids=["as listed", "the other way"])


@BOTH_WAYS
def test_namespace_admin_does_not_lift_the_expiry_of_a_cluster_root(tmp_path: Path, order: Order) -> None:
    expired = authority(end=NOW - DAY)
    ours, theirs = policy(expired), policy(lifted(expired), "ml")
    told = dict(
        zip(
            map(id, order([ours, theirs])),
            judged(tmp_path, order([ours, theirs]), [make(Wish(issuer=expired))]),
            strict=True,
        )
    )
    assert told[id(ours)].signed is False
    assert told[id(theirs)].signed is True, "its own namespace may trust what it likes"


@BOTH_WAYS
def test_namespace_admin_does_not_lift_the_path_length_of_a_cluster_root(tmp_path: Path, order: Order) -> None:
    bound = authority(path_length=0)
    middle = authority("middle", bound)
    ours, theirs = policy(bound), policy(lifted(bound), "ml")
    policies = order([ours, theirs])
    told = judged(tmp_path, policies, [make(Wish(issuer=middle)), middle])
    assert [found.signed for found in told] == [item is theirs for item in policies]


@BOTH_WAYS
def test_root_that_expires_after_the_look_counts_no_more_where_it_is_the_root(tmp_path: Path, order: Order) -> None:
    soon = authority(end=NOW + DAY)
    ours, theirs = policy(soon), policy(lifted(soon), "ml")
    policies = order([ours, theirs])
    signer = make(Wish(issuer=soon, end=NOW + 9 * DAY))
    assert all(found.signed for found in judged(tmp_path, policies, [signer]))
    told = judged(tmp_path, policies, [signer], later=2 * DAY)
    assert [found.signed for found in told] == [item is theirs for item in policies]
    assert Reason.KEY_NOT_VALID in [found.reason for found in told]


def test_intermediate_that_expires_after_the_look_counts_no_more(tmp_path: Path) -> None:
    root = authority()
    middle = authority("middle", root, end=NOW + DAY)
    chain = [make(Wish(issuer=middle, end=NOW + 9 * DAY)), middle]
    assert judged(tmp_path, [policy(root)], chain)[0].signed is True
    assert judged(tmp_path, [policy(root)], chain, later=2 * DAY)[0].reason == Reason.KEY_NOT_VALID


@BOTH_WAYS
def test_namespace_admin_does_not_lift_a_revocation(tmp_path: Path, order: Order) -> None:
    root = authority()
    ours = policy(root, revokedAt=(NOW - DAY).isoformat())
    policies = order([ours, policy(lifted(root), "ml"), policy(root, "ml", notAfter=(NOW + DAY).isoformat())])
    told = judged(tmp_path, policies, [make(Wish(issuer=root))])
    assert [found.signed for found in told] == [item is not ours for item in policies]


def test_same_root_in_two_policies_is_looked_at_once() -> None:
    root = authority()
    known = anchors([policy(root), policy(root, "ml"), policy(lifted(root), "ml")], "digits")
    assert [item.certificate_id for item in known.roots] == [
        load_certificates(root.pem)[0].certificate_id,
        known.roots[1].certificate_id,
    ]
    assert len({item.key_id for item in known.roots}) == 1
