"""What people ask for with annotations and records, and the names that records get."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from lastgood.api.facts.deployment_status import Served
from lastgood.api.fields import Fields, parse_time
from lastgood.api.names import (
    EMERGENCY,
    OPT_IN_LABEL,
    RESUME,
    ROLLBACK,
    Digest,
    Reason,
    Severity,
    SnapshotName,
)
from lastgood.api.specs.rollback import ModelRollback, RollbackSpec
from lastgood.core.actions import CreateRecord, UpdateDeployment
from lastgood.core.requests.record_names import free_name, is_given
from lastgood.core.requests.remember import by_age
from lastgood.core.state import Observed, Step, Tell

_DIRECTIVE = re.compile(r"\s*(to|before)=([^\s,]+?)(:(?=\s|$)|,|(?=\s|$))")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
_MEANT = {"to": "the name of a snapshot", "before": "an RFC 3339 time, such as 2026-03-01T00:00:00Z"}
_INCIDENT = re.compile(r"\s*([A-Za-z][A-Za-z0-9]{0,31}-[A-Za-z0-9_-]{0,94}\d)\s*:\s*")
MAX_TEXT = 1024
UNSEEN = timedelta(seconds=2)
"""For how long nobody can have seen what a rollback switched to; a record's creation is told in whole seconds."""
FORWARD = "forward"
MAX_HANDLED = 16
_GRAVEST_FIRST = [str(severity) for severity in Severity]


@dataclass(frozen=True, kw_only=True)
class Request:
    """An annotation that has not been acted on; `key` is unique for its object, annotation and value."""

    annotation: str
    key: str
    text: str
    on_workload: bool = False


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the text of a rollback annotation asks for; `error` says what of it could not be understood."""

    reason: str
    to: SnapshotName = SnapshotName("")
    before: datetime | None = None
    incident: str = ""
    error: str = ""


def request_key(annotation: str, text: str, *, on_workload: bool = False) -> str:
    """Return the key under which `handledRequests` remembers a value."""
    place = "workload." if on_workload else ""
    return f"{place}{annotation.partition('/')[2]}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def pending(observed: Observed) -> Iterator[Request]:
    """Yield the annotations that wait to be acted on, emergencies first."""
    deployment, workload = observed.deployment, observed.workload
    own, others = deployment.meta.annotations, workload.meta.annotations if workload else {}
    if workload and workload.meta.labels.get(OPT_IN_LABEL) in workload.rivals:
        others = {}  # what is said to a workload is said to the ModelDeployment that has it
    asked = (
        (EMERGENCY, own.get(EMERGENCY), False),
        (EMERGENCY, others.get(EMERGENCY), True),
        (ROLLBACK, own.get(ROLLBACK), False),
        (RESUME, own.get(RESUME), False),
    )
    for annotation, text, on_workload in asked:
        if text is None:
            continue
        key = request_key(annotation, text, on_workload=on_workload)
        if key not in deployment.status.handled:
            yield Request(annotation=annotation, key=key, text=text, on_workload=on_workload)


def parse_wish(text: str) -> Wish:
    """Read `[to=NAME] [before=TIME]: INC-1: reason`; what cannot be understood is all reason, with an error.

    The number may come first as well: nobody looks up the order at three in the morning.
    """
    given: dict[str, str] = {}
    rest = _taken(text, given).lstrip(" :,")
    number = _INCIDENT.match(rest)
    behind = rest[number.end() :] if number else ""
    if number and (left := _taken(behind, given)) != behind:
        rest = f"{number[1]}: {left.lstrip(' :,')}"
    incident = number[1] if number else ""
    for word, value in given.items():
        try:
            _READ[word](value)
        except ValueError:
            error = f"{word}={value[:64]!r} is invalid: must be {_MEANT[word]}"
            return Wish(reason=text[:MAX_TEXT], incident=incident, error=error)
    reason = rest.strip() or text.strip()
    before = parse_time(given["before"]) if "before" in given else None
    return Wish(reason=reason[:MAX_TEXT], to=SnapshotName(given.get("to", "")), before=before, incident=incident)


def _taken(text: str, given: dict[str, str]) -> str:
    """Take the directives from the beginning of a text, the last of each word counts, and return what is left."""
    while match := _DIRECTIVE.match(text):
        given[match[1]], text = match[2], text[match.end() :]
    return text


def _name(value: str) -> str:
    if len(value) > _LONGEST_NAME or not _NAME.fullmatch(value):
        raise ValueError(value)
    return value


_READ: Mapping[str, Callable[[str], object]] = {"to": _name, "before": parse_time}


def open_record(observed: Observed, spec: RollbackSpec, reason: Reason, message: str) -> Step | None:
    """Answer with the intent: a record under the first derived name that nobody has; None where one for it waits."""
    if any(_asks_the_same(record.spec, spec) for record in waiting_records(observed)):
        return None
    alert = Tell.ALERT if spec.emergency else Tell.WARNING
    return Step(reason=reason, message=message, action=CreateRecord(name=free_name(observed), spec=spec), tell=alert)


def _asks_the_same(there: RollbackSpec, spec: RollbackSpec) -> bool:
    """Tell whether a record that waits asks for as much: of two triggers, only a graver one asks for more."""
    if there.automatic and spec.automatic and there.trigger and spec.trigger and not spec.continues:
        known = there.trigger.severity in _GRAVEST_FIRST  # a record says what whoever made it wrote
        graver = _GRAVEST_FIRST[: _GRAVEST_FIRST.index(there.trigger.severity)] if known else _GRAVEST_FIRST
        return spec.trigger.severity not in graver
    return _wish(there) == _wish(spec)


def _wish(spec: RollbackSpec) -> tuple[object, ...]:
    return spec.reason or "no reason given", spec.to, spec.before, spec.emergency, spec.continues


def serving_at(observed: Observed, asked: datetime | None) -> tuple[SnapshotName, Digest]:
    """Return what whoever asked saw serve, with its digest.

    A rollback switched to something a moment before, or since: nobody has seen that fail. Else the second of two people
    who call the same emergency has the good one left, and quarantined.
    """
    status = observed.deployment.status
    if asked is None:
        return status.snapshot, status.digest
    seen = (item for item in reversed(status.history) if _was_seen(item, asked))
    item = next(seen, None)
    return (item.snapshot, item.digest) if item else (status.snapshot, status.digest)


def _was_seen(item: Served, asked: datetime) -> bool:
    return item.since is None or item.by == FORWARD or asked - item.since >= UNSEEN


def base_spec(observed: Observed, *, asked: datetime | None = None, **more: object) -> RollbackSpec:
    """Return a record's spec for this deployment, from what serves, or served when it was asked for."""
    deployment = observed.deployment
    source, digest = serving_at(observed, asked)
    spec = RollbackSpec(
        deployment=deployment.meta.name, deployment_uid=deployment.meta.uid, source=source, source_digest=digest
    )
    return replace(spec, **more)  # type: ignore[arg-type]  # the names are those of RollbackSpec; tests build each


def spec_of(observed: Observed, request: Request) -> RollbackSpec:
    """Return the record's spec that an annotation asks for."""
    wish = parse_wish(request.text)
    return base_spec(
        observed,
        asked=_asked_at(observed, request),
        to=wish.to,
        before=wish.before,
        reason=wish.reason,
        incident=wish.incident,
        emergency=request.annotation == EMERGENCY,
    )


def _asked_at(observed: Observed, request: Request) -> datetime:
    """Return when an annotation was set: what it means is what served then, however late it can be acted on.

    That is when this process first saw it, or what the API server says, which counts in whole seconds, where that is
    earlier: it may have been set while no process was there to see it.
    """
    first, workload = observed.asked.get(request.key, observed.now), observed.workload
    meta = workload.meta if request.on_workload and workload else observed.deployment.meta
    told = meta.annotated.get(request.annotation)
    return min(first, told + timedelta(seconds=1)) if told else first


def called(observed: Observed) -> Step | None:
    """An annotated emergency becomes a record before anything else is looked at: others may be many, and forged."""
    if called_already(observed):
        return None
    step = requested(observed)
    return step if step and step.reason == Reason.EMERGENCY else None


def requested(observed: Observed) -> Step | None:
    """An annotation asks for a rollback: a person outranks every signal."""
    for request in pending(observed):
        if request.annotation == RESUME:
            continue
        wish = parse_wish(request.text)
        if wish.error and request.annotation == ROLLBACK:
            return _rejected(observed, request, wish)
        emergency = request.annotation == EMERGENCY
        reason = Reason.EMERGENCY if emergency else Reason.REQUESTED
        if step := open_record(observed, spec_of(observed, request), reason, f"requested: {wish.reason[:256]}"):
            return step
    return None


def _rejected(observed: Observed, request: Request, wish: Wish) -> Step:
    message = f"annotation {ROLLBACK}: {wish.error}; write '[to=<snapshot>] [before=<time>]: <reason>'"
    facts = replace(observed.deployment.status, handled=mark_handled(observed, request.key, "rejected"))
    return Step(
        reason=Reason.REQUEST_REJECTED,
        message=message,
        action=UpdateDeployment(status=facts),
        facts=facts,
        tell=Tell.WARNING,
    )


def mark_handled(observed: Observed, key: str, what: str) -> dict[str, str]:
    """Return `handledRequests` with one more in, and the oldest out where there are too many."""
    handled = by_age(observed.deployment.status.handled, observed.remembered) | {key: what}
    current = {request.key for request in _all_current(observed)}
    surplus = [old for old in handled if old not in current and old != key]
    for old in surplus[: max(0, len(handled) - MAX_HANDLED)]:
        del handled[old]
    return handled


def _all_current(observed: Observed) -> Iterator[Request]:
    forgotten = replace(observed.deployment.status, handled={})
    return pending(replace(observed, deployment=replace(observed.deployment, status=forgotten)))


def made_for(observed: Observed, record: ModelRollback) -> str:
    """Return the key of the annotation that asks for just what a record asks for, or nothing."""
    if not is_given(observed, record.name):
        return ""
    status = observed.deployment.status
    for request in pending(observed):
        wish = as_stored(spec_of(observed, request))
        serves = replace(wish, source=status.snapshot, source_digest=status.digest)
        if record.spec in (wish, as_stored(serves)):
            return request.key
    return ""


def as_stored(spec: RollbackSpec) -> RollbackSpec:
    """Return a record's spec as it is read back from the API server."""
    return RollbackSpec.from_fields(Fields(spec.as_body(), strict=False))


def waiting_records(observed: Observed) -> list[ModelRollback]:
    """Return the records without an outcome that do not hold the lock: emergencies first, then by age.

    Of the emergencies, the one that an annotation asks for comes first: of the others there may be many, and older.
    """
    waiting = [record for record in without_outcome(observed) if not is_of_another(observed, record)]
    wishes = _called(observed) if len(waiting) > 1 else []

    def turn(record: ModelRollback) -> tuple[bool, bool, str, str]:
        called = record.spec.emergency and _wish(record.spec) in wishes
        return not record.spec.emergency, not called, str(record.meta.created), record.name

    return sorted(waiting, key=turn)


def called_already(observed: Observed) -> bool:
    """Tell whether a record waits that asks for what an annotated emergency asks for."""
    wishes = _called(observed)
    return any(_wish(record.spec) in wishes for record in waiting_records(observed))


def _called(observed: Observed) -> list[tuple[object, ...]]:
    asked = (request for request in pending(observed) if request.annotation == EMERGENCY)
    return [_wish(as_stored(spec_of(observed, request))) for request in asked]


def without_outcome(observed: Observed) -> Iterator[ModelRollback]:
    """Yield the records that are not over, but for the one that holds the lock."""
    active = observed.deployment.status.active
    return (
        record
        for record in observed.records
        if record.status.outcome is None and not (active and record.name == active.name)
    )


def is_of_another(observed: Observed, record: ModelRollback) -> bool:
    """Who does not say of which ModelDeployment it is cannot mean one that was made later.

    The times of creation are in whole seconds: a record that was begun says in its status who began it.
    """
    ours, uid = observed.deployment.meta, record.spec.deployment_uid or record.status.deployment_uid
    if uid or record.meta.created is None or ours.created is None:
        return uid not in ("", ours.uid)
    return record.meta.created < ours.created


def served_digest(observed: Observed, name: SnapshotName) -> Digest:
    """Return the digest with which a snapshot served here last, or nothing."""
    status = observed.deployment.status
    if name == status.snapshot and status.digest:
        return status.digest
    return next((item.digest for item in reversed(status.history) if item.snapshot == name), Digest(""))
