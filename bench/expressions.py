"""What the worst conditions take that somebody may write, over the worst results that somebody may send.

Each is within all limits of length, depth and size, and is evaluated until it ends or is stopped. The baseline is
reading as many values as there may be, in turns with them. CPU time, and the least of several rounds.
"""

import argparse
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, it finds its neighbours too

import cel

from bench.common import circumstances, show, to_stderr
from lastgood.signals.answers import MAX_BYTES, MAX_VALUES, doubles, parse_json
from lastgood.signals.errors import ExpressionError
from lastgood.signals.expression import Expression
from lastgood.signals.language.program import Run

MOST_MB: Final = 8.0  # that an evaluation may keep
MOST_RATIO: Final = 10.0  # of the baseline: what an evaluation may take
MANY: Final = [float(number) for number in range(MAX_VALUES - 1)]
LONG: Final = "a" * (MAX_BYTES - 10)
WIDE: Final = "\U0001f600"
NAMES: Final = ["x" * 90] * 9900
USUAL: Final = "result.total > 0 && result.errors / result.total > 0.1 && result.state.matches('^(Ready|Running)$')"
ANSWER: Final = {"total": 40.0, "errors": 2.0, "state": "Ready"}


def twice(body: str) -> str:
    """Return an expression that evaluates something in two loops."""
    return f"result.map(x, result.map(y, {body})).size() > 0"


def failing(body: str) -> str:
    """Return an expression that goes on after an error, in two loops."""
    return f"result.exists(x, result.exists(y, {body}))"


DOUBLED: Final = "".join(f".map({name}, {name} + {name})" for name in "abcdefghijk")
HOSTILE: Final[dict[str, tuple[str, object]]] = {
    "loops": ("result.all(x, result.all(y, y >= 0.0))", MANY),
    "empty loops": ("result.all(x, " + " && ".join(["[].all(y, true)"] * 50) + ")", MANY),
    "sums": (twice("y + x"), MANY),
    "lists": (twice("[[[[[[[[y]]]]]]]]"), MANY),
    "empty maps": (twice("{}"), MANY),
    "maps": (twice("{'a': {'b': {'c': y}}}"), MANY),
    "chains of loops": ("result.all(x, [x]" + ".map(a, a)" * 50 + ".size() > 0)", MANY),
    "texts of numbers": (twice("string(y)"), MANY),
    "numbers of texts": (twice("double('1.7976931348623157e308')"), MANY),
    "largest numbers": (twice("9223372036854775807 * 1"), MANY),
    "durations": (twice("duration('" + "1h" * 32 + "')"), MANY),
    "timestamps": (twice("timestamp('2026-01-01T00:00:00.123456789+01:00')"), MANY),
    "times that are added": ("[duration('1h')].map(d, result.map(y, d + d + d + d + d + d)).size() > 0", MANY),
    "times as text": ("[duration('1h1ns')].map(d, result.map(y, string(d))).size() > 0", MANY),
    "errors": (failing("y.nope"), MANY),
    "errors in depth": (failing("!" * 50 + "y.nope"), MANY),
    "equal": ("result.all(x, result == result)", MANY),
    "in": ("result.all(x, x in result)", MANY),
    "equal names": ("result.all(x, result == result)", NAMES),
    "equal in depth": ("[[1]" + ".map(a, {'a': a, 'b': a})" * 30 + "].exists(b, b == b)", None),
    "equal and shared": ("[[1]" + ".map(a, [a, a])" * 50 + "].exists(b, b == b)", None),
    "joined lists": ("result.map(x, result + result).size() > 0", MANY),
    "doubled lists": (f"[result]{DOUBLED}.size() > 0", MANY),
    "doubled text": (f"[result]{DOUBLED}.size() > 0", WIDE * 100_000),
    "joined text": ("(" + "result + " * 60 + "result).size() > 0", LONG),
    "search": ("[" + "0, " * 200 + "0].all(x, !result.contains('" + "a" * 20 + "b" + "a" * 20 + "'))", "a" * 29_999),
    "search in long text": ("[0, 0, 0, 0, 0].all(x, !result.contains('aaaab'))", LONG),
    "many patterns": (failing("!'a'.matches('a')"), MANY),
    "patterns that are large": (
        "||".join(rf"''.matches(r'(\pL|\pN|\pS)*(\pL|\pN|\pS)*{end}')" for end in "abcdefghijklmnopqrst"),
        None,
    ),
    "patterns without an automaton": ("result.matches('" + "." * 63 + "$')", "a" * 24_000),
    "patterns over wide characters": ("result.matches('" + "." * 63 + "$')", WIDE * 5800),
    "patterns that begin anywhere": ("result.matches('" + ".?" * 29 + "x$')", WIDE * 8000),
}
MEANING: Final = {
    "conditions": "how many hostile ones",
    "read_ms": "baseline: reading a body with as many values as there may be",
    "worst_ms": "what the worst condition took",
    "worst": "which that is",
    "ratio": f"worst_ms / read_ms; it fails above {MOST_RATIO:.0f}",
    "most_steps": "that one of them was charged, the one that was refused included",
    "most_mb": f"memory that one of them kept at its peak; it fails above {MOST_MB:.0f}",
    "most": "which that is",
    "usual_us": "a usual condition, with a pattern",
    "library_us": "baseline: the same by the Rust library of the tests, compiled before",
}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if one took or kept too much."""
    found = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    found.add_argument("--json", action="store_true", help="print one JSON object")
    found.add_argument("--each", action="store_true", help="tell what each condition took")
    found.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each is measured (5)")
    arguments = found.parse_args(argv)
    before = circumstances()
    figures = measure(arguments.rounds, each=arguments.each)
    show({**figures, **before}, as_json=arguments.json, title="Conditions", meaning=MEANING)
    return int(float(figures["ratio"]) > MOST_RATIO or float(figures["most_mb"]) > MOST_MB)


def measure(rounds: int, *, each: bool) -> dict[str, float | str]:
    """Return the figures of all conditions."""
    body = json.dumps(MANY).encode()
    reading, took, kept, steps = [], {}, {}, {}
    for name, (text, result) in HOSTILE.items():
        condition, value = Expression.compile(text), doubles(result)
        reading.append(least(rounds, partial(parse_json, body)))
        took[name] = least(rounds, partial(evaluated, condition, value))
        kept[name] = peak(partial(evaluated, condition, value))
        steps[name] = evaluated(condition, value).steps
        if each:
            to_stderr(f"{name}: {steps[name]} steps, {took[name] * 1e3:.1f} ms, {kept[name]:.1f} MB")
    worst, most = max(took, key=took.__getitem__), max(kept, key=kept.__getitem__)
    return {
        "conditions": float(len(HOSTILE)),
        "read_ms": min(reading) * 1e3,
        "worst_ms": took[worst] * 1e3,
        "worst": worst,
        "ratio": took[worst] / min(reading),
        "most_steps": float(max(steps.values())),
        "most_mb": kept[most],
        "most": most,
        **usual(rounds),
    }


def evaluated(condition: Expression, value: object) -> Run:
    """Return an evaluation as far as it got."""
    run = Run(value)
    with suppress(ExpressionError):
        condition.code(run)
    return run


def usual(rounds: int) -> dict[str, float]:
    """Return what a usual condition takes, here and in the library that the tests ask for a second opinion."""
    own, other = Expression.compile(USUAL), cel.compile(USUAL)
    times = range(1000)
    return {
        "usual_us": least(rounds, lambda: [own.evaluate(ANSWER) for _ in times]) * 1e3,
        "library_us": least(rounds, lambda: [other.execute({"result": ANSWER}) for _ in times]) * 1e3,
    }


def least(rounds: int, work: Callable[[], object]) -> float:
    """Return the least CPU seconds that something takes."""
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


def peak(work: Callable[[], object]) -> float:
    """Return the MB that something has in use at its peak."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    sys.exit(main())
