"""What a condition may cost: counted in steps, never by a clock, and before the work that they stand for is done."""

import tracemalloc
from contextlib import suppress

import pytest

from lastgood.signals.answers import MAX_VALUES, doubles
from lastgood.signals.errors import ExpressionError
from lastgood.signals.expression import Expression
from lastgood.signals.language.meter import MAX_STEPS, TooManyStepsError
from lastgood.signals.language.program import Run

LIST = {"list": [1.0] * 4000, "text": "a" * 900_000, "pods": [{"name": "a" * 20, "n": 1.0}] * 1500}
NUMBERED = [float(number) for number in range(2000)]
MOST = [float(number) for number in range(MAX_VALUES - 1)]
WIDE = "\U0001f600"
STOPPED = f"more than {MAX_STEPS} steps"
DOUBLED = "".join(f".map({name}, {name} + {name})" for name in "abcdefghijk")


def evaluated(text: str, result: object, *, spent: int = 0) -> Run:
    """Return an evaluation as far as it got."""
    run = Run(doubles(result))
    run.steps = spent
    with suppress(ExpressionError):
        Expression.compile(text).code(run)
    return run


def steps(text: str, result: object = None) -> int:
    return evaluated(text, result).steps


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("result.list.all(x, result.list.all(y, y > 0.0))", LIST),
        ("result.list.exists_one(x, result.list.exists_one(y, x + y > 5.0))", LIST),
        ("result.list.all(x, result.text.contains('b') || true)", LIST),
        ("result.list.all(x, result.pods == result.pods)", LIST),
        ("result.list.all(x, result.text + 'a' != 'b')", LIST),
        ("size(result.text" + " + result.text" * 60 + ") > 0", LIST),
        (r"result.text.matches('(a|b)*a(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)$')", LIST),
        ("result.text.matches('" + "." * 63 + "$')", LIST),
        ("(result.list + result.list).all(x, (result.list + result.list).all(y, true))", LIST),
        # each for the price of one operation
        ("result.all(x, result + result != [])", NUMBERED),
        ("result.all(x, x in result)", NUMBERED),
        ("result.all(x, result == result)", NUMBERED),
        ("result.all(x, " + " && ".join(f"!x.contains('{char}')" for char in "bcdef") + ")", ["a" * 100_000] * 10),
        ("result.all(x, x.startsWith(x) && x <= x && x == x && x != x + 'a')", ["a" * 100_000] * 10),
        ("result.all(x, result.all(y, {'a': {'b': {}}} != {}))", NUMBERED),
        ("result.all(x, result.all(y, [[[]]] != []))", NUMBERED),
        ("result.all(x, result.all(y, string(y) != ''))", NUMBERED),
        ("result.all(x, result.all(y, duration('1h') != duration('1s')))", NUMBERED),
        ("result.all(x, result.all(y, 9223372036854775807 - 9223372036854775806 == 1))", NUMBERED),
        ("result.exists(x, result.exists(y, y.nope))", NUMBERED),
        ("result.exists(x, result.exists(y, 9223372036854775807 * 9223372036854775807 > 1))", NUMBERED),
        ("result.all(x, result.all(y, 'a'.matches('a')))", NUMBERED),
        # what doubles
        (f"[result]{DOUBLED}.size() > 0", MOST),
        (f"[result]{DOUBLED}.size() > 0", "a" * 100_000),
        ("[[1]" + ".map(a, [a, a])" * 40 + "].exists(b, b == b)", None),
        ("[[1]" + ".map(a, {'a': a, 'b': a})" * 30 + "].exists(b, b == b)", None),
    ],
)
def test_what_takes_too_many_steps_is_stopped(text: str, result: object) -> None:
    with pytest.raises(TooManyStepsError, match=STOPPED):
        Expression.compile(text).evaluate(result)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("result.list.all(x, x > 0.0)", 30_000),
        ("result.pods.all(p, p.n > 0.0 && p.name != 'b')", 30_000),
        ("result.pods.exists_one(p, p.name == 'b') || true", 30_000),
        ("[].all(x, result.list == result.list && result.pods == result.pods)", 50),
        ("[1].all(x, [1].all(y, result.list[0] > 0.0))", 100),
        ("result.text.contains('b') || true", 60_000),
        # Nothing is copied but references, and nothing is looked at but what decides.
        ("result.list.map(x, x).size() > 0", 20_000),
        ("result.list.filter(x, true).size() > 0", 20_000),
        ("result.list.map(x, result.list).size() > 0", 20_000),
        ("result.list.map(x, result.text).size() > 0", 20_000),
        ("result.list.all(x, result.list[0] > 0.0)", 40_000),
        ("result.list.all(x, x in result.list || true)", 60_000),
        ("result.list.all(x, [result, result] != [])", 100_000),
        ("[result, result].map(x, [result, result].map(y, [x, y])).size() > 0", 200),
        ("result.pods.all(p, 'a'.matches('a'))", 120_000),
        ("result.pods.all(p, p.name.matches('^a+$'))", 150_000),
        ("true || result.list.all(x, result.list == result.list)", 10),
    ],
)
def test_what_large_results_are_asked_is_answered(text: str, most: int) -> None:
    assert Expression.compile(text).evaluate(LIST) is True
    assert steps(text, LIST) <= most


@pytest.mark.parametrize(
    "text",
    [
        "result.list.all(x, result.list.all(y, y > 0.0)) || true",
        "!(result.list.all(x, result.list.all(y, y > 0.0)) && false)",
        "[1, 2].exists(z, z == 2 || result.list.all(x, x == 1.0 && result.list == result.list))",
    ],
)
def test_a_side_that_decides_does_not_hide_that_there_are_too_many_steps(text: str) -> None:
    with pytest.raises(TooManyStepsError):
        Expression.compile(text).evaluate(LIST)


@pytest.mark.parametrize("missing", [1900, 2400, 10_000])
def test_search_that_compares_long_parts_at_many_places_is_stopped(missing: int) -> None:
    """Python compares the part at each of the last 2000 places, whole: an answer chose both."""
    part = "a" * (400_000 - 4) + "baaa"
    with pytest.raises(TooManyStepsError):
        Expression.compile("result.text.contains(result.part)").evaluate(
            {"text": "a" * (400_000 + missing), "part": part}
        )


def test_search_in_a_short_text_pays_for_all_its_places() -> None:
    value = {"text": "a" * 2400, "part": "a" * 1199 + "b"}
    assert steps("result.text.contains(result.part)", value) >= 1200 * 1200 // 256


@pytest.mark.parametrize(
    ("text", "value", "least"),
    [
        pytest.param("result.a + 'b' != ''", "a" * 64_000, 64_000 / 8, id="joining text"),
        pytest.param("result.a == result.b", "a" * 64_000, 64_000 / 16, id="comparing text"),
        pytest.param("result.a <= result.b", "a" * 64_000, 64_000 / 16, id="ordering text"),
        pytest.param("result.a in [result.b]", "a" * 64_000, 64_000 / 16, id="looking for text in a list"),
        pytest.param("result.a in {'k': 1}", "a" * 64_000, 64_000 / 16, id="looking for a key"),
        pytest.param("{'k': 1}[result.a] == 1", "a" * 64_000, 64_000 / 16, id="looking up a key"),
        pytest.param("{result.a: 1} != {}", "a" * 64_000, 64_000 / 16, id="a key of a map"),
        pytest.param("result.a.contains('b')", "a" * 64_000, 64_000 / 16, id="searching text"),
        pytest.param(
            "result.a.contains('" + "b" * 90 + "')", "a" * 10_000, 90 * 10_000 // 256, id="searching short text"
        ),
        pytest.param(
            "result.a.contains('b' + result.a)", "a" * 2400, 0, id="a part that is longer than the text is at no place"
        ),
        pytest.param("result.a.startsWith(result.b)", "a" * 64_000, 64_000 / 16, id="the beginning of text"),
        pytest.param("result.a.endsWith(result.b)", "a" * 64_000, 64_000 / 16, id="the end of text"),
        pytest.param("result.a.matches('^[ab]*c')", "a" * 64_000, 64_000 / 8, id="matching text"),
        pytest.param("result.a.matches('" + "." * 60 + "$')", "a" * 5000, 5000 * 480 / 64, id="matching many ways"),
        pytest.param(
            "result.a.matches('" + "." * 60 + "$')", WIDE * 2000, 4 * 2000 * 480 / 64, id="matching many bytes"
        ),
        pytest.param("result.a + result.b != [1]", [1.0] * 1000, 2 * 1000 / 4, id="joining lists"),
        pytest.param("result.a == result.b", [1.0] * 1000, 4 * 1000, id="comparing lists"),
        pytest.param("0.0 in result.a", [1.0] * 1000, 3 * 1000, id="looking for a number in a list"),
        pytest.param("result.a.all(x, true)", [1.0] * 1000, 3 * 1000, id="a loop"),
        pytest.param("result.a == result.b", {f"{n}": 1.0 for n in range(1000)}, 4 * 1000, id="comparing maps"),
        pytest.param("result.a == result.b", {"a" * 64_000: 1.0}, 64_000 / 16, id="comparing a long key"),
        pytest.param("duration(result.a) != 1", "1h" * 16, 4 * 32, id="reading a time"),
    ],
)
def test_what_is_looked_at_or_copied_is_paid_by_its_size(text: str, value: object, least: float) -> None:
    nothing = type(value)()
    assert steps(text, {"a": value, "b": value}) - steps(text, {"a": nothing, "b": nothing}) >= least


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", 1),
        ("result.a > 1.0", 4),
        ("result.a > 1.0 && result.b", 7),
        ("result.a < 1.0 && result.b", 5),  # the first side decides
        ("result.a > 1.0 ? true : result.b", 6),
        ("result.nope || result.b", 1 + 2 + (20 + 2) + 2),  # an error, and the two nodes that it came through
        ("result.list.all(x, x > 0.0)", 3 + 24 + 3 * (2 + 3)),
        ("result.list.exists(x, x > 0.0)", 3 + 24 + 2 + 3),
    ],
)
def test_the_same_expression_and_result_always_cost_the_same(text: str, expected: int) -> None:
    result = {"a": 2.0, "b": True, "list": [1.0, 2.0, 3.0]}
    assert [steps(text, result) for _ in range(3)] == [expected] * 3


def test_a_pattern_is_paid_once_for_an_evaluation_however_often_it_was_compiled() -> None:
    text = "result.all(x, x.matches('^(Ready|Running)$'))"
    first, again, many = steps(text, ["Ready"]), steps(text, ["Ready"]), steps(text, ["Ready"] * 10)
    assert first == again > 160 * len("^(Ready|Running)$")
    assert many - first < 10 * 100


@pytest.mark.parametrize(
    ("text", "result"),
    [
        pytest.param("result + result != ''", "a" * 500_000, id="text"),
        pytest.param("(result + result).size() > 0", MOST, id="lists"),
        pytest.param("result.matches('^a*$')", WIDE * 250_000, id="text for a pattern"),
        pytest.param("result == result", MOST, id="pairs"),
    ],
)
def test_it_is_paid_before_the_memory_is_used(text: str, result: object) -> None:
    condition, run = Expression.compile(text), Run(doubles(result))
    run.steps = MAX_STEPS - 200
    tracemalloc.start()
    try:
        with suppress(ExpressionError):
            condition.code(run)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000


@pytest.mark.parametrize(
    ("text", "result"),
    [
        pytest.param("result.map(x, result + result).size() > 0", MOST, id="lists of lists"),
        pytest.param(f"[result]{DOUBLED}.size() > 0", MOST, id="a list that doubles"),
        pytest.param(f"[result]{DOUBLED}.size() > 0", WIDE * 100_000, id="a text that doubles"),
        pytest.param("result.map(x, result.map(y, [[[[[[[[y]]]]]]]])).size() > 0", MOST, id="lists in lists"),
        pytest.param("result.map(x, result.map(y, {'a': {'b': {'c': y}}})).size() > 0", MOST, id="maps in maps"),
        pytest.param("result.map(x, result.map(y, string(y) + '" + "ä" * 50 + "')).size() > 0", MOST, id="many texts"),
        pytest.param("result.map(x, result.map(y, duration('1h') + duration('1s'))).size() > 0", MOST, id="times"),
    ],
)
def test_what_an_evaluation_keeps_is_a_few_megabytes(text: str, result: object) -> None:
    condition, run = Expression.compile(text), Run(doubles(result))
    tracemalloc.start()
    try:
        with pytest.raises(TooManyStepsError):
            condition.code(run)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * MAX_STEPS * 1.1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[[1]" + ".map(a, [[[[[[[[[[[[a]]]]]]]]]]]])" * 25 + "].exists(b, b == b)", id="lists"),
        pytest.param("[[1]" + ".map(a, [{'a': {'a': {'a': {'a': a}}}}])" * 22 + "].exists(b, b == b)", id="maps"),
        pytest.param("!" * 60 + "true", id="negations"),
        pytest.param("[true]" + ".filter(a, a)" * 60 + "[0]", id="loops"),
        pytest.param("true" + " && true" * 60, id="sides"),
    ],
)
def test_nothing_is_nested_deeper_than_can_be_followed(text: str) -> None:
    assert Expression.compile(text).evaluate(None) is True
