"""Reading decoded JSON: bounds and sentences where it is a spec, patience where it is a status."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.api.fields import Fields, compact, format_time, parse_duration, parse_time
from lastgood.errors import InvalidSpecError

Read = Callable[[Fields], object]
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
READS: dict[str, Read] = {
    "text": lambda fields: fields.text("x", "d", limit=5),
    "required": lambda fields: fields.text("x", limit=5, required=True),
    "integer": lambda fields: fields.integer("x", 3, low=1, high=9),
    "number": lambda fields: fields.number("x", 1.5),
    "flag": lambda fields: fields.flag("x", default=True),
    "time": lambda fields: fields.time("x"),
    "duration": lambda fields: fields.duration("x", "5s"),
    "child": lambda fields: fields.child("x").value,
    "items": lambda fields: [item.value for item in fields.items("x", limit=2)],
    "texts": lambda fields: fields.texts("x", ("d",), limit=2),
}


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        ("text", "abcde", "abcde"),
        ("text", "", ""),
        ("text", None, "d"),
        ("required", "a", "a"),
        ("integer", 1, 1),
        ("integer", 9, 9),
        ("number", 2, 2.0),
        ("number", 0.5, 0.5),
        ("flag", False, False),
        ("time", None, None),
        ("time", "2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("time", "2026-03-01T13:00:00.5+01:00", datetime(2026, 3, 1, 12, 0, 0, 500000, tzinfo=UTC)),
        ("duration", "1h30m", timedelta(minutes=90)),
        ("duration", "500ms", timedelta(seconds=0.5)),
        ("duration", "0s", timedelta(0)),
        ("child", {"a": 1}, {"a": 1}),
        ("child", None, {}),
        ("items", [{}, {"a": 1}], [{}, {"a": 1}]),
        ("items", None, []),
        ("texts", ["a", "b"], ("a", "b")),
        ("texts", [], ()),
        ("texts", None, ("d",)),
    ],
)
def test_good_value(read: str, value: object, found: object) -> None:
    for strict in (True, False):
        assert READS[read](Fields({"x": value}, "spec", strict)) == found


BAD = [
    ("text", "abcdef", "a string of 1 to 5 characters"),
    ("text", 5, "a string of 1 to 5 characters"),
    ("required", "", "a string of 1 to 5 characters"),
    ("required", None, "a string of 1 to 5 characters"),
    ("integer", 0, "a whole number from 1 to 9"),
    ("integer", 10, "a whole number from 1 to 9"),
    ("integer", True, "a whole number from 1 to 9"),
    ("integer", 3.0, "a whole number from 1 to 9"),
    ("integer", "3", "a whole number from 1 to 9"),
    ("number", "1", "a number"),
    ("number", True, "a number"),
    ("number", float("nan"), "a number"),
    ("number", float("inf"), "a number"),
    ("number", 10**400, "a number"),
    ("flag", 1, "true or false"),
    ("flag", "true", "true or false"),
    ("time", "yesterday", "an RFC 3339 time such as 2026-03-01T00:00:00Z"),
    ("time", "2026-03-01T12:00:00", "an RFC 3339 time"),
    ("time", "0001-01-01T00:00:00+10:00", "an RFC 3339 time"),
    ("time", "9999-12-31T23:59:59Z", "an RFC 3339 time"),
    ("time", "0002-01-01T00:00:00+23:59", "an RFC 3339 time"),
    ("time", "9000-12-31T23:59:59-23:59", "an RFC 3339 time"),
    ("time", 5, "an RFC 3339 time"),
    ("duration", "", "a duration such as 500ms, 10s, 5m or 1h30m"),
    ("duration", "5", "a duration"),
    ("duration", "5d", "a duration"),
    ("duration", "-5s", "a duration"),
    ("duration", "5s ", "a duration"),
    ("duration", "999999999h", "a duration"),
    ("duration", "999999999h" * 3000, "a duration"),
    ("duration", None, "a duration"),
    ("duration", 5, "a duration"),
    ("child", "x", "an object"),
    ("items", "abc", "a list of at most 2 objects"),
    ("items", [{}, {}, {}], "a list of at most 2 objects"),
    ("texts", "abc", "a list of at most 2 strings"),
    ("texts", ["a", 1], "a list of at most 2 strings"),
    ("texts", ["a", "b", "c"], "a list of at most 2 strings"),
]


@pytest.mark.parametrize(("read", "value", "expected"), BAD)
def test_bad_value_in_a_spec_is_refused_with_a_sentence(read: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        READS[read](Fields({"x": value}, "spec.y"))
    assert str(refused.value).startswith("spec.y.x: must be ")
    assert expected in str(refused.value)


@pytest.mark.parametrize(("read", "value", "expected"), BAD)
def test_bad_value_in_a_status_counts_as_absent(read: str, value: object, expected: str) -> None:
    del expected
    absent = READS[read](Fields({}, "status", strict=False))
    assert READS[read](Fields({"x": value}, "status", strict=False)) == absent


def test_bad_item_is_named_by_its_index() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.x\[1\]: must be an object"):
        list(Fields({"x": [{}, 5]}, "spec").items("x"))
    with pytest.raises(InvalidSpecError, match=r"spec\.x\[1\]\.name: must be a string"):
        [item.text("name", required=True) for item in Fields({"x": [{"name": "a"}, {}]}, "spec").items("x")]


@given(value=json, read=st.sampled_from(sorted(READS)))
def test_any_json_in_a_status_is_read(value: Any, read: str) -> None:
    READS[read](Fields({"x": value}, "status", strict=False))
    Fields({"x": value}, "status", strict=False).mapping("x")


@given(value=json, read=st.sampled_from(sorted(READS)))
def test_any_json_in_a_spec_is_read_or_refused(value: Any, read: str) -> None:
    try:
        READS[read](Fields({"x": value}, "spec"))
    except InvalidSpecError as refused:
        assert str(refused).startswith("spec.x")  # noqa: PT017 - most values are read


def test_mapping_keeps_texts_only_and_not_too_many() -> None:
    assert Fields({"x": {"a": "1", "b": 2, 3: "c"}}).mapping("x") == {"a": "1"}
    assert Fields({"x": "abc"}).mapping("x") == {}
    assert len(Fields({"x": {str(number): "" for number in range(300)}}).mapping("x")) == 256


def test_many_annotations_of_somebody_else_do_not_push_out_a_request() -> None:
    many = {f"a{number:04}": "" for number in range(300)}
    found = Fields({"x": {**many, "lastgood.dev/emergency-rollback": "INC-1"}}).mapping("x")
    assert found["lastgood.dev/emergency-rollback"] == "INC-1"


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(8000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - Hypothesis wants naive bounds
def test_time_survives_writing_and_reading(time: datetime) -> None:
    text = format_time(time)
    assert text is not None
    assert text.endswith("Z")
    assert parse_time(text) == time


def test_no_time_is_no_text() -> None:
    assert format_time(None) is None
    assert compact({"a": None, "b": 0, "c": ""}) == {"b": 0, "c": ""}


@given(st.text(max_size=40) | st.from_regex(r"([0-9]{1,12}(ms|s|m|h)){1,4}", fullmatch=True))
def test_any_duration_can_be_added_to_a_time(text: str) -> None:
    try:
        duration = parse_duration(text)
    except ValueError:
        return
    assert datetime(2026, 1, 1, tzinfo=UTC) + duration >= datetime(2026, 1, 1, tzinfo=UTC)
