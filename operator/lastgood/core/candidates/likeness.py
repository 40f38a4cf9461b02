"""Whether two snapshots would run the same: what served under one name is proof for the same under another."""

import hashlib
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from lastgood.api.bindings.binding import Binding
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import PvcSource, StoreSource
from lastgood.core.workload import Bound, beside, render, template

_ANYWHERE: Final = PvcSource(claim="anywhere", path="anywhere")


def runtime(bindings: Iterable[Binding], snapshot: ModelSnapshot) -> str:
    """Return a fingerprint of what a snapshot makes of the workload beside its digest; empty where it has no value.

    A digest covers the bytes and not the image, nor any other value that whoever makes a snapshot chooses. Where the
    bytes lie on a volume is no part of it: they are read there, and compared, before every switch. What pods fetch from
    elsewhere by themselves may be other bytes than we read, so there the place is part of it.
    """
    place = snapshot.place
    bound = render(bindings, snapshot, _ANYWHERE if isinstance(place, PvcSource | StoreSource) else place)
    return "" if bound is None else _fingerprint(snapshot.image, bound)


@lru_cache(maxsize=1024)
def _fingerprint(image: str, bound: tuple[Bound, ...]) -> str:
    """Return the same for the same values; every pass asks for that of each snapshot."""
    made: list[object] = [image, template(bound)]
    if others := beside(bound):
        made.append({str(ref): body for ref, body in others.items()})
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:32]
