"""What the API server answers, and what it becomes."""

import pytest

from lastgood.errors import TransientError
from lastgood.kube.api.problems import (
    MESSAGE_LIMIT,
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    from_status,
)


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", ApiError),
        (401, "Unauthorized", UnavailableError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (409, "Conflict", ConflictError),
        (409, "AlreadyExists", AlreadyExistsError),
        (410, "Expired", ExpiredError),
        (422, "Invalid", InvalidError),
        (429, "TooManyRequests", UnavailableError),
        (500, "InternalError", UnavailableError),
        (503, "", UnavailableError),
    ],
)
def test_each_refusal_has_its_type(status: int, reason: str, kind: type[ApiError]) -> None:
    error = from_status(status, {"kind": "Status", "reason": reason, "message": "no"})
    assert type(error) is kind
    assert (error.status, str(error)) == (status, "no")
    assert isinstance(error, TransientError) == (kind is UnavailableError)


@pytest.mark.parametrize("answer", [None, [], "text", {"kind": "Secret", "message": "s3cret"}, {"kind": "Status"}])
def test_a_body_that_is_no_status_is_not_quoted(answer: object) -> None:
    assert str(from_status(502, answer)) == "the API server answered with HTTP status 502"


def test_a_long_sentence_keeps_its_end_which_says_what_is_wrong() -> None:
    long = from_status(422, {"kind": "Status", "message": f"patch {'x' * 9999}\n: unknown field"})
    assert len(str(long)) == MESSAGE_LIMIT
    assert str(long).startswith("patch xx")
    assert str(long).endswith("x : unknown field")


def test_causes_are_bounded_and_malformed_ones_left_out() -> None:
    cause = {"reason": "FieldManagerConflict", "field": ".spec", "message": "m"}
    details = {"causes": ["nonsense", *([cause] * 1000)]}
    causes = from_status(409, {"kind": "Status", "message": "no", "details": details}).causes
    assert 0 < len(causes) < 100
    assert causes[0].field == ".spec"
    assert from_status(409, {"kind": "Status", "details": "text"}).causes == ()
