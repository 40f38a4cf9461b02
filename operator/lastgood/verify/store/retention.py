"""Retention: which snapshots in the store may go, decided from values alone; `apply` in removal.py acts on it.

It is off unless a limit is given, and each doubt keeps a snapshot. Both limits are ceilings for each model: the
snapshots beyond the newest `keep_last` go, and then the oldest until what is left has `max_bytes` or less. What
a rule of `_PROTECTIONS` keeps counts in both, and stays even if a limit cannot be respected then.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lastgood.verify.values import require_digest

GRACE: Final = timedelta(hours=1)  # whoever captured it may not have written down yet that he needs it


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A snapshot in the store, for one model; a digest that several models have is there once for each.

    Attributes:
        model: the family whose limits it counts for; None if nobody knows, and then it is kept.
        captured_at: with its time zone.
    """

    digest: str
    model: str | None
    size_bytes: int
    captured_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """A snapshot that would be deleted, why, and what it was when that was decided."""

    digest: str
    why: str
    size_bytes: int
    captured_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A snapshot that stays, and why."""

    digest: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What would be deleted and what would stay, each digest once, the oldest first."""

    delete: tuple[Deletion, ...]
    keep: tuple[Kept, ...]

    @property
    def freed_bytes(self) -> int:
        """The bytes that the deletions would free."""
        return sum(deletion.size_bytes for deletion in self.delete)


@dataclass(frozen=True, kw_only=True, slots=True)
class Protected:
    """Digests that no limit reaches, and whether the caller could read all the lists that they come from."""

    pins: frozenset[str]
    serving: frozenset[str]
    last_known_good: frozenset[str]
    evidence: frozenset[str]
    complete: bool


def plan(
    held: Sequence[Held],
    *,
    keep_last: int | None = None,
    max_bytes: int | None = None,
    pins: Collection[str],
    serving: Collection[str],
    last_known_good: Collection[str],
    evidence: Collection[str],
    complete: bool,
    now: datetime,
    grace: timedelta = GRACE,
) -> Plan:
    """Say which snapshots would be deleted and which would stay, and why.

    Args:
        held: what is in the store.
        keep_last: how many snapshots of a model may stay; None for no limit.
        max_bytes: how many bytes of a model may stay; None for no limit.
        pins: digests that somebody said are to stay.
        serving: digests that a workload has, or that a rollback or a deployment under way wants.
        last_known_good: digests that a rollback would go to.
        evidence: digests that are quarantined or that an incident needs.
        complete: whether all of these lists could be read to their end; nothing is deleted if not.
        now: the time, with its zone.
        grace: how young is too young to be deleted.

    Raises:
        ValueError: if a limit is not above zero, or a digest or a time is malformed.
    """
    _require(held, {"keep_last": keep_last, "max_bytes": max_bytes}, [*pins, *serving, *last_known_good, *evidence])
    protected = Protected(
        pins=frozenset(pins),
        serving=frozenset(serving),
        last_known_good=frozenset(last_known_good),
        evidence=frozenset(evidence),
        complete=complete,
    )
    return _Planner(held, protected, now - grace).plan(keep_last, max_bytes)


def _require(held: Iterable[Held], limits: Mapping[str, int | None], digests: Iterable[str]) -> None:
    for name, limit in limits.items():
        if limit is not None and limit < 1:
            raise ValueError(f"{name}: must be above 0; leave it out for no limit")
    for digest in digests:
        require_digest(digest)
    for item in held:
        require_digest(item.digest)
        if item.captured_at.tzinfo is None:
            raise ValueError(f"captured_at: of {item.digest} has no time zone")


class _Snapshot:
    """All that is held under one digest."""

    def __init__(self, rows: Sequence[Held]) -> None:
        self.digest = rows[0].digest
        self.models = {row.model for row in rows}
        self.size_bytes = max(row.size_bytes for row in rows)
        self.captured_at = max(row.captured_at for row in rows)
        self.age = (self.captured_at, self.digest)


_Protection = Callable[[_Snapshot, Protected, datetime], str | None]


def _lists_incomplete(_: _Snapshot, protected: Protected, __: datetime) -> str | None:
    return None if protected.complete else "could not list everything that must be kept"


def _serves(snapshot: _Snapshot, protected: Protected, _: datetime) -> str | None:
    return "it serves" if snapshot.digest in protected.serving else None


def _is_last_known_good(snapshot: _Snapshot, protected: Protected, _: datetime) -> str | None:
    return "it is last known good" if snapshot.digest in protected.last_known_good else None


def _is_evidence(snapshot: _Snapshot, protected: Protected, _: datetime) -> str | None:
    return "it is evidence" if snapshot.digest in protected.evidence else None


def _is_pinned(snapshot: _Snapshot, protected: Protected, _: datetime) -> str | None:
    return "it is pinned" if snapshot.digest in protected.pins else None


def _of_no_known_model(snapshot: _Snapshot, _: Protected, __: datetime) -> str | None:
    return "it belongs to no known model" if None in snapshot.models else None


def _too_young(snapshot: _Snapshot, _: Protected, before: datetime) -> str | None:
    return "it was captured just now" if snapshot.captured_at > before else None


# Any of them keeps a snapshot; the order is only that in which a person wants to hear the reasons.
_PROTECTIONS: Final[tuple[_Protection, ...]] = (
    _lists_incomplete,  # says something about all of them
    _serves,
    _is_last_known_good,
    _is_evidence,
    _is_pinned,
    _of_no_known_model,
    _too_young,
)


class _Planner:
    def __init__(self, held: Sequence[Held], protected: Protected, before: datetime) -> None:
        rows: dict[str, list[Held]] = defaultdict(list)
        for item in held:
            rows[item.digest].append(item)
        self._snapshots = sorted(map(_Snapshot, rows.values()), key=lambda snapshot: snapshot.age)
        self._models: dict[str | None, list[_Snapshot]] = defaultdict(list)
        for snapshot in self._snapshots:
            for model in snapshot.models:
                self._models[model].append(snapshot)
        self._kept = {
            snapshot.digest: why
            for snapshot in self._snapshots
            if (why := next(filter(None, (rule(snapshot, protected, before) for rule in _PROTECTIONS)), None))
        }
        self._gone: dict[str, str] = {}

    def plan(self, keep_last: int | None, max_bytes: int | None) -> Plan:
        if keep_last is not None:
            self._beyond_count(keep_last)
        if max_bytes is not None:
            for snapshots in self._models.values():
                self._beyond_bytes(snapshots, max_bytes)
        return Plan(
            delete=tuple(
                Deletion(
                    digest=item.digest,
                    why=self._gone[item.digest],
                    size_bytes=item.size_bytes,
                    captured_at=item.captured_at,
                )
                for item in self._snapshots
                if item.digest in self._gone
            ),
            keep=tuple(
                Kept(digest=item.digest, why=self._kept.get(item.digest, "it is within the limits"))
                for item in self._snapshots
                if item.digest not in self._gone
            ),
        )

    def _beyond_count(self, keep_last: int) -> None:
        newest = {item.digest for items in self._models.values() for item in items[-keep_last:]}
        for snapshot in self._snapshots:
            if snapshot.digest not in newest and snapshot.digest not in self._kept:
                self._gone[snapshot.digest] = f"it is older than the {keep_last} newest of its model"

    def _beyond_bytes(self, snapshots: Sequence[_Snapshot], max_bytes: int) -> None:
        left = [item for item in snapshots if item.digest not in self._gone]
        total = sum(item.size_bytes for item in left)
        for snapshot in left:
            if total <= max_bytes:
                return
            why = self._kept.get(snapshot.digest) or self._too_dear(snapshot, snapshots)
            if why is None:
                total -= snapshot.size_bytes
                self._gone[snapshot.digest] = f"its model has more than {max_bytes} bytes, and it is the oldest"
            else:
                self._kept.setdefault(snapshot.digest, why)

    @staticmethod
    def _too_dear(snapshot: _Snapshot, snapshots: Sequence[_Snapshot]) -> str | None:
        """Return why a snapshot is kept although its model has too many bytes."""
        if snapshot is snapshots[-1]:
            return "it is the newest of its model"
        if len(snapshot.models) > 1:
            return "another model has it too"
        return None
