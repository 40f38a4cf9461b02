"""The door for signals: how a kind of signal is looked at. Each kind is one module in `kinds/`."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lastgood.api.facts.signal import Sample, Unusable
from lastgood.api.specs.deployment import Check, Trigger
from lastgood.api.specs.signals import Source
from lastgood.api.workload.workload import Workload
from lastgood.core.state import Observed
from lastgood.signals.hosts import HostPolicy

if TYPE_CHECKING:
    from lastgood.signals.http import HttpProbe


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a signal.

    Attributes:
        field: the field of the spec that has the expression, such as `failureCondition`.
        path: where in the spec the trigger or the check is, for sentences: `spec.triggers[0]`.
        expression: what judges the answer; empty where the signal judges itself.
        failing: whether the expression tells what failure is, as that of a trigger; that of a check tells success.
        namespace: whose it is.
        observed: what is known of the ModelDeployment; None where it is only asked whether it can be looked at.
    """

    field: str
    path: str
    expression: str
    failing: bool
    namespace: str
    observed: Observed | None = None


def of_trigger(trigger: Trigger, namespace: str, *, at: int = 0, observed: Observed | None = None) -> Question:
    """Return what a trigger asks."""
    return Question(
        field="failureCondition",
        path=f"spec.triggers[{at}]",
        expression=trigger.failure_condition,
        failing=True,
        namespace=namespace,
        observed=observed,
    )


def of_check(check: Check, namespace: str, *, at: int = 0) -> Question:
    """Return what a check asks."""
    return Question(
        field="successCondition",
        path=f"spec.validation.checks[{at}]",
        expression=check.success_condition,
        failing=False,
        namespace=namespace,
    )


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a look may use; all of it is bounded, and closed by whoever made it."""

    probe: "HttpProbe"
    pods: Callable[[Workload], Awaitable[Sequence[Mapping[str, Any]]]]


class Signal(Source):
    """A kind of signal, with what one trigger or check declares of it."""

    def problem(self, question: Question, hosts: HostPolicy) -> Unusable | None:  # noqa: ARG002 - others have one
        """Return why it can never be looked at as it is declared: said when it is written, not when it is needed."""
        return None

    @abstractmethod
    async def look(self, question: Question, tools: Tools) -> Sample:
        """Look once. What cannot be seen is Inconclusive, with a sentence that repeats nothing of what was read.

        Raises:
            ExpressionError: the expression cannot be used.
            LastgoodError: the API server did not answer.
        """


def speaks_of_what_serves(observed: Observed, trigger: Trigger) -> bool:
    """Tell whether an answer would be about what serves, and not of pods of what served before.

    A rollout that does not end is looked at all the same after the progress deadline: it may be half of the traffic.
    """
    status = observed.deployment.status
    if not trigger.source.asks_pods or status.available_at:
        return True
    since = status.history[-1].since if status.history else None
    return since is None or observed.now - since >= observed.deployment.rollback.progress_deadline
