"""Conditions: what they mean, and what they refuse. What they may cost: see test_steps.py."""

import math
from typing import Any

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.signals.errors import ExpressionError
from lastgood.signals.expression import Expression

PODS = [{"name": "a", "ready": True, "restarts": 0}, {"name": "b", "ready": False, "restarts": 3}]


@pytest.mark.parametrize(
    ("text", "result", "holds"),
    [
        ("result.p99_ms < 100.0", {"p99_ms": 42}, True),  # an integer in JSON, a double here
        ("result.p99_ms < 100", {"p99_ms": 42}, True),
        (
            "result.baseline_accuracy - result.current_accuracy > 0.05",
            {"baseline_accuracy": 0.97, "current_accuracy": 0.9},
            True,
        ),
        ("result.errors / result.total > 0.1", {"errors": 1, "total": 4}, True),
        ("result.total > 0 && result.errors / result.total > 0.1", {"errors": 1, "total": 0}, False),
        ("result.a - result.b - result.c == 1.0", {"a": 6, "b": 3, "c": 2}, True),
        ("result.a - (result.b - result.c) == 5.0", {"a": 6, "b": 3, "c": 2}, True),
        ("result.a / result.b * result.c == 4.0", {"a": 6, "b": 3, "c": 2}, True),
        ("-result.a < 0.0 && !(result.a < 0.0)", {"a": 6}, True),
        ("result.pods.all(p, p.ready)", {"pods": PODS}, False),
        ("result.pods.exists(p, p.restarts > 2.0 && p.name == 'b')", {"pods": PODS}, True),
        ("result.pods.exists_one(p, !p.ready)", {"pods": PODS}, True),
        ("result.pods.filter(p, p.ready).size() == 1", {"pods": PODS}, True),
        ("result.pods.map(p, p.name) == ['a', \"b\"]", {"pods": PODS}, True),
        ("result.pods[1].name.startsWith('b') && result['pods'][0][\"name\"] == 'a'", {"pods": PODS}, True),
        ("has(result.pods) && !has(result.nodes)", {"pods": PODS}, True),
        ("'pods' in result && size(result.pods) == 2", {"pods": PODS}, True),
        ("result.state in ['Ready', 'Running']", {"state": "Ready"}, True),
        ("result.state.matches('^(Ready|Running)$')", {"state": "Ready"}, True),
        (r"result.state == 'caf\u00e9 \"\\' // not a comment", {"state": 'café "\\'}, True),
        (r"result.state.matches(r'^\d+$')", {"state": "42"}, True),
        ("result.state == null ? true : false", {"state": None}, True),
        ("timestamp(result.at) > timestamp('2026-01-01T00:00:00Z')", {"at": "2026-02-01T00:00:00Z"}, True),
        ("{'a': 1.0}['a'] == 1.0 && [1, 2][1] == 2 && 0x10 == 16 && 1e3 == 1000.0 && .5 == 0.5", None, True),
        ("result", True, True),
        # The other operand decides, whatever the missing field would have been.
        ("result.nope > 1.0 || result.a > 1.0", {"a": 2}, True),
        ("result.nope > 1.0 && result.a > 9.0", {"a": 2}, False),
    ],
)
def test_a_condition_means_what_it_says(text: str, result: Any, holds: bool) -> None:  # noqa: FBT001 a table's column
    assert Expression.compile(text).evaluate(result) is holds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "empty"),
        ("   // nothing", "empty"),
        ("result.p99 <", "column 13: the end"),
        ("result.p99 << 2", "column 13: '<'"),
        ("result.p99 < 100.0)", "column 19: ')' is not expected here"),
        ("(result.a", "column 10: the end stands where ')' is expected"),
        ("result.a = 1.0", "column 10: '=' is not understood here"),
        ("accuracy < 0.9", "'accuracy' is unknown: an expression sees 'result' only"),
        ("result.a * 100 > 5.0", "JSON numbers are doubles, so write 1.0 and not 1"),
        ("now() > 1", "'now' is not a known function"),
        ("result.a.max() > 1.0", "'max' is not a known method"),
        ("size() > 1", "takes 1 argument"),
        ("has(result)", "takes a field"),
        ("result.all(result, true)", "another name"),
        ("result.all(x, true, true)", "takes a variable and an expression"),
        ("x.all(x, true)", "'x' is unknown"),
        ("result.all(x, true) && x", "'x' is unknown"),
        ("b'abc' == b'abc'", "not supported"),
        ("1u == 1u", "is not a number"),
        ("result == 'abc", "not understood"),
        (r"result == '\q'", "escape"),
        (r"result == '\ud800'", "escape"),
        ("1e999 < 2.0", "too large a number"),
        ("99999999999999999999 > 0", "too large a number"),
        ("result.in == 1.0", "is a word of the language"),
        ("Foo{a: 1} == 1", "'Foo' is unknown"),
        ("lastgood_seen(1.0) == 1.0", "not a known function"),
        ("result.\x00a", "not understood"),
        ("result.a == 1.0 ; drop", "not understood"),
    ],
)
def test_what_does_not_compile_is_said_with_the_place(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        Expression.compile(text)
    assert sentence in str(raised.value)
    assert len(str(raised.value)) <= 256
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("true || " * 200 + "true", "more than 1024", id="length"),
        pytest.param("(" * 33 + "true" + ")" * 33, "too many brackets", id="round brackets"),
        pytest.param("[" * 34 + "]" * 34 + " == []", "too many brackets", id="square brackets"),
        pytest.param("size(" * 33 + "[]" + ")" * 33 + " == 0", "too many brackets", id="calls"),
        pytest.param("{1:" * 33 + "1" + "}" * 33 + " == 1", "too many brackets", id="braces"),
        pytest.param("true ? true : " * 40 + "true", "too many brackets", id="choices"),
        pytest.param("1" + "+1" * 500 + " > 0", "too deeply", id="a long sum"),
        pytest.param("result" + ".a" * 500, "too deeply", id="a long path"),
        pytest.param("!" * 1000 + "true", "too deeply", id="negations"),
        pytest.param("result.all(x, x.all(y, y.all(z, true)))", "at most 2 of", id="three loops"),
        pytest.param("result.matches('(a{100}){100}')", "{counts}", id="a regex bomb"),
        pytest.param("result.matches('" + "a" * 65 + "')", "at most 64", id="a long pattern"),
        pytest.param("result.matches('(?i)a')", "(?flags)", id="a pattern with flags"),
        pytest.param("result.matches(result)", "literal pattern", id="a pattern from the result"),
        pytest.param("'a'.matches('a' + 'b')", "literal pattern", id="a pattern that is computed"),
    ],
)
def test_an_expression_beyond_a_bound_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        Expression.compile(text)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("text", "result", "sentence"),
    [
        ("result.accuracy < 0.9", {"precision": 1}, "no field result.accuracy"),
        ("result.a.b < 0.9", {"a": 1}, "no"),
        ("result[3] < 0.9", [1], "index out of bounds"),
        ("result.a", {"a": 1}, "must be true or false, but is a float"),
        ("result.a", {"a": None}, "NoneType"),
        ("result.a < 0.9", {"a": "0.5"}, "JSON numbers are doubles"),
        ("size(result.a) * 0.5 > 1.0", {"a": [1]}, "JSON numbers are doubles"),
        ("result.s.matches('(')", {"s": "a"}, "regex"),
        ("result.a < 0.9", {"a": math.nan}, "NaN"),
        ("true", {"unread": math.inf}, "NaN"),
        ("true", {"unread": 10**400}, "too large"),
        ("true", {"a": object()}, "type object"),
        ("true", {1: "a"}, "key that is not a string"),
        ("true", "\ud800", "lone surrogate"),
    ],
)
def test_what_has_no_boolean_answer_is_an_error(text: str, result: Any, sentence: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        Expression.compile(text).evaluate(result)
    assert sentence in str(raised.value)
    assert len(str(raised.value)) <= 256


@pytest.mark.parametrize(
    "text",
    [
        "result.one / result.zero > 0.5",
        "result.zero / result.zero == 1.0",
        "!(result.zero / result.zero == 1.0)",
        "result.one / result.zero > 0.5 || true",
        "result.one / (result.one / result.zero) == 0.0",
        "result.huge * result.huge > 1.0",
        "1.0 / (result.huge * result.huge) == 0.0",
        "result.one / (result.huge + result.huge) == 0.0",
        "-result.huge - result.huge < 0.0",
        "-(result.huge * result.huge) < 0.0",
        "result.list.exists(x, x / result.zero > 1.0)",
        "result.list.all(x, x / result.zero > 1.0)",
        "result.list.map(x, x / result.zero).size() == 1",
        "double('Infinity') > 1.0",
        "double('NaN') == 1.0",
        "[double('inf')] == [1.0]",
        "(result.one / result.zero > 0.5 ? 1.0 : 2.0) == 1.0",
    ],
)
def test_infinity_and_nan_have_no_answer_wherever_they_arise(text: str) -> None:
    result = {"one": 1.0, "zero": 0.0, "huge": 1.7e308, "list": [1.0]}
    with pytest.raises(ExpressionError, match="finite"):
        Expression.compile(text).evaluate(result)


def deep(levels: int) -> Any:
    value: Any = 1.0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        pytest.param([1.0] * 10_001, "more than 10000 values", id="many"),
        pytest.param(deep(40), "nested deeper than 32", id="deep"),
        pytest.param(deep(900), "nested deeper than 32", id="very deep"),
        pytest.param(["a" * 600_000] * 2, "more than 1048576 characters", id="long strings"),
        pytest.param({"a" * 1_100_000: 1.0}, "more than 1048576 characters", id="a long key"),
    ],
)
def test_a_result_beyond_a_bound_is_refused(result: Any, sentence: str) -> None:
    with pytest.raises(ExpressionError, match=sentence):
        Expression.compile("true").evaluate(result)


def test_the_fields_that_are_read_are_known() -> None:
    text = "result.a.b > 1.0 && result['c-d'][0] > result.a.b || result.list.all(x, x.y > result.z)"
    reads = Expression.compile(text).reads
    assert reads == (("a", "b"), ("c-d", 0), ("list",), ("z",))


def answer(text: str, result: object) -> str:
    try:
        return str(Expression.compile(text).evaluate(result))
    except ExpressionError as error:
        return str(error).partition(" (")[0]


NUMBERS = st.sampled_from(["1.5", "2.0", "result.a", "result.b", "result.list[1]"])


def arithmetic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(" ".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"-({text})"),
        st.tuples(inner, inner, inner).map(lambda parts: "({} < {} ? {} : 7.0)".format(*parts)),
    )


def logic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(" ".join),
        inner.map(lambda text: f"!({text})"),
        inner.map(lambda text: f"result.list.exists(x, x > 1.0 && ({text.replace('result.b', 'x')}))"),
    ).filter(lambda text: text.count("exists") <= 1)


COMPARED = st.tuples(
    st.recursive(NUMBERS, arithmetic, max_leaves=6),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.recursive(NUMBERS, arithmetic, max_leaves=6),
).map(" ".join)
CONDITIONS = st.recursive(COMPARED, logic, max_leaves=4).filter(lambda text: len(text) < 1000)


@settings(deadline=None)  # a busy machine is no failure
@given(text=CONDITIONS, a=st.floats(-9, 9).filter(bool), b=st.floats(-9, 9).filter(bool))
def test_it_means_the_same_as_to_the_evaluator_alone(text: str, a: float, b: float) -> None:
    result = {"a": a, "b": b, "list": [1.0, 2.0, 3.0]}
    expected = cel.compile(text).execute({"result": result})
    assert answer(text, result) in {str(expected), "a calculation has no finite result"}


@settings(deadline=None)  # a busy machine is no failure
@given(text=st.text(st.sampled_from("result.ab()[]{}<>=!&|?:,+-*/%'\"\\0123xe \n")).map(lambda text: text[:60]))
def test_any_text_is_an_expression_or_a_sentence(text: str) -> None:
    assert answer(text, {"a": 1.0, "b": [1.0]})
