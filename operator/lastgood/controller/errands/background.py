"""Work beside the passes: one task for each object, and whoever waits for it is woken, whatever comes of it."""

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from lastgood.errors import LastgoodError, TransientError
from lastgood.kube.cache import Key

logger = logging.getLogger(__name__)

Work = TypeVar("Work")
Found = TypeVar("Found")


class Background(ABC, Generic[Work, Found]):
    """Runs it. What it is, what a failure means and who hears of it, a subclass says.

    Not being able to ask says nothing about the object. That error is raised to the next pass that asks for the same,
    and the queue repeats that pass after a growing pause.

    Attributes:
        doing: what it does, for sentences: `verifying`.
        failures: the errors whose own sentence says what is wrong.
    """

    doing: ClassVar[str]
    failures: ClassVar[tuple[type[Exception], ...]] = (LastgoodError,)

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._unasked: dict[Key, TransientError] = {}

    def _raise_unasked(self, key: Key) -> None:
        """Raise why the last one for this object could not even be started."""
        if error := self._unasked.pop(key, None):
            raise error

    def _launch(self, key: Key, work: Work) -> asyncio.Task[None]:
        """Start it; there must be none for the same object."""
        self._tasks[key] = asyncio.create_task(self._run(key, work), name=f"{self.doing} {key}")
        return self._tasks[key]

    async def _run(self, key: Key, work: Work) -> None:
        found: Found | None = None
        try:
            found = await self._do(key, work)
        except TransientError as error:
            self._unasked[key] = error
        except self.failures as error:
            found = await self._failed(key, work, str(error))
        except Exception as error:  # whatever it is, that it was not done is what is known
            logger.exception("%s %s", self.doing, key)
            found = await self._failed(key, work, f"{type(error).__name__} while {self.doing}")
        finally:
            if self._tasks.get(key) is asyncio.current_task():  # else it was dropped, and its name may be another's
                del self._tasks[key]
                self._ended(key, found)

    @abstractmethod
    async def _do(self, key: Key, work: Work) -> Found:
        """Do it, and return what was found.

        Raises:
            TransientError: it could not even be started.
            LastgoodError: it was not done.
        """

    @abstractmethod
    async def _failed(self, key: Key, work: Work, message: str) -> Found:
        """Return what is known where it was not done."""

    @abstractmethod
    def _ended(self, key: Key, found: Found | None) -> None:
        """Keep what was found, None where nothing was, and wake whoever waits."""

    def _drop(self, key: Key) -> bool:
        """Stop it, and let nobody hear of it; tell whether there was any."""
        self._unasked.pop(key, None)
        task = self._tasks.pop(key, None)
        return task is not None and task.cancel()

    async def close(self) -> None:
        """Stop what runs: what is cut off has found nothing."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
