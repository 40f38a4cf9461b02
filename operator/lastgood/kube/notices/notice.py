"""One value for whatever people are told, and the door to wherever they read it."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 5.0

Severity = Literal["info", "warning", "alert"]
EventType = Literal["Normal", "Warning"]
Subject = Mapping[str, str]
"""apiVersion, kind, namespace, name and uid of an object, as far as it has them."""


def utc_now() -> datetime:
    """Return the time of a notice."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that was done, or that people have to know.

    Args:
        what: the kind of action, such as `Switch`, or `Wait` where nothing is done.
        reason: one of `lastgood.api.names.Reason`.
        message: a sentence; it may have what a stranger wrote, and is not cleaned here.
        subject: the object that it is about.
        beside: objects whose Events say it as well.
        record: the ModelRollback that it belongs to, if to any.
        severity: how grave it is.
        event: the type of its Event; None where only the log has it.
        facts: what stands beside it in a log.
        time: when it was said.
    """

    what: str
    reason: str
    message: str
    subject: Subject
    beside: tuple[Subject, ...] = ()
    record: str = ""
    severity: Severity = "info"
    event: EventType | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    time: datetime = field(default_factory=utc_now)

    @property
    def id(self) -> str:
        """Sixteen hex digits: the same each time that the same is said of the same object and record."""
        whose = self.subject.get("uid") or "/".join(self.subject.get(key, "") for key in ("kind", "namespace", "name"))
        text = f"{whose}\0{self.record}\0{self.what}\0{self.reason}\0{self.message}"
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


class Sink(Protocol):
    """Where notices go. Add one to the list in `controller/runtime.py`; see docs/extending.md."""

    def tell(self, notice: Notice) -> None:
        """Take a notice at once: a rollback waits for it. What takes time is for `run`."""

    async def run(self) -> None:
        """Deliver what was taken, for ever; a sink that delivers at once has nothing to do here."""

    async def drain(self, *, seconds: float) -> None:
        """Wait until all that was taken is delivered, but not longer than this."""


class Notices:
    """Hands each notice to every sink. One that breaks is logged, and takes nothing from the others."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = tuple(sinks)

    def tell(self, notice: Notice) -> None:
        """Say it everywhere."""
        for sink in self.sinks:
            try:
                sink.tell(notice)
            except Exception:
                logger.exception("%s failed to deliver notice %s", type(sink).__name__, notice.reason)

    async def run(self) -> None:
        """Deliver, in all sinks, for ever; what a sink raises ends neither another nor the operator."""
        await asyncio.gather(*(_deliver(sink) for sink in self.sinks))

    async def drain(self, *, seconds: float) -> None:
        """Wait until all is delivered, but not longer than this."""
        drained = (sink.drain(seconds=seconds) for sink in self.sinks)
        for sink, outcome in zip(self.sinks, await asyncio.gather(*drained, return_exceptions=True), strict=True):
            if isinstance(outcome, Exception):
                logger.error("%s did not deliver all notices", type(sink).__name__, exc_info=outcome)


async def _deliver(sink: Sink) -> None:
    """Run a sink, and run it again a moment after it has raised."""
    while True:
        try:
            return await sink.run()
        except Exception:
            logger.exception("%s cannot deliver notices, retrying in %g s", type(sink).__name__, AGAIN_SECONDS)
        await asyncio.sleep(AGAIN_SECONDS)
