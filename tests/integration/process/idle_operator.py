"""The real runtime around a reconciler that only tells which keys it was given: one JSON line for each pass."""

import asyncio
import json
import logging
import os
import sys

from lastgood.controller.runtime import Parts, Runtime
from lastgood.kube.api.client import CONFIGMAPS
from lastgood.kube.api.connection import Connection
from lastgood.kube.cache import Key
from lastgood.settings import from_environment

NOTE = "note"  # a pass of a ModelDeployment with this name writes its operator's identity into a ConfigMap


class TellingReconciler:
    """Prints each pass."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def reconcile(self, key: Key) -> float | None:
        """Tell, and write if the name asks for it."""
        tell(kind=str(key.kind), name=key.name, known=self._parts.cache.get(key) is not None)
        if key.name == NOTE:
            body = {"data": {self._parts.settings.identity: "wrote"}}
            await self._parts.client.patch(CONFIGMAPS, key.namespace, NOTE, body)
        return None

    async def close(self) -> None:
        """Tell that the end was a clean one."""
        tell(closed=True)


def tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def main() -> None:
    logging.basicConfig(stream=sys.stderr, level="INFO", format="%(asctime)s %(name)s: %(message)s")
    connection = await Connection.open(os.environ["KUBECONFIG"])
    await Runtime(connection, from_environment(), TellingReconciler).run()


if __name__ == "__main__":
    asyncio.run(main())
