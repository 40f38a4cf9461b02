"""Runs verifications off the event loop: workers for the store, a Job for a claim; results go to the memory."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lastgood import verify
from lastgood.api.names import Reason
from lastgood.api.snapshot import ModelSnapshot, PvcSource
from lastgood.core.state import Checked
from lastgood.errors import LastgoodError, TransientError
from lastgood.kube.cache import Key, Kind
from lastgood.kube.client import Client
from lastgood.kube.jobs import verify_on_claim
from lastgood.kube.memory import Memory
from lastgood.settings import Settings

logger = logging.getLogger(__name__)

AT_ONCE = 4
JOBS_AT_ONCE = 8
PATIENCE = 0.25  # seconds: a small snapshot is verified within the pass that asks for it


class Verifier:
    """Verifies snapshots, each once at a time, for all who wait for it."""

    def __init__(self, *, client: Client, settings: Settings, memory: Memory, wake: Callable[[Key], None]) -> None:
        self._client = client
        self._settings = settings
        self._memory = memory
        self._wake = wake
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="verify")
        self._jobs = asyncio.Semaphore(JOBS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._unasked: dict[Key, TransientError] = {}

    async def start(self, snapshot: ModelSnapshot, waiter: Key) -> None:
        """Start a verification unless it runs, and give a small one the time to finish.

        Raises:
            TransientError: the last one could not even be started; the queue asks again after a growing pause.
        """
        key = Key(Kind.SNAPSHOT, snapshot.meta.namespace, snapshot.meta.name)
        if error := self._unasked.pop(key, None):
            raise error
        if not self._memory.begin(key, waiter):
            return
        task = asyncio.create_task(self._run(key, snapshot), name=f"verify {key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.wait({task}, timeout=PATIENCE)
        if error := self._unasked.pop(key, None):
            raise error

    async def _run(self, key: Key, snapshot: ModelSnapshot) -> None:
        checked: Checked | None = None
        try:
            result = await self._result(snapshot)
            checked = _checked(self._memory, snapshot, result)
        except TransientError as error:  # not being able to ask says nothing about the bytes
            self._unasked[key] = error
        except LastgoodError as error:
            checked = self._unreadable(snapshot, str(error))
        except Exception as error:  # whatever it is, "could not read" is what is known
            logger.exception("verifying %s", key)
            checked = self._unreadable(snapshot, f"{type(error).__name__} while verifying")
        finally:
            waiters = self._memory.end(key, checked)
            for waiter in {*waiters, key}:
                self._wake(waiter)

    async def _result(self, snapshot: ModelSnapshot) -> verify.Result:
        source = snapshot.source
        if isinstance(source, PvcSource):
            return await self._on_claim(snapshot, source)
        store = self._settings.store
        if store is None:
            raise LastgoodError("spec.source.store: this operator has no store; see --store")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads,
            lambda: verify.verify(store, source.path, snapshot.digest, cancelled=lambda: self._stopping),
        )

    async def _on_claim(self, snapshot: ModelSnapshot, source: PvcSource) -> verify.Result:
        async with self._jobs:
            return await verify_on_claim(
                self._client,
                self._settings,
                namespace=snapshot.meta.namespace,
                snapshot_name=snapshot.meta.name,
                uid=snapshot.meta.uid,
                claim=source.claim,
                path=source.path,
                digest=snapshot.digest,
                nonce=secrets.token_hex(16),
            )

    def _unreadable(self, snapshot: ModelSnapshot, message: str) -> Checked:
        return Checked(
            uid=snapshot.meta.uid,
            digest=snapshot.digest,
            reason=Reason.UNREADABLE,
            at=self._memory.now(),
            message=message,
        )

    async def close(self) -> None:
        """Stop what runs: a verification that is cut off has found nothing."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)


def _checked(memory: Memory, snapshot: ModelSnapshot, result: verify.Result) -> Checked:
    return Checked(
        uid=snapshot.meta.uid,
        digest=snapshot.digest,
        reason=Reason(result.verdict),
        at=memory.now(),
        message=result.message,
        actual=result.actual or "",
        size_bytes=result.size_bytes,
        file_count=result.file_count,
        seconds=result.seconds,
        findings=tuple(result.findings),
    )
