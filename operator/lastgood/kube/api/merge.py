"""JSON merge patches (RFC 7396), so that a write carries only what changed."""

from collections.abc import Mapping
from typing import Any


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that makes the fields of `new` so in `old`; null removes, and other fields stay.

    Args:
        old: the object as it is stored.
        new: the whole of each object inside it that is named; a field that is null or left out inside one goes.
    """
    patch: dict[str, Any] = {}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = difference(before, value) | {gone: None for gone in before if gone not in value}
            if inner:
                patch[key] = inner
        elif before != value:
            patch[key] = value
    return patch
