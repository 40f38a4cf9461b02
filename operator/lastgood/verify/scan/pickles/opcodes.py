"""A quick look at opcodes: could these bytes, read as a pickle, come to an opcode that does something?

It saves the child process for what certainly does nothing. Every doubt counts as yes: the child then decides.
"""

import pickletools
from typing import Final

from lastgood.verify.errors import VerifyError
from lastgood.verify.scan.containers.part import Codec, Part

_LOOK: Final = 20_000  # opcodes; what goes on for longer is left to the child
_MAX_VALUE: Final = 2**20
_WINDOW: Final = 4096
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
_MARK: Final = pickletools.markobject
_SLICE: Final = pickletools.stackslice


def may_act(part: Part) -> bool:
    """Tell whether the opcodes from the beginning lead to one that does something, in any of the pickles in a row."""
    cursor = _Cursor(part)
    try:
        return any(_stream(cursor) for _ in range(_LOOK) if not cursor.ended) or not cursor.ended
    except _EndError:
        return False  # it ends inside a value, for every loader
    except ValueError as error:
        # A byte that is no opcode ends it for every loader; anything else that goes wrong here may not.
        return not (str(error).startswith("at position") and str(error).endswith(" unknown"))
    except VerifyError:
        raise
    except Exception:  # noqa: BLE001 - pickletools fails in many ways, and none of them says that loaders do
        return True


def _stream(cursor: "_Cursor") -> bool:
    """Tell it of one pickle, up to its STOP."""
    stack = _Stack()
    for count, (opcode, _, _) in enumerate(pickletools.genops(cursor)):  # type: ignore[arg-type]  # it has read and readline, which is all that genops uses
        if not stack.after(opcode):
            raise _EndError
        if opcode.name in _ACTS or count > _LOOK:
            return True
    return False


class _Stack:
    """At most so many objects, and marks among them, as a loader has after each opcode."""

    def __init__(self) -> None:
        self._objects = 0
        self._marks = 0

    def after(self, opcode: pickletools.OpcodeInfo) -> bool:
        """Go on; False if every loader fails here, for there is too little on the stack."""
        before = opcode.stack_before
        plain = sum(kind not in {_MARK, _SLICE} for kind in before)
        if _MARK in before:
            if not self._marks:
                return False
            self._marks -= 1
        if plain > self._objects:
            return False
        # What a mark takes away with it is not counted: there may be as much left as there was.
        self._objects += len(opcode.stack_after) - (0 if _MARK in before else plain)
        self._marks += opcode.name == "MARK"
        return True


class _EndError(Exception):
    """The bytes end, or the stack does, before anything was done."""


class _Cursor:
    """What pickletools reads from: a part, forwards, with bounded values."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._at = 0
        self._window = b""
        self._start = 0
        self._known = part.whole or part.place.codec is Codec.STORED

    @property
    def ended(self) -> bool:
        """Whether all was read; of what is packed and too large to be kept, the rest is not known."""
        return self._known and not self._peek(1)

    def read(self, count: int) -> bytes:
        """Return so many bytes."""
        if count > self._part.size - self._at and self._known:
            raise _EndError
        if count > _MAX_VALUE:
            raise ValueError("a value too large to be looked at here")
        data = self._peek(count)[:count]
        if len(data) < count and not self._known:
            raise ValueError("beyond what is kept")
        self._at += len(data)
        return data

    def readline(self) -> bytes:
        """Return the bytes up to a line feed, and with it."""
        for size in (_WINDOW, _MAX_VALUE):
            data = self._peek(size)
            end = data.find(b"\n") + 1
            if end or len(data) < size:
                break
        else:
            raise ValueError("a line too long to be looked at here")
        data = data[: end or len(data)]
        self._at += len(data)
        return data

    def _peek(self, count: int) -> bytes:
        inside = self._at - self._start
        if inside + count > len(self._window):
            self._start, inside = self._at, 0
            self._window = self._part.read(self._at, max(count, _WINDOW))
        return self._window[inside : inside + count]
