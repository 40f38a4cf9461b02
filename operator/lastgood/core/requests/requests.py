"""What people ask for with annotations and records, and the names that records get."""

import hashlib
import re
from collections.abc import Iterator
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
    Outcome,
    Reason,
    Severity,
    SnapshotName,
)
from lastgood.api.specs.rollback import ModelRollback, RollbackSpec
from lastgood.core.requests.gone import inherited, unfinished
from lastgood.core.requests.record_names import free_name, is_given
from lastgood.core.requests.remember import by_age, recalling
from lastgood.core.rollback.outcomes import ended
from lastgood.core.state import CreateRecord, Observed, Step, Tell, UpdateDeployment, UpdateRecord
from lastgood.core.workload import stamped_as

_DIRECTIVE = re.compile(r"\s*(to|before)=([^\s,]+?)(:(?=\s|$)|,|(?=\s|$))")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
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
    """Read `[to=NAME] [before=TIME]: INC-1: reason`; what cannot be understood is all reason, with an error."""
    rest, to, before = text, "", None
    while match := _DIRECTIVE.match(rest):
        word, value = match[1], match[2]
        try:
            to, before = (_name(value), before) if word == "to" else (to, parse_time(value))
        except ValueError:
            return Wish(reason=text[:MAX_TEXT], incident=_incident(text), error=f"{word}={value[:64]!r} is not valid")
        rest = rest[match.end() :]
    reason = rest.lstrip(" :,").strip() or text.strip()
    return Wish(reason=reason[:MAX_TEXT], to=SnapshotName(to), before=before, incident=_incident(rest))


def _name(value: str) -> str:
    if len(value) > _LONGEST_NAME or not _NAME.fullmatch(value):
        raise ValueError(value)
    return value


def _incident(text: str) -> str:
    match = _INCIDENT.match(text.lstrip(" :,"))
    return match[1] if match else ""


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
    message = f"annotation {ROLLBACK}: {wish.error}; write 'to=<snapshot>: <reason>' or just '<reason>'"
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
    waiting = [record for record in _without_outcome(observed) if not _is_of_another(observed, record)]
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


def _without_outcome(observed: Observed) -> Iterator[ModelRollback]:
    active = observed.deployment.status.active
    return (
        record
        for record in observed.records
        if record.status.outcome is None and not (active and record.name == active.name)
    )


def _is_of_another(observed: Observed, record: ModelRollback) -> bool:
    """Who does not say of which ModelDeployment it is cannot mean one that was made later.

    The times of creation are in whole seconds: a record that was begun says in its status who began it.
    """
    ours, uid = observed.deployment.meta, record.spec.deployment_uid or record.status.deployment_uid
    if uid or record.meta.created is None or ours.created is None:
        return uid not in ("", ours.uid)
    return record.meta.created < ours.created


def of_another(observed: Observed) -> Step | None:
    """A record of another ModelDeployment of this name, which is gone, ends; what it had left stays left."""
    for record in _without_outcome(observed):
        if _is_of_another(observed, record):
            message = "it is for an earlier ModelDeployment of this name, which was deleted"
            over = _dropped(observed, record, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
            return (_inherited(observed, record) if _was_there_before(observed, record) else None) or over
    return None


def _was_there_before(observed: Observed, record: ModelRollback) -> bool:
    """Nothing of an earlier ModelDeployment is younger than this one; its uid is what anybody may write.

    Else whoever may create records could have every good snapshot left, in one second and without serving it. One of
    the very same second has to show that it was begun: in its status, which only the operator writes, or on the pods.
    """
    made, ours = record.meta.created, observed.deployment.meta.created
    return made is None or ours is None or made < ours or (made == ours and _was_begun(observed, record))


def _was_begun(observed: Observed, record: ModelRollback) -> bool:
    """Tell whether a record was carried out: an early switch is on the pods before it is in the status."""
    intent, workload = record.intent, observed.workload
    early = intent is not None and workload is not None and stamped_as(workload, intent.target, intent.digest)
    return bool(record.status.deployment_uid) or early


def _inherited(observed: Observed, record: ModelRollback) -> Step | None:
    """Take over what an earlier ModelDeployment of this name had left, and could not say any more."""
    named = observed.snapshot(record.status.source or record.spec.source)
    found, status = unfinished(record, observed.workload, observed.now, named), observed.deployment.status
    if found is None:
        return None
    wanted = status.held is None and found.held.snapshot == observed.deployment.snapshot != status.snapshot
    left = inherited(status.left, found.left, began=bool(record.status.deployment_uid))
    if left == status.left and not wanted:
        return None
    facts = replace(status, held=found.held if wanted else status.held, left=left)
    message = f"{found.held.snapshot} was rejected by ModelRollback {record.name} of an earlier ModelDeployment"
    return recalling(facts, message)


def of_the_past(observed: Observed) -> Step | None:
    """A record that names what is to be left is void when that does not serve, or never did.

    What a trigger or a failed target asked for is overtaken when something else serves. A person may name what served
    before; but nobody's word for a digest is taken: it would be left, or quarantined, without ever having been here.
    """
    for record in waiting_records(observed)[:1]:  # the one whose turn it is: the others may be many
        spec, status = record.spec, observed.deployment.status
        if (spec.automatic or spec.continues) and spec.source != status.snapshot:
            message = f"requested for {spec.source or 'none'}, but the current snapshot is {status.snapshot or 'none'}"
            return _dropped(observed, record, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
        known = served_digest(observed, spec.source)
        # What the status says serves is here, also where somebody took its digest away: each refusal would be followed
        # by another record. Nobody's word for the digest is taken then either: see `without_lock`.
        here = known or spec.source == status.snapshot
        if spec.source and (not here or (known and spec.source_digest not in ("", known))):
            which = f"{spec.source} has not served here{' with that digest' if known else ''}"
            message = f"spec.from: {which}; omit spec.from, or name the snapshot that is to be replaced"
            return _dropped(observed, record, Outcome.REJECTED, Reason.REQUEST_REJECTED, message)
    return None


def served_digest(observed: Observed, name: SnapshotName) -> Digest:
    """Return the digest with which a snapshot served here last, or nothing."""
    status = observed.deployment.status
    if name == status.snapshot and status.digest:
        return status.digest
    return next((item.digest for item in reversed(status.history) if item.snapshot == name), Digest(""))


def _dropped(observed: Observed, record: ModelRollback, outcome: Outcome, reason: Reason, message: str) -> Step:
    status = ended(record, observed.now, outcome, reason, message)
    return Step(reason=reason, message=message, action=UpdateRecord(record=record, status=status), tell=Tell.WARNING)


def _first_look(observed: Observed) -> bool:
    status = observed.deployment.status
    return not status.observed_generation and not status.snapshot


def records_older_than_we(observed: Observed) -> Step | None:
    """So was a record without an outcome that says of no ModelDeployment that it is for that very one."""
    for record in waiting_records(observed) if _first_look(observed) else ():
        if not record.spec.deployment_uid:
            message = "it is older than the first reconcile of this ModelDeployment; to request it, create another"
            return _dropped(observed, record, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
    return None


def older_than_we(observed: Observed) -> Step | None:
    """What stood in an annotation before this ModelDeployment was first looked at was meant for a time before it.

    A restore from a backup, or a manifest applied again in another cluster, is no emergency. It is told.
    """
    status = observed.deployment.status
    waiting = list(pending(observed))
    if not _first_look(observed) or not waiting:
        return None
    facts = status
    for request in waiting:
        seen = replace(observed, deployment=replace(observed.deployment, status=facts))
        facts = replace(facts, handled=mark_handled(seen, request.key, "found"))
    told = ", ".join(sorted({request.annotation for request in waiting}))
    message = f"{told}: set before the first reconcile of this ModelDeployment; to request it, annotate with a new text"
    return Step(
        reason=Reason.REQUEST_REJECTED,
        message=message,
        action=UpdateDeployment(status=facts),
        facts=facts,
        tell=Tell.ALERT,
    )
