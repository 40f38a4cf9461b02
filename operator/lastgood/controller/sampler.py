"""Looks at triggers and checks when they are due, off the pass that asks; what it sees goes to the memory."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.names import LookError
from lastgood.api.specs.deployment import Check, ModelDeployment, Trigger
from lastgood.api.specs.signals import Source
from lastgood.api.workload.workload import Workload
from lastgood.core.state import Observed
from lastgood.errors import LastgoodError
from lastgood.kube.api.client import Client
from lastgood.kube.api.resources import PODS
from lastgood.kube.cache import Key
from lastgood.kube.memory import Memory, Watch, tallied
from lastgood.signals.errors import ExpressionError
from lastgood.signals.http import HttpProbe
from lastgood.signals.signal import Question, Signal, Tools, of_check, of_trigger, speaks_of_what_serves

MOST_LOOKS = 32
"""Under way for one ModelDeployment: as many as it may have triggers and checks."""
_SOON = 1.0

logger = logging.getLogger(__name__)


class Sampler:
    """Takes samples. A failing look at one trigger leaves the others alone."""

    def __init__(self, *, client: Client, probe: HttpProbe, memory: Memory, wake: Callable[[Key], None]) -> None:
        self._client = client
        self._tools = Tools(probe=probe, pods=self._pods)
        self._memory = memory
        self._wake = wake
        self._busy: dict[tuple[Key, str], asyncio.Task[None]] = {}
        self._last: dict[Key, dict[str, datetime]] = {}

    def follow(self, key: Key, observed: Observed) -> float | None:
        """Start the looks that are due, and return in how many seconds the next one is."""
        deployment = observed.deployment
        if not deployment.status.snapshot:
            return None
        votes = (
            trigger
            for trigger in deployment.triggers
            if f"trigger/{trigger.name}" not in observed.unusable and speaks_of_what_serves(observed, trigger)
        )
        # Whoever gives triggers other names all the time neither fills the memory, nor asks more than the bounds allow.
        names, last = {f"trigger/{trigger.name}" for trigger in deployment.triggers}, self._last.get(key, {})
        self._last[key] = {name: at for name, at in last.items() if name in names}
        return min((self._follow(key, observed, trigger) for trigger in votes), default=None)

    def _follow(self, key: Key, observed: Observed, trigger: Trigger) -> float:
        place, interval = (key, f"trigger/{trigger.name}"), trigger.interval.total_seconds()
        last = self._last[key].get(place[1])
        rest = interval - (observed.now - last).total_seconds() if last else 0.0
        if rest > 0:
            return rest
        if place not in self._busy:
            if sum(busy == key for busy, _ in self._busy) >= MOST_LOOKS:
                return _SOON
            self._last[key][place[1]] = observed.now
            watch = self._memory.watch(key, observed.deployment)
            self._spawn(place, self._look(key, observed, trigger, watch))
        return interval

    def check(self, key: Key, deployment: ModelDeployment, checks: Iterable[Check]) -> None:
        """Start a look at validation checks."""
        watch = self._memory.watch(key, deployment)
        for check in checks:
            place = (key, f"check/{check.name}")
            if place not in self._busy:
                self._spawn(place, self._validate(key, check, watch))

    def _spawn(self, place: tuple[Key, str], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"{place[0]} {place[1]}")
        self._busy[place] = task
        task.add_done_callback(lambda _: self._busy.pop(place, None))

    async def _look(self, key: Key, observed: Observed, trigger: Trigger, watch: Watch) -> None:
        period = watch.period
        question = of_trigger(trigger, key.namespace, observed=observed)
        sample = await self._sample(trigger.source, question, f"trigger {trigger.name}")
        if watch.period != period:
            return  # something else serves now: this says nothing about it
        watch.tallies[trigger.name] = tallied(watch.tallies.get(trigger.name), sample, self._memory.now, trigger)
        self._wake(key)

    async def _sample(self, source: Source, question: Question, what: str) -> Sample:
        """Look once; whatever goes wrong, there is an answer: a rollback would wait for it for ever."""
        try:
            if isinstance(source, Signal):
                return await source.look(question, self._tools)
        except ExpressionError as error:
            return _silent(f"{question.field}: {error}", LookError.INVALID_EXPRESSION)
        except LastgoodError as error:  # of the API server: the pods could not be listed
            return _silent(str(error))
        except Exception:  # one look that breaks must not stop the others
            logger.exception("%s", what)
        return _silent("the check failed; see the operator's log")

    async def _pods(self, workload: Workload) -> Sequence[Mapping[str, Any]]:
        selector = ",".join(f"{key}={value}" for key, value in workload.selector.items())
        if not selector:
            return ()
        pods, _ = await self._client.list(PODS, workload.meta.namespace, label_selector=selector)
        return pods

    async def _validate(self, key: Key, check: Check, watch: Watch) -> None:
        record = watch.record
        sample = await self._sample(check.source, of_check(check, key.namespace), f"check {check.name}")
        if watch.record == record:
            watch.checks[check.name] = tallied(watch.checks.get(check.name), sample, self._memory.now)
            self._wake(key)

    def forget(self, key: Key) -> None:
        """Stop looking for a deployment that is gone."""
        self._last.pop(key, None)

    async def close(self) -> None:
        """Stop every look."""
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _silent(error: str, kind: LookError = LookError.FAILED) -> Sample:
    return Sample(verdict=Verdict.INCONCLUSIVE, error=error[:512], kind=kind)
