"""What must hold of a history, read from the audit log of a real API server (design, section 8).

Every write is in the log before it is answered, but not in the order in which the API server made them: who watches
may have acted on one before its line is there. The resourceVersion of what was written tells the order. Whoever wrote a
field by force under our name is us; all others are taken for people, who may do what they like.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from lastgood.api.names import DIGEST_STAMP, FIELD_MANAGER, INTENT, QUARANTINE_CONFIG_MAP, SNAPSHOT_STAMP
from lastgood.kube.shared.quarantine import KEY

Body = dict[str, Any]
Place = tuple[str, str]
KINDS: Final = ("modelrollbacks", "modeldeployments", "modelsnapshots", "deployments", "configmaps")
DONE: Final = 300  # HTTP status codes below it


def events(log: Path, began: int) -> list[Body]:
    """Return the writes to what a rollback touches that were logged since a place in the log, as they were made."""
    found, at = [], 0
    for event in _logged(log, began):
        at = version_of(event) or at  # of what is deleted there is none
        found.append((at, event))
    return [event for _, event in sorted(found, key=lambda item: item[0])]


def version_of(event: Body) -> int:
    """Return the resourceVersion of what was written; it grows with every write to the API server."""
    text = str(event.get("responseObject", {}).get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0


def _logged(log: Path, began: int) -> Iterator[Body]:
    marks = [f'"resource":"{kind}"'.encode() for kind in KINDS]
    with log.open("rb") as lines:
        lines.seek(began)
        for line in lines:
            if line.endswith(b"\n") and any(mark in line for mark in marks):
                event = json.loads(line)
                if event["objectRef"]["resource"] in KINDS and event.get("responseStatus", {}).get("code", 0) < DONE:
                    yield event


@dataclass(kw_only=True)
class History:
    """The objects as they were after each write, and what was wrong with it."""

    found: list[str] = field(default_factory=list)
    objects: dict[tuple[str, Place], Body] = field(default_factory=dict)
    quarantine: dict[Place, set[tuple[str, str]]] = field(default_factory=dict)
    switches: Counter[Place] = field(default_factory=Counter)

    def read(self, written: Iterable[Body]) -> list[str]:
        """Follow the writes, and return what was wrong, each with where."""
        for event in written:
            target = event["objectRef"]
            kind, place = target["resource"], (target.get("namespace", ""), _name(event))
            before = self.objects.get((kind, place))
            if event["verb"].startswith("delete") and not target.get("subresource"):
                self.objects.pop((kind, place), None)
                continue
            body = event.get("responseObject", {})
            if "uid" not in body.get("metadata", {}) or body.get("kind") == "Scale":
                continue
            self._judge(kind, place, before, body, ours=_is_ours(event))
            self.objects[kind, place] = body
        return self.found

    def _judge(self, kind: str, place: Place, before: Body | None, body: Body, *, ours: bool) -> None:
        match kind:
            case "configmaps" if place[1] == QUARANTINE_CONFIG_MAP:
                self.quarantine[place] = _quarantined(body, place[0])
            case "modelrollbacks" if before and before["metadata"]["uid"] == body["metadata"]["uid"]:
                self._record(place, before, body)
            case "deployments" if stamps(body) != stamps(before or {}):
                self._template(place, body, ours=ours)

    def _record(self, place: Place, before: Body, body: Body) -> None:
        was, now = _outcome(before), _outcome(body)
        if was and now != was:
            self._wrong(place, f"an outcome is final, and {was} became {now or 'none'}")
        if now == was or now != "Succeeded":
            return
        target = body["status"].get("target") or {}
        workload = self._workload(place[0], body)
        if workload and stamps(workload) != (target.get("snapshot", ""), target.get("digest", "")):
            self._wrong(place, f"Succeeded, and {stamps(workload)[0] or 'something else'} is bound")

    def _template(self, place: Place, body: Body, *, ours: bool) -> None:
        name, digest = stamps(body)
        if not ours:
            self.switches = Counter({key: 0 for key in self.switches if key[0] != place[0]})
            return
        if any((place[0], digest) in known for known in self.quarantine.values()):
            self._wrong(place, f"{name} was written, and is quarantined")
        if not self._was_verified(place[0], name, digest):
            self._wrong(place, f"{name} was written, and was never verified")
        if not self._was_asked(place, name, digest):
            self._wrong(place, f"{name} was written, and nobody intended that")

    def _was_verified(self, namespace: str, name: str, digest: str) -> bool:
        status = self.objects.get(("modelsnapshots", (namespace, name)), {}).get("status", {})
        return bool(status.get("digest") == digest and status.get("verification"))

    def _was_asked(self, place: Place, name: str, digest: str) -> bool:
        """By what serves (drift), by a record's intent, or by the spec."""
        deployments = [body for body in self._all("modeldeployments", place[0]) if _target(body) == place[1]]
        if any(body.get("status", {}).get("snapshot") == name for body in deployments):
            return True
        for record in self._all("modelrollbacks", place[0]):
            if not _outcome(record) and (name, digest) in self._intents(record, deployments):
                self._count((place[0], record["metadata"]["name"]))
                return True
        free = [body for body in deployments if not body.get("status", {}).get("activeRollback")]
        return any(body["spec"].get("snapshot") == name for body in free)

    def _count(self, record: Place) -> None:
        self.switches[record] += 1
        if self.switches[record] > 1:
            self._wrong(record, f"{self.switches[record]} template changes for one record")

    def _intents(self, record: Body, deployments: Iterable[Body]) -> Iterator[tuple[str, str]]:
        status, name = record.get("status", {}), record["metadata"]["name"]
        told = [status["target"]] if status.get("intentAt") else []
        if text := (record["metadata"].get("annotations") or {}).get(INTENT):
            told.append(json.loads(text))
        for body in deployments:
            active = body.get("status", {}).get("activeRollback") or {}
            told += [active["intent"]] if active.get("name") == name and active.get("intent") else []
        yield from ((item.get("snapshot", ""), item.get("digest", "")) for item in told)

    def _workload(self, namespace: str, record: Body) -> Body | None:
        of = self.objects.get(("modeldeployments", (namespace, record["spec"].get("deployment", {}).get("name", ""))))
        return self.objects.get(("deployments", (namespace, _target(of)))) if of else None

    def _all(self, kind: str, namespace: str) -> list[Body]:
        return [body for (of, place), body in self.objects.items() if of == kind and place[0] == namespace]

    def _wrong(self, place: Place, what: str) -> None:
        self.found.append(f"{'/'.join(place)}: {what}")


def stamps(workload: Body) -> tuple[str, str]:
    """Return the snapshot and the digest that a workload's pods say they serve."""
    template = workload.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations") or {}
    return template.get(SNAPSHOT_STAMP, ""), template.get(DIGEST_STAMP, "")


def _is_ours(event: Body) -> bool:
    query = parse_qs(urlsplit(event.get("requestURI", "")).query)
    return query.get("fieldManager") == [FIELD_MANAGER] and query.get("force") == ["true"]


def _name(event: Body) -> str:
    named = event["objectRef"].get("name") or event.get("responseObject", {}).get("metadata", {}).get("name")
    return str(named or "")


def _outcome(record: Body) -> str:
    return str(record.get("status", {}).get("outcome", ""))


def _target(deployment: Body) -> str:
    return str(deployment["spec"].get("targetRef", {}).get("name", ""))


def _quarantined(body: Body, namespace: str) -> set[tuple[str, str]]:
    """Return namespaces and digests; what is for all namespaces counts where the ConfigMap is."""
    keys = [match for key in body.get("data") or {} if (match := KEY.fullmatch(key))]
    return {(match["namespace"] or namespace, f"sha256:{match['hex']}") for match in keys}
