"""Conditions: CEL over `result`, the parsed JSON of an endpoint.

Whether a condition can be evaluated never depends on the clock, only on the expression and the result: see
language/cost.py for the limit. The worst case measured within all limits, on one core of a small and busy virtual
machine: 72 ms of CPU time for `evaluate`, 30 ms of them in the evaluator. A usual one takes 0.05 ms.
"""

import math
from dataclasses import dataclass
from typing import Any

import cel

from lastgood.signals.errors import ExpressionError
from lastgood.signals.language.cost import check_cost
from lastgood.signals.language.nodes import ROOT, Node, Path, paths_read
from lastgood.signals.language.parser import parse
from lastgood.signals.language.render import GUARD, render
from lastgood.signals.sentences import one_sentence
from lastgood.signals.strictjson import UnusableValueError, doubles


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A condition, compiled once.

    `&&`, `||`, `all` and `exists` are as in CEL: an operand without an answer (a missing field) does not
    matter where the others decide. NaN and Infinity always matter.

    Attributes:
        text: as written.
        reads: the fields of `result` that it reads, in the order of the text.
    """

    text: str
    reads: tuple[Path, ...]
    tree: Node
    program: cel.Program

    @classmethod
    def compile(cls, text: str) -> "Expression":
        """Read an expression.

        Raises:
            ExpressionError: where and what is wrong, or which bound it exceeds.
        """
        try:
            tree = parse(text)
        except ExpressionError as error:
            raise ExpressionError(one_sentence(str(error))) from None
        try:
            program = cel.compile(render(tree))
        except BaseException as error:  # noqa: BLE001 a panic in Rust is one; _translated lets others go on
            raise _translated(error) from None
        return cls(text=text, reads=tuple(paths_read(tree)), tree=tree, program=program)

    def evaluate(self, result: object) -> bool:
        """Return whether the condition holds for a result; all its numbers are taken as doubles.

        Raises:
            ExpressionError: no boolean answer: a missing field, another type, NaN or Infinity, too much work.
        """
        try:
            value = doubles(result)
        except UnusableValueError as error:
            raise ExpressionError(f"the result {error}") from None
        check_cost(self.tree, value)
        return _boolean(self._run(value))

    def _run(self, result: object) -> object:
        odd: list[object] = []  # what was NaN or Infinity on the way, wherever the evaluator then went with it

        def seen(value: object) -> object:
            if isinstance(value, float) and not math.isfinite(value):
                odd.append(value)
            return value

        try:
            answer: object = self.program.execute(cel.Context({ROOT: result}, {GUARD: seen}))
        except BaseException as error:  # noqa: BLE001 a panic in Rust is one; _translated lets others go on
            sentence = _translated(error)
            raise _not_finite() if odd else sentence from None
        if odd:
            raise _not_finite()
        return answer


def _not_finite() -> ExpressionError:
    return ExpressionError("a calculation has no finite result (NaN or Infinity), such as a division by zero")


def _boolean(answer: object) -> bool:
    if not isinstance(answer, bool):
        raise ExpressionError(f"the answer is not true or false but a {type(answer).__name__}")
    return answer


def _translated(error: BaseException) -> ExpressionError:
    """Return the evaluator's error as a sentence; what is no error of the evaluator goes on as it is."""
    # A panic in Rust arrives as a BaseException of its own; an interrupt must not be swallowed.
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    if isinstance(error, KeyError):
        return ExpressionError(one_sentence(f"the result has no field {_first_arg(error)}"))
    if isinstance(error, TypeError):
        hint = "JSON numbers are doubles, so write 1.0 and not 1, or use double(...)"
        return ExpressionError(f"no such operation on values of these types; {hint}")
    return ExpressionError(one_sentence(str(error).split("\n", 1)[0]))


def _first_arg(error: KeyError) -> Any:  # noqa: ANN401 whatever the evaluator put there
    return error.args[0] if error.args else ""
