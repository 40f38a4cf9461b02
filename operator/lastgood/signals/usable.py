"""What of a ModelDeployment can never be looked at: found when it is written, and not when it is needed."""

from collections.abc import Iterator, Mapping

from lastgood.api.facts.signal import Unusable
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.signals import Source
from lastgood.signals.hosts import HostPolicy
from lastgood.signals.signal import Question, Signal, of_check, of_trigger


def unusable(deployment: ModelDeployment, hosts: HostPolicy) -> Mapping[str, Unusable]:
    """Return why triggers and checks cannot be used, by `trigger/NAME` and `check/NAME`."""
    asked = {place: _problem_of(source, question, hosts) for place, source, question in _asked(deployment)}
    return {place: problem for place, problem in asked.items() if problem}


def _asked(deployment: ModelDeployment) -> Iterator[tuple[str, Source, Question]]:
    namespace = deployment.meta.namespace
    for at, trigger in enumerate(deployment.triggers):
        yield f"trigger/{trigger.name}", trigger.source, of_trigger(trigger, namespace, at=at)
    for at, check in enumerate(deployment.checks):
        yield f"check/{check.name}", check.source, of_check(check, namespace, at=at)


def _problem_of(source: Source, question: Question, hosts: HostPolicy) -> Unusable | None:
    """Return why a signal can never be looked at, if so."""
    return source.problem(question, hosts) if isinstance(source, Signal) else None
