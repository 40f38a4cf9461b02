"""What the API server does not give the operator: rights that it lost, and definitions that are not installed.

Every refusal of either kind, whoever met it, comes here. It is confirmed, told as one alert together with what was
lost with it, asked for again with growing pauses, and told once more when it is over. Meanwhile the pod is not ready,
and nobody else says a word.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lastgood.api.names import GROUP, QUARANTINE_CONFIG_MAP, VERSION
from lastgood.kube.api.problems import ApiError, ForbiddenError, NotFoundError
from lastgood.kube.api.resources import Resource

PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between questions while something is missing
_ROUND_EVERY: Final = 60.0  # a watch that runs outlives the right to it, and a right that is not used is not missed
ROUND: Final = 48  # questions at most in one round
MOST: Final = 64
_WATCHED: Final = ("list", "watch")
_DENIED = re.compile(
    r'(?:\S+ "(?P<name>[^"]{1,253})" )?is forbidden: User "[^"]*" cannot (?P<verb>[a-z]+) '
    r'resource "(?P<resource>[a-z/]+)" in API group "(?P<group>[a-z0-9.]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]+)"| at the cluster scope)'
)
_DEFINED = re.compile(rf"/apis/{re.escape(GROUP)}/{VERSION}/(?:namespaces/[^/]+/)?(?P<resource>[a-z]+)(?:/|$)")
_EXTRAS: Final = frozenset({"secrets", "jobs", "pods", "events"})  # not every installation grants them


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A right, or with an empty verb the definition of a kind; an empty namespace is all of them."""

    resource: str
    group: str = GROUP
    verb: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def kind(self) -> str:
        """The kind of object as `kubectl` takes it."""
        plain, _, subresource = self.resource.partition("/")
        return f"{plain}{f'.{self.group}' if self.group else ''}{f'/{subresource}' if subresource else ''}"

    @property
    def needed(self) -> bool:
        """Whether the operator is of no use without it."""
        if self.resource == "configmaps":  # others hold signatures and certificates, each needed by one snapshot
            return not self.name or self.name.startswith(QUARANTINE_CONFIG_MAP.partition("-")[0])
        return self.resource.partition("/")[0] not in _EXTRAS

    @property
    def blinds(self) -> bool:
        """Whether something cannot be listed or watched for it: what is known of it may be old, or less than all."""
        return not self.verb or (self.verb in _WATCHED and self.resource != "configmaps")

    @property
    def plain(self) -> "Missing":
        """The same right on every object of the kind."""
        return replace(self, name="")

    def __str__(self) -> str:
        """Return it in a few words, without the namespace."""
        if not self.verb:
            return f"CustomResourceDefinition {self.kind}"
        return f"{self.verb} {self.kind}{f' {self.name}' if self.name else ''}"


def sentence(lost: Sequence[Missing]) -> str:
    """Say what is missing, and who gives it."""
    kinds = ", ".join(str(item) for item in lost if not item.verb)
    places = dict.fromkeys(item.namespace for item in lost if item.verb)
    told = [f"RBAC does not allow the operator, {_where(place)}, to {_verbs(lost, place)}" for place in places]
    rights = f"{'; '.join(told)}: apply the chart's roles again" if told else ""
    return "; ".join(text for text in (rights, f"{kinds} is not installed: apply crds/" if kinds else "") if text)


def _where(namespace: str) -> str:
    return f"in namespace {namespace}" if namespace else "in all namespaces"


def _verbs(lost: Sequence[Missing], namespace: str) -> str:
    """Return what may not be done in a namespace, kind by kind."""
    verbs: dict[str, list[str]] = {}
    for item in lost:
        if item.verb and item.namespace == namespace:
            verbs.setdefault(str(replace(item, verb="-"))[2:], []).append(item.verb)
    return ", ".join(f"{'/'.join(sorted(found))} {kind}" for kind, found in verbs.items())


def read_refusal(error: ApiError, path: str) -> Missing | None:
    """Return what a refusal says is missing; a policy that denies one write, or one object, is something else."""
    if isinstance(error, ForbiddenError) and (match := _DENIED.search(error.message)):
        found = {key: text or "" for key, text in match.groupdict().items()}
        return Missing(**found)
    # The API server names the object that is not there, but not a kind that it does not know.
    if isinstance(error, NotFoundError) and not error.named and (known := _DEFINED.search(path)):
        return Missing(resource=known["resource"])
    return None


Ask = Callable[[Missing], Awaitable[bool | None]]


class Access:
    """Keeps what is missing; `run` asks for it again."""

    def __init__(self) -> None:
        self.on_lost: Callable[[Sequence[Missing]], None] = lambda _: None
        self.on_back: Callable[[Sequence[Missing]], None] = lambda _: None
        self._suspected: dict[Missing, None] = {}
        self._missing: dict[Missing, None] = {}
        self._granted: dict[Missing, None] = {}
        self._ours: frozenset[Missing] = frozenset()
        self._news = asyncio.Event()
        self._turn = asyncio.Event()

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Return what is known to be missing."""
        return tuple(self._missing)

    @property
    def complete(self) -> bool:
        """Tell whether the operator has everything without which it is of no use."""
        return not any(item.needed for item in self._missing)

    def blind(self, namespace: str) -> bool:
        """Tell whether something of a namespace may not be known, by what is missing or only suspected to be.

        Of that namespace alone: whoever may take our rights away in his own must not stop the rollbacks of others.
        """
        found = (*self._missing, *self._suspected)
        return any(item.blinds and (not item.verb or item.namespace in ("", namespace)) for item in found)

    def note(self, error: ApiError, path: str) -> bool:
        """Take note of a refusal; True if it is told here, and nobody else need say it."""
        what = read_refusal(error, path)
        if what is None:
            return False
        if what.plain in self._granted or what.plain in self._missing:
            what = what.plain  # one right that is lost, and not one for each object
        if what not in self._missing and self._has_room(self._suspected, what):
            self._suspected[what] = None
            self._news.set()
        return True

    def _has_room(self, known: Mapping[Missing, None], what: Missing) -> bool:
        """Whoever names objects may not fill it; the rights of all namespaces are as many as were asked for."""
        return what in self._ours or len(known) < MOST

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until something is there again."""
        try:
            async with asyncio.timeout(seconds):
                await self._turn.wait()
        except TimeoutError:
            return

    async def run(self, ask: Ask, rights: Iterable[Missing] = ()) -> None:
        """Confirm what is suspected, ask again for what is missing, and now and then for all that was granted."""
        waiting, failures = list(rights), 0
        self._ours = frozenset(waiting)
        while True:
            suspected = list(self._suspected)
            self._news.clear()
            if suspected or self._missing:
                await self._look(ask, suspected)
            else:
                await self._round(ask, waiting[:ROUND])
                waiting = waiting[ROUND:] + waiting[:ROUND]
            failures = failures + 1 if self._missing or self._suspected else 0
            await self._pause(failures)

    async def _look(self, ask: Ask, suspected: Sequence[Missing]) -> None:
        """Confirm a suspicion, and look at once for what was lost with it: it is one alert then."""
        there = [item for item in self.missing if await ask(item)]
        answers = [(item, await ask(item)) for item in suspected if item not in self._missing]
        lost = [item for item, answer in answers if answer is False]
        for item in (*(item for item, answer in answers if answer is not None), *self._missing):
            self._suspected.pop(item, None)
        if lost:
            lost += [item for item in self._granted if item not in lost and await ask(item) is False]
        self._learn(lost=lost, there=there)

    async def _round(self, ask: Ask, rights: Sequence[Missing]) -> None:
        """What was never granted is not lost: a role may name its objects, and is enough all the same."""
        answers = [(item, await ask(item)) for item in rights]
        lost = [item for item, answer in answers if answer is False and item in self._granted]
        self._granted |= {item: None for item, answer in answers if answer}
        self._learn(lost=lost, there=())

    def _learn(self, *, lost: Sequence[Missing], there: Sequence[Missing]) -> None:
        lost = [item for item in lost if self._lose(item)]
        for item in there:
            del self._missing[item]
            self._granted |= {item: None} if item.verb else {}
        if lost:
            self.on_lost(lost)
        if there:
            self._turn.set()  # wakes whoever waits now
            self._turn.clear()
            self.on_back(there)

    def _lose(self, item: Missing) -> bool:
        """Tell whether it is kept as missing: what has no room is not told again and again either."""
        self._granted.pop(item, None)
        if self._has_room(self._missing, item):
            self._missing[item] = None
        return item in self._missing

    async def _pause(self, failures: int) -> None:
        pause = PAUSES[min(failures, len(PAUSES)) - 1] if failures else _ROUND_EVERY
        try:
            async with asyncio.timeout(pause * random.uniform(0.7, 1.0)):  # noqa: S311  # jitter, no secret
                await self._news.wait()
        except TimeoutError:
            return


def rights_on(
    resources: Iterable[tuple[Resource, tuple[str, ...]]], scopes: Iterable[str | None], *, name: str = ""
) -> list[Missing]:
    """Return the rights that the operator needs on some resources, in each scope."""
    pairs = list(resources)
    return [
        Missing(group=resource.group, resource=resource.plural + rest, verb=verb, namespace=scope or "", name=name)
        for scope in scopes
        for resource, verbs in pairs
        for verb, rest in (_split(text) for text in verbs)
    ]


def _split(text: str) -> tuple[str, str]:
    verb, _, subresource = text.partition("/")
    return verb, f"/{subresource}" if subresource else ""
