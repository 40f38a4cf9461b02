"""Conditions: CEL over `result`, the parsed JSON of an endpoint.

Whether a condition can be evaluated never depends on the clock, only on the expression and the result: see
language/meter.py for the limit, and bench/expressions.py for what the worst within it takes.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

from lastgood.signals.answers import UnusableValueError, doubles
from lastgood.signals.errors import ExpressionError
from lastgood.signals.language.nodes import ROOT, Path, paths_read
from lastgood.signals.language.parser import parse
from lastgood.signals.language.program import Code, MissingError, Run, program
from lastgood.signals.sentences import one_sentence

MISSING = object()


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
    code: Code

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
        return cls(text=text, reads=tuple(paths_read(tree)), code=program(tree))

    def evaluate(self, result: object) -> bool:
        """Return whether the condition holds for a result; all its numbers are taken as doubles.

        Raises:
            ExpressionError: no boolean answer: a missing field, another type, NaN or Infinity, too much work.
        """
        try:
            value = doubles(result)
        except UnusableValueError as error:
            raise ExpressionError(f"the result {error}") from None
        try:
            answer = self.code(Run(value))
        except MissingError as error:
            raise self._missing(value) or error from None
        if not isinstance(answer, bool):
            raise ExpressionError(f"its result must be true or false, but is a {type(answer).__name__}")
        return answer

    def _missing(self, result: object) -> ExpressionError | None:
        """Name the fields that are not there, where the expression names them: other keys may have been read."""
        missing = [shown_path(path) for path in self.reads if at(result, path) is MISSING]
        return ExpressionError(one_sentence(f"the result has no field {', '.join(missing)}")) if missing else None


@lru_cache(maxsize=4096)
def compiled(text: str) -> Expression:
    """Return an expression, compiled once."""
    return Expression.compile(text)


def at(result: object, path: Path) -> object:
    """Return the value at a path of a result, or MISSING."""
    for step in path:
        match result, step:
            case dict(), str() if step in result:
                result = result[step]
            case list(), int() if 0 <= step < len(result):
                result = result[step]
            case _:
                return MISSING
    return result


def shown_path(path: Path) -> str:
    """Return a path as an expression writes it, such as `result.pods[0].ready`."""
    steps = (f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{json.dumps(step)}]" for step in path)
    return ROOT + "".join(steps)
