"""What of a ModelDeployment can never be looked at: found when it is written, and not when it is needed."""

from collections.abc import Mapping

from lastgood.api.facts.signal import Unusable
from lastgood.api.names import LookError
from lastgood.api.specs.deployment import HttpSource, ModelDeployment
from lastgood.signals.errors import ExpressionError, UnusableUrlError
from lastgood.signals.expression import compiled
from lastgood.signals.hosts import HostPolicy


def unusable(deployment: ModelDeployment, hosts: HostPolicy) -> Mapping[str, Unusable]:
    """Return why triggers and checks cannot be used, by `trigger/NAME` and `check/NAME`."""
    asked = [
        (f"trigger/{item.name}", f"spec.triggers[{at}]", "failureCondition", item.source, item.failure_condition)
        for at, item in enumerate(deployment.triggers)
        if isinstance(item.source, HttpSource)
    ]
    asked += [
        (f"check/{item.name}", f"spec.validation.checks[{at}]", "successCondition", item.source, item.success_condition)
        for at, item in enumerate(deployment.checks)
    ]
    found: dict[str, Unusable] = {}
    for place, path, field, source, condition in asked:
        try:
            hosts.target(source.url, deployment.meta.namespace)
            compiled(condition)
        except UnusableUrlError as error:
            found[place] = Unusable(kind=error.kind, message=f"{path}.http.url: {error}")
        except ExpressionError as error:
            found[place] = Unusable(kind=LookError.INVALID_EXPRESSION, message=f"{path}.{field}: {error}")
    return found
