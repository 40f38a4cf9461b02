"""What outlives ModelDeployments: a few ConfigMaps for each watched namespace, in the operator's own (ADR 22).

A ModelDeployment's name says in which of them it is: what a write costs the API server grows with the keys beside it.
Only the operator writes them. Each is read when a ModelDeployment is first looked at, when one of its name was deleted
since, and once a minute; a pass never waits for it, and is told that it is not known yet.
"""

import asyncio
import contextlib
import logging
import random
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from lastgood.api.facts.remembered import NOTHING, Remembered
from lastgood.api.names import REMEMBERED_CONFIG_MAP
from lastgood.errors import InvalidSpecError
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import AlreadyExistsError, ApiError, ForbiddenError, NotFoundError
from lastgood.kube.api.resources import CONFIGMAPS
from lastgood.kube.cache import version_of

logger = logging.getLogger(__name__)

Body = dict[str, Any]
Place = tuple[str, int]  # a namespace, and which of its ConfigMaps
PARTS: Final = 8
MOST_BYTES: Final = 900_000  # of the 1 MiB that an object may have
_READ_EVERY: Final = 60.0
_READ_AGAIN: Final = 5.0  # after an error
_AT_ONCE: Final = 8
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(kw_only=True)
class Kept:
    """What is known of one ConfigMap: the texts, and what they mean; `problem` says why nothing is."""

    texts: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Remembered] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    read: bool = False
    problem: str = ""


class RememberedFacts:
    """Reads and writes them; `alive` names the ModelDeployments of a namespace.

    `on_change` hears of a namespace, and of whom in it something else is known than before.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        alive: Callable[[str], Collection[str]],
        on_change: Callable[[str, Collection[str]], None] = lambda _namespace, _names: None,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._alive = alive
        self._on_change = on_change
        self._kept: dict[Place, Kept] = {}
        self._uids: dict[tuple[str, str], str] = {}
        self._doubtful: set[tuple[str, str]] = set()
        self._era = 0  # of what is known: it ends when all is forgotten
        self._asked = asyncio.Event()

    def of(self, namespace: str, name: str, uid: str = "") -> tuple[Remembered | None, str]:
        """Return what is kept of a ModelDeployment, or None with why it is not known, where there is an error.

        An object with another uid may have been made after an administrator had the earlier one forgotten.
        """
        place, key = place_of(namespace, name), (namespace, name)
        kept = self._kept.setdefault(place, Kept())
        if uid and self._uids.get(key) != uid:
            self._uids[key] = uid
            self._doubtful.add(key)
        if not kept.read or key in self._doubtful:
            self._asked.set()
            return None, kept.problem
        if name in kept.wrong:
            return None, f"ConfigMap {self._namespace}/{name_for(place)}: {name}: {kept.wrong[name]}"
        return kept.facts.get(name, NOTHING), ""

    def doubt(self, namespace: str, name: str) -> None:
        """Read again before what is kept of a name is used: its object is gone."""
        if place_of(namespace, name) in self._kept:
            self._doubtful.add((namespace, name))

    def forget(self) -> None:
        """Read everything again: another replica may have written meanwhile."""
        self._kept.clear()
        self._doubtful.clear()
        self._era += 1

    async def keep(self, namespace: str, name: str, facts: Remembered) -> None:
        """Write what is to be kept of a ModelDeployment; nothing is kept of one with nothing.

        Raises:
            ForbiddenError: there is no room, and nothing that could go.
        """
        place = place_of(namespace, name)
        known = self._kept.setdefault(place, Kept())
        text = None if facts == NOTHING else facts.as_text()
        if text is None and name not in known.texts:
            return
        data = {name: text} | dict.fromkeys(self._surplus(place, name, text or ""))
        try:
            # What others have there is long, and known: see `read` for what somebody else may have changed of it.
            body = await self._client.patch(
                CONFIGMAPS, self._namespace, name_for(place), {"data": data}, metadata_only=True
            )
        except NotFoundError:
            self._learn(place, await self._create(place, {name: text} if text else {}))
            if not known.read:
                self._changed(place)  # whoever asked meanwhile was told that nothing is known yet
        else:
            self._wrote(place, data, body)

    def _surplus(self, place: Place, name: str, text: str) -> list[str]:
        """Return whose entries go to make room: of what is gone, first what left and held nothing, then the oldest."""
        known = self._kept[place]
        sizes = {key: len(key) + len(value.encode()) for key, value in known.texts.items()}
        sizes[name] = len(name) + len(text.encode())
        alive = {*self._alive(place[0]), name}
        gone = sorted((key for key in sizes if key not in alive), key=lambda key: _worth(known.facts.get(key, NOTHING)))
        surplus = []
        while sum(sizes.values()) > MOST_BYTES:
            if not gone:
                told = f"ConfigMap {name_for(place)} is full: {MOST_BYTES} bytes of existing ModelDeployments"
                raise ForbiddenError(status=403, reason="TooLarge", message=told)
            surplus.append(gone.pop(0))
            del sizes[surplus[-1]]
        return surplus

    async def _create(self, place: Place, data: dict[str, str]) -> Body:
        body = {"metadata": {"name": name_for(place)}, "data": data}
        try:
            return await self._client.create(CONFIGMAPS, self._namespace, body)
        except AlreadyExistsError:  # made for another of its ModelDeployments at the same time: that is no refusal
            return await self._client.patch(CONFIGMAPS, self._namespace, name_for(place), {"data": data})

    async def run(self) -> None:
        """Read for ever: what is asked for at once, everything once a minute."""
        pause = _READ_EVERY
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), pause * random.uniform(0.8, 1.2))  # noqa: S311  # jitter
            everything, wanted = not self._asked.is_set(), self._wanted()
            self._asked.clear()
            await self._read_all(list(self._kept) if everything else wanted)
            failed = [place for place, kept in self._kept.items() if kept.problem]
            pause = _READ_AGAIN if failed else _READ_EVERY
            if failed and not everything:
                await asyncio.sleep(_READ_AGAIN)  # every pass asks: an error must not become a request each time

    async def _read_all(self, places: Collection[Place]) -> None:
        """Read a few at the same time: whoever waits for one does not wait for all those before it."""
        free = asyncio.Semaphore(_AT_ONCE)

        async def read(place: Place) -> None:
            async with free:
                await self.read(place)

        await asyncio.gather(*map(read, places))

    def _wanted(self) -> set[Place]:
        unread = {place for place, kept in self._kept.items() if not kept.read}
        return unread | {place_of(namespace, name) for namespace, name in self._doubtful}

    async def read(self, place: Place) -> None:
        """Read one of the ConfigMaps now."""
        doubtful = {key for key in self._doubtful if place_of(*key) == place}
        before, era, body = self._kept.setdefault(place, Kept()), self._era, None
        problem: ApiError | None = None
        try:
            body = await self._client.get(CONFIGMAPS, self._namespace, name_for(place))
        except NotFoundError:
            pass
        except ApiError as error:
            problem = error
        if era != self._era:
            return  # all of it was forgotten meanwhile: another replica may have written since this was asked
        if problem:
            self._failed(place, problem)
            return
        if body is None:
            self._kept[place] = Kept(read=True)
        else:
            self._learn(place, body, again=bool(before.problem))
        self._doubtful -= doubtful
        now = self._kept[place]
        if (before.read, before.problem) != (now.read, now.problem):
            self._changed(place)
        elif names := {name for _, name in doubtful} | _different(before.texts, now.texts):
            self._on_change(place[0], names)

    def _changed(self, place: Place) -> None:
        """Wake all whose facts are in one ConfigMap."""
        self._on_change(place[0], {name for name in self._alive(place[0]) if place_of(place[0], name) == place})

    def _failed(self, place: Place, error: ApiError) -> None:
        """What is known stays; what is not known is not nothing."""
        kept = self._kept[place]
        problem = f"cannot read ConfigMap {self._namespace}/{name_for(place)} with the rejected digests: {error}"
        if kept.problem != problem:
            logger.warning(problem)
            kept.problem = problem
            self._changed(place)

    def _wrote(self, place: Place, data: Mapping[str, str | None], body: Body) -> None:
        """Note what was written: of two writes at the same time, the later answer does not undo the other's."""
        known = self._kept.setdefault(place, Kept())  # all of it may have been forgotten meanwhile
        texts = {key: text for key, text in {**known.texts, **data}.items() if text is not None}
        facts = {key: known.facts[key] for key in texts if key in known.facts and key not in data}
        facts |= {key: Remembered.from_text(text) for key, text in data.items() if text is not None}
        wrong = {key: why for key, why in known.wrong.items() if key not in data}
        version = max((each for each in (known.version, version_of(body)) if each is not None), default=None)
        self._kept[place] = replace(known, texts=texts, facts=facts, wrong=wrong, version=version)

    def _learn(self, place: Place, body: Body, *, again: bool = False) -> None:
        """What our own write has told us already is not unsaid by a reading that began before it."""
        known, version = self._kept.setdefault(place, Kept()), version_of(body)
        if known.read and not again and known.version is not None and version is not None and version < known.version:
            return
        texts = {str(key): str(text) for key, text in (body.get("data") or {}).items()}
        facts, wrong = {}, {}
        for key, text in texts.items():
            try:
                facts[key] = known.facts[key] if known.texts.get(key) == text else Remembered.from_text(text)
            except (InvalidSpecError, KeyError) as error:
                wrong[key] = known.wrong.get(key, str(error))
        self._kept[place] = Kept(texts=texts, facts=facts, wrong=wrong, version=version, read=True)


def place_of(namespace: str, name: str) -> Place:
    """Return where the facts of a ModelDeployment are kept; it is the same for ever."""
    return namespace, zlib.crc32(name.encode()) % PARTS


def names_for(namespace: str) -> tuple[str, ...]:
    """Return the names of the ConfigMaps that keep the facts of a namespace."""
    return tuple(name_for((namespace, part)) for part in range(PARTS))


def name_for(place: Place) -> str:
    """Return the name of one of them."""
    namespace, part = place
    return f"{REMEMBERED_CONFIG_MAP}{namespace}-{part}"


def _different(before: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    return {name for name, _ in before.items() ^ now.items()}


def _worth(facts: Remembered) -> tuple[bool, datetime]:
    times = [*(item.at for item in facts.left if item.at), *(item.at for item in facts.proven)]
    return bool(facts.left or facts.held), max(times, default=_EARLIEST)
