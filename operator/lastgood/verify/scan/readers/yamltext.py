"""YAML of a stranger: read by the parser that loaders use, up to a bound, and never by patterns.

One key has many spellings in YAML: quoted, escaped, folded, behind `?`, as an alias. So the events of PyYAML's own
parser are put together here: nothing is constructed, and what lies behind an alias is not copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml
from yaml import events
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from lastgood.verify.scan.readers.bounds import JSON

MAX_BYTES: Final = 2**19
MAX_STEPS: Final = 50_000
"""Events, and keys that are merged: the parser takes about 50 microseconds for one."""

_CORE: Final = "tag:yaml.org,2002:"
_PLAIN: Final = frozenset(
    f"{_CORE}{name}"
    for name in "str int float bool null map seq set omap pairs binary timestamp merge value".split()  # noqa: SIM905
)
_FALSE: Final = frozenset({"", "~", "null", "false", "no", "off", "0"})
_MERGE: Final = "<<"
_TEXT_OF_A_STEP: Final = 100  # characters


class YamlError(ValueError):
    """One phrase that says why a text is no YAML that we use."""


class YamlBoundError(YamlError):
    """It is larger or deeper than what is looked at here; a loader may read it."""


@dataclass(kw_only=True, slots=True)
class _Yaml:
    """What a text holds as far as it could be read.

    Attributes:
        documents: lists, dicts and texts, which may hold one another in a circle; what loaders take for false is None.
        tags: those that are not of plain values, and make a loader build something.
        problem: why it could not be read to its end.
    """

    documents: list[object] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    problem: YamlError | None = None


def read(body: bytes) -> _Yaml:
    """Return what a YAML text holds; what is wrong with it is in the answer."""
    found = _Yaml()
    if len(body) > MAX_BYTES:
        found.problem = YamlBoundError(f"has more than {MAX_BYTES} bytes")
        return found
    builder = _Builder(found)
    try:
        for event in _events(body):
            builder.take(event)
    except YamlError as error:
        found.problem = error
    except yaml.YAMLError as error:
        found.problem = YamlError(
            f"is not YAML: {getattr(error, 'problem', None) or 'characters that it does not allow'}"
        )
    except ValueError:  # an escape beyond Unicode, a version of 5000 digits
        found.problem = YamlError("is not YAML that can be used")
    return found


class _Parser(Reader, Scanner, Parser):
    """PyYAML's own, up to the events."""

    def __init__(self, body: bytes) -> None:
        Reader.__init__(self, body)
        Scanner.__init__(self)
        Parser.__init__(self)


def _events(body: bytes) -> Iterator[events.Event]:
    parser = _Parser(body)
    while parser.check_event():
        yield parser.get_event()  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class _Open:
    """A list or a mapping that is not yet at its end; of a mapping, keys and values in turn."""

    value: list[object] | dict[str, object]
    items: list[object] = field(default_factory=list)


@dataclass(slots=True)
class _Builder:
    """Puts events together to values, in so many steps."""

    found: _Yaml
    steps: int = 0
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, object] = field(default_factory=dict)
    merges: list[tuple[dict[str, object], object]] = field(default_factory=list)

    def take(self, event: events.Event) -> None:
        """Take the next event.

        Raises:
            YamlError: beyond a bound, or an alias of nothing.
        """
        self._step()
        match event:
            case events.ScalarEvent():
                self._node(event, _scalar(event))
            case events.SequenceStartEvent() | events.MappingStartEvent():
                self._begin(event)
            case events.SequenceEndEvent() | events.MappingEndEvent():
                self._end()
            case events.AliasEvent():
                self._alias(event.anchor or "")
            case events.DocumentEndEvent():
                self._merge()
                self.anchors.clear()

    def _alias(self, name: str) -> None:
        """Put what an alias stands for. A text costs by its length, for it is looked at once for each alias."""
        if name not in self.anchors:
            raise YamlError(f"has the alias {name[:80]!r} of nothing")
        value = self.anchors[name]
        self._step(len(value) // _TEXT_OF_A_STEP if isinstance(value, str) else 0)
        self._put(value)

    def _step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > MAX_STEPS:
            raise YamlBoundError(f"takes more than {MAX_STEPS} steps to read")

    def _begin(self, event: events.CollectionStartEvent) -> None:
        if len(self.stack) >= JSON.depth:
            raise YamlBoundError(f"is nested deeper than {JSON.depth}")
        opened = _Open({} if isinstance(event, events.MappingStartEvent) else [])
        self._node(event, opened.value)
        self.stack.append(opened)

    def _node(self, event: events.ScalarEvent | events.CollectionStartEvent, value: object) -> None:
        if event.tag not in {None, "!"} and event.tag not in _PLAIN:
            self.found.tags.append(event.tag)
        if event.anchor is not None:
            self.anchors[event.anchor] = value
        self._put(value)

    def _put(self, value: object) -> None:
        if self.stack:
            self.stack[-1].items.append(value)
        else:
            self.found.documents.append(value)

    def _end(self) -> None:
        opened = self.stack.pop()
        if isinstance(opened.value, list):
            opened.value.extend(opened.items)
            return
        pairs = list(zip(opened.items[::2], opened.items[1::2], strict=True))
        named = [(key, value) for key, value in pairs if isinstance(key, str)]
        opened.value.update(named)
        if len(opened.value) < len(named):  # PyYAML takes the last of two, others the first
            self.found.documents.append(dict(reversed(named)))
        self.found.documents.extend(key for key, _ in pairs if not isinstance(key, str))
        for source in (value for key, value in named if key == _MERGE):
            self.merges += [(opened.value, one) for one in (source if isinstance(source, list) else [source])]

    def _merge(self) -> None:
        """Give mappings the keys of those that they merge, once all are complete, until there is nothing to add."""
        grown = True
        while grown:
            grown = False
            for mapping, source in self.merges:
                for key, value in list(source.items()) if isinstance(source, dict) else ():
                    self._step()
                    if key not in mapping:
                        mapping[key], grown = value, True
        self.merges.clear()


def _scalar(event: events.ScalarEvent) -> str | None:
    """Return a text; what is written plainly and means false or nothing is None."""
    plain = event.implicit[0] or event.tag in {f"{_CORE}bool", f"{_CORE}null", f"{_CORE}int"}
    return None if plain and event.value.lower() in _FALSE else event.value
