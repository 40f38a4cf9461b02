"""The one door to the API server: small, fast, fenced; every call ends in time with a value or an error.

Raw aiohttp costs a third of the CPU of the client libraries, and does not block the loop.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

import aiohttp

from lastgood.api.names import FIELD_MANAGER, VERSION
from lastgood.kube.access import Missing
from lastgood.kube.api.connection import Connection
from lastgood.kube.api.problems import (
    AlreadyExistsError,
    ApiError,
    Cause,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    unavailable,
)
from lastgood.kube.api.resources import (
    ACCESS_REVIEWS,
    CONFIGMAPS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    LEASES,
    PODS,
    ROLLBACKS,
    SNAPSHOTS,
    WORKLOADS,
    Resource,
)
from lastgood.kube.api.wire import answers, decoded, event_of, lines, raise_for

__all__ = [
    "CONFIGMAPS",
    "DEPLOYMENTS",
    "EVENTS",
    "JOBS",
    "LEASES",
    "PODS",
    "ROLLBACKS",
    "SNAPSHOTS",
    "WORKLOADS",
    "AlreadyExistsError",
    "ApiError",
    "Cause",
    "Client",
    "ConflictError",
    "ExpiredError",
    "Fence",
    "ForbiddenError",
    "InvalidError",
    "NotFoundError",
    "OpenFence",
    "Resource",
    "UnavailableError",
]

JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_APPLY_PATCH: Final = "application/apply-patch+yaml"  # JSON is YAML
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"  # of a list
_ITS_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

READ_SECONDS: Final = 15.0
_WRITE_SECONDS: Final = 10.0
PAGE_SIZE: Final = 500
RESTARTS: Final = 3  # of a list whose continue token expired
BACKOFF: Final = (0.1, 0.4, 1.0)  # between attempts of a read; a write is its caller's to repeat
_WATCH_SECONDS: Final = 50  # shorter than the silence that counts as a broken connection
_SILENCE_SECONDS: Final = 75.0

Body = dict[str, Any]
Bodies = list[Body]  # named here, because Client has a method of that name


class Fence(Protocol):
    """What may forbid a write."""

    def check(self) -> None:
        """Raise TransientError if we may not write now."""

    def remaining(self) -> float:
        """Return for how many seconds we may go on writing."""


class OpenFence:
    """Forbids nothing: for the command line, and for the Lease itself."""

    def check(self) -> None:
        """Allow."""

    def remaining(self) -> float:
        """Return for ever."""
        return float("inf")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, complete."""

    method: str
    path: str
    params: dict[str, str] = field(default_factory=dict)
    body: Body | None = None
    content_type: str = JSON
    accept: str = JSON


class Client:
    """Reads are repeated, writes are not; each write asks the fence first."""

    def __init__(self, connection: Connection, *, fence: Fence | None = None) -> None:
        self.connection = connection
        self._fence: Fence = fence or OpenFence()

    def fenced(self, fence: Fence) -> Self:
        """Return a client over the same connection that asks this fence."""
        return type(self)(self.connection, fence=fence)

    async def get(self, resource: Resource, namespace: str | None, name: str, *, metadata_only: bool = False) -> Body:
        """Return the object as it is now; with `metadata_only`, no more than that of it."""
        accept = _ITS_METADATA if metadata_only else JSON
        return await self._read(Call(method="GET", path=resource.path(namespace, name), accept=accept))

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> tuple[Bodies, str]:
        """Return all objects and the list's resourceVersion; an incomplete list is an error."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        params = {"limit": str(PAGE_SIZE), **{key: value for key, value in selectors.items() if value}}
        accept = _METADATA_ONLY if metadata_only else JSON
        call = Call(method="GET", path=resource.path(namespace), params=params, accept=accept)
        for _ in range(RESTARTS):
            with contextlib.suppress(ExpiredError):
                return await self._pages(resource, call)
        raise unavailable(f"the list of {resource.plural} expired {RESTARTS} times before its last page")

    async def is_given(self, what: Missing) -> bool | None:
        """Tell whether we have a right, or whether a kind is defined; None where the API server does not say."""
        try:
            return await (self._may(what) if what.verb else self._defined(what))
        except ApiError:
            return None

    async def _may(self, what: Missing) -> bool:
        plain, _, subresource = what.resource.partition("/")
        asked = {"group": what.group, "resource": plain, "subresource": subresource, "verb": what.verb}
        where = {"namespace": what.namespace, "name": what.name}
        attributes = {key: text for key, text in (asked | where).items() if text}
        body = typed(ACCESS_REVIEWS, {"spec": {"resourceAttributes": attributes}})
        answer = await self._read(Call(method="POST", path=ACCESS_REVIEWS.path(None), body=body))  # it writes nothing
        return bool(answer.get("status", {}).get("allowed"))

    async def _defined(self, what: Missing) -> bool:
        """Ask the discovery, which everybody may read: whether a kind can be listed is another question."""
        try:
            found = await self._read(Call(method="GET", path=f"/apis/{what.group}/{VERSION}"))
        except NotFoundError:
            return False
        return any(item.get("name") == what.resource for item in found.get("resources") or [])

    async def create(self, resource: Resource, namespace: str | None, body: Body) -> Body:
        """Create the object and return it."""
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        named = typed(resource, body)
        return await self._write(Call(method="POST", path=resource.path(namespace), params=params, body=named))

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        subresource: str | None = None,
        metadata_only: bool = False,
    ) -> Body:
        """Merge the body into the object; put `metadata.resourceVersion` (and uid) in it to lock.

        With `metadata_only`, the answer holds no more than that of the object, which may be large.
        """
        return await self._write(
            Call(
                method="PATCH",
                path=resource.path(namespace, name, subresource),
                params={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
                body=body,
                content_type=_MERGE_PATCH,
                accept=_ITS_METADATA if metadata_only else JSON,
            )
        )

    async def apply(  # what to apply, where, with what, as whom
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Body,
        *,
        force: bool,
        field_manager: str = FIELD_MANAGER,
        subresource: str | None = None,
    ) -> Body:
        """Server-side apply: the body is all that the field manager wants to own from now on."""
        params = {"fieldManager": field_manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        named = typed(resource, {**body, "metadata": {"name": name, **body.get("metadata", {})}})
        path = resource.path(namespace, name, subresource)
        return await self._write(Call(method="PATCH", path=path, params=params, body=named, content_type=_APPLY_PATCH))

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete the object; with a uid, only if it is that very one (409 if it is another)."""
        options: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        body = options if uid is None else {**options, "preconditions": {"uid": uid}}
        await self._write(Call(method="DELETE", path=resource.path(namespace, name), body=body))

    async def watch(
        self, resource: Resource, namespace: str | None, *, field_selector: str, resource_version: str
    ) -> AsyncIterator[Body]:
        """Yield events (bookmarks too) until the server ends the watch, which it does every few minutes.

        Raises:
            ExpiredError: the resourceVersion is too old, list again.
            UnavailableError: the connection broke or went silent.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=READ_SECONDS, sock_read=_SILENCE_SECONDS)
        call = Call(method="GET", path=resource.path(namespace), params=params)
        with answers():
            async with self._request(call, timeout) as response:
                await self._raise_for(response, call)
                async for line in lines(response.content):
                    yield event_of(line)

    async def _pages(self, resource: Resource, call: Call) -> tuple[Bodies, str]:
        items: Bodies = []
        token = ""
        while True:
            params = {**call.params, "continue": token} if token else call.params
            page = await self._read(Call(method="GET", path=call.path, params=params, accept=call.accept))
            items += [typed(resource, item) for item in page.get("items") or []]
            token = page["metadata"].get("continue", "")
            if not token:
                return items, str(page["metadata"]["resourceVersion"])

    async def _read(self, call: Call) -> Body:
        """Repeat the request until it is answered or the deadline has passed."""
        with answers():
            async with asyncio.timeout(READ_SECONDS):
                for pause in BACKOFF:
                    with contextlib.suppress(UnavailableError):
                        return await self._once(call)
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter, no secret
                return await self._once(call)

    async def _write(self, call: Call) -> Body:
        """Send the request once, and give up before the fence closes."""
        self._fence.check()
        with answers():
            async with asyncio.timeout(min(_WRITE_SECONDS, self._fence.remaining())):
                return await self._once(call)

    async def _once(self, call: Call) -> Body:
        with answers():
            async with self._request(call, aiohttp.ClientTimeout(total=READ_SECONDS)) as response:
                await self._raise_for(response, call)
                return await decoded(response)

    async def _raise_for(self, response: aiohttp.ClientResponse, call: Call) -> None:
        try:
            await raise_for(response)
        except ApiError as error:
            error.told = self.connection.access.note(error, call.path)
            raise

    def _request(
        self, call: Call, timeout: aiohttp.ClientTimeout
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        data = None if call.body is None else json.dumps(call.body, separators=(",", ":")).encode()
        headers = {"Accept": call.accept, **({"Content-Type": call.content_type} if data else {})}
        return self.connection.session.request(
            call.method,
            f"{self.connection.server}{call.path}",
            params=call.params,
            data=data,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            middlewares=(self.connection.authorize,),  # the session's own are kopf's, and wait where we refuse
        )


def typed(resource: Resource, body: Body) -> Body:
    """Return the body with its apiVersion and kind, which the items of a list lack."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}
