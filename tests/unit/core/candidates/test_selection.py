"""Last known good: who is chosen, and why not each of the others."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.facts.deployment_status import Left
from lastgood.api.names import Digest, Reason
from lastgood.api.specs.snapshot import ModelSnapshot, QuarantineMark
from lastgood.api.specs.sources import PvcSource
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.candidates.proof import Proof
from lastgood.core.candidates.selection import select
from lastgood.core.state import Observed
from tests.unit.core.builders import (
    HISTORY,
    NOW,
    V0,
    V1,
    V2,
    V3,
    ago,
    bringing,
    checked,
    digest,
    having,
    name,
    served,
    snapshot,
    swapped,
    unverified,
    world,
)

LEAVING = Question(leaving=name(3), leaving_digest=digest(3))


def question(**changes: Any) -> Question:
    return replace(LEAVING, **changes)


def with_status(of: ModelSnapshot, **facts: Any) -> ModelSnapshot:
    return replace(of, status=replace(of.status, **facts))


def left(number: int) -> Left:
    return Left(digest=digest(number), snapshot=name(number), reason="wrong answers", at=ago(days=1))


def test_last_known_good_is_the_one_that_served_well_most_recently() -> None:
    chosen, candidates = select(world(), LEAVING)
    assert chosen == V2
    assert [(item.snapshot, item.verdict, item.reason) for item in candidates] == [
        ("digits-v2", "Chosen", Reason.CHOSEN),
        ("digits-v1", "NotNeeded", Reason.NOT_NEEDED),
        ("digits-v3", "PassedOver", Reason.LEAVING),
        ("digits-v0", "PassedOver", Reason.NOT_SOAKED),
    ]


MARKED = with_status(V2, quarantine=QuarantineMark(scope="Snapshot", incident="INC-1", reason="backdoor"))
DELETING = replace(V2, meta=replace(V2.meta, deleting=True))
ELSEWHERE = replace(V2, source=PvcSource(claim="archive", path="digits/2"))
WITHOUT_IMAGE = replace(V2, image="")
UNSOAKED = (served(2, ago(days=10), ago(hours=2), soaked=False), HISTORY[2])
LATER = replace(with_status(V2, first_seen=ago(minutes=5)), trained_at=None)


@pytest.mark.parametrize(
    ("observed", "asked", "reason", "words"),
    [
        pytest.param(world(), question(to=name(1)), Reason.NOT_ASKED_FOR, "digits-v1", id="the request names another"),
        pytest.param(world(), question(leaving=name(2)), Reason.LEAVING, "the current snapshot", id="it is being left"),
        pytest.param(
            world(), question(leaving_digest=digest(2)), Reason.LEAVING, "the digest of", id="its bytes are being left"
        ),
        pytest.param(
            world(quarantined={digest(2): "INC-1 backdoor"}),
            LEAVING,
            Reason.QUARANTINED,
            "INC-1 backdoor",
            id="its digest is quarantined",
        ),
        pytest.param(
            world(quarantined={digest(2): ""}),
            LEAVING,
            Reason.QUARANTINED,
            "quarantined",
            id="quarantined without words",
        ),
        pytest.param(
            swapped(world(), MARKED), LEAVING, Reason.QUARANTINED, "INC-1: backdoor", id="the snapshot is quarantined"
        ),
        pytest.param(
            world(quarantined={digest(2): "INC-1"}),
            question(to=name(2), emergency=True),
            Reason.QUARANTINED,
            "INC-1",
            id="a quarantine binds an emergency that names it too",
        ),
        pytest.param(swapped(world(), DELETING), LEAVING, Reason.DELETING, "deleted", id="it is being deleted"),
        pytest.param(
            swapped(world(), unverified(2)),
            LEAVING,
            Reason.NOT_VERIFIED,
            "not been verified yet",
            id="not verified yet",
        ),
        pytest.param(
            swapped(world(), unverified(2, Reason.DIGEST_MISMATCH, "1.bin is changed")),
            LEAVING,
            Reason.DIGEST_MISMATCH,
            "1.bin is changed",
            id="it was tampered with",
        ),
        pytest.param(
            swapped(world(), unverified(2, Reason.UNREADABLE, "input/output error")),
            LEAVING,
            Reason.UNREADABLE,
            "input/output error",
            id="it cannot be read",
        ),
        pytest.param(
            swapped(world(), with_status(V2, digest=Digest("sha256:other"))),
            LEAVING,
            Reason.NOT_VERIFIED,
            "not been verified",
            id="verified as something else",
        ),
        pytest.param(
            world(checked=checked(V2, Reason.DIGEST_MISMATCH)),
            LEAVING,
            Reason.DIGEST_MISMATCH,
            "it says",
            id="the verification just now outranks the status",
        ),
        pytest.param(
            world(checked=checked(V2, Reason.UNREADABLE)),
            question(emergency=True),
            Reason.UNREADABLE,
            "it says",
            id="it could not be read just now",
        ),
        pytest.param(
            having(world(), left=(left(2),)),
            LEAVING,
            Reason.LEFT_BEFORE,
            "wrong answers",
            id="a rollback left it before",
        ),
        pytest.param(
            having(world(), left=(left(2),)),
            question(emergency=True),
            Reason.LEFT_BEFORE,
            "wrong answers",
            id="an emergency does not go back either",
        ),
        pytest.param(
            world(), question(before=NOW), Reason.AFTER_DATE, "neither dataCutoff nor trainedAt", id="it has no date"
        ),
        pytest.param(
            swapped(world(), replace(V2, trained_at=ago(days=5))),
            question(before=ago(days=5)),
            Reason.AFTER_DATE,
            "is not before",
            id="trained at that very date",
        ),
        pytest.param(
            swapped(world(), replace(V2, trained_at=ago(days=9), data_cutoff=ago(days=3))),
            question(before=ago(days=5)),
            Reason.AFTER_DATE,
            "is not before",
            id="dataCutoff outranks trainedAt",
        ),
        pytest.param(
            swapped(world(), ELSEWHERE), LEAVING, Reason.NOT_MOUNTED, "'archive'", id="its claim is not mounted"
        ),
        pytest.param(
            swapped(bringing(world()), WITHOUT_IMAGE),
            LEAVING,
            Reason.NO_VALUE,
            "spec.runtime.image",
            id="a binding gets no value",
        ),
        pytest.param(
            bringing(world(), trust=()),
            LEAVING,
            Reason.IMAGE_NOT_ALLOWED,
            "list it in spec.images.repositories",
            id="nobody allows its image",
        ),
        pytest.param(
            having(world(), history=HISTORY[2:]),
            LEAVING,
            Reason.NOT_SOAKED,
            "not completed its soak",
            id="soak is required, and it never served",
        ),
        pytest.param(
            having(world(), history=UNSOAKED),
            LEAVING,
            Reason.NOT_SOAKED,
            "not completed its soak",
            id="soak is required, and it only served",
        ),
        pytest.param(
            having(world(), history=HISTORY[2:]),
            question(least=Proof.SERVED),
            Reason.NEVER_SERVED,
            "to=",
            id="it never served",
        ),
        pytest.param(
            swapped(having(world(), history=HISTORY[2:]), LATER),
            question(least=Proof.VERIFIED),
            Reason.APPEARED_LATER,
            "first seen after",
            id="it appeared during the incident",
        ),
        pytest.param(
            swapped(having(world(), history=HISTORY[2:]), with_status(LATER, first_seen=None)),
            question(least=Proof.VERIFIED),
            Reason.APPEARED_LATER,
            "first seen after",
            id="nobody knows when it appeared",
        ),
    ],
)
def test_ineligible(observed: Observed, asked: Question, reason: Reason, words: str) -> None:
    snapshot = observed.snapshot(name(2))
    assert snapshot is not None
    found = ineligible(observed, asked, snapshot)
    assert found is not None
    assert found[0] == reason
    assert words in found[1]
    chosen, _ = select(observed, asked)
    assert chosen != snapshot


@pytest.mark.parametrize(
    ("observed", "asked"),
    [
        pytest.param(having(world(), left=(left(2),)), question(to=name(2)), id="a person who names it releases it"),
        pytest.param(
            world(),
            question(leaving_digest=digest(2), bad_copy=True),
            id="another copy of the bytes is no worse for it",
        ),
        pytest.param(swapped(world(), replace(V2, trained_at=ago(days=9))), question(before=ago(days=5)), id="older"),
        pytest.param(swapped(world(), LATER), LEAVING, id="first seen late, and yet it served before"),
        pytest.param(
            swapped(having(world(), history=HISTORY[2:]), LATER),
            question(to=name(2), least=Proof.VERIFIED),
            id="late, and asked for by name",
        ),
        pytest.param(having(world(), history=UNSOAKED), question(least=Proof.SERVED), id="it served, which is enough"),
        pytest.param(
            having(world(), history=HISTORY[2:]),
            question(least=Proof.VERIFIED),
            id="its bytes are right, which is enough",
        ),
        pytest.param(
            world(checked=checked(V2, Reason.DIGEST_MISMATCH, ago(minutes=2))),
            LEAVING,
            id="an old refusal is forgotten",
        ),
        pytest.param(
            swapped(world(workload=None), ELSEWHERE), LEAVING, id="without a workload nobody knows what it mounts"
        ),
    ],
)
def test_not_ineligible(observed: Observed, asked: Question) -> None:
    snapshot = observed.snapshot(name(2))
    assert snapshot is not None
    assert ineligible(observed, asked, snapshot) is None


@pytest.mark.parametrize(
    ("history", "order"),
    [
        pytest.param(HISTORY, [2, 1, 3, 0], id="soaked first, the most recently served first"),
        pytest.param((), [3, 2, 1, 0], id="never served: the newest first"),
        pytest.param(
            (served(0, ago(days=9), ago(days=8), soaked=False), HISTORY[0]),
            [1, 0, 3, 2],
            id="soaked, served, never served",
        ),
        pytest.param(
            (served(2, ago(days=9), ago(days=8)), served(1, ago(days=8), ago(days=7))), [1, 2, 3, 0], id="last one out"
        ),
        pytest.param(
            (served(1, ago(days=9), ago(days=2)), served(2, ago(days=5), ago(days=3))), [1, 2, 3, 0], id="by the end"
        ),
    ],
)
def test_order_of_candidates(history: Any, order: list[int]) -> None:
    _, candidates = select(having(world(), history=history), question(leaving=name(9), leaving_digest=digest(9)))
    assert [item.snapshot for item in candidates] == [name(number) for number in order]


def test_served_bytes_count_and_not_the_name() -> None:
    """Deleting a snapshot and creating it again with other bytes inherits nothing."""
    impostor = snapshot(2, digest=digest("evil"), status=replace(V2.status, digest=digest("evil")))
    chosen, _ = select(swapped(world(), impostor), LEAVING)
    assert chosen == V1


def test_another_model_is_not_even_listed() -> None:
    _, candidates = select(swapped(world(), replace(V2, model="letters")), LEAVING)
    assert name(2) not in {item.snapshot for item in candidates}


def test_no_candidate_is_no_target() -> None:
    chosen, candidates = select(world(quarantined={item.digest: "INC-1" for item in (V0, V1, V2)}), LEAVING)
    assert chosen is None
    assert {item.verdict for item in candidates} == {"PassedOver"}


def test_copy_on_a_mounted_claim_stands_in_for_a_bad_copy() -> None:
    copy = replace(V3, meta=replace(V3.meta, name="digits-v3-copy"))
    observed = having(swapped(world(), copy), history=HISTORY[2:])
    assert select(observed, question(bad_copy=True, least=Proof.SERVED))[0] == copy
    assert select(observed, question(least=Proof.VERIFIED))[0] != copy
