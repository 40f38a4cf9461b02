"""What a scene is made of: moments with times, the record that it leaves, what must be true at its end."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from demo.told.harm import WRONG, Harm, Measure
from demo.told.words import explain
from demo.traffic import Tally
from demo.world import LOOK, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.world import Json, World

ROLLBACK_SECONDS = 90
WATCHED_AFTER = 4.0  # seconds in which the unchanged manifests could still bring the bad snapshot back
STEPS = (
    ("switchedAt", "switched", "one apply"),
    ("availableAt", "available", "every pod of the workload"),
    ("outcomeAt", "outcome", ""),
)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Something that happened, in seconds since the epoch."""

    at: float
    what: str
    detail: str = ""


@dataclass(kw_only=True)
class Scene:
    """One scene while it plays, and the facts about it afterwards."""

    number: int
    title: str
    world: World
    tell: Callable[[Moment], None]
    from_version: str
    to_version: str
    outcome: str
    measure: Measure = WRONG
    started: float = field(default_factory=time.time)
    ended: float = 0.0
    damage: float = 0.0  # when something began to be wrong, or a person said so
    moments: list[Moment] = field(default_factory=list)
    record: Json = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    known_alerts: set[str] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    harm: Harm = field(default_factory=Harm)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Remember which records and alerts are there already."""
        self.known = {record["metadata"]["name"] for record in self.world.records()}
        self.known_alerts = set(self.world.alerts())

    def say(self, what: str, detail: str = "", *, at: float | None = None) -> None:
        """Tell of a moment: now, unless it is known better."""
        moment = Moment(at=time.time() if at is None else at, what=what, detail=detail)
        self.moments.append(moment)
        self.tell(moment)

    def expect(self, what: str, *, true: bool) -> None:
        """Note something that must be so for the scene to have gone as told."""
        if not true:
            self.problems.append(what)
            self.say("NOT AS TOLD", what)

    def new_records(self) -> list[Json]:
        """Return the records that this scene brought."""
        return [record for record in self.world.records() if record["metadata"]["name"] not in self.known]

    def new_alerts(self) -> set[str]:
        """Return the reasons of the Warning Events that this scene brought."""
        return {reason for name, reason in self.world.alerts().items() if name not in self.known_alerts}

    def follow_rollback(self) -> None:
        """Watch a rollback from its record to its outcome, telling each step when it is there."""
        self.world.until("a ModelRollback appears", self.new_records, seconds=ROLLBACK_SECONDS)
        told: set[str] = set()
        seen, deadline = time.time(), time.monotonic() + ROLLBACK_SECONDS
        while "outcomeAt" not in told:
            if time.monotonic() > deadline:
                self.world.until("the rollback has an outcome", lambda: False, seconds=0)
            self.record = self.new_records()[0]
            self._tell_steps(told, seen)
            time.sleep(LOOK)
        target = self.record["status"].get("target", {}).get("snapshot")
        self.expect(f"the target is {snapshot(self.to_version)}", true=target == snapshot(self.to_version))
        self.expect(f"the outcome is {self.outcome}", true=self.status.get("outcome") == self.outcome)

    def _tell_steps(self, told: set[str], seen: float) -> None:
        if "intentAt" not in told and self.when("intentAt"):
            told.add("intentAt")
            fired = min(seen, self.when("intentAt"))
            self.say("fired" if self.record["spec"].get("trigger") else "accepted", self.why(), at=fired)
            self.say("recorded", f"ModelRollback {self.record['metadata']['name']}", at=self.when("intentAt"))
            self.say("chosen", self.choice(), at=self.when("intentAt"))
        for name, what, detail in STEPS:
            if name not in told and self.when(name):
                told.add(name)
                self.say(what, detail or self.verdict(), at=self.when(name))

    @property
    def status(self) -> Json:
        """The record's status."""
        return dict(self.record.get("status") or {})

    def when(self, name: str) -> float:
        """Return a time of the record in seconds since the epoch; 0 as long as it has none."""
        text = self.status.get(name)
        return datetime.fromisoformat(text).timestamp() if text else 0.0

    def why(self) -> str:
        """Return what made the rollback happen, in a line."""
        spec = self.record["spec"]
        trigger = spec.get("trigger")
        if trigger:
            return f"{trigger['name']} ({trigger['severity']}): {trigger.get('value') or spec['reason']}"
        return str(spec["reason"])

    def choice(self) -> str:
        """Return the target and what was passed over, each with its reason."""
        target = self.status.get("target", {}).get("snapshot", "nothing")
        over = [f"{each['snapshot']} {each['reason']}" for each in passed_over(self.record)]
        return f"{target}, verified just now; passed over: {', '.join(over) or 'none'}"

    def verdict(self) -> str:
        """Return the outcome with the checks behind it."""
        checks = [f"{each['name']} {each['verdict']}" for each in self.status.get("checks") or []]
        outcome = str(self.status.get("outcome"))
        return f"{outcome} ({', '.join(checks) or 'no checks'}): {explain(outcome)}"

    def reapply(self) -> None:
        """Apply the unchanged manifests both ways: what serves must go on serving."""
        for server_side, way in ((False, "client-side"), (True, "server-side")):
            self.world.apply(server_side=server_side)
            deadline = time.monotonic() + WATCHED_AFTER / 2
            while (kept := self.world.keeps(self.to_version)) and time.monotonic() < deadline:
                time.sleep(LOOK)
            self.expect(f"v{self.to_version} goes on serving after re-applying {way}", true=kept)
            if kept:
                self.say("re-applied", f"the unchanged manifests, {way}: v{self.to_version} goes on serving")

    def end(self, *, extra_records: int = 0) -> Scene:
        """Add the client's view up."""
        self.ended = time.time()
        self.tally = self.world.traffic.tally(self.started, self.ended)
        number = len(self.new_records())
        self.expect(f"{1 + extra_records} record(s), not {number}", true=number == 1 + extra_records)
        self.expect("the client sent requests", true=self.tally.requests > 0)
        self.harm = self._harm()
        self.expect("without lastgood there is more harm", true=self.harm.protected < self.harm.unprotected)
        return self

    def _harm(self) -> Harm:
        """Count from the damage to the end, on both sides."""
        sides = (self.world.traffic, self.world.unprotected)
        protected, unprotected = (self.measure.count(side.between(self.damage, self.ended)) for side in sides)
        return Harm(
            what=self.measure.what,
            seconds=self.ended - self.damage,
            protected=protected,
            unprotected=unprotected,
        )

    def seconds(self) -> dict[str, float | None]:
        """Return how long each part took: noticed, switched, available, and all of it."""
        return {
            "damage_to_detected": gap(self.damage, self.when("intentAt")),
            "detected_to_switched": gap(self.when("intentAt"), self.when("switchedAt")),
            "switched_to_available": gap(self.when("switchedAt"), self.when("availableAt")),
            "available_to_outcome": gap(self.when("availableAt"), self.when("outcomeAt")),
            "damage_to_available": gap(self.damage, self.when("availableAt")),
        }

    def as_json(self) -> dict[str, Any]:
        """Return the facts for a program."""
        spec, status = self.record.get("spec", {}), self.status
        return {
            "scene": self.number,
            "title": self.title,
            "from": spec.get("from", {}).get("snapshot"),
            "to": status.get("target", {}).get("snapshot"),
            "reason": spec.get("reason"),
            "trigger": spec.get("trigger"),
            "outcome": status.get("outcome"),
            "seconds": self.seconds(),
            "requests": self.tally.requests,
            "failed_requests": self.tally.failed,
            "errors": list(self.tally.errors),
            "harm": asdict(self.harm),
            "problems": self.problems,
            "moments": [{"at": each.at, "what": each.what, "detail": each.detail} for each in self.moments],
        }


def passed_over(record: Json) -> list[Json]:
    """Return the candidates that were not taken, each with its reason."""
    candidates = (record.get("status") or {}).get("candidates") or []
    return [each for each in candidates if each["verdict"] == "PassedOver"]


def gap(start: float, end: float) -> float | None:
    """Return the time between two moments, or None where one of them never came."""
    return round(end - start, 3) if start and end else None
