"""A cluster of plain values: its objects, its disk and its metrics, and what goes on in it by itself."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.meta import Meta
from lastgood.api.names import Digest, Reason
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.companion import ObjectRef
from lastgood.api.workload.workload import Container, Workload
from lastgood.core.workload import carries
from lastgood.kube.cache import Key, Kind
from lastgood.kube.memory import Memory
from tests.unit.core import builders

HERE = Key(Kind.DEPLOYMENT, builders.NAMESPACE, builders.DEPLOYMENT)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A write to the workload, as it was decided."""

    at: datetime
    snapshot: ModelSnapshot
    record: str
    drift: bool
    edits: int


@dataclass(kw_only=True)
class Cluster:
    """The objects as they are stored; `memory` is the operator's, and a crash forgets it.

    `complete` is whether the operator knows all of its lists; `sick`, `failing` and `stuck` are digests that breach a
    trigger, fail a check, or do not start; `edits` counts what others wrote to the workload; `trusted` is false since
    somebody forged a status; `kept` is what outlives the ModelDeployment, which may be gone.
    """

    deployment: ModelDeployment
    workload: Workload | None
    snapshots: dict[str, ModelSnapshot]
    disk: dict[str, Digest | None]
    now: datetime = builders.NOW
    records: dict[str, ModelRollback] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    sick: set[Digest] = field(default_factory=set)
    failing: set[Digest] = field(default_factory=set)
    stuck: set[Digest] = field(default_factory=set)
    silent: bool = False
    switches: list[Written] = field(default_factory=list)
    made: Counter[tuple[str, tuple[str, str, bool]]] = field(default_factory=Counter)
    revoked: dict[Digest, str] = field(default_factory=dict)
    reads: dict[str, tuple[datetime, Reason]] = field(default_factory=dict)
    edits: int = 0
    writes: int = 0
    starting: int = 0
    trusted: bool = True
    kept: str = ""
    is_gone: bool = False
    versions: int = 1

    def __post_init__(self) -> None:
        self.memory = Memory(lambda: self.now)

    def stamped(self, meta: Meta) -> Meta:
        """Return the metadata of an object that was just written."""
        self.versions += 1
        return replace(meta, resource_version=str(self.versions))

    def made_now(self, meta: Meta) -> Meta:
        """Return the metadata of an object that was just made; the API server tells its creation in whole seconds."""
        return replace(self.stamped(meta), created=self.now.replace(microsecond=0))

    def annotated(self, meta: Meta, word: str, text: str) -> Meta:
        """Return the metadata with an annotation; the API server tells when it was set, in whole seconds."""
        times = dict(meta.annotated) | {word: self.now.replace(microsecond=0)}
        return replace(self.stamped(meta), annotations=dict(meta.annotations) | {word: text}, annotated=times)

    def apply(self, body: Mapping[str, Any]) -> None:
        """Merge an apply configuration into the workload; a changed template starts a rollout."""
        if self.workload is None:
            return
        given = body["spec"]["template"]
        containers = dict(self.workload.containers)
        for item in given.get("spec", {}).get("containers", ()):
            there = containers[item["name"]]
            env = dict(there.env) | {variable["name"]: variable["value"] for variable in item.get("env", ())}
            containers[item["name"]] = Container(name=there.name, image=item.get("image", there.image), env=env)
        annotations = dict(self.workload.template_annotations) | given.get("metadata", {}).get("annotations", {})
        changed = replace(self.workload, containers=containers, template_annotations=annotations)
        if changed != self.workload:
            self.starting = 2
            meta = self.stamped(changed.meta)
            self.workload = replace(changed, meta=meta, rollout=replace(changed.rollout, seen=False))

    def change(self, ref: ObjectRef, data: Mapping[str, str]) -> None:
        """Merge keys into an object beside the workload; the pods that run read it no more."""
        there = self.workload.companions.get(ref) if self.workload else None
        if self.workload is None or there is None:
            return
        body = {"data": {**there.body["data"], **data}}
        changed = replace(there, meta=self.stamped(there.meta), body=body)
        self.workload = replace(self.workload, companions={**self.workload.companions, ref: changed})

    # What goes on by itself

    def carried(self) -> Digest | None:
        """Return the digest of what the workload serves."""
        workload = self.workload
        found = [
            item.digest
            for item in self.snapshots.values()
            if workload is not None and carries(workload, self.deployment.bindings, item)
        ]
        return found[0] if found else None

    def tick(self, seconds: float) -> None:
        """Let time pass: pods start."""
        self.now += timedelta(seconds=seconds)
        self.starting = max(0, self.starting - 1)
        if self.workload is not None:
            waiting = self.starting > 0 or self.carried() in self.stuck
            rollout = builders.STARTING if waiting else builders.ROLLED_OUT
            if rollout != self.workload.rollout:
                self.workload = replace(self.workload, meta=self.stamped(self.workload.meta), rollout=rollout)

    def metric(self) -> Sample:
        """Look at what the trigger looks at."""
        carried = self.carried()
        if self.silent or carried is None:
            return Sample(verdict=Verdict.INCONCLUSIVE, error="connection refused")
        sick = carried in self.sick
        return Sample(verdict=Verdict.BREACHED if sick else Verdict.HEALTHY, value="accuracy=0.5" if sick else "")

    def check(self) -> Sample:
        """Look at what the check looks at."""
        if self.silent or self.carried() is None:
            return Sample(verdict=Verdict.INCONCLUSIVE, error="connection refused")
        failed = self.carried() in self.failing
        return Sample(verdict=Verdict.BREACHED if failed else Verdict.HEALTHY, value="ok=false" if failed else "")
