"""A ModelDeployment look by look: time is simulated, and what is written is read back as the API server stores it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from lastgood.api.facts.deployment_status import DeploymentStatus
from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.fields import compact
from lastgood.api.names import LookError, Severity, Type
from lastgood.api.specs.deployment import Trigger
from lastgood.core.actions import CreateRecord, Remember, Switch, UpdateDeployment
from lastgood.core.decide import decide
from lastgood.core.state import Decision, Drift, Observed, Tell
from lastgood.core.status.pace import EVERY
from lastgood.kube.memory import tallied
from tests.unit.core.builders import (
    ACCURACY,
    NOW,
    declaring,
    workload,
    world,
)

GOOD, BAD = (
    Sample(verdict=Verdict.HEALTHY, value="accuracy=0.97"),
    Sample(verdict=Verdict.BREACHED, value="accuracy=0.5"),
)
SILENT = Sample(verdict=Verdict.INCONCLUSIVE, error="it is not there", kind=LookError.NAME_NOT_FOUND)
BROKEN = Sample(verdict=Verdict.INCONCLUSIVE, error="status 503", kind=LookError.STATUS)
PAUSE = 5  # seconds between two looks, where it is simulated for long
HOUR = 3600 // PAUSE
Pattern = Callable[[int], Sample]


def every_second(name: str = "accuracy", **changes: Any) -> Trigger:
    """Return a trigger that is looked at each second, and fires at once."""
    quick = replace(ACCURACY, name=name, interval=timedelta(seconds=1), failure_threshold=1)
    return replace(quick, **changes)


TELLS = every_second(severity=Severity.MEDIUM)
ACTS = every_second()


@dataclass
class Life:
    """A ModelDeployment, look by look; `written` and `told` are what came of it, with the times."""

    observed: Observed
    pause: int = 1
    written: list[datetime] = field(default_factory=list)
    told: list[tuple[datetime, str, str]] = field(default_factory=list)
    records: list[datetime] = field(default_factory=list)

    def look(self, said: Mapping[str, Sample], **changes: Any) -> Decision:
        """Let a second pass, or the pause, and the triggers say something."""
        now = self.observed.now + timedelta(seconds=self.pause)
        tallies = dict(self.observed.tallies)
        for trigger in self.observed.deployment.triggers:
            if trigger.name in said:
                tallies[trigger.name] = tallied(tallies.get(trigger.name), said[trigger.name], lambda: now, trigger)
        self.observed = replace(self.observed, now=now, tallies=tallies, **changes)
        return self.work()

    def work(self) -> Decision:
        """Do what is to be done."""
        for _ in range(8):
            decision = decide(self.observed)
            if not self.act(decision):
                return decision
        raise AssertionError(f"no end: {decision}")

    def act(self, decision: Decision) -> bool:
        """Carry an action out; tell whether there was one."""
        match decision.action:
            case UpdateDeployment(status=status):
                self.written.append(self.observed.now)
                steps = [(str(decision.reason), decision.message)] if decision.tell != Tell.NOBODY else []
                steps += [(str(alert.reason), alert.message) for alert in decision.alerts]
                self.told += [(self.observed.now, *step) for step in steps]
                stored = DeploymentStatus.from_body({"status": compact(status.as_body())})
                deployment = replace(self.observed.deployment, status=stored)
                self.observed = replace(self.observed, deployment=deployment)
            case Switch():
                drift = Drift(count=self.observed.drift.count + 1, last=self.observed.now)
                self.observed = replace(self.observed, workload=workload(), drift=drift)
            case Remember(facts=facts):
                self.observed = replace(self.observed, remembered=facts)
            case CreateRecord():
                self.records.append(self.observed.now)
                return False
            case None:
                return False
            case other:
                raise AssertionError(f"nothing else is asked for here: {other}")
        return True

    def stop(self) -> None:
        """Let nothing more happen, and a pass be made only when one was asked for, for a minute."""
        end, decision = self.observed.now + EVERY, self.work()
        while decision.requeue_after is not None:
            then = self.observed.now + timedelta(seconds=decision.requeue_after)
            if then > end:
                return
            self.observed = replace(self.observed, now=then)
            decision = self.work()

    def restart(self) -> None:
        """Forget what only the process knows."""
        self.observed = replace(self.observed, tallies={}, watched=self.observed.now, unserved=None)

    @property
    def truth(self) -> dict[str, Verdict]:
        """What each trigger said last."""
        return {name: item.verdict for name, item in self.observed.tallies.items()}

    @property
    def shown(self) -> dict[str, str]:
        """What the status says of each trigger."""
        return {item.name: item.verdict for item in self.observed.deployment.status.triggers}

    def condition(self, type_: Type) -> str:
        """Return the status of a condition."""
        return self.observed.deployment.status.conditions[type_].status


def begun(*triggers: Trigger, **changes: Any) -> Life:
    """Return a life in which all is well, and has been for long."""
    life = Life(declaring(world(watched=NOW - timedelta(days=1)), triggers=triggers, **changes))
    for _ in range(2):
        life.look({trigger.name: GOOD for trigger in triggers})
    life.observed = replace(life.observed, now=life.observed.now + timedelta(minutes=30))
    life.look({trigger.name: GOOD for trigger in triggers})
    life.written, life.told = [], []
    return life


def turns(*said: Sample, each: int = 1, late: int = 0) -> Pattern:
    """Return a pattern in which they take turns, each for so many looks."""
    return lambda look: said[(look + late) // each % len(said)]


def lived(life: Life, patterns: Mapping[str, Pattern], looks: int) -> Life:
    for look in range(looks):
        life.look({name: pattern(look) for name, pattern in patterns.items()})
    return life
