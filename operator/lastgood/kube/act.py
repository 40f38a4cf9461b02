"""Carrying out a decision: one write to the API server for each action, told before and after."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, assert_never

from lastgood.api.meta import Meta
from lastgood.api.names import API_VERSION, DEPLOYMENT_LABEL, INTENT, Reason
from lastgood.api.rollback import ModelRollback
from lastgood.core.state import (
    CreateRecord,
    Decision,
    DeleteRecord,
    Drift,
    Observed,
    QuarantineDigest,
    Switch,
    Tell,
    UpdateDeployment,
    UpdateRecord,
    UpdateSnapshot,
)
from lastgood.core.workload import render, template
from lastgood.errors import TransientError
from lastgood.kube.audit import Audit, EventType, Severity
from lastgood.kube.cache import RESOURCES, Cache, Key, Kind
from lastgood.kube.client import Client
from lastgood.kube.memory import Memory
from lastgood.kube.merge import difference
from lastgood.kube.problems import AlreadyExistsError, ApiError, ForbiddenError, InvalidError, NotFoundError
from lastgood.kube.quarantine import Quarantine
from lastgood.kube.resources import ROLLBACKS, WORKLOADS

Body = dict[str, Any]
Write = CreateRecord | UpdateRecord | DeleteRecord | UpdateDeployment | Switch | QuarantineDigest | UpdateSnapshot

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

    def __init__(self, *, client: Client, cache: Cache, quarantine: Quarantine, audit: Audit, memory: Memory) -> None:
        self._client = client
        self._cache = cache
        self._quarantine = quarantine
        self._audit = audit
        self._memory = memory

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
            case Switch():
                await self._switch(key, action, _deployment(observed))
            case QuarantineDigest():
                await self._quarantine_digest(key, action, observed)
            case UpdateSnapshot(snapshot=snapshot, status=status):
                await self._write_status(Kind.SNAPSHOT, snapshot.meta, status.as_body())
            case _:
                assert_never(action)

    async def tell(self, meta: Meta, kind: str, decision: Decision, **facts: object) -> None:
        """Say what is done and why: one line in the security log, and an Event for people."""
        what = type(decision.action).__name__ if decision.action else "Wait"
        subject = _subject(kind, meta)
        self._audit.step(
            what=what,
            reason=str(decision.reason),
            message=decision.message,
            severity=_SEVERITY[decision.tell],
            subject=subject,
            **facts,
        )
        subjects = [subject]
        if isinstance(decision.action, UpdateRecord):  # `kubectl describe` of either tells the story
            subjects.append(_subject(ROLLBACKS.kind, decision.action.record.meta))
        if decision.tell != Tell.NOBODY:
            for each in subjects:
                await self._audit.event(
                    each, type_=_EVENT_TYPE[decision.tell], reason=str(decision.reason), message=decision.message
                )

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
        except (InvalidError, ForbiddenError):
            self._taken(key, action, observed)
            raise
        self._cache.put(Kind.ROLLBACK, answer)

    def _taken(self, key: Key, action: CreateRecord, observed: Observed | None) -> None:
        """Somebody else has the name: the next derived one is tried."""
        if observed is not None:
            self._memory.watch(key, observed.deployment).taken.add(action.name)

    async def _delete_record(self, record: ModelRollback) -> None:
        meta = record.meta
        with suppress(NotFoundError):
            await self._client.delete(ROLLBACKS, meta.namespace, meta.name, uid=meta.uid)
        self._cache.drop(Key(Kind.ROLLBACK, meta.namespace, meta.name))

    async def _switch(self, key: Key, action: Switch, observed: Observed) -> None:
        """Point the workload at a snapshot: one apply of every bound field, forced, on that very version of it."""
        workload, snapshot = observed.workload, observed.found_now(action.snapshot)
        bound = render(observed.deployment.bindings, snapshot)
        if workload is None or bound is None:
            raise TransientError(f"{snapshot.name} can no longer be bound to {observed.deployment.target}")
        if snapshot.digest in self._quarantine.entries(key.namespace):
            raise TransientError(f"{snapshot.name} was quarantined just now")
        meta = workload.meta
        identity = {"namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version}
        body = {"metadata": identity, **template(bound, snapshot, among=workload.containers, stamp=action.stamp)}
        try:
            answer = await self._client.apply(WORKLOADS, meta.namespace, meta.name, body, force=True)
        except (InvalidError, ForbiddenError) as error:
            await self._refused(key, observed, snapshot.name, f"the switch to {snapshot.name}", error)
            return
        self._cache.put(Kind.WORKLOAD, answer)
        if action.drift:
            watch = self._memory.watch(key, observed.deployment)
            watch.drift = Drift(count=watch.drift.count + 1, last=self._memory.now())

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

    async def _refused(self, key: Key, observed: Observed, what: str, told: str, error: ApiError) -> None:
        """Remember what the API server does not allow: it must neither be asked for ever, nor stop everything else."""
        self._memory.watch(key, observed.deployment).refused[what] = self._memory.now()
        refusal = Decision(
            reason=Reason.SWITCH_REFUSED, message=f"the API server refused {told}: {error}", tell=Tell.ALERT
        )
        await self.tell(observed.deployment.meta, "ModelDeployment", refusal)


def _deployment(observed: Observed | None) -> Observed:
    if observed is None:
        raise TypeError("this action is about a ModelDeployment")
    return observed


def _subject(kind: str, meta: Meta) -> dict[str, str]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
    }
