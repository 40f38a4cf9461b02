"""The child process that reads one untrusted pickle: it records what the pickle asks for, and runs none of it.

It stands alone (`python -I -S _unpickle.py …`), imports only the standard library, has no secrets, and limits
itself before the first byte. Every class and function that a pickle asks for becomes an inert stub. What it
found goes to stdout as one JSON object; the parent judges it.
"""

import copyreg
import gc
import json
import os
import pickle
import pickletools
import re
import reprlib
import resource
import sys
import warnings
import zlib
from typing import Any, Final, Self, TypeAlias

CHUNK: Final = 2**17
LINE: Final = 2**9  # what is searched for a line feed at a time
SKIP: Final = 2**20  # payloads of bytes above this are counted and not looked at: no loader runs them
MAX_READ: Final = 2**23  # one string, number or frame
MAX_ROWS: Final = 256
MAX_NAME: Final = 200
MAX_STREAMS: Final = 64
MAX_CODE: Final = 2**31 - 1  # of the extension registry, PEP 307
MAX_OPCODES: Final = 2_000_000
TORCH_MAGIC: Final = 0x1950A86A20F9469CFC6C  # torch.save before 1.6: five pickles, then raw numbers
TORCH_STREAMS: Final = 5
WINDOW: Final = {"deflate": -15, "zlib": 47}
CALLS: Final = frozenset({"REDUCE", "OBJ", "INST", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
Argument: TypeAlias = Any  # pickletools: of an opcode, a text, a number or None
_NO_CODE: Final = re.compile(r"unregistered extension code (\d+)")


class Source:
    """The bytes of a part, forwards: from a descriptor at an offset, unpacked on the way."""

    def __init__(self, descriptor: int, start: int, stored: int, codec: str) -> None:
        self._place = (descriptor, start, stored, codec)
        self.rewind()

    def rewind(self, position: int = 0) -> None:
        """Begin again, at a position."""
        self._descriptor, self._at, self._left, codec = self._place
        self._machine = zlib.decompressobj(WINDOW[codec]) if codec in WINDOW else None
        self._buffer = memoryview(b"")
        self.position = 0
        self._skip(position)

    def peek(self, count: int = CHUNK) -> bytes:
        """Return what is at hand, and at least one byte unless this is the end."""
        if not self._buffer:
            self._buffer = memoryview(self._more())
        return bytes(self._buffer[: min(count, CHUNK)])

    def read(self, count: int = -1) -> bytes:
        """Return so many bytes, or what is left of them."""
        if not 0 <= count <= MAX_READ:
            raise MemoryError(f"a single value of {count} bytes")
        found = bytearray()
        while len(found) < count and self.peek(1):
            found += self._take(count - len(found))
        return bytes(found)

    def readline(self) -> bytes:
        """Return the bytes up to a line feed, and with it."""
        found = bytearray()
        while len(found) <= MAX_READ and self.peek(1):
            window = bytes(self._buffer[:LINE])
            end = window.find(b"\n") + 1
            found += self._take(end or len(window))
            if end:
                return bytes(found)
        if len(found) > MAX_READ:
            raise MemoryError("a line without an end")
        return bytes(found)

    def readinto(self, target: memoryview) -> int:
        """Fill a payload of bytes; a large one is skipped, so that its memory is never touched."""
        count = len(target)
        if count > SKIP:
            return self._skip(count)
        data = self.read(count)
        target[: len(data)] = data
        return len(data)

    def _skip(self, count: int) -> int:
        done = 0
        while done < count:
            if self._machine is None and not self._buffer:
                step = min(count - done, self._left)  # far: without reading
                self._at, self._left = self._at + step, self._left - step
                self.position += step
                return done + step
            if not self.peek(1):
                break
            done += len(self._take(count - done))
        return done

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        self._buffer = self._buffer[len(data) :]
        self.position += len(data)
        return data

    def _more(self) -> bytes:
        if self._machine is None:
            return self._pread()
        while not self._machine.eof:
            packed = self._machine.unconsumed_tail or self._pread()
            data = self._machine.decompress(packed, CHUNK)
            if data or not packed:
                return data
        return b""

    def _pread(self) -> bytes:
        data = os.pread(self._descriptor, min(CHUNK, self._left), self._at)
        if self._left and not data:
            raise OSError("the file is shorter than it was")
        self._at, self._left = self._at + len(data), self._left - len(data)
        return data


class Record:
    """What was asked for: each thing once, bounded."""

    def __init__(self) -> None:
        self.imports: dict[tuple[str, str], None] = {}
        self.calls: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.persistent: dict[str, None] = {}
        self.extensions: dict[int, None] = {}
        self.full = False

    def found(self, module: object, name: object) -> None:
        """Keep an import."""
        self._keep(self.imports, (str(module)[:MAX_NAME], str(name)[:MAX_NAME]), None)

    def called(self, name: str, arguments: tuple[object, ...]) -> None:
        """Keep the first call of each name with its arguments, and the largest number among them."""
        self._keep(self.calls, name, _SHOW.repr(arguments)[:MAX_NAME])
        largest = max((value for value in _flat(arguments) if isinstance(value, int)), default=0)
        if largest > 2**30 and name in self.calls:
            self.sizes[name] = max(self.sizes.get(name, 0), min(largest, 2**63))

    def asked(self, persistent: object) -> None:
        """Keep a persistent id, but for those of torch, whose form is always the same."""
        if not (isinstance(persistent, tuple) and len(persistent) > 1 and persistent[0] == "storage"):
            self._keep(self.persistent, _SHOW.repr(persistent)[:MAX_NAME], None)

    def _keep(self, rows: dict[Any, Any], key: object, value: object) -> None:
        if len(rows) >= MAX_ROWS and key not in rows:
            self.full = True
        else:
            rows.setdefault(key, value)


class Show(reprlib.Repr):
    """Short forms of arguments, of built-in types only: no other type's repr is asked."""

    def repr_instance(self, x: object, level: int) -> str:  # noqa: ARG002 - reprlib's signature
        """Name the type, but for small built-in values."""
        if type(x) is bytes:
            return repr(x[: self.maxstring])
        return repr(x) if x is None or type(x) in {bool, float} else f"<{type(x).__name__}>"


_SHOW = Show()
_SHOW.maxstring = _SHOW.maxother = _SHOW.maxlong = 120
_SHOW.maxlevel = 3


def _flat(arguments: tuple[object, ...]) -> list[object]:
    inner = [value for item in arguments[:64] if isinstance(item, tuple) for value in item[:64]]
    return [*arguments[:64], *inner]


def nothing(*_: object, **__: object) -> None:
    """Take anything, do nothing."""


def stub(record: Record, name: str) -> type:
    """Return a class that stands for whatever a pickle asked for: callable, buildable, fillable, and inert."""

    class Meta(type):
        __setitem__ = nothing

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


class Recorder(pickle.Unpickler):
    """An unpickler that finds nothing."""

    def __init__(self, source: Source, record: Record) -> None:
        super().__init__(source)
        self._record = record
        self._stubs: dict[tuple[str, str], type] = {}

    def find_class(self, module: str, name: str) -> type:
        """Record a name, and return a stub for it."""
        if (module, name) not in self._stubs:
            self._record.found(module, name)
            if len(self._stubs) >= 10 * MAX_ROWS:
                raise pickle.UnpicklingError("too many different imports")
            self._stubs[module, name] = stub(self._record, f"{module}.{name}"[:MAX_NAME])
        return self._stubs[module, name]

    def persistent_load(self, pid: object) -> object:
        """Record an id, and return a stub for it."""
        self._record.asked(pid)
        return stub(Record(), "persistent id")()  # what is done to it is not asked of any import


def run(source: Source, record: Record) -> dict[str, object]:
    """Read stream after stream; a loader may be asked for each of them."""
    streams, legacy, error, begin = 0, False, "", 0
    while not error and source.peek(1) and streams < MAX_STREAMS:
        begin = source.position
        error, value = _one(source, record, begin)
        legacy = legacy or (streams == 0 and type(value) is int and value == TORCH_MAGIC)
        del value
        streams += not error
        if legacy and streams == TORCH_STREAMS:
            break
    else:
        if not error and source.peek(1):
            error = f"more than {MAX_STREAMS} streams"
    return {"streams": streams, "legacy": legacy, "error": error, "at": begin}


def _one(source: Source, record: Record, begin: int) -> tuple[str, object]:
    for _ in range(MAX_ROWS):
        try:
            return "", Recorder(source, record).load()
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
    source.rewind(begin)
    last: list[str] = []
    memo: dict[int, str] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(source)):  # type: ignore[arg-type]  # as above
            _look(opcode.name, argument, record, last, memo)
            del last[:-2]
            if count > MAX_OPCODES:
                break
    except Exception:  # noqa: BLE001, S110 - it is broken, which is known already
        pass


def _look(name: str, argument: Argument, record: Record, last: list[str], memo: dict[int, str]) -> None:
    if name in {"GLOBAL", "INST"}:
        record.found(*argument.split(" ", 1))
    elif name == "STACK_GLOBAL":
        if len(last) == 2 and "?" not in last:  # noqa: PLR2004 - a module and a name
            record.found(*last)
    elif name.startswith("EXT"):
        record.extensions.setdefault(argument)
    elif name == "MEMOIZE":
        memo[len(memo)] = last[-1] if last else "?"
    elif name in {"PUT", "BINPUT", "LONG_BINPUT"} and len(memo) < MAX_OPCODES:
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
    told |= {
        "imports": list(record.imports),
        "calls": record.calls,
        "sizes": record.sizes,
        "persistent": list(record.persistent),
        "extensions": list(record.extensions),
        "full": record.full,
    }
    sys.stdout.buffer.write(json.dumps(told).encode("ascii"))
    sys.stdout.flush()
    os._exit(0)  # not the end of a program: no destructor of what was built runs


if __name__ == "__main__":
    main(sys.argv[1:])
