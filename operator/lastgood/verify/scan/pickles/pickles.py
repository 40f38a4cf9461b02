"""The pickle scanner: what would a loader of this file import and call?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import PICKLE_NAMES, Format
from lastgood.verify.scan.pickles import imports
from lastgood.verify.scan.pickles.opcodes import may_act
from lastgood.verify.scan.pickles.sandbox import Asked, ask
from lastgood.verify.scan.pickles.storages import legacy_tail
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, anomaly, finding

_LOADED_AS_PICKLE: Final = frozenset({Format.PICKLE, Format.UNKNOWN, Format.TEXT})
_ALLOCATE: Final = frozenset(  # what takes as much memory as the number says
    ["builtins.bytearray", "builtins.bytes", "__builtin__.bytearray", "__builtin__.bytes", "numpy.ndarray"]
)
_NEVER: Final = frozenset({Format.EMPTY, Format.TORCH})  # nothing in it, or accounted for by the archive around it


@dataclass(frozen=True, kw_only=True, slots=True)
class PickleScanner:
    """Asks a child process what a pickle imports, and compares that with the allow-list."""

    name: str = "pickle"

    def applies(self, part: Part) -> bool:
        """Tell whether any loader could take this for a pickle, whatever its name and its format say."""
        return part.format not in _NEVER and (part.format is Format.PICKLE or may_act(part))

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        """Yield what it asks for and may not."""
        asked = ask(part, context)
        if part.format in {Format.TEXT, Format.JSON} and not _acts(asked):
            return
        yield from judge(part, asked, context.policy.imports)
        if asked.legacy and not asked.error:
            yield from legacy_tail(part, asked)
        elif asked.storages:
            message = "it asks for storages of torch by their ids, and is not in an archive as torch.save writes it"
            yield finding(Severity.HIGH, "pickle-persistent-id", part.name, message, f"{len(asked.storages)} storages")


def _acts(asked: Asked) -> bool:
    """Tell whether what reads as a text does something as a pickle; words may look like opcodes.

    `cat` and `dog` on two lines import `at.dog`, and the next word breaks it. An attack has to call something, come to
    its end, or import a module that runs when it is imported. What is too much for the reader is not harmless for that.
    """
    runs = any(imports.runs(module) for module, _ in asked.imports)
    return bool(
        asked.calls or asked.changed or asked.escaped or asked.at_limit or runs or (asked.streams and asked.imports)
    )


def judge(part: Part, asked: Asked, extra: frozenset[str]) -> Iterator[Finding]:
    """Yield what is wrong with what a pickle asks for."""
    if asked.escaped:
        message = "the sandboxed pickle reader did something forbidden and was stopped: treat the file as malicious"
        yield finding(Severity.CRITICAL, "pickle-escape", part.name, message, asked.escaped)
    if part.format is not Format.PICKLE and not asked.imports and not asked.extensions:
        yield from _unclaimed(part, asked)  # another format, or bytes that the claim scanner tells of
        return
    yield from _hidden(part, asked)
    yield from _imports(part, asked, extra)
    yield from _requests(part, asked)
    yield from _ending(part, asked)


def _unclaimed(part: Part, asked: Asked) -> Iterator[Finding]:
    if asked.at_limit and part.format in _LOADED_AS_PICKLE:
        message = "not fully scanned as a pickle: over the time or memory limit"
        yield finding(Severity.HIGH, "pickle-limits", part.name, message, asked.error)


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
        message = "it calls an object by extension code, which only the loading program can resolve"
        yield finding(Severity.HIGH, "pickle-extension", part.name, message, f"code {code}")
    for persistent in asked.persistent[:5]:
        message = "it requests an object by persistent id, which only the loading program can resolve"
        yield finding(Severity.HIGH, "pickle-persistent-id", part.name, message, persistent)
    for name in asked.changed[:5]:
        message = f"it changes {name} itself, for all of the program that loads it"
        yield finding(Severity.CRITICAL, "pickle-build", part.name, message, name)
    for name, size in asked.sizes.items():
        if not name.startswith("torch."):
            severity = Severity.HIGH if name in _ALLOCATE else Severity.MEDIUM
            message = f"it calls {name} with a number so large that loading may exhaust the memory"
            yield anomaly(severity, "pickle-memory", part.name, message, str(size))


def _ending(part: Part, asked: Asked) -> Iterator[Finding]:
    if asked.full:
        message = "it imports or calls more than a model needs; the list is incomplete"
        yield finding(Severity.CRITICAL, "pickle-limits", part.name, message)  # as what is not listed may be
    if not asked.error:
        return
    if asked.streams and not asked.at_limit:
        message = "after a complete pickle there are bytes that no loader reads as one"
        yield finding(Severity.HIGH, "pickle-trailing-data", part.name, message, f"at byte {asked.at}: {asked.error}")
        return
    rule, words = ("pickle-limits", "takes too much") if asked.at_limit else ("pickle-broken", "is broken")
    message = f"the pickle {words}, so not all of it was looked at; what comes before runs all the same"
    yield finding(Severity.HIGH, rule, part.name, message, asked.error)
