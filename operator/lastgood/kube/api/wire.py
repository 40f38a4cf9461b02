"""Answers as they come over the network: decoded, or raised as one of our errors."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp

from lastgood.kube.api.problems import from_status, unavailable

CHUNK: Final = 256 * 1024
_ERROR_BODY_LIMIT: Final = 1024 * 1024  # a refusal may quote the whole object
_FIRST_ERROR_STATUS: Final = 300  # redirects are not followed: an API server has no reason to send one


@contextlib.contextmanager
def answers() -> Iterator[None]:
    """Turn whatever the network raises into UnavailableError.

    Raises:
        UnavailableError: no connection, no answer in time, or one that breaks off.
    """
    try:
        yield
    except TimeoutError as error:
        raise unavailable("the API server did not answer in time") from error
    except aiohttp.ClientError as error:
        raise unavailable(f"the API server cannot be reached: {error or type(error).__name__}") from error


async def raise_for(response: aiohttp.ClientResponse) -> None:
    """Raise what the answer says, if it is not a success."""
    if response.status < _FIRST_ERROR_STATUS:
        return
    text = b""
    async for chunk in response.content.iter_chunked(CHUNK):  # a single read() gives what has come so far
        text += chunk
        if len(text) > _ERROR_BODY_LIMIT:
            break
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None  # a proxy's page: its status is all there is to say
    raise from_status(response.status, answer)


async def decoded(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """Return the body as an object."""
    try:
        answer = json.loads(await response.read())
    except ValueError as error:
        raise unavailable("the API server's answer is not JSON") from error
    if not isinstance(answer, dict):
        raise unavailable("the API server's answer is not an object")
    return answer


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream; aiohttp's own iteration refuses lines over 128 KiB."""
    rest = b""
    async for chunk in content.iter_chunked(CHUNK):
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            if line:
                yield line


def event_of(line: bytes) -> dict[str, Any]:
    """Return one watch event, or raise the error that it carries."""
    try:
        event = json.loads(line)
    except ValueError as error:
        raise unavailable("a watch event is not JSON") from error
    if event["type"] == "ERROR":
        raise from_status(int(event["object"].get("code") or 0), event["object"])
    return dict(event)
