"""The Events: what people see with `kubectl describe`, written beside the critical path and in turns."""

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lastgood.api.names import FIELD_MANAGER
from lastgood.errors import LastgoodError
from lastgood.kube.api import redact
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import ConflictError, ForbiddenError, InvalidError, NotFoundError, quiet
from lastgood.kube.api.resources import EVENTS
from lastgood.kube.calm import HOLD_SECONDS, Calm
from lastgood.kube.notices.fair_queue import FairQueue
from lastgood.kube.notices.notice import EventType, Notice, Subject

logger = logging.getLogger(__name__)

WAITING: Final = 2048
_BURST: Final = float(WAITING)  # the emergency of a hundred models is told at once: a rollback has some sixteen Events
_PER_SECOND: Final = 50.0  # an API server keeps each for an hour, and somebody may make as many as he likes
_SAME_SECONDS: Final = 60.0  # how long the same words about the same object are only counted, before it is written
_SERIES_SECONDS: Final = 3600.0  # how long they are one Event: an API server keeps it for an hour after its last write
REMEMBERED: Final = 4096
_REASON_LIMIT: Final = 128  # of the core/v1 Event
_NAME_LIMIT: Final = 200


@dataclass(frozen=True, kw_only=True)
class _Posting:
    """One Event that waits to be written."""

    subject: Subject
    type_: EventType
    reason: str
    message: str
    at: float  # of the clock, in seconds: since when it waits

    @property
    def namespace(self) -> str:
        """Return where it is written; that of an object without one is empty, and the writing then fails."""
        return self.subject.get("namespace", "")

    @property
    def words(self) -> tuple[str, str, str]:
        """Return what makes two Events the same."""
        kind, name = self.subject.get("kind", ""), self.subject.get("name", "")
        return self.subject.get("uid") or f"{kind}/{self.namespace}/{name}", self.reason, self.message


@dataclass(kw_only=True)
class _Series:
    """The same words about the same object: how often they were said, and in which Event, once that is written."""

    since: str
    at: float  # of the clock, in seconds: when they were last queued
    count: int = 1
    name: str = ""
    uid: str = ""


class Events:
    """A sink that writes Events when there is time.

    What is said again is counted in the Event that there is, at most once a minute: what was said last may be missing.
    """

    def __init__(
        self,
        client: Client,
        *,
        instance: str = FIELD_MANAGER,
        calm: Calm | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._instance = instance
        self._waiting: FairQueue[_Posting] = FairQueue(WAITING)
        self._recent: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()
        self._bucket = Bucket(burst=_BURST, per_second=_PER_SECOND, clock=clock)
        self._clock = clock
        self.calm = calm or Calm()

    def tell(self, notice: Notice) -> None:
        """Take the Events of a notice, to be written off the critical path."""
        for subject in (notice.subject, *notice.beside) if notice.event else ():
            self._take(
                _Posting(
                    subject=dict(subject),
                    type_=notice.event or "Normal",
                    reason=str(notice.reason),
                    message=redact.line(notice.message),
                    at=self._clock(),
                )
            )

    def _take(self, posting: _Posting) -> None:
        if self._said_lately(posting):
            return
        dropped = self._waiting.put(posting.namespace, posting)
        if dropped is not None:
            self._forget(dropped)
            told = (dropped.namespace, dropped.reason, dropped.message)
            logger.warning("Event queue is full; dropped an Event of %s, %s: %s", *told)

    async def run(self) -> None:
        """Write the Events that wait, not faster than the API server should be asked to."""
        while True:
            posting = await self._waiting.take()
            await asyncio.sleep(self._bucket.wait())
            await self._give_way(posting)
            try:
                await self._post(posting)
            except Exception:
                self._forget(posting)
                raise
            finally:
                self._waiting.done()

    def _forget(self, posting: _Posting) -> None:
        """Let it be said again at once: nobody has read it."""
        if (known := self._recent.get(posting.words)) and not known.name:
            del self._recent[posting.words]

    async def _give_way(self, posting: _Posting) -> None:
        """Let what presses go first, unless too many Events wait, or this one has waited for long enough."""
        left = HOLD_SECONDS - (self._clock() - posting.at)
        if left > 0 and len(self._waiting) < WAITING // 2:
            await self.calm.wait(seconds=left)

    async def drain(self, *, seconds: float) -> None:
        """Wait until all Events are written, but not longer than this; `run` must be running."""
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            logger.warning("not all Events were written in %g s; %d are waiting", seconds, len(self._waiting))

    def _said_lately(self, posting: _Posting) -> bool:
        now, known = self._clock(), self._recent.get(posting.words)
        if known is None or now - known.at >= _SERIES_SECONDS:
            known = self._recent[posting.words] = _Series(since=_micro_time(), at=now)
        else:
            known.count += 1
            if now - known.at < _SAME_SECONDS:
                return True
            known.at = now
        self._recent.move_to_end(posting.words)
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        return False

    async def _post(self, posting: _Posting) -> None:
        series = self._recent.get(posting.words) or _Series(since=_micro_time(), at=posting.at)
        try:
            if not (series.name and await self._counted(posting, series)):
                await self._created(posting, series)
        except (LastgoodError, KeyError) as error:
            told = (posting.reason, posting.message, error)
            logger.log(quiet(error), "cannot write the Event %s (%s): %s", *told)

    async def _created(self, posting: _Posting, series: _Series) -> None:
        answer = await self._client.create(EVENTS, posting.subject["namespace"], self._body(posting, series))
        series.name, series.uid = str(answer["metadata"]["name"]), str(answer["metadata"]["uid"])

    async def _counted(self, posting: _Posting, series: _Series) -> bool:
        """Say in the Event that there is how often it was said; it may be gone, another's, or not to be changed."""
        body, namespace = {"metadata": {"uid": series.uid}, **_how_often(series)}, posting.subject["namespace"]
        try:
            await self._client.patch(EVENTS, namespace, series.name, body, metadata_only=True)
        except (NotFoundError, ConflictError, ForbiddenError, InvalidError):
            return False
        return True

    def _body(self, posting: _Posting, series: _Series) -> dict[str, Any]:
        subject = posting.subject
        involved = {key: subject[key] for key in ("apiVersion", "kind", "namespace", "name", "uid") if key in subject}
        return {
            "metadata": {
                "name": f"{subject['name'][:_NAME_LIMIT].rstrip('-.')}.{uuid.uuid4().hex[:16]}",
                "namespace": subject["namespace"],
            },
            "involvedObject": involved,
            "type": posting.type_,
            "reason": posting.reason[:_REASON_LIMIT],
            "message": posting.message,
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance[:_REASON_LIMIT],
            "firstTimestamp": _seconds(series.since),
            **_how_often(series),
        }


def _how_often(series: _Series) -> dict[str, Any]:
    now = _micro_time()
    again = {"series": {"count": series.count, "lastObservedTime": now}} if series.count > 1 else {}
    return {"count": series.count, "lastTimestamp": _seconds(now), **again}


def _micro_time() -> str:
    """Return now as a MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(time_: str) -> str:
    """Return a MicroTime as a Time."""
    return f"{time_[:19]}Z"


class Bucket:
    """So many at once, then so many a second."""

    def __init__(self, *, burst: float, per_second: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left = burst
        self._at = clock()

    def wait(self) -> float:
        """Take one, and return for how many seconds to wait before using it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second) - 1.0
        self._at = now
        return max(0.0, -self._left / self._per_second)
