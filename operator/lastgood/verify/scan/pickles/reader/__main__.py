"""The child process that reads one untrusted pickle: it records what the pickle asks for, and runs none of it.

It stands alone (`python -I -S -B reader …`), imports only the standard library and its two neighbours, has no secrets,
and limits itself before the first byte. Every class and function that a pickle asks for becomes an inert stub. What it
found goes to stdout as one JSON object; the parent judges it.
"""

import copyreg
import gc
import json
import os
import pickle
import pickletools
import re
import resource
import sys
import warnings
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

if TYPE_CHECKING:
    from lastgood.verify.scan.pickles.reader.record import MAX_NAME, MAX_ROWS, MAX_STORAGES, Record, kind_of
    from lastgood.verify.scan.pickles.reader.source import Source
else:  # this directory is the first on the path of the child
    from record import MAX_NAME, MAX_ROWS, MAX_STORAGES, Record, kind_of
    from source import Source

MAX_STREAMS: Final = 64
MAX_CODE: Final = 2**31 - 1  # of the extension registry, PEP 307
_MAX_OPCODES: Final = 2_000_000
_TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C  # torch.save before 1.6: five pickles, then raw numbers
_TORCH_STREAMS: Final = 5
_Argument: TypeAlias = Any  # pickletools: of an opcode, a text, a number or None
_NO_CODE: Final = re.compile(r"unregistered extension code (\d+)")


def nothing(*_: object, **__: object) -> None:
    """Take anything, do nothing."""


def stub(record: Record, name: str) -> type:
    """Return a class that stands for whatever a pickle asked for: callable, buildable, fillable, and inert."""

    class Meta(type):
        __setitem__ = nothing

        @property
        def __setstate__(cls) -> Callable[..., None]:  # noqa: PLE0302 - a property, so that a class of it is seen too
            """BUILD of the class itself, and not of something made by it."""
            record.changed.setdefault(name)
            return nothing

    class Inert(metaclass=Meta):
        def __new__(cls, *arguments: object, **_: object) -> Self:
            record.called(name, arguments)
            return object.__new__(cls)

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __call__(self, *arguments: object, **_: object) -> "Inert":
            record.called(f"{name}()", arguments)
            return self

        __setitem__ = nothing
        # Static, because a pickle may build and fill a class as well as an instance.
        append = extend = add = __setstate__ = staticmethod(nothing)

    return Inert


class _Recorder(pickle.Unpickler):
    """An unpickler that finds nothing."""

    def __init__(self, source: Source, record: Record) -> None:
        super().__init__(source)
        self._record = record
        self._stubs: dict[tuple[str, str], type] = {}
        self._names: dict[object, str] = {}

    def find_class(self, module: str, name: str) -> type:
        """Record a name, and return a stub for it."""
        if (module, name) not in self._stubs:
            self._record.found(module, name)
            if len(self._stubs) >= 10 * MAX_ROWS:
                raise pickle.UnpicklingError("too many different imports")
            found = stub(self._record, f"{module}.{name}"[:MAX_NAME])
            self._stubs[module, name], self._names[found] = found, f"{module}.{name}"[:MAX_NAME]
        return self._stubs[module, name]

    def persistent_load(self, pid: object) -> object:
        """Record an id, and return a stub for it."""
        kind = kind_of(pid)
        self._record.asked(pid, self._names.get(kind, "") if isinstance(kind, type) else "")
        return stub(Record(), "persistent id")()  # what is done to it is not asked of any import


def run(source: Source, record: Record) -> dict[str, object]:
    """Read stream after stream; a loader may be asked for each of them."""
    streams, legacy, begin = 0, False, 0
    keys: list[str] = []
    more, error = _more(source)
    while more and not error:
        if streams == MAX_STREAMS:
            error = f"more than {MAX_STREAMS} streams"
            break
        begin = source.position
        error, value = _one(source, record, begin)
        legacy = legacy or (streams == 0 and type(value) is int and value == _TORCH_MAGIC)
        streams += not error
        if legacy and streams == _TORCH_STREAMS:
            keys = _keys(value)
            break
        del value
        more, error = (False, error) if error else _more(source)
    end = source.position
    return {"streams": streams, "legacy": legacy, "error": error, "at": begin, "end": end, "keys": keys}


def _more(source: Source) -> tuple[bool, str]:
    """Tell whether there are bytes left, or what is wrong with how they are packed."""
    try:
        return bool(source.peek(1)), ""
    except zlib.error as error:
        return True, f"what follows is not packed as it should be: {error}"


def _keys(value: object) -> list[str]:
    """Return the keys of the storages that follow, as torch.save listed them before 1.6."""
    listed = value if type(value) is list and len(value) <= MAX_STORAGES else []
    return [key for key in listed if type(key) is str and len(key) <= MAX_NAME]


def _one(source: Source, record: Record, begin: int) -> tuple[str, object]:
    for _ in range(MAX_ROWS):
        try:
            return "", _Recorder(source, record).load()
        except MemoryError as error:
            problem = f"MemoryError {error}"
        except RecursionError:
            problem = "RecursionError"
        except Exception as error:  # noqa: BLE001 - a broken pickle raises anything, and each is told
            problem = f"{type(error).__name__}: {error}"[:MAX_NAME]
        code = _NO_CODE.search(problem)
        if code is None or not _register(int(code.group(1)), record):
            break
        source.rewind(begin)
    static(source, record, begin)
    return problem, None


def _register(code: int, record: Record) -> bool:
    """Make the next attempt get past an extension code: its meaning is the loading program's own."""
    if code in record.extensions or not 0 < code <= MAX_CODE or len(record.extensions) >= MAX_ROWS:
        return False
    record.extensions[code] = None
    copyreg.add_extension("copyreg-extension", str(code), code)
    return True


def static(source: Source, record: Record, begin: int) -> None:
    """Read the opcodes alone of a stream that the unpickler gave up on, as a second opinion."""
    source.sparse = True
    source.rewind(begin)
    last: list[str] = []
    memo: dict[int, str] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(source)):  # type: ignore[arg-type]  # as above
            _look(opcode.name, argument, record, last, memo)
            del last[:-2]
            if count > _MAX_OPCODES:
                break
    except Exception:  # noqa: BLE001, S110 - it is broken, which is known already
        pass
    source.sparse = False


def _look(name: str, argument: _Argument, record: Record, last: list[str], memo: dict[int, str]) -> None:
    if name in {"GLOBAL", "INST"}:
        record.found(*argument.split(" ", 1))
    elif name == "STACK_GLOBAL":
        if len(last) == 2 and "?" not in last:  # noqa: PLR2004 - a module and a name
            record.found(*last)
    elif name.startswith("EXT"):
        record.extensions.setdefault(argument)
    elif name == "MEMOIZE":
        memo[len(memo)] = last[-1] if last else "?"
    elif name in {"PUT", "BINPUT", "LONG_BINPUT"} and len(memo) < _MAX_OPCODES:
        memo[argument] = last[-1] if last else "?"
    elif name in {"GET", "BINGET", "LONG_BINGET"}:
        last.append(memo.get(argument, "?"))
    elif isinstance(argument, str):
        last.append(argument[:MAX_NAME])


ALLOWED_EVENTS: Final = frozenset({"object.__new__", "object.__setattr__", "object.__getattr__", "sys._getframe"})


def lock(memory: int, seconds: int) -> None:
    """Give up what this process does not need, then refuse whatever the interpreter would tell an auditor."""
    for what, limit in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, 3),  # no number that a new descriptor could have
        (resource.RLIMIT_AS, _address_space() + memory),
    ):
        resource.setrlimit(what, (limit, limit))
    warnings.simplefilter("ignore")
    gc.disable()  # millions of small lists would be looked through again and again
    sys.addaudithook(_refuse)


def _refuse(event: str, _: object) -> None:
    if event not in ALLOWED_EVENTS:
        os.write(1, json.dumps({"escaped": event}).encode())
        os._exit(4)


def _address_space() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - without another import
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 2**28  # not Linux: what an interpreter may need


def main(arguments: list[str]) -> None:
    """Read one pickle and tell."""
    descriptor, start, stored, skip, memory, seconds = map(int, arguments[:6])
    record, source = Record(), Source(descriptor, start, stored, arguments[6])
    "\udc80".encode("utf-8", "backslashreplace")  # codecs are imported when first used
    json.dumps({})
    lock(memory, seconds)
    source.rewind(skip)
    told = run(source, record)
    told |= record.as_body()
    sys.stdout.buffer.write(json.dumps(told).encode("ascii"))
    sys.stdout.flush()
    os._exit(0)  # not the end of a program: no destructor of what was built runs


if __name__ == "__main__":
    main(sys.argv[1:])
