"""The pickle scanner: what would a loader of this file import and call?"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.errors import VerifyError
from lastgood.verify.scan import imports
from lastgood.verify.scan.formats import PICKLE_NAMES, Format
from lastgood.verify.scan.part import Part
from lastgood.verify.scan.sandbox import Asked, ask
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, anomaly, finding

_LOOK: Final = 20_000  # opcodes to see whether bytes of another format would run as a pickle too
_MAX_VALUE: Final = 2**20
_ACTS: Final = frozenset(
    [
        "GLOBAL",
        "INST",
        "OBJ",
        "REDUCE",
        "NEWOBJ",
        "NEWOBJ_EX",
        "BUILD",
        "STACK_GLOBAL",
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
    ]
)
_LOADED_AS_PICKLE: Final = frozenset({Format.PICKLE, Format.UNKNOWN, Format.TEXT})
_RAW_SUFFIXES: Final = frozenset({".bin", ".dat", ".p"})  # raw numbers go by these names too


@dataclass(frozen=True, kw_only=True, slots=True)
class PickleScanner:
    """Asks a child process what a pickle imports, and compares that with the allow-list."""

    name: str = "pickle"

    def applies(self, part: Part) -> bool:
        """Tell whether any loader could take this for a pickle, whatever its name and its format say."""
        if part.format is Format.EMPTY:
            return False
        named = part.suffix in PICKLE_NAMES and part.format in _LOADED_AS_PICKLE
        return part.format is Format.PICKLE or named or may_run(part)

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        """Yield what it asks for and may not."""
        asked = ask(part, context.limits)
        if part.format in {Format.TEXT, Format.JSON} and not asked.calls and not asked.escaped:
            return  # words that look like opcodes; an attack would have to call something
        yield from judge(part, asked, context.policy.imports)


def may_run(part: Part) -> bool:
    """Tell whether the opcodes from the beginning lead to one that does something.

    Bytes that are no opcode end it, for us as for every loader; anything else that goes wrong does not.
    """
    try:
        for count, (opcode, _, _) in enumerate(pickletools.genops(_Cursor(part))):  # type: ignore[arg-type]  # it has read and readline, which is all that genops uses
            if opcode.name in _ACTS or count > _LOOK:
                return True
    except ValueError as error:
        no_opcode = str(error).startswith("at position") and str(error).endswith(" unknown")
        return not no_opcode and not str(error).startswith("pickle exhausted")
    except VerifyError:
        raise
    except Exception:  # noqa: BLE001 - pickletools fails in many ways, and none of them says that loaders do
        return True
    return False


class _Cursor:
    """What pickletools reads from: a part, forwards, with bounded values."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._at = 0
        self._window = b""
        self._start = 0

    def read(self, count: int) -> bytes:
        if count > _MAX_VALUE:
            raise ValueError("a value too large to be looked at here")
        data = self._peek(count)[:count]
        self._at += len(data)
        return data

    def readline(self) -> bytes:
        data = self._peek(_MAX_VALUE)
        end = data.find(b"\n") + 1
        if not end and len(data) >= _MAX_VALUE:
            raise ValueError("a line too long to be looked at here")
        data = data[: end or len(data)]
        self._at += len(data)
        return data

    def _peek(self, count: int) -> bytes:
        inside = self._at - self._start
        if inside + count > len(self._window):
            self._start, inside = self._at, 0
            self._window = self._part.read(self._at, max(count, 4096))
        return self._window[inside : inside + count]


def judge(part: Part, asked: Asked, extra: frozenset[str]) -> Iterator[Finding]:
    """Yield what is wrong with what a pickle asks for."""
    if asked.escaped:
        message = "reading this pickle did something that reading never does; it was stopped"
        yield finding(Severity.CRITICAL, "pickle-escape", part.name, message, asked.escaped)
    if not _claimed(part) and not asked.imports and not asked.extensions:
        yield from _unclaimed(part, asked)  # raw numbers or another format, which no loader gets anything out of
        return
    yield from _hidden(part, asked)
    yield from _imports(part, asked, extra)
    yield from _requests(part, asked)
    yield from _ending(part, asked)


def _claimed(part: Part) -> bool:
    """Tell whether a file is a pickle by its bytes or by its name; any other is one only if it acts as one."""
    named = part.suffix in PICKLE_NAMES - _RAW_SUFFIXES and part.format in _LOADED_AS_PICKLE
    return part.format is Format.PICKLE or named


def _unclaimed(part: Part, asked: Asked) -> Iterator[Finding]:
    if asked.at_limit and part.format in _LOADED_AS_PICKLE:
        message = "if it is a pickle, it takes too much, and not all of it was looked at"
        yield anomaly(Severity.MEDIUM, "pickle-limits", part.name, message, asked.error)


def _hidden(part: Part, asked: Asked) -> Iterator[Finding]:
    may_be = part.format in _LOADED_AS_PICKLE and (part.format is not Format.TEXT or part.suffix in PICKLE_NAMES)
    if not may_be and (asked.imports or asked.extensions):
        message = f"the file is {part.format} and a pickle as well: which one it is depends on who loads it"
        yield finding(Severity.CRITICAL, "polyglot", part.name, message, _first(asked))


def _first(asked: Asked) -> str:
    return ", ".join(f"{module}.{name}" for module, name in asked.imports[:5])


def _imports(part: Part, asked: Asked, extra: frozenset[str]) -> Iterator[Finding]:
    for module, name in asked.imports:
        if module == "copyreg-extension" or imports.allowed(module, name, extra):
            continue
        shown = f"{module}.{name}"
        arguments = asked.calls.get(shown[:200], "")
        message = f"loading this pickle imports {shown}, which is not on the allow-list"
        yield finding(imports.severity(module), "pickle-import", part.name, message, f"{shown}{arguments}")


def _requests(part: Part, asked: Asked) -> Iterator[Finding]:
    for code in asked.extensions[:5]:
        message = "it uses an extension code, whose meaning is the loading program's own: what it calls is not known"
        yield finding(Severity.HIGH, "pickle-extension", part.name, message, f"code {code}")
    for persistent in asked.persistent[:5]:
        message = "it asks its loader for an object by a persistent id, whose meaning is the loading program's own"
        yield anomaly(Severity.MEDIUM, "pickle-persistent-id", part.name, message, persistent)
    for name, size in asked.sizes.items():
        if not name.startswith("torch."):
            message = f"it calls {name} with a number so large that loading may exhaust the memory"
            yield anomaly(Severity.MEDIUM, "pickle-memory", part.name, message, str(size))


def _ending(part: Part, asked: Asked) -> Iterator[Finding]:
    if asked.full:
        message = "it asks for more different things than a model has; not all of them are listed"
        yield finding(Severity.HIGH, "pickle-limits", part.name, message)
    if not asked.error:
        return
    if asked.streams and not asked.at_limit:
        message = "after a complete pickle there are bytes that no loader reads as one"
        yield anomaly(Severity.MEDIUM, "pickle-trailing-data", part.name, message, f"at byte {asked.at}: {asked.error}")
        return
    rule, words = ("pickle-limits", "takes too much") if asked.at_limit else ("pickle-broken", "is broken")
    message = f"the pickle {words}, so not all of it was looked at; what comes before runs all the same"
    yield finding(Severity.HIGH, rule, part.name, message, asked.error)
