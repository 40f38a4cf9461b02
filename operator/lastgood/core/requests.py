"""What people ask for with annotations and records, and the names that records get."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from lastgood.api.fields import parse_time
from lastgood.api.names import EMERGENCY, RESUME, ROLLBACK, Digest, Outcome, Reason, RecordName, SnapshotName
from lastgood.api.rollback import ModelRollback, RollbackSpec
from lastgood.core.outcomes import ended
from lastgood.core.state import CreateRecord, Observed, Step, Tell, UpdateDeployment, UpdateRecord

_DIRECTIVE = re.compile(r"\s*(to|before)=([^\s,]+?)(:(?=\s|$)|,|(?=\s|$))")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
_INCIDENT = re.compile(r"\s*([A-Za-z][A-Za-z0-9]{0,31}-[A-Za-z0-9_-]{0,94}\d)\s*:\s*")
MAX_TEXT = 1024
MAX_HANDLED = 16
_SALTS = 32
_REMEMBERED = 16  # placements back in which a record that still waits may have got its name


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


def record_names(observed: Observed, placement: int | None = None) -> Iterator[RecordName]:
    """Yield the derived names for a placement: the plain one, then salted ones (design: "ModelRollback")."""
    uid = observed.deployment.meta.uid
    placement = observed.deployment.status.placement if placement is None else placement
    for salt in range(_SALTS):
        text = f"{uid}/{placement}" + (f"/{salt}" if salt else "")
        yield RecordName(f"rb-{hashlib.sha256(text.encode()).hexdigest()[:32]}")


def open_record(observed: Observed, spec: RollbackSpec, reason: Reason, message: str) -> Step:
    """Answer with the intent: a record under the first derived name that nobody has."""
    used = {record.name for record in observed.records} | observed.taken
    # Whoever takes every derived name must not stop a rollback: then it gets one that nobody can foresee.
    foreseen = (name for name in record_names(observed) if name not in used)
    name = next(foreseen, RecordName(f"rb-{observed.nonce}"))
    alert = Tell.ALERT if spec.emergency else Tell.WARNING
    return Step(reason=reason, message=message, action=CreateRecord(name=name, spec=spec), tell=alert)


def base_spec(observed: Observed, **more: object) -> RollbackSpec:
    """Return a record's spec for this deployment, from what serves now."""
    deployment = observed.deployment
    spec = RollbackSpec(
        deployment=deployment.meta.name,
        deployment_uid=deployment.meta.uid,
        source=deployment.status.snapshot,
        source_digest=deployment.status.digest,
    )
    return replace(spec, **more)  # type: ignore[arg-type]  # the names are those of RollbackSpec; tests build each


def spec_of(observed: Observed, request: Request) -> RollbackSpec:
    """Return the record's spec that an annotation asks for."""
    wish = parse_wish(request.text)
    return base_spec(
        observed,
        to=wish.to,
        before=wish.before,
        reason=wish.reason,
        incident=wish.incident,
        emergency=request.annotation == EMERGENCY,
    )


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
        return open_record(observed, spec_of(observed, request), reason, f"requested: {wish.reason[:256]}")
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
    handled = dict(observed.deployment.status.handled) | {key: what}
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
    if not _is_ours(observed, record.name):
        return ""
    for request in pending(observed):
        wish = spec_of(observed, request)
        same = (wish.reason or "no reason given", wish.to, wish.before, wish.emergency)
        if same == (record.spec.reason, record.spec.to, record.spec.before, record.spec.emergency):
            return request.key
    return ""


def _is_ours(observed: Observed, name: RecordName) -> bool:
    """Tell whether a name is one that we gave, for this placement or one before: records wait for one another."""
    used = {record.name for record in observed.records} | observed.taken
    placement = observed.deployment.status.placement
    for number in range(placement, max(0, placement - _REMEMBERED) - 1, -1):
        if name in record_names(observed, number):
            return True
        if name.startswith("rb-") and used.issuperset(record_names(observed, number)):  # squatted: see open_record
            return True
    return False


def waiting_records(observed: Observed) -> list[ModelRollback]:
    """Return the records without an outcome that do not hold the lock, emergencies first, then by age."""
    waiting = [record for record in _without_outcome(observed) if not _is_of_another(observed, record)]
    return sorted(waiting, key=lambda record: (not record.spec.emergency, str(record.meta.created), record.name))


def _without_outcome(observed: Observed) -> Iterator[ModelRollback]:
    active = observed.deployment.status.active
    return (
        record
        for record in observed.records
        if record.status.outcome is None and not (active and record.name == active.name)
    )


def _is_of_another(observed: Observed, record: ModelRollback) -> bool:
    return record.spec.deployment_uid not in ("", observed.deployment.meta.uid)


def of_another(observed: Observed) -> Step | None:
    """A record that names another ModelDeployment of this name is not for this one."""
    for record in _without_outcome(observed):
        if _is_of_another(observed, record):
            message = "spec.deployment.uid: is another ModelDeployment's of this name, which is gone"
            return _dropped(observed, record, Outcome.REJECTED, Reason.REQUEST_REJECTED, message)
    return None


def of_the_past(observed: Observed) -> Step | None:
    """A record that names what is to be left is void when that does not serve, or never did.

    What a trigger or a failed target asked for is overtaken when something else serves. A person may name what served
    before; but nobody's word for a digest is taken: it would be left, or quarantined, without ever having been here.
    """
    for record in waiting_records(observed):
        spec, status = record.spec, observed.deployment.status
        if (spec.automatic or spec.continues) and spec.source != status.snapshot:
            message = f"{spec.source or 'nothing'} was to be left, and {status.snapshot or 'nothing'} serves"
            return _dropped(observed, record, Outcome.SUPERSEDED, Reason.SUPERSEDED, message)
        if spec.source and spec.source_digest not in ("", served_digest(observed, spec.source)):
            message = f"spec.from: {spec.source} has not served here with that digest; leave it out"
            return _dropped(observed, record, Outcome.REJECTED, Reason.REQUEST_REJECTED, message)
    return None


def served_digest(observed: Observed, name: SnapshotName) -> Digest:
    """Return the digest with which a snapshot served here last, or nothing."""
    status = observed.deployment.status
    if name == status.snapshot:
        return status.digest
    return next((item.digest for item in reversed(status.history) if item.snapshot == name), Digest(""))


def _dropped(observed: Observed, record: ModelRollback, outcome: Outcome, reason: Reason, message: str) -> Step:
    status = ended(record, observed.now, outcome, reason, message)
    return Step(reason=reason, message=message, action=UpdateRecord(record=record, status=status), tell=Tell.WARNING)


def older_than_we(observed: Observed) -> Step | None:
    """What stood in an annotation before this ModelDeployment was first looked at was meant for a time before it.

    A restore from a backup, or a manifest applied again in another cluster, is no emergency. It is told.
    """
    status = observed.deployment.status
    waiting = list(pending(observed))
    if status.observed_generation or status.snapshot or not waiting:
        return None
    facts = status
    for request in waiting:
        seen = replace(observed, deployment=replace(observed.deployment, status=facts))
        facts = replace(facts, handled=mark_handled(seen, request.key, "found"))
    told = ", ".join(sorted({request.annotation for request in waiting}))
    message = (
        f"{told}: was there before this ModelDeployment was first looked at; to ask for it, annotate with a new text"
    )
    return Step(
        reason=Reason.REQUEST_REJECTED,
        message=message,
        action=UpdateDeployment(status=facts),
        facts=facts,
        tell=Tell.ALERT,
    )
