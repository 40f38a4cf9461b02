"""What stands behind a door: one module for each kind, found by name, because the package may be on a floor above."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def behind(door: str, attribute: str) -> Iterator[Any]:
    """Yield what each module of a package has under a name: the class of its kind.

    Raises:
        AttributeError: a module in that package has none.
    """
    package = import_module(door)
    for module in iter_modules(package.__path__):
        yield getattr(import_module(f"{door}.{module.name}"), attribute)
