"""Copying off the event loop: a few copies at a time, each object's one at a time, and stopped with its object."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, TypedDict, TypeVar

from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.controller.errands.background import Background
from lastgood.controller.errands.turns import Turns
from lastgood.errors import LastgoodError
from lastgood.kube.api.client import Client
from lastgood.kube.cache import Key
from lastgood.kube.calm import Calm
from lastgood.kube.jobs.capture_claims import NotCapturedError, NotPossibleError
from lastgood.kube.memory import Memory
from lastgood.kube.writes.act import Actor
from lastgood.settings import Settings
from lastgood.verify.errors import StoppedError, VerifyError
from lastgood.verify.reading.meter import Cancelled, Pace, Progress
from lastgood.verify.store import StoreError, forbidden, sweep

T = TypeVar("T")

PLACES: Final = 2
EACH: Final = 1  # of them for one namespace: a copy is a convenience, and no namespace's alone
_PROGRESS_EVERY: Final = 3.0  # seconds
_READ_ONLY: Final = (
    "; the operator has no write access: set the chart's value store.capture to true, and let user 65532 write to the "
    "volume"
)
_NO_STORE: Final = "the operator has no store; set --store (chart: store.kind)"


class How(TypedDict):
    """What every capture is given."""

    progress: Progress
    cancelled: Cancelled


class Running:
    """One capture: how many bytes it has read, and whether it is to go on."""

    def __init__(self, pace: Pace | None) -> None:
        self.read = 0
        self.stopped = False
        self._pace = pace

    def check(self) -> None:
        """Go on, or not.

        Raises:
            StoppedError: if it is not wanted any more.
        """
        if self.stopped:
            raise StoppedError("the capture was interrupted")

    @property
    def how(self) -> How:
        """Return what the library is given."""
        return {"progress": self.progress, "cancelled": lambda: self.stopped}

    def progress(self, read: int) -> None:
        """Note the bytes read so far, from 0 again where a reading is repeated, and keep to the pace."""
        more, self.read = read - self.read if read > self.read else 0, read
        if self._pace is not None:
            self._pace.take(more, self.check)


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What one capture is about."""

    key: Key
    snapshot: ModelSnapshot
    running: Running


@dataclass(frozen=True, kw_only=True)
class Means:
    """What every errand needs; without a pace, it goes as fast as it can."""

    actor: Actor
    client: Client
    settings: Settings
    memory: Memory
    wake: Callable[[Key], None]
    calm: Calm
    pace: Pace | None = None


class Errands(Background[Errand, None]):
    """Runs errands that write to the store; what each of them is, a subclass says."""

    doing: ClassVar[str] = "copying"
    failures: ClassVar[tuple[type[Exception], ...]] = (LastgoodError, VerifyError, ValueError)
    places: ClassVar[int] = PLACES

    def __init__(self, means: Means) -> None:
        super().__init__()
        self._actor = means.actor
        self._client = means.client
        self._settings = means.settings
        self._memory = means.memory
        self._wake = means.wake
        self._calm = means.calm
        self._pace = means.pace
        self._threads = ThreadPoolExecutor(self.places, thread_name_prefix="copy")
        self._turns = Turns(places=self.places, each=EACH)
        self._running: dict[Key, Running] = {}

    def start(self, snapshot: ModelSnapshot, key: Key) -> None:
        """Start an errand, unless one runs for the same object.

        Raises:
            TransientError: the last one could not even be started; the queue asks again after a growing pause.
        """
        self._raise_unasked(key)
        if not self._memory.begin_capture(key):
            return
        errand = Errand(key=key, snapshot=snapshot, running=Running(self._pace))
        self._running[key] = errand.running
        self._launch(key, errand)

    async def _do(self, key: Key, work: Errand) -> None:
        await self._calm.wait()  # before it takes a place: nobody's place is taken by waiting
        async with self._turns.take(key.namespace):
            work.running.check()  # it may have been deleted while it waited
            await self._copy(work)

    async def _failed(self, key: Key, work: Errand, message: str) -> None:  # noqa: ARG002 - the errand knows it
        await self._not_done(work, message)

    def _ended(self, key: Key, found: None) -> None:  # noqa: ARG002 - the store has it, and its status
        self._running.pop(key, None)
        self._memory.end_capture(key)
        self._wake(key)

    @abstractmethod
    async def _copy(self, errand: Errand) -> None:
        """Do it.

        Raises:
            LastgoodError: it was not done.
            VerifyError: it was not done.
        """

    @abstractmethod
    async def _not_done(self, errand: Errand, message: str) -> None:
        """Say that it was not done; nothing, where nobody wants it any more."""

    def _doing(self, errand: Errand) -> None:  # a repair has nothing to tell
        """Say how far it is; called now and then."""

    def _store(self) -> Path:
        if self._settings.store is None:
            raise NotPossibleError(_NO_STORE)
        return self._settings.store

    async def _threaded(self, errand: Errand, work: Callable[[], T]) -> T:
        """Do it in a thread, and tell now and then how far it is."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, _swept, self._store(), work)
        try:
            while not (await asyncio.wait({future}, timeout=_PROGRESS_EVERY))[0]:
                self._doing(errand)
        except asyncio.CancelledError:
            errand.running.stopped = True  # a thread cannot be cancelled
            raise
        return future.result()

    def forget(self, key: Key) -> None:
        """Stop copying what is gone."""
        if running := self._running.get(key):
            running.stopped = True

    async def close(self) -> None:
        """Stop what runs: of a copy that is cut off nothing stays."""
        for running in self._running.values():
            running.stopped = True
        await super().close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _swept(store: Path, work: Callable[[], T]) -> T:
    """Copy, after what crashed copies left a day ago or longer is removed: a full disk may be full of it."""
    with suppress(StoreError):
        sweep(store)
    try:
        return work()
    except StoreError as error:
        if forbidden(error):
            raise NotPossibleError(f"{error}{_READ_ONLY}") from error
        raise NotCapturedError(str(error)) from error
