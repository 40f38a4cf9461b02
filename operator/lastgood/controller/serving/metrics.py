"""What Prometheus is told: values in, families of metrics out; computed when somebody asks, and kept nowhere.

Unknown values have no sample, because 0 would be a statement.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

import lastgood
from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.fields import Fields
from lastgood.api.meta import Conditions, Meta, read_conditions
from lastgood.api.names import MetricName, Reason, Type
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.candidates.verified import verified_at
from lastgood.errors import InvalidSpecError
from lastgood.kube.cache import Key, Kind

Body = dict[str, Any]

HELP: Final[Mapping[MetricName, str]] = {
    MetricName.BUILD_INFO: "1, with the version of the operator.",
    MetricName.LEADER: "1 if this replica is the leader (holds the Lease), 0 if it is a standby.",
    MetricName.SYNCED: "1 once the caches of this replica are synced; before that it exports no metrics of objects.",
    MetricName.SNAPSHOT_CREATED: "When the ModelSnapshot was created.",
    MetricName.SNAPSHOT_VERIFIED: "When the declared digest of a ModelSnapshot was last found in its bytes; "
    "absent if never, or after a mismatch.",
    MetricName.SNAPSHOT_NEXT: "When the next verification of a ModelSnapshot is due.",
    MetricName.SNAPSHOT_CONDITION: "A condition of a ModelSnapshot: 1 True, 0 False, absent if Unknown.",
    MetricName.DEPLOYMENT_CONDITION: "A condition of a ModelDeployment: 1 True, 0 False, absent if Unknown.",
    MetricName.KNOWN_GOOD_VERIFIED: "When the rollback target of the ModelDeployment was last verified; "
    "absent if it has none.",
    MetricName.ROLLBACKS: "Existing ModelRollbacks by outcome; InProgress if they have none yet.",
    MetricName.VERIFICATIONS: "Verifications completed by this process, by result.",
    MetricName.VERIFIED_BYTES: "Bytes of snapshots that this process verified successfully.",
}

SNAPSHOT_CONDITIONS: Final = (Type.VERIFIED, Type.READY, Type.RESTORABLE, Type.QUARANTINED)
DEPLOYMENT_CONDITIONS: Final = (Type.READY, Type.HEALTHY, Type.PROTECTED, Type.KNOWN_GOOD_AVAILABLE, Type.STALLED)
_RESULTS: Final = (Reason.VERIFIED, Reason.DIGEST_MISMATCH, Reason.UNREADABLE)
_IN_PROGRESS: Final = "InProgress"
_SKEW: Final = timedelta(minutes=1)
"""By how much the clocks of two replicas may differ: a verification of a later time was not made, but forged."""

_TRUTH: Final = {"True": 1.0, "False": 0.0}
_Flags = tuple[tuple[Type, float], ...]
Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a scrape is made from: taken at one moment, and not changed afterwards.

    `bodies` are those of the cache, or None until its first lists are in. `verifications` and `verified_bytes` are
    counted by this process since it started.
    """

    now: datetime
    leader: bool
    bodies: Mapping[Key, Body] | None
    verifications: Mapping[Reason, int] = field(default_factory=dict)
    verified_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class _SnapshotRow:
    """What is told of a ModelSnapshot."""

    labels: tuple[str, str, str]  # namespace, snapshot, model
    created: datetime | None
    verified: datetime | None
    next: datetime | None
    conditions: _Flags


@dataclass(frozen=True, kw_only=True)
class _DeploymentRow:
    """What is told of a ModelDeployment."""

    labels: tuple[str, str]  # namespace, deployment
    known_good: str
    conditions: _Flags


@dataclass(frozen=True, kw_only=True)
class _RollbackRow:
    """What is told of a ModelRollback."""

    labels: tuple[str, str]  # namespace, outcome


Row = _SnapshotRow | _DeploymentRow | _RollbackRow


class Rows:
    """Reads objects into rows, each once for each body: a scrape costs what has changed since the last one.

    It is used by one thread at a time, which need not be that of the event loop.
    """

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Body, Row]] = {}

    def read(self, bodies: Mapping[Key, Body]) -> dict[Key, Row]:
        """Return the row of every object that has one; what is gone is forgotten."""
        self._known = {key: self._row(key, body) for key, body in bodies.items() if key.kind in _READERS}
        return {key: row for key, (_, row) in self._known.items()}

    def _row(self, key: Key, body: Body) -> tuple[Body, Row]:
        known = self._known.get(key)
        return known if known is not None and known[0] is body else (body, _READERS[key.kind](body))


class Family(Metric):
    """A metric whose samples are made one by one as they are written.

    The library does no more with them than to iterate. A list of 50,000 would have the garbage collector stop the whole
    process, and with it a rollback, for as long as 60 ms.
    """

    def __init__(self, name: MetricName, kind: str, labels: Iterable[str], values: Values) -> None:
        super().__init__(name.removesuffix("_total"), HELP[name], kind)
        names = tuple(labels)
        self.samples = (  # type: ignore[assignment]  # see above
            Sample(name, dict(zip(names, given, strict=True)), value) for given, value in values
        )


class Scrape(Collector):
    """One answer to one scrape; the library writes it down, once."""

    def __init__(self, seen: Seen, rows: Rows) -> None:
        self._seen = seen
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        """Yield the families one after the other."""
        seen = self._seen
        yield Family(MetricName.BUILD_INFO, "gauge", ["version"], [((lastgood.__version__,), 1.0)])
        yield Family(MetricName.LEADER, "gauge", [], [((), float(seen.leader))])
        yield Family(MetricName.SYNCED, "gauge", [], [((), float(seen.bodies is not None))])
        yield Family(MetricName.VERIFICATIONS, "counter", ["reason"], _counts(seen.verifications))
        yield Family(MetricName.VERIFIED_BYTES, "counter", [], [((), float(seen.verified_bytes))])
        if seen.bodies is not None:
            yield from _objects(self._rows.read(seen.bodies), seen.now)


def _objects(rows: Mapping[Key, Row], now: datetime) -> Iterator[Metric]:
    snapshots = [row for row in rows.values() if isinstance(row, _SnapshotRow)]
    deployments = [row for row in rows.values() if isinstance(row, _DeploymentRow)]
    rollbacks = (row.labels for row in rows.values() if isinstance(row, _RollbackRow))
    times = {
        MetricName.SNAPSHOT_CREATED: ((row.labels, row.created) for row in snapshots),
        MetricName.SNAPSHOT_VERIFIED: ((row.labels, _past(row.verified, now)) for row in snapshots),
        MetricName.SNAPSHOT_NEXT: ((row.labels, row.next) for row in snapshots),
    }
    for name, values in times.items():
        yield Family(name, "gauge", ["namespace", "snapshot", "model"], _times(values))
    yield Family(MetricName.SNAPSHOT_CONDITION, "gauge", ["namespace", "snapshot", "condition"], _flagged(snapshots))
    yield Family(
        MetricName.DEPLOYMENT_CONDITION, "gauge", ["namespace", "deployment", "condition"], _flagged(deployments)
    )
    known_good = _times(_known_good(rows, deployments, now))
    yield Family(MetricName.KNOWN_GOOD_VERIFIED, "gauge", ["namespace", "deployment", "snapshot"], known_good)
    counted = ((labels, float(count)) for labels, count in Counter(rollbacks).items())
    yield Family(MetricName.ROLLBACKS, "gauge", ["namespace", "outcome"], counted)


def _counts(counted: Mapping[Reason, int]) -> Values:
    """Every result has a sample from the start: a rate needs the 0 before the first one."""
    return [((reason,), float(counted.get(reason, 0))) for reason in _RESULTS]


def _times(found: Iterable[tuple[Labels, datetime | None]]) -> Values:
    return ((labels, time.timestamp()) for labels, time in found if time is not None)


def _flagged(rows: Iterable[_SnapshotRow | _DeploymentRow]) -> Values:
    return (((*row.labels[:2], type_), value) for row in rows for type_, value in row.conditions)


def _known_good(
    rows: Mapping[Key, Row], deployments: Iterable[_DeploymentRow], now: datetime
) -> Iterator[tuple[Labels, datetime | None]]:
    for row in deployments:
        snapshot = rows.get(Key(Kind.SNAPSHOT, row.labels[0], row.known_good))
        if isinstance(snapshot, _SnapshotRow):
            yield (*row.labels, snapshot.labels[1]), _past(snapshot.verified, now)


def _past(time: datetime | None, now: datetime) -> datetime | None:
    return time if time is not None and time <= now + _SKEW else None


def _snapshot(body: Body) -> _SnapshotRow:
    try:
        return _parsed_snapshot(ModelSnapshot.from_body(body))
    except InvalidSpecError:  # it is there, and was never verified: that is all to be told of it
        meta = Meta.from_body(body)
        conditions = read_conditions(Fields(body, strict=False).child("status"))
        labels = (_text(meta.namespace), _text(meta.name), "")
        flags = _flags(conditions, SNAPSHOT_CONDITIONS)
        return _SnapshotRow(labels=labels, created=meta.created, verified=None, next=None, conditions=flags)


def _parsed_snapshot(snapshot: ModelSnapshot) -> _SnapshotRow:
    meta, status = snapshot.meta, snapshot.status
    return _SnapshotRow(
        labels=(_text(meta.namespace), _text(meta.name), _text(snapshot.model)),
        created=meta.created,
        verified=verified_at(snapshot) if status.digest == snapshot.digest else None,
        next=status.verification.next_time if status.verification else None,
        conditions=_flags(status.conditions, SNAPSHOT_CONDITIONS),
    )


def _deployment(body: Body) -> _DeploymentRow:
    meta, status = Meta.from_body(body), DeploymentStatus.from_body(body)
    return _DeploymentRow(
        labels=(_text(meta.namespace), _text(meta.name)),
        known_good=status.last_known_good,
        conditions=_flags(status.conditions, DEPLOYMENT_CONDITIONS),
    )


def _rollback(body: Body) -> _RollbackRow:
    record = ModelRollback.from_body(body)
    return _RollbackRow(labels=(_text(record.meta.namespace), str(record.status.outcome or _IN_PROGRESS)))


_READERS: Final[Mapping[Kind, Callable[[Body], Row]]] = {
    Kind.SNAPSHOT: _snapshot,
    Kind.DEPLOYMENT: _deployment,
    Kind.ROLLBACK: _rollback,
}


def _flags(conditions: Conditions, types: Iterable[Type]) -> _Flags:
    found = ((type_, conditions[type_].status) for type_ in types if type_ in conditions)
    return tuple((type_, _TRUTH[status]) for type_, status in found if status in _TRUTH)


def _text(value: str) -> str:
    """Return a text that can be sent: half of a surrogate pair, in one label, would keep all metrics back."""
    return value.encode("utf-8", "replace").decode()
