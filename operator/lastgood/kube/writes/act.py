"""Carrying out a decision: one write to the API server for each action, told before and after."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, assert_never

from lastgood.api.meta import Meta
from lastgood.api.names import API_VERSION, DEPLOYMENT_LABEL, INTENT, Reason
from lastgood.api.specs.rollback import ModelRollback
from lastgood.core.actions import (
    Action,
    Adopt,
    CreateRecord,
    DeleteRecord,
    Prepare,
    QuarantineDigest,
    Remember,
    Switch,
    UpdateDeployment,
    UpdateRecord,
    UpdateSnapshot,
    before_its_lock,
)
from lastgood.core.state import REMEMBERED, Decision, Observed, Tell
from lastgood.kube.api.client import Client
from lastgood.kube.api.merge import difference
from lastgood.kube.api.problems import AlreadyExistsError, ApiError, ForbiddenError, InvalidError, NotFoundError
from lastgood.kube.api.resources import ROLLBACKS
from lastgood.kube.cache import RESOURCES, Cache, Key, Kind
from lastgood.kube.memory import Memory
from lastgood.kube.notices.notice import EventType, Notice, Notices, Severity
from lastgood.kube.shared.companions import Companions
from lastgood.kube.shared.quarantine import Quarantine
from lastgood.kube.shared.remembered import RememberedFacts
from lastgood.kube.writes.switch import Switcher

Body = dict[str, Any]
Write = (
    CreateRecord
    | UpdateRecord
    | DeleteRecord
    | UpdateDeployment
    | Switch
    | Prepare
    | Adopt
    | QuarantineDigest
    | Remember
    | UpdateSnapshot
)

_LABEL_LIMIT = 63
_SEVERITY: Mapping[Tell, Severity] = {
    Tell.NOBODY: "info",
    Tell.INFO: "info",
    Tell.WARNING: "warning",
    Tell.ALERT: "alert",
}
_EVENT_TYPE: Mapping[Tell, EventType] = {Tell.INFO: "Normal", Tell.WARNING: "Warning", Tell.ALERT: "Warning"}


class Actor:
    """Does what was decided. Every write is bound to the resource version that the decision was made from."""

    def __init__(
        self,
        *,
        client: Client,
        cache: Cache,
        companions: Companions,
        quarantine: Quarantine,
        remembered: RememberedFacts,
        notices: Notices,
        memory: Memory,
    ) -> None:
        self._client = client
        self._cache = cache
        self._quarantine = quarantine
        self._remembered = remembered
        self._notices = notices
        self._memory = memory
        self._switcher = Switcher(
            client=client, cache=cache, companions=companions, quarantine=quarantine, memory=memory
        )

    async def act(self, key: Key, action: Write, observed: Observed | None = None) -> None:
        """Make one write, and keep what the API server answers.

        Raises:
            ConflictError: somebody else was faster; observe again.
            TransientError: the API server could not be reached, or the Lease is not ours.
        """
        match action:
            case CreateRecord():
                await self._create_record(key, action, observed)
            case UpdateRecord(record=record, status=status):
                await self._write_status(Kind.ROLLBACK, record.meta, status.as_body())
            case DeleteRecord(record=record):
                await self._delete_record(record)
            case UpdateDeployment(status=status):
                await self._write_status(Kind.DEPLOYMENT, _deployment(observed).deployment.meta, status.as_body())
            case Switch() | Prepare() | Adopt():
                await self._write_workload(key, action, _deployment(observed))
            case QuarantineDigest():
                await self._quarantine_digest(key, action, observed)
            case Remember():
                await self._remember(key, action, observed)
            case UpdateSnapshot(snapshot=snapshot, status=status):
                await self._write_status(Kind.SNAPSHOT, snapshot.meta, status.as_body())
            case _:
                assert_never(action)

    async def tell(self, meta: Meta, kind: str, decision: Decision, **facts: object) -> None:
        """Say what is done and why: one line in the security log, and an Event for people."""
        first = decision.action
        notice = Notice(
            what="Switch" if isinstance(first, Switch) else type(first).__name__ if first else "Wait",
            reason=str(decision.reason),
            message=decision.message,
            subject=_subject(kind, meta),
            # `kubectl describe` of either tells the story.
            beside=(_subject(ROLLBACKS.kind, first.record.meta),) if isinstance(first, UpdateRecord) else (),
            record=_record(first) or str(facts.get("rollback") or ""),
            severity=_SEVERITY[decision.tell],
            event=_EVENT_TYPE.get(decision.tell),
            facts=facts,
        )
        self._notices.tell(notice)

    async def _write_status(self, kind: Kind, meta: Meta, status: Mapping[str, Any]) -> None:
        """Write what changed of a status, under the resource version and uid that it was decided from."""
        key = Key(kind, meta.namespace, meta.name)
        known = self._cache.get(key) or {}
        patch = difference(known.get("status") or {}, status)
        if not patch:
            return
        body = {"metadata": {"resourceVersion": meta.resource_version, "uid": meta.uid}, "status": patch}
        answer = await self._client.patch(RESOURCES[kind], meta.namespace, meta.name, body, subresource="status")
        self._cache.put(kind, answer)

    async def _create_record(self, key: Key, action: CreateRecord, observed: Observed | None) -> None:
        """Create a record; one that is there counts as ours only if it means the same."""
        spec = action.spec.as_body()
        labels = {DEPLOYMENT_LABEL: key.name} if len(key.name) <= _LABEL_LIMIT else {}
        intent = {INTENT: json.dumps(action.intent.as_body())} if action.intent else {}
        metadata = {"name": action.name, "namespace": key.namespace, "labels": labels, "annotations": intent}
        body = {"metadata": metadata, "spec": spec}
        try:
            answer = await self._client.create(ROLLBACKS, key.namespace, body)
        except AlreadyExistsError:
            answer = await self._client.get(ROLLBACKS, key.namespace, action.name)
            if answer.get("spec") != spec:
                self._taken(key, action, observed)
        except (InvalidError, ForbiddenError) as error:
            self._record_refused(key, action, observed)
            if not error.told:
                self._taken(key, action, observed)
            raise
        self._cache.put(Kind.ROLLBACK, answer)

    def _taken(self, key: Key, action: CreateRecord, observed: Observed | None) -> None:
        """Somebody else has the name: the next derived one is tried."""
        if observed is not None:
            self._memory.watch(key, observed.deployment).taken.add(action.name)

    def _record_refused(self, key: Key, action: CreateRecord, observed: Observed | None) -> None:
        """What runs already need not wait for a record that cannot be written."""
        if observed is not None:
            self._memory.watch(key, observed.deployment).refuse(action.name, self._memory.now())

    async def _delete_record(self, record: ModelRollback) -> None:
        meta = record.meta
        with suppress(NotFoundError):
            await self._client.delete(ROLLBACKS, meta.namespace, meta.name, uid=meta.uid)
        self._cache.drop(Key(Kind.ROLLBACK, meta.namespace, meta.name))

    async def _write_workload(self, key: Key, action: Switch | Prepare | Adopt, observed: Observed) -> None:
        try:
            await self._switcher.write(key, action, observed)
        except (InvalidError, ForbiddenError) as error:
            if error.told:
                raise  # the right is missing, which says nothing about this snapshot: it is waited for
            name = (action.switch if isinstance(action, Prepare) else action).snapshot.name
            await self._refused(key, observed, name, f"the switch to {name}", error)

    async def _quarantine_digest(self, key: Key, action: QuarantineDigest, observed: Observed | None) -> None:
        info = {
            "reason": action.reason,
            "incident": action.incident,
            "by": action.by,
            "since": self._memory.now().isoformat(timespec="seconds"),
        }
        try:
            await self._quarantine.add(key.namespace, action.digest, info)
        except (InvalidError, ForbiddenError) as error:
            if observed is None:
                self._memory.note_refusal(key, action.digest)
                return
            await self._refused(key, observed, action.digest, f"the quarantine of {action.digest}", error)

    async def _remember(self, key: Key, action: Remember, observed: Observed | None) -> None:
        """Keep facts beyond their ModelDeployment. Where that does not work it is told, and nothing waits for it."""
        try:
            await self._remembered.keep(key.namespace, key.name, action.facts)
        except ApiError as error:
            if observed is None:
                self._memory.note_refusal(key, REMEMBERED)
                return
            await self._refused(key, observed, REMEMBERED, "to record rejected digests in the ConfigMap", error)

    async def _refused(self, key: Key, observed: Observed, what: str, told: str, error: ApiError) -> None:
        """Remember what the API server does not allow: it is asked for again after a pause, and told once."""
        found = self._memory.watch(key, observed.deployment).refuse(what, self._memory.now())
        tell = Tell.ALERT if found.count == 1 else Tell.NOBODY
        message = f"the API server refused {told}: {error}"
        refusal = Decision(reason=Reason.SWITCH_REFUSED, message=message, tell=tell)
        await self.tell(observed.deployment.meta, "ModelDeployment", refusal)


def _deployment(observed: Observed | None) -> Observed:
    if observed is None:
        raise TypeError("this action is about a ModelDeployment")
    return observed


def _record(action: Action | None) -> str:
    """Return the record that an action is about: an alert names it before there is one."""
    match action:
        case CreateRecord(name=name):
            return name
        case UpdateRecord(record=record):
            return record.name
        case _:
            early = before_its_lock(action)
            return early.name if early else ""


def _subject(kind: str, meta: Meta) -> dict[str, str]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
    }
