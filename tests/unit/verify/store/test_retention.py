"""Retention: what a plan may never name, and that applying it deletes what it names and nothing else."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.verify.store import Deletion, Held, Plan, apply, capture_path, listing, path_of, plan
from tests.unit.verify.store.helpers import everything

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DIGESTS = [f"sha256:{number:064x}" for number in range(12)]
MODELS = ["digits", "fraud"]


def decide(
    held: list[Held],
    *,
    keep_last: int | None = None,
    max_bytes: int | None = None,
    protected: Collection[str] = (),
    complete: bool = True,
) -> Plan:
    return plan(
        held,
        keep_last=keep_last,
        max_bytes=max_bytes,
        pins=protected,
        serving=(),
        last_known_good=(),
        evidence=(),
        complete=complete,
        now=NOW,
    )


def held(number: int, model: str | None = "digits", *, size: int = 100) -> Held:
    """The snapshot of this number; a higher one is newer."""
    return Held(digest=DIGESTS[number], model=model, size_bytes=size, captured_at=NOW - timedelta(days=20 - number))


def deleted(decided: Plan) -> list[int]:
    return [DIGESTS.index(item.digest) for item in decided.delete]


def test_off_by_default() -> None:
    assert deleted(decide([held(number) for number in range(12)])) == []


def test_the_oldest_beyond_the_count_go() -> None:
    decided = decide([held(number) for number in (3, 1, 2, 4)], keep_last=2)
    assert deleted(decided) == [1, 2]
    assert decided.delete[0].why == "it is older than the 2 newest of its model"
    assert decided.freed_bytes == 200


def test_the_oldest_beyond_the_bytes_go_but_never_the_newest() -> None:
    snapshots = [held(number) for number in range(4)]
    assert deleted(decide(snapshots, max_bytes=250)) == [0, 1]
    assert deleted(decide(snapshots, max_bytes=1)) == [0, 1, 2]


def test_each_model_has_its_own_limits() -> None:
    snapshots = [held(0), held(1), held(2, "fraud"), held(3, "fraud")]
    assert deleted(decide(snapshots, keep_last=1)) == [0, 2]


def test_what_another_model_still_wants_stays() -> None:
    snapshots = [held(0), held(1), held(0, "fraud")]
    assert deleted(decide(snapshots, keep_last=1)) == []
    assert deleted(decide(snapshots, max_bytes=1)) == []


@pytest.mark.parametrize(
    ("list_name", "why"),
    [
        ("serving", "it serves"),
        ("last_known_good", "it is last known good"),
        ("evidence", "it is evidence"),
        ("pins", "it is pinned"),
    ],
)
def test_what_is_needed_stays_and_says_why(list_name: str, why: str) -> None:
    lists: dict[str, tuple[str, ...]] = {"serving": (), "last_known_good": (), "evidence": (), "pins": ()}
    lists[list_name] = (DIGESTS[0],)
    decided = plan(
        [held(0), held(1), held(2)],
        keep_last=1,
        max_bytes=1,
        complete=True,
        now=NOW,
        pins=lists["pins"],
        serving=lists["serving"],
        last_known_good=lists["last_known_good"],
        evidence=lists["evidence"],
    )
    assert deleted(decided) == [1]
    assert decided.keep[0].why == why


def test_an_incomplete_list_keeps_everything() -> None:
    decided = decide([held(0), held(1)], keep_last=1, complete=False)
    assert deleted(decided) == []
    assert {item.why for item in decided.keep} == {"could not list everything that must be kept"}


def test_a_snapshot_of_no_known_model_stays() -> None:
    assert deleted(decide([held(0, None), held(1, None), held(2)], keep_last=1)) == []


def test_what_was_captured_just_now_or_in_the_future_stays() -> None:
    young = [
        Held(digest=DIGESTS[number], model="digits", size_bytes=1, captured_at=NOW + timedelta(minutes=number - 5))
        for number in range(10)
    ]
    assert deleted(decide(young, keep_last=1)) == []


@pytest.mark.parametrize(("keep_last", "max_bytes"), [(0, None), (-1, None), (None, 0)])
def test_a_limit_of_nothing_is_refused(keep_last: int | None, max_bytes: int | None) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        decide([held(0)], keep_last=keep_last, max_bytes=max_bytes)


def test_a_malformed_pin_is_refused() -> None:
    with pytest.raises(ValueError, match="digest"):
        decide([held(0)], keep_last=1, protected=("sha256:abc",))


rows = st.builds(
    Held,
    digest=st.sampled_from(DIGESTS),
    model=st.sampled_from([*MODELS, None]),
    size_bytes=st.integers(0, 1000),
    captured_at=st.integers(0, 5000).map(lambda minutes: NOW - timedelta(minutes=minutes)),
)
limits = st.none() | st.integers(1, 6)
sizes = st.none() | st.integers(1, 4000)
some = st.frozensets(st.sampled_from(DIGESTS))


@given(st.lists(rows, max_size=25), limits, sizes, some, some, some, some, st.booleans())
def test_no_protected_digest_is_ever_deleted(  # noqa: PLR0917 - hypothesis gives them by position
    snapshots: list[Held],
    keep_last: int | None,
    max_bytes: int | None,
    pins: frozenset[str],
    serving: frozenset[str],
    good: frozenset[str],
    evidence: frozenset[str],
    complete: bool,  # noqa: FBT001 - the same
) -> None:
    decided = plan(
        snapshots,
        keep_last=keep_last,
        max_bytes=max_bytes,
        pins=pins,
        serving=serving,
        last_known_good=good,
        evidence=evidence,
        complete=complete,
        now=NOW,
    )
    gone = {item.digest for item in decided.delete}
    assert not gone & (pins | serving | good | evidence)
    assert not gone & {item.digest for item in snapshots if item.model is None}
    assert not gone & {item.digest for item in snapshots if NOW - item.captured_at < timedelta(hours=1)}
    assert complete or not gone
    assert sorted([*gone, *(item.digest for item in decided.keep)]) == sorted({item.digest for item in snapshots})


@given(st.lists(rows, max_size=25, unique_by=lambda row: row.digest), limits, sizes, some)
def test_a_plan_respects_the_limits_and_is_done_after_it(
    snapshots: list[Held], keep_last: int | None, max_bytes: int | None, pins: frozenset[str]
) -> None:
    decided = decide(snapshots, keep_last=keep_last, max_bytes=max_bytes, protected=pins)
    gone = {item.digest for item in decided.delete}
    left = [item for item in snapshots if item.digest not in gone]
    assert deleted(decide(left, keep_last=keep_last, max_bytes=max_bytes, protected=pins)) == []
    for model in MODELS:
        mine = sorted((item for item in left if item.model == model), key=lambda item: (item.captured_at, item.digest))
        free = [item for item in mine[:-1] if item.digest not in pins and NOW - item.captured_at >= timedelta(hours=1)]
        if keep_last is not None:
            assert not [item for item in free if item not in mine[-keep_last:]]
        if max_bytes is not None:
            assert sum(item.size_bytes for item in mine) <= max_bytes or not free


@pytest.fixture
def old_and_new(tmp_path: Path, store: Path) -> tuple[Held, Held]:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
        capture_path(tmp_path, name, store)
    old, new = listing(store, model="digits").held
    return old, new


def delete(held_one: Held) -> Plan:
    deletion = Deletion(digest=held_one.digest, why="", size_bytes=0, captured_at=held_one.captured_at)
    return Plan(delete=(deletion,), keep=())


def test_a_plan_is_applied_to_what_it_names_only(store: Path, old_and_new: tuple[Held, Held]) -> None:
    old, new = old_and_new
    assert apply(delete(old), store).deleted == (old.digest,)
    assert [item.digest for item in listing(store).held] == [new.digest]
    assert not list((store / ".partial").iterdir())
    assert apply(delete(old), store).deleted == ()  # it is gone, and that is told


def test_what_somebody_needs_meanwhile_stays(store: Path, old_and_new: tuple[Held, Held]) -> None:
    done = apply(delete(old_and_new[0]), store, still_needed=lambda _: "it serves now")
    assert done.stayed == ((old_and_new[0].digest, "it serves now"),)
    assert len(listing(store).held) == 2


def test_what_was_captured_again_meanwhile_stays(store: Path, tmp_path: Path, old_and_new: tuple[Held, Held]) -> None:
    (store / path_of(old_and_new[0].digest)).unlink()
    capture_path(tmp_path, "old", store)
    assert apply(delete(old_and_new[0]), store).stayed[0][1] == "it was captured again meanwhile"
    assert len(listing(store).held) == 2


def test_link_in_place_of_a_snapshot_is_not_deleted_through(
    store: Path, tmp_path: Path, old_and_new: tuple[Held, Held]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    place = store / path_of(old_and_new[0].digest)
    place.unlink()
    place.symlink_to(outside)
    assert "lastgood did not create it" in apply(delete(old_and_new[0]), store).stayed[0][1]
    assert "lastgood did not create it" in listing(store).strange[0][1]
    assert (outside / "precious").exists()


def test_one_stray_link_hides_nothing_else(store: Path, tmp_path: Path, old_and_new: tuple[Held, Held]) -> None:
    (store / "sha256" / "00").symlink_to(tmp_path)
    found = listing(store, model="digits")
    assert found.held == old_and_new
    assert [path for path, _ in found.strange] == ["sha256/00"]
    assert "lastgood did not create it; inspect and remove it" in found.strange[0][1]


def test_evidence_and_other_files_are_no_snapshots(store: Path, old_and_new: tuple[Held, Held]) -> None:
    for name in ("evidence/INC-1/content", "digits/2", "sha256/zz/" + "0" * 64, "sha256/00/short"):
        (store / name).mkdir(parents=True)
    assert listing(store, model="digits").held == old_and_new
    assert "evidence/INC-1/content" in everything(store)
