"""What the plugin prints: one line for each object, in columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from lastgood.api.fields import Fields, parse_time
from lastgood.verify import printable

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_WIDEST = 60
STATUS = ("NAME", "MODEL", "SERVING", "DESIRED", "HEALTHY", "FALLBACK", "LAST ROLLBACK")
HISTORY = ("SNAPSHOT", "SINCE", "UNTIL", "SOAKED", "BY", "DIGEST")
ROLLBACKS = ("ROLLBACK", "AT", "AUTOMATIC", "OUTCOME")
RECORDS = ("ROLLBACK", "DEPLOYMENT", "TRIGGER", "FROM", "TO", "OUTCOME", "ASKED")
TRIGGERS = ("TRIGGER", "SEVERITY", "VERDICT", "VALUE", "SINCE", "ERROR")
CONDITIONS = ("CONDITION", "STATUS", "REASON", "MESSAGE")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, widest: int = _WIDEST) -> str:
    """Return aligned columns; a cell is printable whatever the cluster holds, and `-` where it is empty."""
    cells = [list(header), *([printable(cell, widest) or "-" for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("   ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def status_row(body: Mapping[str, Any], now: datetime, *, namespaced: bool = False) -> tuple[str, ...]:
    """Return what one ModelDeployment serves, and what it would go back to."""
    fields = Fields(body, strict=False)
    meta, spec, status = (fields.child(name) for name in ("metadata", "spec", "status"))
    conditions = {item.text("type"): item.text("status") for item in status.items("conditions")}
    return (
        *((meta.text("namespace"),) if namespaced else ()),
        meta.text("name"),
        spec.text("model"),
        status.text("snapshot"),
        spec.text("snapshot"),
        conditions.get("Healthy", ""),
        status.text("fallback", status.text("lastKnownGood")),
        _last_rollback(status, now),
    )


def condition_rows(body: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the conditions of an object."""
    status = Fields(body, strict=False).child("status")
    names = ("type", "status", "reason", "message")
    return [tuple(item.text(name, limit=32768) for name in names) for item in status.items("conditions")]


def history_rows(body: Mapping[str, Any], now: datetime) -> list[tuple[str, ...]]:
    """Return what a ModelDeployment has served, newest first."""
    entries = _newest_first(Fields(body, strict=False).child("status"), "history", "since")
    return [
        (
            item.text("snapshot"),
            age(item.text("since"), now),
            age(item.text("until"), now),
            age(item.text("soakedAt"), now),
            item.text("by"),
            item.text("digest")[:19],
        )
        for item in entries
    ]


def rollback_rows(body: Mapping[str, Any], now: datetime) -> list[tuple[str, ...]]:
    """Return the rollbacks of a ModelDeployment, newest first."""
    return [
        (
            item.text("name"),
            age(item.text("at"), now),
            "yes" if item.flag("automatic") else "no",
            item.text("outcome", "in progress"),
        )
        for item in _newest_first(Fields(body, strict=False).child("status"), "rollbacks", "at")
    ]


def trigger_rows(body: Mapping[str, Any], now: datetime) -> list[tuple[str, ...]]:
    """Return the triggers of a ModelDeployment: those that it declares, also where nothing is known of them yet."""
    whole = Fields(body, strict=False)
    known = {item.text("name"): item for item in whole.child("status").items("triggers")}
    declared = {item.text("name"): item for item in whole.child("spec").items("triggers")}
    rows: list[tuple[str, ...]] = []
    for name, item in declared.items():
        seen = known.get(name, Fields({}, strict=False))
        rows.append(
            (
                name,
                item.text("severity"),
                seen.text("verdict", "no data yet"),
                seen.text("value"),
                age(seen.text("since"), now),
                seen.text("lastError"),
            )
        )
    return rows


def record_rows(
    bodies: Iterable[Mapping[str, Any]], now: datetime, *, of: str = "", namespaced: bool = False
) -> list[tuple[str, ...]]:
    """Return records of rollbacks, newest first."""
    records = [Fields(body, strict=False) for body in bodies]
    records.sort(key=lambda item: item.child("metadata").text("creationTimestamp"), reverse=True)
    names = ((item, item.child("spec").child("deployment").text("name")) for item in records)
    return [_record_row(item, name, now, namespaced=namespaced) for item, name in names if of in ("", name)]


def _record_row(record: Fields, deployment: str, now: datetime, *, namespaced: bool) -> tuple[str, ...]:
    meta, spec, status = (record.child(name) for name in ("metadata", "spec", "status"))
    return (
        *((meta.text("namespace"),) if namespaced else ()),
        meta.text("name"),
        deployment,
        spec.child("trigger").text("name") or ("emergency" if spec.flag("emergency") else "a person"),
        spec.child("from").text("snapshot"),
        status.child("target").text("snapshot") or spec.text("to"),
        status.text("outcome", "in progress"),
        age(meta.text("creationTimestamp"), now),
    )


def age(time: str, now: datetime) -> str:
    """Return how long ago a time was, in its two largest units; what is no time is empty."""
    try:
        seconds = int((now - parse_time(time)).total_seconds())
    except ValueError:
        return ""
    for index, (unit, size) in enumerate(_UNITS[:-1]):
        if seconds >= size:
            smaller, below = _UNITS[index + 1]
            return f"{seconds // size}{unit}{seconds % size // below}{smaller} ago"
    return f"{max(seconds, 0)}s ago"


def _newest_first(status: Fields, name: str, key: str) -> list[Fields]:
    return sorted(status.items(name), key=lambda item: item.text(key), reverse=True)


def _last_rollback(status: Fields, now: datetime) -> str:
    latest = next(iter(_newest_first(status, "rollbacks", "at")), None)
    if latest is None:
        return ""
    return f"{latest.text('outcome', 'in progress')} {age(latest.text('at'), now)}"
