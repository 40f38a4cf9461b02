"""Objects beside workloads that bindings write: read when they are needed, and written before the pod template.

Nobody watches them: each is read again after a minute, and before a write to its workload.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from lastgood.api.fields import Fields
from lastgood.api.meta import Meta
from lastgood.api.workload.companion import Companion, ObjectRef
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import NotFoundError
from lastgood.kube.api.resources import CONFIGMAPS, Resource

KINDS: Final[Mapping[str, Resource]] = {"ConfigMap": CONFIGMAPS}
"""The kinds that a binding may name; the operator needs `get` and `patch` on them where it watches."""
READ_AGAIN: Final = 60.0
_MOST: Final = 10_000

Key = tuple[str, ObjectRef]


class Companions:
    """What is known of them, for as long as it is no older than a minute."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[Key, tuple[float, Companion | None]] = {}

    async def of(self, namespace: str, refs: Collection[ObjectRef]) -> Mapping[ObjectRef, Companion | None]:
        """Return them as they were within the last minute; None where there is none."""
        limit = self._clock() - READ_AGAIN
        await self.read(namespace, [ref for ref in refs if self._at((namespace, ref)) <= limit])
        return {ref: self._known[namespace, ref][1] for ref in refs}

    def _at(self, key: Key) -> float:
        return self._known[key][0] if key in self._known else float("-inf")

    async def read(self, namespace: str, refs: Collection[ObjectRef]) -> None:
        """Read them now."""
        await asyncio.gather(*(self._read(namespace, ref) for ref in refs))

    async def _read(self, namespace: str, ref: ObjectRef) -> None:
        try:
            body = await self._client.get(KINDS[ref.kind], namespace, ref.name)
        except NotFoundError:
            self._put((namespace, ref), None)
        else:
            self._put((namespace, ref), companion(body))

    async def apply(self, there: Companion, ref: ObjectRef, body: Mapping[str, Any]) -> None:
        """Apply fields to one, on the very version that was decided on.

        Raises:
            ConflictError: somebody else wrote it meanwhile.
        """
        meta = there.meta
        identity = {"namespace": meta.namespace, "uid": meta.uid, "resourceVersion": meta.resource_version}
        whole = {"metadata": identity, **body}
        answer = await self._client.apply(KINDS[ref.kind], meta.namespace, meta.name, whole, force=True)
        self._put((meta.namespace, ref), companion(answer))

    def _put(self, key: Key, found: Companion | None) -> None:
        self._known.pop(key, None)
        self._known[key] = self._clock(), found
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]


def companion(body: Mapping[str, Any]) -> Companion:
    """Read an object as a companion; it never fails, whatever is in it."""
    fields = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    entries = Fields(body, strict=False).child("metadata").items("managedFields", limit=1000)
    owners = tuple((entry.text("manager"), entry.child("fieldsV1").value) for entry in entries)
    return Companion(meta=Meta.from_body(body), body=fields, owners=owners)
