"""What waits to be written for many namespaces, in turns: a line waits for at most one item of each other namespace."""

import asyncio
from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """A bounded queue with a line for each namespace: lines take turns, and the longest is cut where room is needed."""

    def __init__(self, limit: int) -> None:
        """Make an empty queue that holds at most `limit` items, of all namespaces together."""
        self._limit = limit
        self._lines: OrderedDict[str, deque[Item]] = OrderedDict()
        self._size = 0
        self._unfinished = 0
        self._filled = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    def __len__(self) -> int:
        """Return how many items wait, without the one that was taken last."""
        return self._size

    def put(self, namespace: str, item: Item) -> Item | None:
        """Add an item to the end of its line; return what was dropped for it, the newest of the longest line."""
        self._lines.setdefault(namespace, deque()).append(item)
        self._size += 1
        self._unfinished += 1
        self._filled.set()
        self._finished.clear()
        return self._cut() if self._size > self._limit else None

    async def take(self) -> Item:
        """Wait for an item and return the oldest of the line whose turn it is; `done` has to follow."""
        while not self._size:
            await self._filled.wait()
        namespace, line = self._lines.popitem(last=False)
        item = line.popleft()
        if line:
            self._lines[namespace] = line  # behind all others
        self._left()
        return item

    def done(self) -> None:
        """Tell that the item taken last is dealt with."""
        self._unfinished -= 1
        if not self._unfinished:
            self._finished.set()

    async def join(self) -> None:
        """Wait until nothing waits and all that was taken is dealt with."""
        await self._finished.wait()

    def _cut(self) -> Item:
        # Of equally long ones the last: what has its turn next has waited for it.
        namespace, longest = max(reversed(self._lines.items()), key=lambda entry: len(entry[1]))
        item = longest.pop()
        if not longest:
            del self._lines[namespace]
        self._left()
        self.done()
        return item

    def _left(self) -> None:
        self._size -= 1
        if not self._size:
            self._filled.clear()
