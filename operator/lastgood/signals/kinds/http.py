"""A JSON document at a URL, judged by an expression."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final, Self

from lastgood.api.facts.signal import Sample, Unusable
from lastgood.api.fields import Fields
from lastgood.api.names import LookError
from lastgood.errors import InvalidSpecError
from lastgood.signals.errors import ExpressionError, UnusableUrlError
from lastgood.signals.expression import compiled
from lastgood.signals.hosts import HostPolicy
from lastgood.signals.signal import Question, Signal, Tools


@dataclass(frozen=True, kw_only=True)
class HttpSource(Signal):
    """Where the document is, and for how long to wait for all of it."""

    kind: ClassVar[str] = "http"
    for_checks: ClassVar[bool] = True
    asks_pods: ClassVar[bool] = True
    url: str
    timeout: timedelta

    @classmethod
    def read(cls, item: Fields) -> Self:
        """Read `http.url`, and `timeout` beside it."""
        url = item.child("http").text("url", required=True)
        if not url.startswith(("http://", "https://")):
            raise InvalidSpecError(f"{item.at('http.url')}: must start with http:// or https://")
        return cls(url=url, timeout=item.duration("timeout", "5s"))

    def problem(self, question: Question, hosts: HostPolicy) -> Unusable | None:
        """Name the host that may not be asked, or the mistake in the expression."""
        try:
            hosts.target(self.url, question.namespace)
            compiled(question.expression)
        except UnusableUrlError as error:
            return Unusable(kind=error.kind, message=f"{question.path}.http.url: {error}")
        except ExpressionError as error:
            told = f"{question.path}.{question.field}: {error}"
            return Unusable(kind=LookError.INVALID_EXPRESSION, message=told)
        return None

    async def look(self, question: Question, tools: Tools) -> Sample:
        """Ask once."""
        ask = tools.probe.sample if question.failing else tools.probe.check
        expression, timeout = compiled(question.expression), self.timeout.total_seconds()
        return await ask(self.url, expression, timeout, namespace=question.namespace)


SIGNAL: Final = HttpSource
