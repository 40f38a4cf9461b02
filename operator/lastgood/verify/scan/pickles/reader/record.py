"""What a pickle asked for: each thing once, and bounded."""

import reprlib
from typing import Any, Final

MAX_ROWS: Final = 256
MAX_NAME: Final = 200
MAX_STORAGES: Final = 100_000
_MAX_NUMBERS: Final = 2**63
_STORAGE: Final = (5, 6)  # parts of a persistent id of torch.save; before 1.6 a sixth, which is None today


class Record:
    """What was asked for: each thing once, bounded.

    Attributes:
        storages: by key, the type and the count of numbers that torch's persistent ids declare.
    """

    def __init__(self) -> None:
        self.imports: dict[tuple[str, str], None] = {}
        self.calls: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.persistent: dict[str, None] = {}
        self.storages: dict[str, tuple[str, int]] = {}
        self.extensions: dict[int, None] = {}
        self.changed: dict[str, None] = {}  # bounded by the imports: each is one of them
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

    def asked(self, persistent: object, kind: str) -> None:
        """Keep a persistent id: a storage of torch by its key, if it says the same each time; any other as it is."""
        key, row = _storage(persistent, kind)
        if row is None or self.storages.get(key, row) != row:
            self._keep(self.persistent, _SHOW.repr(persistent)[:MAX_NAME], None)
        elif len(self.storages) >= MAX_STORAGES:
            self.full = True
        else:
            self.storages[key] = row

    def _keep(self, rows: dict[Any, Any], key: object, value: object) -> None:
        if len(rows) >= MAX_ROWS and key not in rows:
            self.full = True
        else:
            rows.setdefault(key, value)

    def as_body(self) -> dict[str, object]:
        """Return it as the parent reads it."""
        return {
            "imports": list(self.imports),
            "calls": self.calls,
            "sizes": self.sizes,
            "persistent": list(self.persistent),
            "storages": [[key, kind, count] for key, (kind, count) in self.storages.items()],
            "extensions": list(self.extensions),
            "changed": list(self.changed),
            "full": self.full,
        }


def kind_of(persistent: object) -> object:
    """Return what a persistent id names as the type of its storage, if it has one."""
    return persistent[1] if type(persistent) is tuple and len(persistent) in _STORAGE else None


def _storage(persistent: object, kind: str) -> tuple[str, tuple[str, int] | None]:
    """Return key, and type and count: of `("storage", type, key, location, count)`, exactly."""
    if not kind or type(persistent) is not tuple or len(persistent) not in _STORAGE:
        return "", None
    word, _, key, location, count, *view = persistent
    texts = all(type(text) is str and len(text) <= MAX_NAME for text in (word, key, location))
    if not texts or word != "storage" or view not in ([], [None]):
        return "", None
    if type(count) is not int or not 0 <= count < _MAX_NUMBERS:
        return "", None
    return key, (kind, count)


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
