"""What the API server says when it says no: one type for each thing a caller does about it."""

import logging
from dataclasses import dataclass
from typing import Any, Final

from lastgood.errors import LastgoodError, TransientError

MESSAGE_LIMIT: Final = 1024
_CAUSE_LIMIT: Final = 32
_NOT_IN_SCHEMA: Final = "failed to create typed patch object"  # an apply of an unknown field says so with 500


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One of the reasons of a refusal, such as a field and the manager that owns it."""

    reason: str
    field: str
    message: str


class ApiError(LastgoodError):
    """The API server refused; `message` is its own sentence, bounded.

    `named`: it says of which object. `told`: people hear of it already, see `access`.
    """

    def __init__(
        self, *, status: int, reason: str, message: str, causes: tuple[Cause, ...] = (), named: bool = True
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = bounded(message)
        self.causes = causes
        self.named = named
        self.told = False
        super().__init__(self.message)


class NotFoundError(ApiError):
    """404: the object, its kind or its namespace is not there."""


class ConflictError(ApiError):
    """409: somebody else was faster, or owns a field; see `causes` for the fields."""


class AlreadyExistsError(ApiError):
    """409 on create: the name is taken."""


class ExpiredError(ApiError):
    """410: the place to go on from is forgotten; list again."""


class InvalidError(ApiError):
    """422: the object is not what its schema, or its uid, asks for."""


class ForbiddenError(ApiError):
    """403: RBAC or an admission policy says no."""


class UnavailableError(ApiError, TransientError):
    """429, 5xx, 401, no connection or no answer in time; a write may or may not have happened."""


BY_STATUS: Final[dict[int, type[ApiError]]] = {
    401: UnavailableError,  # the credentials rotate; the next attempt carries new ones
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    422: InvalidError,
    429: UnavailableError,
}


def bounded(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return the text in one line of at most `limit` characters; the middle goes, the end says what is wrong."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    head = limit // 4
    return f"{line[:head]}…{line[head + 1 - limit :]}"


def quiet(error: Exception) -> int:
    """Return the level at which to log a failure: what people hear of already is no second warning."""
    return logging.DEBUG if isinstance(error, ApiError) and error.told else logging.WARNING


def unavailable(message: str) -> UnavailableError:
    """Return the error for an answer that did not come."""
    return UnavailableError(status=0, reason="Unavailable", message=message)


def from_status(status: int, answer: Any) -> ApiError:  # noqa: ANN401  # decoded JSON is Any
    """Return the error for an HTTP status and the decoded body; a body that is no Status is not quoted."""
    body = answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}
    reason = str(body.get("reason") or "")
    message = str(body.get("message") or f"the API server answered with HTTP status {status}")
    kind = InvalidError if message.startswith(_NOT_IN_SCHEMA) else _error_type(status, reason)
    given = body.get("details")
    named = isinstance(given, dict) and bool(given.get("name"))
    return kind(status=status, reason=reason or kind.__name__, message=message, causes=_causes(body), named=named)


def _error_type(status: int, reason: str) -> type[ApiError]:
    if reason == "AlreadyExists":
        return AlreadyExistsError
    if status >= 500:  # noqa: PLR2004  # the first status that blames the server
        return UnavailableError
    return BY_STATUS.get(status, ApiError)


def _causes(body: dict[str, Any]) -> tuple[Cause, ...]:
    details = body.get("details")
    found = details.get("causes") if isinstance(details, dict) else None
    entries = found if isinstance(found, list) else []
    return tuple(_cause(entry) for entry in entries[:_CAUSE_LIMIT] if isinstance(entry, dict))


def _cause(entry: dict[str, Any]) -> Cause:
    texts = (bounded(str(entry.get(key) or "")) for key in ("reason", "field", "message"))
    reason, field, message = texts
    return Cause(reason=reason, field=field, message=message)
